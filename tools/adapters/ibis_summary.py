# pyright: basic
"""What is in a window, counted exactly over all its rows: one aggregate for many columns, and nothing in memory but counts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tools.adapters.ibis_columns import aware, how_many, no_nan
from tools.adapters.row_digest import FINITE
from tools.contracts.profiling import ColumnCounts, LabelDelay, WindowSummary

Ask = Callable[[Any], Mapping[str, Any]]
"""Runs an aggregate and gives its one row."""
AT_ONCE = 40
"""Columns an aggregate: an engine plans wider ones badly."""


def summarize(
    table: Any, *, time: str, mature: Any, label_time: Any, columns: Sequence[str], undated: int, ask: Ask
) -> WindowSummary:
    """Counts over `table`, an Ibis table of the window.

    Args:
        table: With the event's time in UTC as column `time`.
        mature: Whether a row has a final label, as an expression.
        label_time: When the label became known, as an expression; None where there is no such column.
        columns: What to count, all of them there.
        undated: Rows of the source without an event time.
        ask: Runs a query.
    """
    import ibis

    labelled: Any = ibis.ifelse(mature, table[time], ibis.null())
    delays: dict[str, Any] = {}
    if label_time is not None:
        known: Any = ibis.ifelse(mature, _seconds(label_time) - _seconds(table[time]), ibis.null())
        delays = {
            "timed": known.count(),
            "median": known.quantile(0.5),
            "p90": known.quantile(0.9),
            "longest": known.max(),
        }
    whole = ask(
        table.aggregate(
            rows=table.count(),
            labelled=how_many(mature),
            newest=table[time].max(),
            newest_labelled=labelled.max(),
            **delays,
        )
    )
    counted: list[ColumnCounts] = []
    for first in range(0, len(columns), AT_ONCE):
        names = columns[first : first + AT_ONCE]
        sums = {f"{what}{i}": one for i, name in enumerate(names) for what, one in _counts(table[name]).items()}
        found = ask(table.aggregate(**sums))
        counted += [_column(name, str(table[name].type()), found, i) for i, name in enumerate(names)]
    return WindowSummary(
        rows=int(whole["rows"]),
        labelled=int(whole["labelled"] or 0),
        newest=None if whole["newest"] is None else aware(whole["newest"]),
        newest_labelled=None if whole["newest_labelled"] is None else aware(whole["newest_labelled"]),
        undated=undated,
        columns=tuple(counted),
        delay=_delay(whole),
    )


def _counts(column: Any) -> Mapping[str, Any]:
    import ibis

    made = {"nulls": how_many(no_nan(column).isnull())}
    kind = column.type()
    if not kind.is_numeric() or kind.is_boolean():
        return made
    number = no_nan(column.cast("float64"))
    # Not by `isinf`: Spark's lets infinities through.
    finite: Any = ibis.ifelse(number.abs() <= FINITE, number, ibis.null()) if kind.is_floating() else number
    made |= {"low": finite.min(), "high": finite.max()}
    if kind.is_floating():
        made["infinite"] = how_many(number.abs() > FINITE)
    return made


def _column(name: str, kind: str, found: Mapping[str, Any], i: int) -> ColumnCounts:
    return ColumnCounts(
        name=name,
        type=kind,
        nulls=int(found[f"nulls{i}"] or 0),
        infinite=int(found.get(f"infinite{i}") or 0),
        low=found.get(f"low{i}"),
        high=found.get(f"high{i}"),
    )


def _seconds(time: Any) -> Any:
    return time.epoch_seconds().cast("float64")


def _delay(whole: Mapping[str, Any]) -> LabelDelay | None:
    if not whole.get("timed"):
        return None
    return LabelDelay(rows=whole["timed"], median=whole["median"], p90=whole["p90"], longest=whole["longest"])
