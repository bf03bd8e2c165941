"""What is the champion's primary metric now, on rows whose labels are not known yet, and can that estimate be trusted?

* **Classifiers: from confidence.** The probabilities are calibrated on labelled rows that the model was not trained on (one
  isotonic curve a class, scaled to sum 1). Each row without a label then counts as every class at once, weighted by its
  calibrated probability, and the metric is computed under these weights: the expected confusion matrix for counts, expected
  pairs for roc_auc, the expected loss for log_loss. A ratio of sums is taken at the expected sums.
* **Regression: direct loss estimation.** Boosted trees learn each row's loss from features and prediction; the metric is made
  of the mean learned loss. Metrics that are no mean of losses of rows (r2, median) are not estimated.
* **Rankings** are not estimated: a score orders the rows of one group and is no probability.
* **Carry-over.** What the newest labelled rows differed from their own estimate is carried over by a share between 0 and 1,
  learned on the blocks before: 0 is the bare estimate, and a world that changed under the model's confidence shows here.
* **Reliability.** The labelled rows are cut into blocks. Each is estimated from the rows whose labels were known at its start,
  and then compared with what it was, beside 'as last measured': the newest block known at that time. `reliable` only where
  the mean absolute error is below that of 'as last measured'; unknown (None) with fewer than `MIN_TESTED` such blocks.
  The interval is value ± t · root mean square of those errors.

The estimate assumes that the relation of features and label stays as it was in the labelled rows. Where it changes, labels
alone can tell.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from tools.contracts.comparison import Criteria
from tools.metrics import FloatArray, Metric, Sample, SumMetric, metric_named
from tools.scored_rows import ScoredRows

MIN_LABELLED: Final = 200
"""Fewer labelled rows calibrate nothing."""
MIN_BLOCK: Final = 60
MAX_BLOCKS: Final = 16
MIN_TESTED: Final = 6
MAX_ROWS: Final = 40_000
"""Labelled rows learned from; more are thinned evenly."""
MAX_FIT: Final = 6_000
"""Rows that one set of trees learns from."""
DOUBT: Final = 0.05
"""Chance that an estimate no better than 'as last measured' is called reliable, blocks taken as independent."""
MOST_CLASSES: Final = 30
MAX_CELLS: Final = 4_000_000
"""Rows x classes x classes that are held at once while expecting; more rows are thinned evenly."""
_DIRECT: Final = frozenset(
    {"mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "mean_absolute_percentage_error"}
)

Fitted = Callable[[ScoredRows], float]
"""From rows whose labels are not looked at to the metric's value."""


@dataclass(frozen=True)
class Estimate:
    """The metric without labels, in its own unit.

    Attributes:
        low: Lower end of the interval that the backtest gives; None without one.
        high: Upper end.
        se: Root mean square of the backtest's errors.
        n: Rows estimated.
        n_labelled: Labelled rows learned from.
        blocks: Blocks of the backtest.
        error: Mean absolute error of the backtest; None without one.
        error_last: The same of 'as last measured'.
        reliable: Whether the first is less than the second; None with too few blocks.
    """

    value: float
    method: str
    n: int
    n_labelled: int
    low: float | None = None
    high: float | None = None
    se: float | None = None
    blocks: int = 0
    error: float | None = None
    error_last: float | None = None
    reliable: bool | None = None


@dataclass(frozen=True)
class NotEstimated:
    """Why there is no estimate, as half a sentence."""

    why: str


def estimate(
    *, history: ScoredRows, recent: ScoredRows, criteria: Criteria, delay: float = 0.0
) -> Estimate | NotEstimated:
    """The primary metric on `recent`.

    Args:
        history: Labelled rows that the model was not trained on, in time order.
        recent: Rows without labels, coded like `history`.
        criteria: Names the metric and the confidence of the interval.
        delay: Seconds after the event until a label is known.
    """
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs]

    why = _unfit(history, recent, criteria)
    if why is not None:
        return NotEstimated(why)
    with threadpool_limits(1):  # so few rows: threads would wait for each other longer than they work
        return _estimate(history, recent, criteria, delay)


