"""How is each metric computed under row weights? `tools.metrics` has the names.

Two shapes exist, because an interval needs thousands of evaluations:

- `SumMetric`: a smooth function of column sums over rows (accuracy, f1, log_loss, r2 …). A resample costs a few sums.
- `WeightMetric`: needs the whole sample in order (roc_auc, average_precision, median_absolute_error). A resample is a
  weight per row on arrays sorted once.

Both give scikit-learn's value to rounding. Undefined values (no positive row, no spread in y) are NaN, never 0.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from tools.contracts.profile import Task
from tools.contracts.request import Direction
from tools.errors import BadInput

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Needs = Literal["labels", "probabilities", "values", "own"]
"""Of the model's outputs; `own`: the numbers of a user's function (`tools.own_metrics`)."""
Average = Literal["binary", "macro", "weighted"]
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Sample:
    """One model's outputs on labelled rows, in numbers.

    Classification: `y` and `prediction` are class codes (0 … k-1), `proba` is (n, k). Regression: `y` and `prediction`
    are the values. `positive` is the code of the class that binary metrics are about; None averages over classes.
    """

    y: FloatArray
    prediction: FloatArray
    proba: FloatArray | None = None
    classes: int = 0
    positive: int | None = None
    costs: FloatArray | None = None
    """(k, k): what it costs to predict the column's class where the row's is true."""
    group: IntArray | None = None
    """(n,) codes of the groups that the metric is about; -1 belongs to none."""
    own: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    """Name of a user's own metric to (n,) values."""


@dataclass(frozen=True)
class SumMetric:
    """`value(sums)` over the column sums of `columns(sample)`; the first column is always ones (the row count)."""

    name: str
    direction: Direction
    task: Task | None
    """None: any."""
    needs: Needs
    columns: Callable[[Sample], Iterator[FloatArray]]
    value: Callable[[FloatArray], FloatArray]
    """From (columns, …) sums or means to (…) values: scale-free in the sums."""
    per_class: bool = False
    """Meaningless when a class is nearly absent."""


@dataclass(frozen=True)
class WeightMetric:
    """`prepare(sample)` sorts once and gives a function from row weights to the value."""

    name: str
    direction: Direction
    task: Task
    needs: Needs
    prepare: Callable[[Sample], Callable[[FloatArray], float]]
    row_score: Callable[[Sample], FloatArray]
    """A per-row stand-in for the metric, higher is better: only its dependence in time is used (block length)."""
    per_class: bool = False
    influence: Callable[[Sample], FloatArray] | None = None
    """(n,) each row's first-order influence on the value, with mean 0, where that is known in closed form."""


Metric = SumMetric | WeightMetric


# --- columns and values of the sum metrics -------------------------------------------------------------------------


def _ones(sample: Sample) -> FloatArray:
    return np.ones_like(sample.y)


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """NaN where the bottom is 0."""
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=bottom != 0)


def mean(sums: FloatArray) -> FloatArray:
    return ratio(sums[1], sums[0])


def correct(sample: Sample) -> Iterator[FloatArray]:
    yield _ones(sample)
    yield (sample.y == sample.prediction).astype(np.float64)


def confusion(sample: Sample) -> Iterator[FloatArray]:
    """Row count, then (true, predicted, both) a class: the positive class alone, or every class."""
    yield _ones(sample)
    for code in range(sample.classes) if sample.positive is None else (sample.positive,):
        true, predicted = sample.y == code, sample.prediction == code
        yield true.astype(np.float64)
        yield predicted.astype(np.float64)
        yield (true & predicted).astype(np.float64)


def all_classes(sample: Sample) -> Iterator[FloatArray]:
    return confusion(replace(sample, positive=None))


def precision(true: FloatArray, predicted: FloatArray, both: FloatArray) -> FloatArray:
    # scikit-learn's 0 for "never predicted although it exists": a model that finds nothing is bad, not unmeasured.
    return np.where((predicted == 0) & (true > 0), 0.0, ratio(both, predicted))


def recall(true: FloatArray, predicted: FloatArray, both: FloatArray) -> FloatArray:
    return ratio(both, true)


def f1(true: FloatArray, predicted: FloatArray, both: FloatArray) -> FloatArray:
    return ratio(2 * both, true + predicted)


def averaged(
    rate: Callable[[FloatArray, FloatArray, FloatArray], FloatArray], weighted: bool
) -> Callable[[FloatArray], FloatArray]:
    """Average of a per-class rate over the classes present in y or among the predictions, as scikit-learn does."""

    def value(sums: FloatArray) -> FloatArray:
        true, predicted, both = sums[1::3], sums[2::3], sums[3::3]
        if true.shape[0] == 1:
            return rate(true[0], predicted[0], both[0])
        seen = (true + predicted) > 0
        rates = np.where(np.isnan(each := rate(true, predicted, both)), 0.0, each)
        weights = true if weighted else seen.astype(np.float64)
        return ratio((rates * weights).sum(axis=0), weights.sum(axis=0))

    return value


