"""What does a schema of the data say, and was it kept?

The draft is learned from the champion's training rows: types as they are, ranges with a margin, the values of columns that have
few, a key that was unique. Nobody's data keep a schema for ever: it is a file to be edited, and each broken rule is told with
how many rows broke it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import ceil, floor, log10
from typing import Any, Final

from tools.contracts.evidence import Check
from tools.contracts.profile import DataSpec
from tools.contracts.profiling import ColumnProfile, DataProfile, RuleCount, SchemaRule

FEW_VALUES: Final = 50
MARGIN: Final = 0.25
"""Of a numeric column's width, added at either end."""


def rule_checks(counts: Iterable[RuleCount], *, file: str) -> Iterator[Check]:
    """One check a rule, under the name `pandera`."""
    for count in counts:
        rule, subject = count.rule, _subject(count.rule)
        if count.failing is None:
            yield Check(
                name="pandera",
                subject=subject,
                result="could_not_check",
                severity="warn" if rule.warns else "block",
                statement=f"{subject} of {file} could not be checked: {count.reason}.",
            )
            continue
        yield Check(
            name="pandera",
            subject=subject,
            result="fail" if count.failing else "pass",
            severity="warn" if rule.warns and count.failing else "block",
            value=float(count.failing),
            threshold=0.0,
            n=count.rows,
            counts={"rows": count.rows, "failing": count.failing},
            examples=count.examples,
            statement=f"{subject} ({_asked(rule)}): {count.failing:,} of {count.rows:,} rows break this rule of {file}."
            if count.failing
            else f"{subject}: all of {count.rows:,} rows keep it.",
        )


def _subject(rule: SchemaRule) -> str:
    return f"{', '.join(rule.columns)}: {rule.check}"


def _asked(rule: SchemaRule) -> str:
    shown = {name: value for name, value in rule.arguments.items() if name != "columns"}
    if not shown:
        return "must hold"
    text = ", ".join(f"{name} {value}" for name, value in shown.items())
    return text if len(text) <= 120 else text[:119] + "…"


def draft(*, reference: DataProfile, types: Mapping[str, str], data: DataSpec, unique: bool) -> dict[str, Any]:
    """A Pandera schema as plain data.

    Args:
        reference: the champion's training rows.
        types: the source's columns and types, in Ibis' words.
        unique: whether the key was unique in the reference.
    """
    columns: dict[str, Any] = {data.event_time: {"dtype": "datetime64[ns]", "nullable": False}}
    for name in (*data.features, data.target):
        profile = reference.column(name)
        if profile is not None and name in types:
            columns[name] = _column(profile, types[name], is_target=name == data.target)
    schema: dict[str, Any] = {"schema_type": "dataframe", "api": "pandas", "columns": columns, "strict": False}
    key = [name for name in data.key if name in types]
    for name in key:
        columns.setdefault(name, {"dtype": _dtype(types[name]), "nullable": False})
    return schema | ({"unique": key} if unique and key else {})


def _column(profile: ColumnProfile, kind: str, *, is_target: bool) -> dict[str, Any]:
    # Labels come later than rows: a null one is no fault of the window.
    made: dict[str, Any] = {"dtype": _dtype(kind), "nullable": is_target or profile.null_share > 0}
    if profile.family == "numeric" and profile.quantiles:
        low, high = profile.quantiles[0], profile.quantiles[-1]
        values = sorted(set(profile.quantiles))
        if is_target and profile.distinct <= FEW_VALUES and len(values) == profile.distinct:
            made["isin"] = [_plain(value) for value in values]
        elif high > low:
            room = (high - low) * MARGIN
            made["in_range"] = {
                "min_value": _round(low - room, floor),
                "max_value": _round(high + room, ceil),
            }
    elif profile.family == "categorical" and 0 < profile.distinct <= min(FEW_VALUES, len(profile.categories)):
        made["isin"] = sorted(profile.categories)
    return made


def _dtype(kind: str) -> str:
    name = kind.removeprefix("!").lower()
    if name.startswith(("float", "decimal")):
        return "float64"
    if name.startswith(("int", "uint")):
        return "int64"
    if name.startswith(("timestamp", "date")):
        return "datetime64[ns]"
    return {"boolean": "bool", "string": "str"}.get(name, "object")


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def _round(value: float, towards: Callable[[float], int]) -> float | int:
    """To three significant digits, outwards: a bound that a person can read."""
    if value == 0:
        return 0
    step = 10.0 ** (floor(log10(abs(value))) - 2)
    rounded = towards(value / step) * step
    return _plain(float(f"{rounded:.12g}"))
