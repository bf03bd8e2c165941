"""What do the two models' outputs on the holdout look like: by stated probability, over time, slice by slice?

Numbers to draw from, never a verdict: no decision rests on them.

- Calibration: bins of equally many rows (`tools.metric_costs.bins_of`, as the calibration error uses them), the share that
  came true with Wilson's interval (Wilson 1927, "Probable inference, the law of succession, and statistical inference").
- Error over time: consecutive stretches of one round length that cover the holdout from its first row to its last.
"""

from datetime import UTC, datetime
from typing import Final

import numpy as np

from tools.contracts.comparison import ComparisonResult, MetricComparison
from tools.contracts.figures import (
    Calibration,
    CalibrationBin,
    CalibrationCurve,
    ErrorBin,
    ErrorOverTime,
    ReportFigures,
    Side,
)
from tools.metric_costs import bins_of
from tools.metric_values import FloatArray
from tools.paired_rows import PairedRows

MAX_STRETCHES: Final = 30
ROWS_A_STRETCH: Final = 30
"""On average at least: fewer rows make a line that says nothing."""
_HOUR: Final = 3600
STEPS: Final = (
    1,
    2,
    5,
    10,
    30,
    60,
    300,
    900,
    *(hours * _HOUR for hours in (1, 3, 6, 12, 24, 48, 168, 336, 720, 2160, 8760)),
)
"""Lengths of a stretch in seconds: from a second to a year."""
_Z: Final = 1.959963984540054
"""0.975 quantile of the standard normal distribution."""
WORST_FIRST: Final = ("regressed", "no_data", "inconclusive", "non_inferior", "improved")


def figures(*, rows: PairedRows, seconds: FloatArray, positive_label: str | None, holdout_digest: str) -> ReportFigures:
    """Everything a report draws of the rows that were judged.

    Args:
        rows: The holdout as it was judged.
        seconds: (n,) event times in seconds since 1970 UTC, NaN where unknown, in any order.
        positive_label: As the criteria have it.
        holdout_digest: Of these rows.
    """
    return ReportFigures(
        holdout_digest=holdout_digest,
        rows=rows.n,
        calibration=calibration(rows, positive_label),
        error_over_time=error_over_time(rows, seconds),
    )


def calibration(rows: PairedRows, positive_label: str | None) -> Calibration | None:
    """Curves of the models that give probabilities; None where none does, and for regression."""
    if rows.task != "classification":
        return None
    code = rows.positive_code(positive_label)
    sides: tuple[tuple[Side, FloatArray | None], ...] = (
        ("champion", rows.baseline_proba),
        ("candidate", rows.candidate_proba),
    )
    curves = tuple(_curve(side, rows.y, proba, code) for side, proba in sides if proba is not None)
    if not any(curve.bins for curve in curves):
        return None
    about = "the likeliest class is right" if code is None else f"class {rows.classes[code]}"
    return Calibration(about=about, curves=curves)


def _curve(side: Side, y: FloatArray, proba: FloatArray, code: int | None) -> CalibrationCurve:
    told = proba.max(axis=1) if code is None else proba[:, code]
    came_true = proba.argmax(axis=1) == y if code is None else y == code
    sound = np.isfinite(y) & np.isfinite(proba).all(axis=1) & (told >= 0) & (told <= 1 + 1e-6)
    told, came_true = np.minimum(told[sound], 1.0), came_true[sound]
    left_out = int((~sound).sum())
    if not told.size:
        return CalibrationCurve(side=side, bins=(), left_out=left_out)
    where, found = bins_of(told), list[CalibrationBin]()
    for number in np.unique(where):
        here = where == number
        n, right = int(here.sum()), int(came_true[here].sum())
        low, high = wilson(right, n)
        found.append(CalibrationBin(stated=float(told[here].mean()), observed=right / n, low=low, high=high, n=n))
    return CalibrationCurve(side=side, bins=tuple(found), left_out=left_out)


def wilson(count: int, n: int) -> tuple[float, float]:
    """95 % interval of a share: `count` of `n` rows, n at least 1."""
    share, z2 = count / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * float(np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def error_over_time(rows: PairedRows, seconds: FloatArray) -> ErrorOverTime | None:
    """Mean error a stretch; both models on the same rows of it. None where no row is dated, and for a ranking."""
    dated = np.isfinite(seconds)
    if rows.task == "ranking" or not dated.any():
        return None
    first, last = float(seconds[dated].min()), float(seconds[dated].max())
    most = min(MAX_STRETCHES, max(4, int(dated.sum()) // ROWS_A_STRETCH))
    step = next((one for one in STEPS if last // one - first // one < most), None)
    step = float(step) if step is not None else (last - first) / (most - 1)
    origin = np.floor(first / step)
    where = (np.floor(seconds[dated] / step) - origin).astype(np.int64)
    errors = [_errors(rows, prediction)[dated] for prediction in (rows.baseline_prediction, rows.candidate_prediction)]
    told = np.isfinite(errors[0]) & np.isfinite(errors[1])
    count = int(where.max()) + 1
    all_rows, known = np.bincount(where, minlength=count), np.bincount(where[told], minlength=count)
    sums = [np.bincount(where[told], weights=error[told], minlength=count) for error in errors]

    def mean(side: int, stretch: int) -> float | None:
        return float(sums[side][stretch] / known[stretch]) if known[stretch] else None

    bins = tuple(
        ErrorBin(
            start=_time((origin + stretch) * step),
            end=_time((origin + stretch + 1) * step),
            rows=int(all_rows[stretch]),
            n=int(known[stretch]),
            champion=mean(0, stretch),
            candidate=mean(1, stretch),
        )
        for stretch in range(count)
    )
    name = "mean absolute error" if rows.task == "regression" else "share of wrong predictions"
    return ErrorOverTime(error=name, bins=bins, undated=int((~dated).sum()))


def _errors(rows: PairedRows, prediction: FloatArray) -> FloatArray:
    """A row's error; NaN without a label or a prediction."""
    if rows.task == "regression":
        gaps: FloatArray = np.abs(prediction - rows.y)
        return np.where(np.isfinite(gaps), gaps, np.nan)
    return np.where(np.isfinite(prediction) & np.isfinite(rows.y), (prediction != rows.y).astype(np.float64), np.nan)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def whole(result: ComparisonResult) -> tuple[MetricComparison, ...]:
    """Primary and guardrails, in the order of the comparison."""
    return tuple(item for item in result.metrics if item.criterion.slice_column is None)


def worst_first(result: ComparisonResult) -> tuple[MetricComparison, ...]:
    """Declared and found slices together: by verdict, then by how deep the interval reaches below the accepted loss."""

    def depth(item: MetricComparison) -> tuple[int, float]:
        low = item.low if item.low is not None else -np.inf
        return WORST_FIRST.index(item.verdict), low - item.criterion.bar

    return tuple(sorted((item for item in result.metrics if item.criterion.slice_column is not None), key=depth))
