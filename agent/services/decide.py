"""What follows from the evidence? The policy decides; this joins what it needs."""

from typing import Any

from agent.deps import Deps
from agent.services.champion import last_known_good
from agent.state import Findings, Run
from tools import policy
from tools.contracts.decision import DecisionKind
from tools.contracts.profile import Profile
from tools.contracts.rollout import RolloutPlan
from tools.evidence import collect
from tools.rollout_plan import Means, can_bake, make_plan


def decide(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """Returns the policy's result, the numbered evidence, and how training is to be named in the output."""
    able = deps.target_of(run.profile).abilities
    # A candidate that answers mirrored requests, or scores beside the champion, is tried without being used: a canary too.
    can_split = able.can_split or able.can_mirror
    inputs = policy_input(run, findings, can_split)
    result = policy.decide(inputs)
    evidence = collect(staleness=findings.staleness, validation=findings.validation, comparison=findings.comparison)
    return {
        "policy": result.to_state(),
        "training_status": inputs.training_status,
        "can_split": can_split,
        "evidence": [item.to_state() for item in evidence],
        "decision": result.decision,
        "decided_by": "policy",
    }


def policy_input(run: Run, findings: Findings, can_split: bool) -> policy.PolicyInput:
    """What the policy is asked about."""
    return policy.PolicyInput(
        trigger=findings.trigger,
        validation=findings.validation,
        training_status=training_status(run, findings),
        comparison=findings.comparison,
        can_split=can_split,
        risk=run.profile.rollout.risk,
        on_inconclusive=run.profile.metrics.on_inconclusive,
        has_champion=run.champion is not None,
        allow_first_model=run.profile.metrics.allow_first_model,
    )


def training_status(run: Run, findings: Findings) -> Any:
    """The word of the public JSON for what became of the training."""
    if findings.validation is not None and findings.validation.verdict == "fail":
        return "invalid_data"
    if (
        findings.validation is not None
        and findings.validation.verdict == "could_not_check"
        and findings.training is None
    ):
        return "pending"
    return "given" if run.order.kind == "judge" else findings.training_status


def means_of(deps: Deps, profile: Profile) -> Means:
    """What the target can do, and what there will be to judge by."""
    target = deps.target_of(profile)
    able = target.abilities
    return Means(
        split=able.can_split,
        mirror=able.can_mirror,
        bake=can_bake(profile.target, profile.rollout, can_load=able.can_load),
        log=able.can_prove and deps.traffic_log_of(profile, target) is not None,
        # A batch target's labels come with the data itself.
        labels_in_time=(profile.rollout.labels is not None or profile.target.kind == "batch")
        and profile.data.label_maturity < profile.rollout.max_duration,
    )


def plan_for(
    deps: Deps, run: Run, findings: Findings, decision: DecisionKind, *, insisted: bool = False
) -> RolloutPlan:
    """The plan that a decision to move would follow, with the way back named."""
    way_back = run.champion or last_known_good(deps, run.profile, None)
    return make_plan(
        decision=decision,
        rollout=run.profile.rollout,
        candidate_version=None if findings.candidate is None else findings.candidate.version,
        last_known_good=None if way_back is None else way_back.version,
        means=means_of(deps, run.profile),
        insisted=insisted,
    )