def _estimate(history: ScoredRows, recent: ScoredRows, criteria: Criteria, delay: float) -> Estimate | NotEstimated:
    metric = metric_named(criteria.primary.metric, criteria.primary.direction)
    known = _thinned(history, MAX_ROWS)
    recent = _thinned(recent, MAX_CELLS // max(recent.sample.classes, 2) ** 2)
    fit = _by_loss(metric) if isinstance(metric, SumMetric) and history.task == "regression" else _by_confidence(metric)
    size = max(MIN_BLOCK, known.n // MAX_BLOCKS)
    tests = _backtest(known, fit, criteria, size, delay)
    share = _share([(t.estimated, t.actual, t.residual) for t in tests])
    fitted = fit(known)
    newest = known.at(slice(-size, None))
    value = fitted(recent) + share * (newest.value(criteria) - fitted(newest))
    method = "confidence" if history.task == "classification" else "direct loss"
    made = Estimate(value=float(value), method=method, n=recent.n, n_labelled=known.n, blocks=len(tests))
    if not np.isfinite(value):
        return NotEstimated(f"{metric.name} is undefined on what is expected of these rows")
    return _with_reliability(made, tests, criteria.confidence)


# --- how good was it? ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Test:
    """One block of the past, as it was estimated and as it then was."""

    estimated: float
    actual: float
    last: float
    residual: float
    """What the newest block known then differed from its own estimate."""


def _backtest(
    known: ScoredRows, fit: Callable[[ScoredRows], Fitted], criteria: Criteria, size: int, delay: float
) -> list[_Test]:
    tests: list[_Test] = []
    for end in range(known.n, 0, -size):
        start = end - size
        if start < 0:
            break
        before = int(np.searchsorted(known.time, float(known.time[start]) - delay, side="left"))
        if before < max(MIN_LABELLED, 2 * size):
            break
        past, block = known.at(slice(0, before)), known.at(slice(start, end))
        last = past.at(slice(-size, None))
        fitted = fit(past)
        test = _Test(
            estimated=fitted(block),
            actual=block.value(criteria),
            last=(measured := last.value(criteria)),
            residual=measured - fitted(last),
        )
        if np.isfinite([test.estimated, test.actual, test.last, test.residual]).all():
            tests.append(test)
    return tests[::-1]


def _share(pairs: list[tuple[float, float, float]]) -> float:
    """Least squares of what was missed on what the newest known block had missed, pulled towards 0, within 0 to 1."""
    if len(pairs) < 2:
        return 0.0
    table = np.array(pairs)
    missed, before = table[:, 1] - table[:, 0], table[:, 2]
    noise = float(np.mean((missed - before) ** 2)) / 2
    return float(np.clip(missed @ before / max(before @ before + noise, 1e-300), 0.0, 1.0))


def _with_reliability(made: Estimate, tests: list[_Test], confidence: float) -> Estimate:
    """Each test is carried over by the share that the tests before it had taught."""
    table = [(t.estimated, t.actual, t.residual) for t in tests]
    if len(tests) < MIN_TESTED:
        return made
    errors = np.array([t.estimated + _share(table[:i]) * t.residual - t.actual for i, t in enumerate(tests)])
    last = np.array([t.last - t.actual for t in tests])
    error, error_last = float(np.abs(errors).mean()), float(np.abs(last).mean())
    se = float(np.sqrt(np.mean(errors**2)))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(tests) - 1)) * se  # pyright: ignore
    return Estimate(
        value=made.value,
        method=made.method,
        n=made.n,
        n_labelled=made.n_labelled,
        low=made.value - reach,
        high=made.value + reach,
        se=se,
        blocks=len(tests),
        error=error,
        error_last=error_last,
        reliable=_better(np.abs(errors) - np.abs(last)),
    )


def _better(change: FloatArray) -> bool:
    """Whether the change of the absolute error lies below 0 by more than chance gives (paired t test, one-sided)."""
    se = float(change.std(ddof=1)) / np.sqrt(change.shape[0])
    reach = float(stats.t.ppf(1 - DOUBT, change.shape[0] - 1)) * se  # pyright: ignore
    return bool(float(change.mean()) + reach < 0)


# --- the two ways --------------------------------------------------------------------------------------------------


