# pyright: basic
"""Rules counted as queries: all that look at one row in a single aggregate, `unique` in one of its own.

Whatever an engine's table is, the expressions are the same. A null breaks only `not_null`, as in Pandera. Five rows that break a
rule are fetched as examples: their hash and time, and the value where the column is public.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from tools.adapters.ibis_columns import how_many
from tools.contracts.profile import DataSpec
from tools.contracts.profiling import RuleCount, SchemaRule
from tools.errors import RetrainingError

Ask = Callable[[Any], Sequence[Mapping[str, Any]]]
"""Runs an expression and gives its rows."""
EXAMPLES = 5
_TESTED = "__tested"


def counted(
    table: Any, spec: DataSpec, rules: Sequence[SchemaRule], *, time: str, row_hash: Callable[[Any], Any], ask: Ask
) -> list[RuleCount]:
    """Every rule's count over `table`.

    Args:
        table: an Ibis table of the window.
        time: its column with the event's time in UTC.
        row_hash: gives the hash of a row as an expression.
        ask: runs a query.
    """
    made: list[Any] = [_failing(table, rule, time) for rule in rules]
    countable = {f"r{number}": test for number, test in enumerate(made) if not isinstance(test, str)}
    sums = {name: how_many(test) for name, test in countable.items()}
    answer = ask(table.aggregate(rows=table.count(), **sums))[0]
    rows = int(answer["rows"])
    out: list[RuleCount] = []
    for number, (rule, test) in enumerate(zip(rules, made, strict=True)):
        if rule.check == "unique" and isinstance(test, str) and not test:
            out.append(_repeated(table, rule, rows, ask))
        elif isinstance(test, str):
            out.append(RuleCount(rule=rule, rows=rows, reason=test))
        else:
            failing = int(answer[f"r{number}"] or 0)
            shown = _examples(table, spec, rule, test, time, row_hash, ask) if failing else ()
            out.append(RuleCount(rule=rule, rows=rows, failing=failing, examples=shown))
    return out


def _failing(table: Any, rule: SchemaRule, time: str) -> Any:
    """An expression that is true where the rule is broken; a text where it cannot be counted so (empty: otherwise)."""
    import ibis

    there = [name for name in table.columns if name != time]
    # As columns, for a sum over a constant is none; every row of a window has a time.
    every, none = table[time].notnull(), table[time].isnull()
    if rule.check == "required":
        return none if rule.column in there else every
    if rule.check == "strict":
        return every if set(there) - set(rule.arguments["allowed"]) else none
    gone = [name for name in rule.columns if name not in there]
    if rule.check == "unique":
        return f"there is no column {gone[0]}" if gone else ""
    if rule.column.startswith("(") and rule.column not in there:
        return f"the check {rule.check!r} is about whole rows, which no query of ours counts"
    if gone:
        return f"there is no column {gone[0]}"
    column = table[rule.column]
    if column.type().is_floating():
        column = ibis.ifelse(column.isnan(), ibis.null(), column)
    if rule.check == "not_null":
        return column.isnull()
    if rule.check == "dtype":
        return _other_type(column, str(rule.arguments["dtype"]), every, none)
    if rule.check == "not_after":
        return _later(column, table[time])
    try:
        test = _TESTS[rule.check](column, dict(rule.arguments))
    except KeyError:
        return f"the check {rule.check!r} cannot be run as a query"
    except (TypeError, ValueError, AttributeError, ibis.common.exceptions.IbisError) as error:
        return f"{rule.check} does not fit a column of type {column.type()}: {str(error).splitlines()[0][:120]}"
    return ~test


def _later(column: Any, time: Any) -> Any:
    from tools.adapters.ibis_columns import utc

    try:
        return utc("", column) > time
    except RetrainingError as error:
        return error.message


def _bound(column: Any, value: Any) -> Any:
    """A bound in the column's own terms: a text beside a time is a time."""
    import ibis

    if column.type().is_temporal() and isinstance(value, str):
        at = datetime.fromisoformat(value)
        at = at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)
        return ibis.literal(at)
    return value


