"""What does a person read who is asked? The brief, from what the run's decision rested on."""

from agent.deps import Deps
from agent.state import Findings, Run
from tools.brief import brief
from tools.contracts.explanation import Brief
from tools.contracts.record import DecisionRecord
from tools.contracts.run import Offered, Review
from tools.errors import NotFound


def of_review(deps: Deps, review: Review) -> Brief:
    """Of a question as it is kept."""
    args = review.payload["action_requests"][0]["args"]
    try:
        kept = deps.store.get_run(review.run_id).decision_record
    except NotFound:
        kept = None
    record = None if kept is None else DecisionRecord.model_validate(kept)
    return brief(
        offered=review.offered,
        can_start_small="edit" in review.payload["review_configs"][0]["allowed_decisions"],
        model_id=review.model_id,
        policy=None if record is None else record.policy,
        evidence=() if record is None else record.evidence,
        moved_by=() if record is None else record.rationale.moved_by,
        rollout=args.get("rollout"),
    )


def of_findings(run: Run, findings: Findings, offered: Offered, rollout: str | None = None) -> Brief:
    """Of the question that a run's state poses, before it is asked."""
    return brief(
        offered=offered,
        can_start_small=offered == "deploy" and findings.can_split,
        model_id=run.profile.id,
        policy=findings.policy,
        evidence=findings.evidence,
        moved_by=() if findings.rationale is None else findings.rationale.moved_by,
        rollout=rollout,
    )
