"""How is the decision explained? The writer words it; only a borderline decision can still become `manual_review`."""

from dataclasses import replace
from typing import Any

from agent.deps import Deps
from agent.services import report
from agent.services.decide import plan_for, policy_input
from agent.state import Findings, Run
from tools import policy
from tools.contracts.record import DecisionRecord
from tools.errors import BrokenInvariant
from tools.evidence import digest


def explain(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """Writes the rationale, settles the decision, makes the plan, stores the decision record and the page to judge it from."""
    if findings.policy is None:
        raise BrokenInvariant("a rationale was asked for without a decision", thing="policy")
    rationale = deps.rationale.write(findings.policy, findings.evidence, run.profile.id)
    decision, decided_by = policy.apply_model_vote(findings.policy, rationale.routed_to_review)
    changes: dict[str, Any] = {"rationale": rationale.to_state(), "decision": decision, "decided_by": decided_by}
    # A person who is asked about a candidate sees the plan that "approve" would start.
    plan = None
    if findings.candidate_uri is not None and decision != "reject":
        plan = plan_for(deps, run, findings, "canary" if decision == "canary" else "deploy")
        changes["plan"] = plan.to_state()
    inputs = policy_input(run, findings, findings.can_split)
    record = DecisionRecord(
        run_id=run.run_id,
        model_id=run.profile.id,
        decided_at=deps.clock(),
        decision=decision,
        decided_by=decided_by,
        policy=findings.policy,
        policy_input=inputs,
        policy_input_digest=digest(inputs.to_state()),
        evidence=findings.evidence,
        rationale=rationale,
        plan=plan,
    )
    deps.store.update_run(run.run_id, decision_record=record.to_state())
    deps.tracking.log_json(run.tracking_run_id, "decision.json", record.to_json_dict())
    settled = replace(
        findings, rationale=rationale, decision=decision, decided_by=decided_by, plan=plan or findings.plan
    )
    return changes | report.noted(findings, report.note_of(deps, run, settled))
