"""What does the model-evaluator say of the candidate? It can only add doubt."""

from pathlib import Path
from typing import Any

from agent.deps import Deps
from agent.state import Run
from tools import peer_replies
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.comparison import ComparisonResult, Criteria
from tools.contracts.peers import (
    Envelope,
    EvaluationConfig,
    EvaluationRequest,
    FairnessCheck,
    SliceSpec,
)
from tools.errors import RetrainingError
from tools.peer_replies import is_theirs
from tools.verdicts import least_of_class


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
    fault = peer_replies.evaluation_fault(request, reply, now=deps.clock())
    if fault is not None:
        return {}, ("peer_unmeasured", f"{fault[:1].upper()}{fault[1:]}.")
    told = {name: value for name, value in reply.payload.overall_metrics.items() if name in config.metrics}
    apart = peer_replies.disagreement(reply.payload, result)
    return told, None if apart is None else ("peer_disagrees", apart)


def _config(run: Run, criteria: Criteria, result: ComparisonResult) -> EvaluationConfig:
    every = (criteria.primary, *criteria.guardrails)
    return EvaluationConfig(
        metrics=tuple(dict.fromkeys(one.metric for one in every if is_theirs(one) and one.group is None)),
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


def _thresholds(result: ComparisonResult) -> dict[str, float]:
    """The champion's value and what is asked beyond it, in the metric's own direction."""
    bars: dict[str, float] = {}
    for item in result.metrics:
        wanted = item.criterion
        if item.baseline is None or not wanted.plain or not is_theirs(wanted):
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
