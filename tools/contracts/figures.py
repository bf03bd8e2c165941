"""What the plots of a decision report are drawn from: aggregated numbers, never a row."""

from typing import Literal

from tools.contracts.base import Contract, UtcDatetime

Side = Literal["champion", "candidate"]


class CalibrationBin(Contract):
    """Rows to which a model gave about the same probability."""

    stated: float
    """Mean of the probabilities, 0 to 1."""
    observed: float
    """Share of the rows that came true."""
    low: float
    high: float
    """Wilson's 95 % interval of `observed`."""
    n: int


class CalibrationCurve(Contract):
    """Whether one model's probabilities mean what they say, bin by bin in rising order."""

    side: Side
    bins: tuple[CalibrationBin, ...]
    left_out: int = 0
    """Rows without a label, or with a probability that is missing or outside 0 to 1."""


class Calibration(Contract):
    """Both models' curves about the same event."""

    about: str
    """The event in words, e.g. `class 1` or `the likeliest class is right`."""
    curves: tuple[CalibrationCurve, ...]


class ErrorBin(Contract):
    """The rows of one stretch of time: from `start`, up to `end` (excluded, but for the last)."""

    start: UtcDatetime
    end: UtcDatetime
    rows: int
    """All rows of the stretch."""
    n: int
    """Rows that have a label and both models' predictions: both errors are of these."""
    champion: float | None = None
    """Mean error; absent where `n` is 0."""
    candidate: float | None = None


class ErrorOverTime(Contract):
    """Both models' mean error, stretch by stretch."""

    error: str
    """What is averaged: `share of wrong predictions` or `mean absolute error`."""
    bins: tuple[ErrorBin, ...]
    undated: int = 0
    """Rows without an event time: in no bin."""


class ReportFigures(Contract):
    """All that a report draws beside the verdicts."""

    holdout_digest: str
    """Of the rows it was computed from."""
    rows: int
    calibration: Calibration | None = None
    """Absent for regression, and where neither model gives probabilities."""
    error_over_time: ErrorOverTime | None = None
    """Absent where no row has an event time."""
