"""What does the model-evaluator say of the candidate? It can only add doubt."""

from pathlib import Path
from typing import Any

from agent.deps import Deps
from agent.state import Run
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.comparison import ComparisonResult, Criteria, Criterion
from tools.contracts.peers import (
    Envelope,
    EvaluationConfig,
    EvaluationReply,
    EvaluationRequest,
    FairnessCheck,
    SliceSpec,
)
from tools.errors import RetrainingError
from tools.metric_names import OPERATIONAL
from tools.own_metrics import is_own
from tools.verdicts import least_of_class

PEER_TOLERANCE = 1e-3
"""How far the model-evaluator may be from our own value, relative to the larger of it and 1."""


def ask(
    deps: Deps, run: Run, criteria: Criteria, result: ComparisonResult, scored: Path, uri: str
) -> tuple[dict[str, float], tuple[str, str] | None]:
    """(the peer's metrics of the candidate, a doubt where it disagrees or gave no answer).

    Args:
        scored: Holdout rows with label, slices and the candidate's outputs.
        uri: The candidate.
    """
    from tools.adapters import frames

    config = _config(run, criteria, result)
    if not config.metrics and not config.fairness:
        return {}, None  # users' own metrics are called by us only: there is nothing to ask
    request = Envelope[EvaluationRequest](
        schema_version=SCHEMA_VERSION,
        run_id=run.run_id,
        model_id=run.profile.id,
        data_window_digest=result.holdout_digest,
        sent_at=deps.clock(),
        sender="retraining-orchestrator",
        payload=EvaluationRequest(
            model_path=uri,
            test_data_path=str(scored),
            target_column=run.profile.data.target,
            prediction_column="prediction",
            task_type=run.profile.task,
            group_column=None if run.profile.data.group is None else frames.GROUP,
            evaluation_config=config,
            business_context=_business(criteria, result) or None,
        ),
    )
    try:
        reply = deps.model_evaluator.evaluate(request)
    except RetrainingError as failure:
        return {}, ("peer_unmeasured", f"The model-evaluator gave no answer: {failure.message}")
    if (reply.run_id, reply.model_id) != (run.run_id, run.profile.id) or not reply.payload.success:
        return {}, ("peer_unmeasured", "The model-evaluator's answer is about something else, or failed.")
    return reply.payload.overall_metrics, _disagreement(reply.payload, result)


def _config(run: Run, criteria: Criteria, result: ComparisonResult) -> EvaluationConfig:
    every = (criteria.primary, *criteria.guardrails)
    return EvaluationConfig(
        metrics=tuple(dict.fromkeys(one.metric for one in every if _is_theirs(one) and one.group is None)),
        slices=tuple(SliceSpec(column=name) for name in run.profile.metrics.slices),
        thresholds=_thresholds(result),
        fairness=tuple(
            FairnessCheck(
                column=one.group,
                metric=one.metric,
                min_rows=criteria.min_rows,
                min_class_rows=least_of_class(criteria),
            )
            for one in every
            if one.group is not None
        ),
    )


def _is_theirs(criterion: Criterion) -> bool:
    """Whether the criterion can be measured from the file of scored rows, by somebody who runs no code of the user's."""
    return not (criterion.nulls or criterion.metric in OPERATIONAL or is_own(criterion.metric))


def _thresholds(result: ComparisonResult) -> dict[str, float]:
    """The champion's value and what is asked beyond it, in the metric's own direction."""
    bars: dict[str, float] = {}
    for item in result.metrics:
        wanted = item.criterion
        if item.baseline is None or not wanted.plain or not _is_theirs(wanted):
            continue
        step = wanted.bar * (abs(item.baseline) if wanted.unit == "relative" else 1.0)
        bars[wanted.metric] = item.baseline + (step if wanted.direction == "higher" else -step)
    return bars


def _business(criteria: Criteria, result: ComparisonResult) -> dict[str, Any]:
    """The positive class and what errors cost; two classes' costs under the peer's own names too."""
    told: dict[str, Any] = {}
    if criteria.positive_label is not None:
        told["positiveLabel"] = criteria.positive_label
    if not criteria.costs:
        return told
    told["costs"] = criteria.costs
    labels = sorted({label for true, row in criteria.costs.items() for label in (true, *row)})
    positive = criteria.positive_label or ("1" if "1" in labels else None)
    if len(labels) == 2 and positive in labels:
        negative = next(label for label in labels if label != positive)
        told["falsePositiveCost"] = criteria.costs.get(negative, {}).get(positive, 0.0)
        told["falseNegativeCost"] = criteria.costs.get(positive, {}).get(negative, 0.0)
    champion = next((item.baseline for item in result.metrics if item.criterion.metric == "mean_cost"), None)
    if champion is not None:
        told["currentCost"] = champion * result.holdout_rows
    return told


def _disagreement(reply: EvaluationReply, result: ComparisonResult) -> tuple[str, str] | None:
    for item in result.metrics:
        wanted = item.criterion
        if wanted.slice_column is not None or item.candidate is None or not _is_theirs(wanted):
            continue
        values = reply.overall_metrics if wanted.group is None else reply.fairness_metrics.get(wanted.group, {})
        theirs = values.get(wanted.metric)
        if theirs is not None and abs(theirs - item.candidate) > PEER_TOLERANCE * max(1.0, abs(item.candidate)):
            return (
                "peer_disagrees",
                f"The model-evaluator has {wanted.about} {theirs:.4f}, we have {item.candidate:.4f}.",
            )
    return None
