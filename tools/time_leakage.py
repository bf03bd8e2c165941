"""Did anything that was known too late get into the training rows?"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from tools.contracts.evidence import Check
from tools.contracts.profiling import RuleCount


def fold_checks(*, number: int, rows: int, after_start: int, late_labels: int, start: datetime) -> Iterator[Check]:
    """Training rows of a fold against its holdout's start. Either is a broken promise of whoever wrote the rows.

    Args:
        rows: training rows of the fold.
        after_start: those of them at or after the holdout's start.
        late_labels: those whose label became known after it.
    """
    for subject, count, what in (
        (f"training rows {number}", after_start, "lie at or after"),
        (f"training labels {number}", late_labels, "have a label that became known after"),
    ):
        yield Check(
            name="time_leakage",
            subject=subject,
            result="fail" if count else "pass",
            value=float(count),
            threshold=0.0,
            n=rows,
            counts={"rows": rows, "failing": count},
            statement=f"{count:,} of {rows:,} training rows {what} the holdout's start ({start:%Y-%m-%d %H:%M} UTC).",
        )


def future_check(*, rows: int, now: datetime) -> Check:
    """Rows of the source from the future. They are read by no window, and mean a wrong clock, zone or unit: a warning."""
    return Check(
        name="time_leakage",
        subject="future rows",
        result="fail" if rows else "pass",
        severity="warn",
        value=float(rows),
        threshold=0.0,
        counts={"failing": rows},
        statement=f"{rows:,} rows of the source are dated after {now:%Y-%m-%d %H:%M} UTC"
        + (": a wrong clock or time zone? No window reads them." if rows else "."),
    )


def later_than_event(counts: Mapping[str, RuleCount], *, declared: Mapping[str, str]) -> Iterator[Check]:
    """Values that became known, or times that lie, after the event they are to foretell.

    Args:
        counts: time column to the rows in which it is later than the event.
        declared: feature to its `data.available_at` column. A declared one blocks; a feature that is itself a time and lies
            later warns, since a due date may be known beforehand.
    """
    features = {column: feature for feature, column in declared.items()}
    for column, count in counts.items():
        subject = features.get(column, column)
        blocks = column in features
        if count.failing is None:
            yield Check(
                name="time_leakage",
                subject=subject,
                result="could_not_check",
                severity="block" if blocks else "warn",
                statement=f"{column} could not be compared with the event time: {count.reason}.",
            )
            continue
        told = f"{subject} became known after the event ({column})" if blocks else f"{column} lies after the event"
        yield Check(
            name="time_leakage",
            subject=subject,
            result="fail" if count.failing else "pass",
            severity="block" if blocks or not count.failing else "warn",
            value=float(count.failing),
            threshold=0.0,
            n=count.rows,
            counts={"rows": count.rows, "failing": count.failing},
            examples=count.examples,
            statement=f"{told} in {count.failing:,} of {count.rows:,} rows of the window.",
        )
