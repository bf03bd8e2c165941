"""What would others do with the same two models on the same rows? Five rules, each a function that says whether it deploys.

All see the values that our gate measured on the holdout, none the truth. "+0.5 point" is 0.005 of a metric that is better when
higher and 0.5 % of a loss. MLflow's check is called for real. TFMA's is written down again here, since it does not install beside
this product's versions: it holds point estimates against a bound of the value and of the change, overall and by slice.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from evals.decisions.gate_truth import truth
from tools.contracts.comparison import ComparisonResult, Criterion, MetricComparison

POINT: Final = 0.005


@dataclass(frozen=True)
class Holdout:
    """What a rule may look at: the comparison's values, and the rows' labels and outputs."""

    result: ComparisonResult
    y: Any
    champion: Any
    candidate: Any

    @property
    def guardrails(self) -> list[MetricComparison]:
        """Those that could be measured."""
        found = [m for m in self.result.metrics if m.criterion.role == "guardrail"]
        return [m for m in found if m.baseline is not None and m.candidate is not None]


def metric_higher(seen: Holdout) -> bool:
    """The candidate's primary metric is better."""
    return (seen.result.primary.change or 0.0) > 0


def half_a_point(seen: Holdout) -> bool:
    """The candidate's primary metric is better by 0.005, a loss by 0.5 %."""
    primary = seen.result.primary
    if primary.baseline is None or primary.candidate is None:
        return False
    if primary.criterion.direction == "higher":
        return primary.candidate - primary.baseline >= POINT
    return primary.baseline - primary.candidate >= POINT * abs(primary.baseline)


def mlflow_validation(seen: Holdout) -> bool:
    """`mlflow.validate_evaluation_results`: the gain asked for as least change; each guardrail's champion value and margin as bound.

    Its changes can only demand a gain, so a loss that is accepted has to be written as a bound of the value.
    """
    import mlflow
    from mlflow.models import EvaluationResult, MetricThreshold
    from mlflow.models.evaluation.validation import ModelValidationFailedException

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    primary = seen.result.primary
    if primary.baseline is None or primary.candidate is None:
        return False
    higher = primary.criterion.direction == "higher"
    least: Any = {"min_relative_change" if primary.criterion.unit == "relative" else "min_absolute_change": POINT}
    thresholds = {primary.criterion.metric: MetricThreshold(greater_is_better=higher, **least)}
    measured = [primary, *seen.guardrails]
    for item in seen.guardrails:
        bound = _worst_accepted(item.criterion, item.baseline or 0.0)
        thresholds[item.criterion.metric] = MetricThreshold(
            threshold=float(bound), greater_is_better=item.criterion.direction == "higher"
        )
    sides = [
        EvaluationResult(metrics={m.criterion.metric: getattr(m, side) for m in measured}, artifacts={}, run_id="eval")
        for side in ("candidate", "baseline")
    ]
    try:
        mlflow.validate_evaluation_results(thresholds, sides[0], sides[1])
    except ModelValidationFailedException:
        return False
    return True


def tfma_thresholds(seen: Holdout) -> bool:
    """TFMA's rule: every metric with a threshold must hold, in points.

    Value threshold: the primary is at least as good as the champion with the worst loss that is accepted. Change
    threshold: candidate - baseline >= 0.005 of the primary (a loss: at most -0.5 % of it); of a guardrail, no more loss than
    its margin; of each declared slice, no more loss than the slice margin. A metric that is missing fails.
    """
    primary = seen.result.primary
    if not half_a_point(seen):
        return False
    demanded = [m for m in seen.result.metrics if m.criterion.role in ("guardrail", "slice")]
    for item in demanded:
        if item.baseline is None or item.candidate is None:
            return False
        bound = _worst_accepted(item.criterion, item.baseline)
        if item.candidate < bound if item.criterion.direction == "higher" else item.candidate > bound:
            return False
    return primary.candidate is not None


def paired_test(seen: Holdout) -> bool:
    """A paired interval (rows as independent) of the primary metric alone leaves 0 out, on the good side."""
    metric = seen.result.primary.criterion.metric
    rows = np.arange(len(seen.y))
    found = truth(metric, seen.y, seen.champion, seen.candidate, rows)
    return bool(found.low > 0)


def _worst_accepted(criterion: Criterion, baseline: float) -> float:
    margin = criterion.margin * (abs(baseline) if criterion.unit == "relative" else 1.0)
    return baseline - margin if criterion.direction == "higher" else baseline + margin


RIVALS: Final[dict[str, Callable[[Holdout], bool]]] = {
    "metric is higher": metric_higher,
    "+0.5 point": half_a_point,
    "MLflow's validate_evaluation_results": mlflow_validation,
    "TFMA's thresholds (re-implemented)": tfma_thresholds,
    "paired test alone": paired_test,
}
