"""Are there no labels yet, or did labels stop coming?

A label is expected within the measured delay (its 90 % quantile where label times are recorded, never less than
`label_maturity`), else within `label_maturity`. The newest row whose label is due is the newest row, or the as-of time less
the expected delay, whichever is earlier. Its distance to the newest row that has a label is held against a slack of half the
expected delay, a tenth of the window, or a day, whichever is most:

* **ok**: within the slack, or no label is due yet (the statement says when).
* **bad**: beyond it: rows have come whose labels should be there. Labels stopped.
* **could_not_tell**: labels have a time of their own, none was ever known, so how long they take is not known.
* **could_not_measure**: the rows could not be counted.
"""

from datetime import datetime, timedelta
from typing import Final

from tools.contracts.evidence import Outcome, Signal
from tools.contracts.profiling import WindowSummary

DAY: Final = timedelta(days=1)


def expected_delay(summary: WindowSummary, label_maturity: timedelta) -> timedelta:
    """How long after the event a label is expected."""
    measured = timedelta(0) if summary.delay is None else timedelta(seconds=summary.delay.p90)
    return max(measured, label_maturity)


def label_delay_signal(
    *,
    summary: WindowSummary | None,
    failure: str | None = None,
    history: WindowSummary | None = None,
    label_maturity: timedelta,
    label_time: str | None,
    window: timedelta,
    as_of: datetime,
) -> Signal:
    """The rule stands in the module's docstring.

    Args:
        summary: Exact counts of the recent window.
        failure: Why there are none.
        history: The same of all rows up to `as_of`, where the window has no label.
        label_maturity: As the profile declares it.
        label_time: Column with the time a label became known, if there is one.
        window: Length of the recent window.
        as_of: The 'now' of the data.
    """
    if summary is None:
        said = f"How long labels take could not be measured: {failure or 'the rows were not counted'}."
        return _signal("could_not_measure", said)
    if summary.rows == 0 or summary.newest is None:
        return _signal(
            "could_not_measure", "How long labels take could not be measured: there are no recent rows.", n=0
        )
    seen = summary if summary.labelled or history is None else history
    expected = expected_delay(seen, label_maturity)
    if label_time is not None and seen.delay is None and not label_maturity:
        said = f"No row has a {label_time} yet, so how long labels take is not known."
        return _signal("could_not_tell", said, n=summary.rows)
    due = min(summary.newest, as_of - expected)
    slack = max(expected / 2, window / 10, DAY)
    kind = "measured" if seen.delay is not None else "declared"
    takes = f"labels take {_days(expected)} ({kind})"
    if due < as_of - window and not summary.labelled:
        said = f"No label is due yet: {takes}, the oldest recent row is {_days(window)} old at most."
        return _signal("ok", said, value=None, threshold=(expected + slack) / DAY, n=summary.labelled)
    newest = seen.newest_labelled
    behind = (due - (as_of - window) if newest is None else due - newest) if newest is None or newest < due else None
    age = None if newest is None else (as_of - newest) / DAY
    threshold = (as_of - due + slack) / DAY
    counted = f"{summary.labelled:,} of {summary.rows:,} recent rows have a mature label"
    if behind is not None and behind > slack:
        last = "no label was ever known" if newest is None else f"the newest mature label is of {newest:%Y-%m-%d %H:%M}"
        said = f"Labels stopped: {takes}, yet {last}; labels are due up to {due:%Y-%m-%d %H:%M}. {counted}."
        return _signal("bad", said, value=age, threshold=threshold, n=summary.labelled)
    return _signal("ok", f"Labels come as expected: {takes}; {counted}.", age, threshold, summary.labelled)


def _days(span: timedelta) -> str:
    return f"{span / DAY:.1f} days" if span >= DAY else f"{span / timedelta(hours=1):.1f} hours"


def _signal(
    outcome: Outcome, statement: str, value: float | None = None, threshold: float | None = None, n: int | None = None
) -> Signal:
    return Signal(
        rule="label_delay",
        subject="labels",
        outcome=outcome,
        value=value,
        threshold=threshold,
        n=n,
        unit="days",
        statement=statement,
    )