def balanced_accuracy(sums: FloatArray) -> FloatArray:
    """Mean recall over the classes present in y."""
    true, both = sums[1::3], sums[3::3]
    present = true > 0
    recalls = np.where(present, ratio(both, true), 0.0)
    return ratio(recalls.sum(axis=0), present.sum(axis=0).astype(np.float64))


def matthews(sums: FloatArray) -> FloatArray:
    """(c·s − Σ p·t) / √((s² − Σp²)(s² − Σt²)), Gorodkin 2004; NaN where either side has one class only."""
    s, true, predicted, both = sums[0], sums[1::3], sums[2::3], sums[3::3]
    top = both.sum(axis=0) * s - (true * predicted).sum(axis=0)
    spread = (s**2 - (predicted**2).sum(axis=0)) * (s**2 - (true**2).sum(axis=0))
    # One predicted class is the chance level in scikit-learn too; one true class cannot be judged.
    one_true = np.isclose((true**2).sum(axis=0), s**2)
    return np.where(one_true, np.nan, np.where(spread <= 0, 0.0, ratio(top, np.sqrt(np.maximum(spread, 0.0)))))


def _probabilities(sample: Sample) -> FloatArray:
    if sample.proba is None:
        raise BadInput("the metric needs probabilities and the model gave none", remedy="use a metric of labels")
    return sample.proba


def log_loss(sample: Sample) -> Iterator[FloatArray]:
    yield _ones(sample)
    own = _probabilities(sample)[np.arange(sample.y.shape[0]), sample.y.astype(np.int64)]
    yield -np.log(np.clip(own, _EPS, 1 - _EPS))


def brier(sample: Sample) -> Iterator[FloatArray]:
    """(p − y)² of the positive class for two classes; the sum over classes for more."""
    yield _ones(sample)
    proba = _probabilities(sample)
    total = np.zeros(sample.y.shape[0])
    for code in range(sample.classes):
        total += (proba[:, code] - (sample.y == code)) ** 2
    yield total / 2 if sample.classes == 2 else total


def absolute(sample: Sample) -> Iterator[FloatArray]:
    yield _ones(sample)
    yield np.abs(sample.y - sample.prediction)


def squared(sample: Sample) -> Iterator[FloatArray]:
    yield _ones(sample)
    yield (sample.y - sample.prediction) ** 2


def percentage(sample: Sample) -> Iterator[FloatArray]:
    yield _ones(sample)
    yield np.abs(sample.y - sample.prediction) / np.maximum(np.abs(sample.y), _EPS)


def spread(sample: Sample) -> Iterator[FloatArray]:
    yield from squared(sample)
    centred = sample.y - sample.y.mean()  # against cancellation when y is far from 0
    yield centred
    yield centred**2


def r2(sums: FloatArray) -> FloatArray:
    total = sums[3] - ratio(sums[2] ** 2, sums[0])
    return 1 - ratio(sums[1], np.where(total > 0, total, 0.0))


# --- the metrics that need the order -------------------------------------------------------------------------------


def over_classes(
    one: Callable[[FloatArray, FloatArray], Callable[[FloatArray], float]],
) -> Callable[[Sample], Callable[[FloatArray], float]]:
    """The positive class against the rest, or the plain mean over classes, each against the rest."""

    def prepare(sample: Sample) -> Callable[[FloatArray], float]:
        proba = _probabilities(sample)
        codes = range(sample.classes) if sample.positive is None else (sample.positive,)
        parts = [one((sample.y == code).astype(np.float64), proba[:, code]) for code in codes]
        return lambda weights: float(np.mean([part(weights) for part in parts]))

    return prepare


