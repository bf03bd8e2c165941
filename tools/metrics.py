"""What do the metric names mean, and which way is better?

The names are scikit-learn's; `tools.metric_values` has the arithmetic, `tools.ranked` that of rankings. A name may carry a
parameter behind `@`: `recall@0.01` and `precision@0.01` at an alert budget of one row in a hundred, `mean_pinball_loss@0.9` of a
model of the 0.9 quantile. A whole number from 1 is a place in a ranking: `ndcg@10`, `precision@10`, `recall@1` look at the first
rows of each group; a share of the rows is always less than 1 (all of them could not be told from the first row).
`FILE.py:FUNCTION` is a user's own (`tools.own_metrics`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal

import numpy as np

from tools import ranked
from tools.contracts.profile import Task
from tools.contracts.request import Direction
from tools.errors import BadInput
from tools.metric_costs import calibration, calibration_error, cost
from tools.metric_values import (
    LINEAR_FROM,
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
    average_precision_influence,
    averaged,
    balanced_accuracy,
    brier,
    confusion,
    correct,
    f1,
    log_loss,
    matthews,
    mean,
    mean_over_groups,
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
    units,
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
    "noun",
    "units",
]


def _labels(
    name: str,
    value: Callable[[FloatArray], FloatArray],
    columns: Callable[[Sample], Iterator[FloatArray]] = all_classes,
    per_class: bool = True,
    is_share: bool = False,
) -> SumMetric:
    return SumMetric(name, "higher", "classification", "labels", columns, value, per_class, is_share=is_share)


def _values(
    name: str,
    columns: Callable[[Sample], Iterator[FloatArray]],
    value: Callable[[FloatArray], FloatArray] = mean,
    direction: Direction = "lower",
) -> SumMetric:
    return SumMetric(name, direction, "regression", "values", columns, value)


def _root_mean(sums: FloatArray) -> FloatArray:
    return np.sqrt(mean(sums))


def _ranking(
    name: str, values: ranked.Values, cut: int | None, counts: Callable[[ranked.Ranked], ranked.BoolArray]
) -> Metric:
    columns = mean_over_groups(values, cut, counts)
    return SumMetric(name, "higher", "ranking", "values", columns, mean, counts=counts)


def _differs(rows: ranked.Ranked) -> ranked.BoolArray:
    return rows.differs


def _mixed(rows: ranked.Ranked) -> ranked.BoolArray:
    return rows.mixed


_RANKINGS: Final[Mapping[str, tuple[ranked.Values, Callable[[ranked.Ranked], ranked.BoolArray]]]] = {
    "ndcg": (ranked.ndcg, _differs),
    "mean_average_precision": (ranked.average_precision, _mixed),
    "mean_reciprocal_rank": (ranked.reciprocal_rank, _mixed),
}
"""Of the whole group, or of its first rows with a place behind `@`."""

_ALL: Final[tuple[Metric, ...]] = (
    _labels("accuracy", mean, correct, per_class=False, is_share=True),
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
        influence=average_precision_influence,
        influence_from=LINEAR_FROM,
    ),
    _values("mean_absolute_error", absolute),
    _values("mean_squared_error", squared),
    _values("root_mean_squared_error", squared, _root_mean),
    _values("mean_absolute_percentage_error", percentage),
    _values("r2", spread, r2, "higher"),
    WeightMetric("median_absolute_error", "lower", "regression", "values", median_absolute_error, minus_error),
    *(_ranking(name, values, None, counts) for name, (values, counts) in _RANKINGS.items()),
)


def _parameterised(name: str, value: float) -> Metric:
    if name.startswith("mean_pinball_loss"):
        return _values(name, pinball(value))
    budget = at_budget(value, of_flagged=name.startswith("precision"))
    return WeightMetric(
        name, "higher", "classification", "probabilities", over_classes(budget), rank_score, per_class=True
    )


def _at_place(base: str, cut: int) -> Metric:
    name = f"{base}@{cut}"
    if base in _RANKINGS:
        values, counts = _RANKINGS[base]
        return _ranking(name, values, cut, counts)
    values = ranked.precision_at if base == "precision" else ranked.recall_at
    return _ranking(name, values, cut, lambda rows: rows.longer_than(cut))


PLACES: Final = frozenset({*_RANKINGS, "precision", "recall"})
"""Metrics of a ranking that take a whole number behind `@`: how many of a group's first rows they look at."""

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
        place, value = _place_of(given), _share_of(given)
        if base in PLACES and place is not None and given == str(place):
            return _at_place(base, place)
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


def _place_of(given: str) -> int | None:
    """`10` or `10.0`; None where it is no whole number from 1."""
    whole = given.removesuffix(".0")
    return int(whole) if whole.isascii() and whole.isdigit() and len(whole) < 10 and int(whole) >= 1 else None


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
    "map": "mean_average_precision",
    "mrr": "mean_reciprocal_rank",
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
        place, value, known = _place_of(given), _share_of(given), ALIASES.get(bare, bare)
        if place is not None:
            known = ALIASES.get(base, base).removesuffix("_score")
            return f"{known}@{place}" if known in PLACES else None
        return None if value is None or known not in PARAMETERS else f"{known}@{value:g}"
    bare = name.removeprefix("neg_")
    negated = bare != name
    for candidate in (bare, ALIASES.get(bare, ""), bare.removesuffix("_score"), f"{bare}_loss"):
        metric = METRICS.get(candidate)
        # "neg_accuracy" is nobody's name: only losses are negated.
        if metric is not None and not (negated and metric.direction == "higher"):
            return candidate
    return None


def _choices(task: Task | None) -> str:
    """The metrics of a task, or all of them, and what may stand behind an `@`."""
    names = sorted(metric.name for metric in _ALL if task is None or metric.task == task)
    if task != "ranking":
        own = [base for base in PARAMETERS if task is None or (task == "regression") == (base == "mean_pinball_loss")]
        names += [f"{base}@NUMBER ({PARAMETERS[base]}, between 0 and 1)" for base in own]
    if task in (None, "ranking"):
        names.append(f"{', '.join(f'{base}@10' for base in sorted(PLACES))} (a ranking's first rows, any whole number)")
    return ", ".join(names)


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
        raise BadInput(f"unknown metric {name!r}", thing="metric", value=name, remedy=f"use one of: {_choices(task)}")
    metric = METRICS[canonical]
    if task is not None and metric.task != task:
        raise BadInput(
            f"metric {name!r} is for {metric.task}, the model is for {task}",
            thing="metric",
            value=name,
            remedy=f"use one of: {_choices(task)}",
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


def noun(metric: Metric) -> Literal["rows", "groups"]:
    """What its `n` counts."""
    return "groups" if metric.task == "ranking" else "rows"


def measure(metric: Metric, sample: Sample) -> float:
    """The metric's value on all rows (of a ranking: all groups that count), equal weights; NaN where undefined."""
    if isinstance(metric, SumMetric):
        sums = np.array([column.sum() for column in metric.columns(sample)])
        return float(metric.value(sums))
    return metric.prepare(sample)(np.ones_like(sample.y))
