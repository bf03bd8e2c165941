"""No labels yet is not the same as labels that stopped."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.contracts.profiling import LabelDelay, WindowSummary
from tools.label_delay import label_delay_signal

NOW = datetime(2026, 6, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def window(labelled_until: timedelta | None, rows: int = 1000, delay: LabelDelay | None = None) -> WindowSummary:
    """Rows up to an hour ago; labels up to so long ago."""
    return WindowSummary(
        rows=rows,
        labelled=0 if labelled_until is None else rows // 2,
        newest=None if rows == 0 else NOW - timedelta(hours=1),
        newest_labelled=None if labelled_until is None else NOW - labelled_until,
        delay=delay,
    )


SEVEN_DAYS = LabelDelay(rows=500, median=5 * 86400.0, p90=7 * 86400.0, longest=12 * 86400.0)


@dataclass(frozen=True)
class Case:
    id: str
    summary: WindowSummary | None
    outcome: str
    maturity: timedelta = DAY
    label_time: str | None = None
    history: WindowSummary | None = None


CASES = [
    Case("labels up to a day ago", window(DAY), "ok"),
    Case("labels behind by less than the slack", window(3 * DAY), "ok"),
    Case("labels stopped ten days ago", window(10 * DAY), "bad"),
    Case("no label at all where all should be there", window(None), "bad"),
    Case("none yet, and none due", window(None), "ok", maturity=45 * DAY),
    Case("none yet, the first were due yesterday", window(None), "ok", maturity=27 * DAY),
    Case("none yet, the first were due long ago", window(None), "bad", maturity=10 * DAY),
    Case("measured to take a week", window(8 * DAY, delay=SEVEN_DAYS), "ok", timedelta(0), "known_at"),
    Case(
        "measured to take a week, silent for three", window(21 * DAY, delay=SEVEN_DAYS), "bad", timedelta(0), "known_at"
    ),
    Case("a label time, and no label ever", window(None), "could_not_tell", timedelta(0), "known_at"),
    Case(
        "a label time, the last label before the window",
        window(None),
        "bad",
        timedelta(0),
        "known_at",
        window(40 * DAY, delay=SEVEN_DAYS),
    ),
    Case("no rows", window(None, rows=0), "could_not_measure"),
    Case("not counted", None, "could_not_measure"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_labels_late_stopped_or_not_due(case: Case):
    found = label_delay_signal(
        summary=case.summary,
        failure="the table is gone" if case.summary is None else None,
        history=case.history,
        label_maturity=case.maturity,
        label_time=case.label_time,
        window=28 * DAY,
        as_of=NOW,
    )
    assert found.outcome == case.outcome, found.statement


def test_labels_that_stopped_say_since_when_and_how_long_they_take():
    found: Any = label_delay_signal(
        summary=window(10 * DAY), label_maturity=DAY, label_time=None, window=28 * DAY, as_of=NOW
    )
    assert "2026-06-20" in found.statement
    assert "1.0 days" in found.statement
    assert (found.value, found.unit, found.n) == (10.0, "days", 500)