def _by_score(y: FloatArray, score: FloatArray) -> tuple[IntArray, FloatArray, IntArray]:
    """Order by falling score, y in that order, and the last position of each group of ties."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf))
    return order, y[order], ends


def roc_auc(y: FloatArray, score: FloatArray) -> Callable[[FloatArray], float]:
    """Weighted Mann-Whitney share of (positive, negative) pairs in order; ties count half."""
    order, sorted_y, ends = _by_score(y, score)

    def value(weights: FloatArray) -> float:
        w = weights[order]
        positives = np.cumsum(w * sorted_y)[ends]
        negatives = np.cumsum(w)[ends] - positives
        pairs = positives[-1] * negatives[-1]
        if pairs <= 0:
            return float("nan")
        area = np.diff(negatives, prepend=0.0) @ (positives + np.concatenate(([0.0], positives[:-1])))
        return float(area / 2 / pairs)

    return value


def roc_auc_influence(sample: Sample) -> FloatArray:
    """DeLong's structural components (1988), centred and scaled so that their mean square over n is the variance.

    A positive row's component is the share of negatives that it stands above, a negative row's the share of positives
    that stand above it; ties count half. Averaged over classes where none is positive.
    """
    proba = _probabilities(sample)
    codes = range(sample.classes) if sample.positive is None else (sample.positive,)
    return np.mean([_delong((sample.y == code).astype(np.float64), proba[:, code]) for code in codes], axis=0)


def _delong(y: FloatArray, score: FloatArray) -> FloatArray:
    positives: FloatArray = np.sort(score[y > 0])
    negatives: FloatArray = np.sort(score[y <= 0])
    n, n_pos, n_neg = len(score), len(positives), len(negatives)
    if n_pos == 0 or n_neg == 0:
        return np.full_like(score, np.nan)
    below: FloatArray = (np.searchsorted(negatives, score, "left") + np.searchsorted(negatives, score, "right")) / (
        2 * n_neg
    )
    above: FloatArray = 1 - (np.searchsorted(positives, score, "left") + np.searchsorted(positives, score, "right")) / (
        2 * n_pos
    )
    auc = float(below @ y) / n_pos
    return np.where(y > 0, (below - auc) * (n / n_pos), (above - auc) * (n / n_neg))


def average_precision(y: FloatArray, score: FloatArray) -> Callable[[FloatArray], float]:
    """Σ (recall step) × precision at each distinct score."""
    order, sorted_y, ends = _by_score(y, score)

    def value(weights: FloatArray) -> float:
        w = weights[order]
        positives = np.cumsum(w * sorted_y)[ends]
        if positives[-1] <= 0:
            return float("nan")
        precision = ratio(positives, np.cumsum(w)[ends])
        return float(np.nansum(np.diff(positives, prepend=0.0) * precision) / positives[-1])

    return value


def at_budget(share: float, *, of_flagged: bool) -> Callable[[FloatArray, FloatArray], Callable[[FloatArray], float]]:
    """Positives among the `share` of rows with the highest scores, of all positives or of the rows flagged.

    A tie at the edge is flagged in part: as many of its rows as there is room for, at its own mix.
    """

    def prepare(y: FloatArray, score: FloatArray) -> Callable[[FloatArray], float]:
        order, sorted_y, ends = _by_score(y, score)

        def value(weights: FloatArray) -> float:
            w = weights[order]
            rows = np.concatenate(([0.0], np.cumsum(w)[ends]))
            positives = np.concatenate(([0.0], np.cumsum(w * sorted_y)[ends]))
            flagged = share * float(rows[-1])
            whole = float(positives[-1])
            if whole <= 0:
                return float("nan")
            found = float(np.interp(flagged, rows, positives))
            return found / flagged if of_flagged else found / whole

        return value

    return prepare


def pinball(quantile: float) -> Callable[[Sample], Iterator[FloatArray]]:
    def columns(sample: Sample) -> Iterator[FloatArray]:
        yield _ones(sample)
        gap = sample.y - sample.prediction
        yield np.maximum(quantile * gap, (quantile - 1) * gap)

    return columns


def median_absolute_error(sample: Sample) -> Callable[[FloatArray], float]:
    errors: FloatArray = np.abs(sample.y - sample.prediction)
    order: IntArray = np.argsort(errors, kind="stable")
    ranked: FloatArray = errors[order]

    def value(weights: FloatArray) -> float:
        running: FloatArray = np.cumsum(weights[order])
        half = float(running[-1]) / 2
        low = int(np.searchsorted(running, half * (1 - 1e-12), side="left"))
        high = int(np.searchsorted(running, half * (1 + 1e-12), side="right"))
        return float(ranked[[low, min(high, ranked.shape[0] - 1)]].mean())

    return value


def rank_score(sample: Sample) -> FloatArray:
    """Mid-rank of the positive class's score, towards the side where the row belongs."""
    proba = _probabilities(sample)
    code = sample.positive if sample.positive is not None else sample.classes - 1
    score: FloatArray = proba[:, code]
    ordered: FloatArray = np.sort(score)
    rank: FloatArray = (np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right")) / (
        2 * score.shape[0]
    )
    return np.where(sample.y == code, rank, -rank)


def minus_error(sample: Sample) -> FloatArray:
    return -np.abs(sample.y - sample.prediction)