def _unfit(history: ScoredRows, recent: ScoredRows, criteria: Criteria) -> str | None:
    metric = metric_named(criteria.primary.metric, criteria.primary.direction)
    if metric.task == "ranking":
        return "what the order of a group's rows is worth is known from their labels alone, not from scores"
    if recent.n == 0:
        return "no row waits for its label"
    if history.n < MIN_LABELLED:
        return f"{history.n:,} labelled rows that the model was not trained on; {MIN_LABELLED} are needed to learn from"
    for rows in (history, recent):
        fault = rows.unusable(criteria)
        if fault is not None:
            return fault
    if history.task == "regression":
        return None if metric.name in _DIRECT else f"{metric.name} is no mean of losses of rows"
    if history.sample.proba is None:
        return "the model gives no probabilities"
    if history.sample.classes > MOST_CLASSES:
        return f"{history.sample.classes} classes; at most {MOST_CLASSES} are estimated"
    return None


def _by_confidence(metric: Metric) -> Callable[[ScoredRows], Fitted]:
    def fit(labelled: ScoredRows) -> Fitted:
        calibrate = _calibration(labelled.sample)

        def value(rows: ScoredRows) -> float:
            return _expected(metric, rows.sample, calibrate(_proba(rows.sample)))

        return value

    return fit


def _calibration(sample: Sample) -> Callable[[FloatArray], FloatArray]:
    """Probability as stated to probability as observed, one isotonic curve a class; two classes share one."""
    from sklearn.isotonic import IsotonicRegression  # pyright: ignore[reportMissingTypeStubs]

    proba = _proba(sample)
    classes = range(1, 2) if sample.classes == 2 else range(sample.classes)
    curves: dict[int, Any] = {}
    for code in classes:
        curve: Any = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        curves[code] = curve.fit(proba[:, code], (sample.y == code).astype(float))

    def calibrate(stated: FloatArray) -> FloatArray:
        if sample.classes == 2:
            one: FloatArray = curves[1].predict(stated[:, 1])
            return np.column_stack([1 - one, one])
        columns: list[FloatArray] = [curves[code].predict(stated[:, code]) for code in classes]
        seen: FloatArray = np.column_stack(columns)
        total = seen.sum(axis=1, keepdims=True)
        return np.where(total > 0, seen / np.where(total > 0, total, 1), stated)

    return calibrate


def _expected(metric: Metric, sample: Sample, chances: FloatArray) -> float:
    """The metric where every row is each class at once, weighted by its chance."""
    n, classes = int(chances.shape[0]), int(chances.shape[1])
    rows = np.repeat(np.arange(n), classes)
    every = replace(
        sample,
        y=np.tile(np.arange(classes, dtype=np.float64), n),
        prediction=sample.prediction[rows],
        proba=_proba(sample)[rows],
    )
    weights = chances.ravel()
    if isinstance(metric, SumMetric):
        return float(metric.value(np.array([float(column @ weights) for column in metric.columns(every)])))
    return float(metric.prepare(every)(weights))


def _by_loss(metric: SumMetric) -> Callable[[ScoredRows], Fitted]:
    def fit(labelled: ScoredRows) -> Fitted:
        from sklearn.ensemble import HistGradientBoostingRegressor  # pyright: ignore[reportMissingTypeStubs]

        few = _thinned(labelled, MAX_FIT)
        columns = list(metric.columns(few.sample))
        model: Any = HistGradientBoostingRegressor(
            max_iter=40, learning_rate=0.1, min_samples_leaf=50, max_leaf_nodes=15, random_state=0
        )
        inputs = _inputs(few)
        # scikit-learn cannot bin a column that holds no value. The prediction, which is last, always does.
        told = np.isfinite(inputs).any(axis=0)
        model.fit(inputs[:, told], columns[1])

        def value(rows: ScoredRows) -> float:
            losses: FloatArray = np.maximum(model.predict(_inputs(rows)[:, told]), 0.0)
            return float(metric.value(np.array([float(losses.shape[0]), float(losses.sum())])))

        return value

    return fit


def _thinned(rows: ScoredRows, most: int) -> ScoredRows:
    return rows if rows.n <= most else rows.at(np.linspace(0, rows.n - 1, most).astype(int))


def _inputs(rows: ScoredRows) -> FloatArray:
    own = rows.sample.prediction[:, None]
    table = own if rows.features is None else np.column_stack([rows.features, own])
    return np.where(np.isfinite(table), table, np.nan)


def _proba(sample: Sample) -> FloatArray:
    if sample.proba is None:
        raise ValueError("probabilities were asked for where there are none")
    return sample.proba
