"""Who must hear of a staleness report, and how soon?

| level | for |
|---|---|
| `page` | the champion loses on mature labels, or columns are broken (nulls, infinities, a unit, a type, a column gone) |
| `ticket` | the data set or the predictions drifted, a reliable estimate fell, labels stopped, or rows stopped |
| `digest` | everything else that was measured bad: a column, the labels' distribution, age, an estimate that is not reliable |
| `none` | nothing was measured bad; whether anything could be measured is the report's verdict |

A page wakes somebody, so it takes harm done: that the world moved, or that nothing could be measured, is never enough.
"""

from typing import Final, Literal

from tools.contracts.base import Contract
from tools.contracts.evidence import Signal, StalenessReport
from tools.drift_signals import BROKEN_DATA, DATA_SET

Level = Literal["page", "ticket", "digest", "none"]
LEVELS: Final[tuple[Level, ...]] = ("page", "ticket", "digest", "none")
"""Worst first."""


class Alert(Contract):
    """How urgent a report is, and which of its signals make it so."""

    level: Level
    reasons: tuple[str, ...] = ()
    """Statements of the signals of that level, in the report's order."""

    @property
    def sentence(self) -> str:
        """The first reason, and how many more there are."""
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return "".join(self.reasons[:1]) + more


def severity(report: StalenessReport) -> Alert:
    """The report's level: that of its worst signal."""
    bad = [signal for signal in report.signals if signal.outcome == "bad"]
    for level in LEVELS:
        reasons = tuple(signal.statement for signal in bad if _level(signal) == level)
        if reasons:
            return Alert(level=level, reasons=reasons)
    return Alert(level="none")


def _level(signal: Signal) -> Level:
    # The world does not break a column, a pipeline does.
    if signal.rule == "performance" or (signal.rule == "drift" and signal.kind in BROKEN_DATA):
        return "page"
    if signal.rule == "estimated_performance":
        return "ticket" if signal.reliable else "digest"
    if signal.rule in ("prediction_drift", "label_delay", "freshness"):
        return "ticket"
    return "ticket" if signal.rule == "drift" and signal.subject == DATA_SET else "digest"
