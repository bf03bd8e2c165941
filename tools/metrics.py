"""What do the metric names mean, and which way is better?

The names are scikit-learn's; `tools.metric_values` has the arithmetic. A name may carry a parameter behind `@`: `recall@0.01` and
`precision@0.01` at an alert budget of one row in a hundred, `mean_pinball_loss@0.9` of a model of the 0.9 quantile. `FILE.py:FUNCTION`
is a user's own (`tools.own_metrics`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from tools.contracts.profile import Task
from tools.contracts.request import Direction
from tools.errors import BadInput
from tools.metric_costs import calibration, calibration_error, cost
from tools.metric_values import (
    FloatArray,
    IntArray,
    Metric,
    Sample,
    SumMetric,
    WeightMetric,
    absolute,
    all_classes,
    at_budget,
    average_precision,
    averaged,
    balanced_accuracy,
    brier,
    confusion,
    correct,
    f1,
    log_loss,
    matthews,
    mean,
    median_absolute_error,
    minus_error,
    over_classes,
    percentage,
    pinball,
    precision,
    r2,
    rank_score,
    recall,
    roc_auc,
    roc_auc_influence,
    spread,
    squared,
)
from tools.own_metrics import is_own, own_metric

__all__ = [
    "METRICS",
    "FloatArray",
    "IntArray",
    "Metric",
    "Sample",
    "SumMetric",
    "WeightMetric",
    "about_one_class",
    "find_metric",
    "in_our_terms",
    "measure",
    "metric_named",
]


def _labels(
    name: str,
    value: Callable[[FloatArray], FloatArray],
    columns: Callable[[Sample], Iterator[FloatArray]] = all_classes,
    per_class: bool = True,
) -> SumMetric:
    return SumMetric(name, "higher", "classification", "labels", columns, value, per_class)


def _values(
    name: str,
    columns: Callable[[Sample], Iterator[FloatArray]],
    value: Callable[[FloatArray], FloatArray] = mean,
    direction: Direction = "lower",
) -> SumMetric:
    return SumMetric(name, direction, "regression", "values", columns, value)


def _root_mean(sums: FloatArray) -> FloatArray:
    return np.sqrt(mean(sums))


_ALL: Final[tuple[Metric, ...]] = (
    _labels("accuracy", mean, correct, per_class=False),
    _labels("balanced_accuracy", balanced_accuracy),
    _labels("matthews_corrcoef", matthews),
    _labels("precision", averaged(precision, weighted=False), confusion),
    _labels("recall", averaged(recall, weighted=False), confusion),
    _labels("f1", averaged(f1, weighted=False), confusion),
    _labels("precision_macro", averaged(precision, weighted=False)),
    _labels("recall_macro", averaged(recall, weighted=False)),
    _labels("f1_macro", averaged(f1, weighted=False)),
    _labels("precision_weighted", averaged(precision, weighted=True)),
    _labels("recall_weighted", averaged(recall, weighted=True)),
    _labels("f1_weighted", averaged(f1, weighted=True)),
    SumMetric("log_loss", "lower", "classification", "probabilities", log_loss, mean),
    SumMetric("brier_score_loss", "lower", "classification", "probabilities", brier, mean),
    SumMetric("mean_cost", "lower", "classification", "labels", cost, mean),
    SumMetric("expected_calibration_error", "lower", "classification", "probabilities", calibration, calibration_error),
    WeightMetric(
        "roc_auc",
        "higher",
        "classification",
        "probabilities",
        over_classes(roc_auc),
        rank_score,
        per_class=True,
        influence=roc_auc_influence,
    ),
    WeightMetric(
        "average_precision",
        "higher",
        "classification",
        "probabilities",
        over_classes(average_precision),
        rank_score,
        per_class=True,
    ),
    _values("mean_absolute_error", absolute),
    _values("mean_squared_error", squared),
    _values("root_mean_squared_error", squared, _root_mean),
    _values("mean_absolute_percentage_error", percentage),
    _values("r2", spread, r2, "higher"),
    WeightMetric("median_absolute_error", "lower", "regression", "values", median_absolute_error, minus_error),
)


def _parameterised(name: str, value: float) -> Metric:
    if name.startswith("mean_pinball_loss"):
        return _values(name, pinball(value))
    budget = at_budget(value, of_flagged=name.startswith("precision"))
    return WeightMetric(
        name, "higher", "classification", "probabilities", over_classes(budget), rank_score, per_class=True
    )


PARAMETERS: Final[Mapping[str, str]] = {
    "recall": "share of the rows that are flagged",
    "precision": "share of the rows that are flagged",
    "mean_pinball_loss": "quantile",
}
"""Metrics that take a number between 0 and 1 behind `@`, and what it means."""


class _Metrics(Mapping[str, Metric]):
    """The plain metrics by name, and those with a parameter as they are asked for."""

    def __init__(self, plain: Sequence[Metric]) -> None:
        self._plain = {metric.name: metric for metric in plain}

    def __getitem__(self, name: str) -> Metric:
        base, at, given = name.partition("@")
        if not at:
            return self._plain[name]
        value = _share_of(given)
        if base not in PARAMETERS or value is None or given != f"{value:g}":
            raise KeyError(name)
        return _parameterised(name, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)


def _share_of(given: str) -> float | None:
    """`0.01` or `1%`; None where it is no number between 0 and 1."""
    try:
        value = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    except ValueError:
        return None
    return value if 0 < value < 1 else None


METRICS: Final[Mapping[str, Metric]] = _Metrics(_ALL)
"""Canonical name to metric."""

ALIASES: Final[Mapping[str, str]] = {
    "mae": "mean_absolute_error",
    "mse": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "mape": "mean_absolute_percentage_error",
    "medae": "median_absolute_error",
    "brier_score": "brier_score_loss",
    "roc_auc_ovr": "roc_auc",
    "auc": "roc_auc",
    "mcc": "matthews_corrcoef",
    "pinball": "mean_pinball_loss",
    "ece": "expected_calibration_error",
    "cost": "mean_cost",
}
"""Short names, beside `NAME_score` (a function's name) and `neg_NAME` (a scorer's name) of every metric above."""

TWO_CLASS: Final = frozenset(
    {"precision", "recall", "f1", "roc_auc", "average_precision", "expected_calibration_error"}
)
"""About one class when a positive label is known, else the plain mean over classes."""


def about_one_class(metric: Metric) -> bool:
    """Whether a positive label makes a difference, with or without a parameter."""
    return metric.name.partition("@")[0] in TWO_CLASS


def metric_named(name: str, direction: Direction) -> Metric:
    """The metric of a criterion, by its canonical name; the direction makes a user's own metric whole.

    Raises:
        KeyError: No such metric.
    """
    return own_metric(name, direction) if is_own(name) else METRICS[name]


def _canonical(name: str) -> str | None:
    base, at, given = name.partition("@")
    if at:
        bare = base.removeprefix("neg_")
        value, known = _share_of(given), ALIASES.get(bare, bare)
        return None if value is None or known not in PARAMETERS else f"{known}@{value:g}"
    bare = name.removeprefix("neg_")
    negated = bare != name
    for candidate in (bare, ALIASES.get(bare, ""), bare.removesuffix("_score"), f"{bare}_loss"):
        metric = METRICS.get(candidate)
        # "neg_accuracy" is nobody's name: only losses are negated.
        if metric is not None and not (negated and metric.direction == "higher"):
            return candidate
    return None


def find_metric(name: str, task: Task | None = None, direction: Direction | None = None) -> Metric:
    """The metric behind a name, an alias or a scorer's name.

    Args:
        name: As in scikit-learn; `neg_log_loss` is log_loss, whose values are shown positive and lower is better. Or
            `FILE.py:FUNCTION`, for which the direction must be given.
        task: Where given, the metric must be for it.
        direction: Where given, must not contradict the metric's own (for a `neg_` name, `higher` is the name's own).

    Raises:
        BadInput: Unknown name (lists the known ones), another task's metric, or a contradicting direction.
    """
    if is_own(name):
        return own_metric(name, direction)
    canonical = _canonical(name)
    if canonical is None:
        known = ", ".join(sorted(m.name for m in _ALL if task is None or m.task == task))
        more = ", ".join(f"{base}@NUMBER ({meaning}, between 0 and 1)" for base, meaning in PARAMETERS.items())
        raise BadInput(f"unknown metric {name!r}", thing="metric", value=name, remedy=f"use one of: {known}; {more}")
    metric = METRICS[canonical]
    if task is not None and metric.task != task:
        known = ", ".join(sorted(m.name for m in _ALL if m.task == task))
        raise BadInput(
            f"metric {name!r} is for {metric.task}, the model is for {task}",
            thing="metric",
            value=name,
            remedy=f"use one of: {known}",
        )
    own: Direction = "higher" if name.startswith("neg_") else metric.direction
    if direction is not None and direction not in (own, metric.direction):
        raise BadInput(
            f"metric {name!r} is better when {own}, not when {direction}",
            thing="direction",
            value=direction,
            remedy=f"write direction: {own}, or leave it out",
        )
    return metric


def in_our_terms(name: str, value: float) -> tuple[str, float]:
    """A caller's metric and value under the canonical name and sign: ("neg_log_loss", -0.3) is ("log_loss", 0.3).

    Raises:
        BadInput: Unknown name.
    """
    return find_metric(name).name, -value if name.startswith("neg_") else value


def measure(metric: Metric, sample: Sample) -> float:
    """The metric's value on all rows, equal weights; NaN where undefined."""
    if isinstance(metric, SumMetric):
        sums = np.array([column.sum() for column in metric.columns(sample)])
        return float(metric.value(sums))
    return metric.prepare(sample)(np.ones_like(sample.y))
