"""What does the world see of a run? The public JSON, validated before it leaves."""

from typing import Any, Literal

from agent.deps import Deps
from agent.schemas import validate_output
from agent.services import report
from agent.services.champion import find_champion
from agent.services.decide import training_status
from agent.state import Findings, Run
from tools import monitoring
from tools.contracts.comparison import ComparisonResult
from tools.contracts.output import (
    Comparison,
    DeploymentDecision,
    Monitoring,
    Regression,
    RetrainingOutcome,
    RetrainingResponse,
    Rollout,
)
from tools.contracts.rollout import RolloutStatus
from tools.quoting import quoted

_LONGEST_REASON = 400
"""Letters of a person's reason that stand before the rationale; the review has it whole."""
_SERVED = ("promoted", "rolled_back", "waiting", "progressing")


def response(
    deps: Deps,
    run: Run,
    findings: Findings,
    *,
    status: Literal["parked", "finished"],
    rollout: RolloutStatus | None = None,
    review_id: int | None = None,
) -> dict[str, Any]:
    """The public JSON of a run as it stands."""
    stands = rollout or findings.rollout or RolloutStatus(phase="awaiting_approval" if review_id else "not_started")
    champion = find_champion(deps, run.profile)
    return validate_output(
        RetrainingResponse(
            retraining_result=_training(run, findings),
            comparison=None if findings.comparison is None else _comparison(findings.comparison),
            deployment_decision=_decision(run, findings, review_id),
            monitoring=_monitoring(run, findings),
            rollout=Rollout(
                phase=stands.phase,
                proof=stands.proof if stands.phase in _SERVED or stands.proof == "contradicted" else None,
                weight=stands.weight if stands.started_at else None,
                observed_weight=stands.observed_weight,
                champion_version=None if champion is None else champion.version,
                statement=stands.statement,
                wake_at=stands.wake_at,
                step_index=stands.step_index if stands.started_at else None,
                signals=tuple(signal.to_json_dict() for signal in stands.signals),
            ),
            run_id=run.run_id,
            model_id=run.order.request.model_id,
            kind=run.order.kind,
            status=status,
            staleness=None if findings.staleness is None else findings.staleness.to_json_dict(),
            validation=None if findings.validation is None else findings.validation.to_json_dict(),
            evidence=findings.evidence,
            report=str(page) if (page := report.path_of(deps, run.run_id)).exists() else None,
            warnings=(*run.order.warnings, *findings.notes),
        )
    )


def _training(run: Run, findings: Findings) -> RetrainingOutcome:
    candidate, training = findings.candidate, findings.training
    failed = training is not None and training.status != "trained"
    return RetrainingOutcome(
        status=training_status(run, findings),
        new_model_version=None if candidate is None else candidate.version,
        training_metrics=None if training is None else training.metrics or None,
        validation_metrics=findings.validation_metrics or None,
        model_uri=findings.candidate_uri,
        statement=None if training is None else training.statement,
        log_tail=training.log_tail or None if training is not None and failed else None,
    )


def _comparison(result: ComparisonResult) -> Comparison:
    whole = {m.criterion.about: m for m in result.metrics if m.criterion.slice_column is None}
    return Comparison(
        baseline_metrics={name: m.baseline for name, m in whole.items() if m.baseline is not None},
        new_model_metrics={name: m.candidate for name, m in whole.items() if m.candidate is not None},
        improvement={name: m.change for name, m in whole.items() if m.change is not None},
        intervals={name: (m.low, m.high) for name, m in whole.items() if m.low is not None and m.high is not None},
        verdicts={name: m.verdict for name, m in whole.items()},
        regressions=tuple(
            Regression(
                metric=m.criterion.metric if m.criterion.group is None else m.criterion.about,
                slice=None
                if m.criterion.slice_column is None
                else f"{m.criterion.slice_column}={m.criterion.slice_value}",
                change=m.change,
                low=m.low,
                high=m.high,
                margin=m.criterion.margin,
            )
            for m in result.metrics
            if m.verdict == "regressed" and m.change is not None and m.low is not None and m.high is not None
        ),
        holdout_rows=result.holdout_rows,
    )


def _decision(run: Run, findings: Findings, review_id: int | None) -> DeploymentDecision:
    if run.order.kind == "rollback":
        report = findings.rollback
        return DeploymentDecision(
            decision="reject",
            rationale="The rollback has not run yet." if report is None else report.statement,
            decided_by=run.order.requested_by,
        )
    rationale, policy = findings.rationale, findings.policy
    source: dict[str, str] = {}
    if rationale is not None:
        source = {
            "writtenBy": rationale.written_by,
            "promptName": rationale.prompt_name,
            "promptVersion": rationale.prompt_version,
            "promptHash": rationale.prompt_hash,
        } | ({} if rationale.model is None else {"model": rationale.model})
    return DeploymentDecision(
        decision=findings.decision or "manual_review",
        rationale=_answered(findings) + ("" if rationale is None else rationale.text),
        rollout_plan=None if findings.plan is None else findings.plan.to_json_dict(),
        decided_by=findings.decided_by,
        certainty=None if policy is None else policy.certainty,
        reasons=() if policy is None else policy.reasons,
        rationale_source=source,
        review_id=review_id,
    )


def _answered(findings: Findings) -> str:
    """The person's word stands before the text that the question came with."""
    review = findings.review or {}
    if review.get("answer") is None:
        return ""
    why = quoted(str(review["reason"]), _LONGEST_REASON)
    return f"{review['by']} answered {review['answer']} ({review['offered']} was offered): {why}\n\n"


def _monitoring(run: Run, findings: Findings) -> Monitoring | None:
    if findings.plan is None or findings.decision == "reject":
        return None
    return Monitoring(
        post_deployment_checks=tuple(rule.to_json_dict() for rule in monitoring.checks(findings.plan)),
        rollback_triggers=tuple(rule.to_json_dict() for rule in monitoring.triggers(findings.plan)),
    )
