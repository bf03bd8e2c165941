"""What do exact counts over the whole window say, whatever its size?

One infinity among twenty million rows is an infinity. Nulls are held against the champion's training rows. Rows without a
readable time are in no window: they warn, and block where they are many. Freshness blocks only through staleness; here it
warns, since old data may still train, except where there are no rows at all.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from tools.contracts.evidence import Check
from tools.contracts.profile import DataSpec, ValidationSpec
from tools.contracts.profiling import DataProfile, WindowSummary
from tools.validation_columns import share_error

MANY_UNDATED: Final = 0.05
"""Share of the source's rows without a readable time that blocks."""


def count_checks(
    *,
    summary: WindowSummary,
    reference: DataProfile | None,
    data: DataSpec,
    spec: ValidationSpec,
    as_of: datetime,
    max_lag: timedelta | None,
    sampled: int,
) -> Iterator[Check]:
    """Infinities, null shares, undated rows and freshness.

    Args:
        summary: the whole window, counted by queries.
        reference: the champion's training rows; None where nothing is on record.
        max_lag: `triggers.max_data_lag`; None where no freshness is asked.
        sampled: rows of the window that the checks on values look at.
    """
    yield Check(
        name="counted",
        result="pass",
        n=summary.rows,
        counts={"rows": summary.rows, "labelled": summary.labelled, "sampled": sampled},
        statement=f"{summary.rows:,} rows of the window were counted, {summary.labelled:,} of them with a mature label; "
        f"values were compared on a sample of {sampled:,}.",
    )
    yield _undated(summary)
    yield _freshness(summary, as_of, max_lag)
    for name in (*data.features, data.target):
        yield from _column(name, summary, reference, spec, is_target=name == data.target)


def _undated(summary: WindowSummary) -> Check:
    share = summary.undated / max(summary.rows + summary.undated, 1)
    return Check(
        name="undated",
        result="fail" if summary.undated else "pass",
        severity="block" if share > MANY_UNDATED else "warn",
        value=share,
        threshold=MANY_UNDATED,
        n=summary.rows,
        counts={"undated": summary.undated},
        statement=f"{summary.undated:,} rows of the source have no readable event time: they are in no window."
        if summary.undated
        else "All rows of the source have an event time.",
    )


def _freshness(summary: WindowSummary, as_of: datetime, max_lag: timedelta | None) -> Check:
    if summary.newest is None:
        return Check(name="freshness", result="fail", statement="The window has no rows.")
    lag = as_of - summary.newest
    told = f"The newest row is {_length(lag)} old"
    if max_lag is None:
        return Check(name="freshness", result="pass", n=summary.rows, statement=f"{told}; no limit is set.")
    late = lag > max_lag
    return Check(
        name="freshness",
        result="fail" if late else "pass",
        severity="warn" if late else "block",
        value=lag / timedelta(days=1),
        threshold=max_lag / timedelta(days=1),
        n=summary.rows,
        statement=f"{told}; up to {_length(max_lag)} is accepted.",
    )


def _length(time: timedelta) -> str:
    days = time / timedelta(days=1)
    return f"{days:.1f} days" if abs(days) >= 1 else f"{days * 24:.1f} hours"


def _column(
    name: str, summary: WindowSummary, reference: DataProfile | None, spec: ValidationSpec, *, is_target: bool
) -> Iterator[Check]:
    column, n = summary.column(name), summary.rows
    if column is None or n == 0:
        return
    if column.infinite:
        yield Check(
            name="infinities",
            subject=name,
            result="fail",
            value=float(column.infinite),
            threshold=0.0,
            n=n,
            counts={"rows": n, "failing": column.infinite},
            statement=f"{name} has {column.infinite:,} infinite values among {n:,} rows of the window.",
        )
    then = None if reference is None else reference.column(name)
    if is_target or then is None:
        return
    share = column.nulls / n
    bound = spec.max_null_increase + share_error(then.null_share, n)
    rise = share - then.null_share
    yield Check(
        name="nulls_counted",
        subject=name,
        result="pass" if rise <= bound else "fail",
        value=rise,
        threshold=bound,
        n=n,
        counts={"rows": n, "null": column.nulls},
        statement=f"{name}: {column.nulls:,} of {n:,} rows of the window are null ({share:.1%}), {then.null_share:.1%} in the"
        f" champion's training rows (a rise of {bound:.1%} is accepted).",
    )