def _in_range(column: Any, given: dict[str, Any]) -> Any:
    low, high = _bound(column, given["min_value"]), _bound(column, given["max_value"])
    above = column >= low if given.get("include_min", True) else column > low
    below = column <= high if given.get("include_max", True) else column < high
    return above & below


def _length(column: Any, given: dict[str, Any]) -> Any:
    tests = []
    if given.get("exact_value") is not None:
        tests.append(column.length() == given["exact_value"])
    if given.get("min_value") is not None:
        tests.append(column.length() >= given["min_value"])
    if given.get("max_value") is not None:
        tests.append(column.length() <= given["max_value"])
    return reduce(lambda left, right: left & right, tests)


_TESTS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "equal_to": lambda c, a: c == _bound(c, a["value"]),
    "not_equal_to": lambda c, a: c != _bound(c, a["value"]),
    "greater_than": lambda c, a: c > _bound(c, a["min_value"]),
    "greater_than_or_equal_to": lambda c, a: c >= _bound(c, a["min_value"]),
    "less_than": lambda c, a: c < _bound(c, a["max_value"]),
    "less_than_or_equal_to": lambda c, a: c <= _bound(c, a["max_value"]),
    "in_range": _in_range,
    "isin": lambda c, a: c.isin([_bound(c, one) for one in a["allowed_values"]]),
    "notin": lambda c, a: c.notin([_bound(c, one) for one in a["forbidden_values"]]),
    "str_matches": lambda c, a: c.re_search("^(?:" + a["pattern"].removeprefix("^") + ")"),
    "str_contains": lambda c, a: c.re_search(a["pattern"]),
    "str_startswith": lambda c, a: c.startswith(a["string"]),
    "str_endswith": lambda c, a: c.endswith(a["string"]),
    "str_length": _length,
}


def _other_type(column: Any, wanted: str, every: Any, none: Any) -> Any:
    """Where a value is not of the type asked. A whole number in a real column is one; widening is no fault."""
    kind, name = column.type(), wanted.lower()
    if name in ("object", "category"):
        return none
    if name.startswith(("int", "uint")):
        if kind.is_integer():
            return none
        return column != column.floor() if kind.is_numeric() and not kind.is_boolean() else every
    if name.startswith("float"):
        return none if kind.is_numeric() and not kind.is_boolean() else every
    if name.startswith("bool"):
        return none if kind.is_boolean() else every
    if name.startswith("str"):
        return none if kind.is_string() else every
    if name.startswith(("datetime", "date", "timestamp")):
        return none if kind.is_temporal() else every
    return f"the type {wanted} is not known here"


def _repeated(table: Any, rule: SchemaRule, rows: int, ask: Ask) -> RuleCount:
    """Rows beyond the first of each key."""
    groups = table.group_by(list(rule.columns)).aggregate(n=table.count())
    many = groups.filter(groups.n > 1)
    answer = ask(many.aggregate(extra=(many.n - 1).sum()))[0]
    return RuleCount(rule=rule, rows=rows, failing=int(answer["extra"] or 0))


def _examples(
    table: Any, spec: DataSpec, rule: SchemaRule, test: Any, time: str, row_hash: Callable[[Any], Any], ask: Ask
) -> tuple[dict[str, str], ...]:
    if rule.check in ("required", "strict", "dtype"):
        return ()
    shown = {"row_hash": row_hash(table), "event_time": table[time]}
    if rule.column in spec.public and rule.column in table.columns:
        shown["value"] = table[rule.column].cast("string")
    rows = ask(table.filter(test.fill_null(False)).select(**shown).limit(EXAMPLES))
    return tuple(
        {name: value.isoformat() if isinstance(value, datetime) else str(value) for name, value in row.items()}
        for row in rows
    )
