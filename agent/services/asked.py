"""While a person is asked about a rollout, what does the candidate do? Whoever watches looks, and harm does not wait for the answer.

The run is parked with its question, so a look here moves nothing and takes no lease. What is served is read from the effects on
record; the rules are those of a rollout that a person holds: harm ends it, nothing else moves it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from agent.deps import Deps
from agent.services import active, endpoint, signals
from agent.state import Run
from tools import monitoring
from tools import rollout as rules
from tools.contracts.peers import DeploymentReply
from tools.contracts.request import RunOrder
from tools.contracts.rollout import RolloutPlan, RolloutStatus
from tools.contracts.run import EffectRecord, RunRecord


class Seen(NamedTuple):
    """One look. `status` is `unhealthy` where harm is seen."""

    status: RolloutStatus
    at: datetime
    again: datetime
    """When the plan wants the next one."""


def may_be_exposed(record: RunRecord) -> bool:
    """Whether the question may be about a candidate that has traffic, or a mirror, or may have got one unconfirmed."""
    output: dict[str, Any] = record.output or {}
    return output.get("rollout", {}).get("phase") == "inconclusive"


def look(deps: Deps, record: RunRecord, before: Seen | None = None) -> Seen | None:
    """What target and log say now; None where no rollout of the run is under way.

    Args:
        deps: Store, target and log.
        record: Parked with an open question.
        before: The look before this one, whose counts go on: a metric may fail as often in a row as its plan says.
    """
    plan = active.plan_of(deps, record.run_id)
    if plan is None or plan.candidate_version is None:
        return None
    run = Run(
        run_id=record.run_id,
        order=RunOrder.model_validate(record.order),
        profile=deps.load_profile(record.model_id),
        tracking_run_id=record.tracking_run_id or "",
        champion=None,
    )
    now = deps.clock()
    status = _stands(deps, record, now)
    if before is not None:
        carried = {"in_a_row": before.status.in_a_row, "started_at": before.status.started_at}
        status = status.model_copy(update=carried)
    reply, fault = None, None
    try:
        reply = _served(deps, run, plan, plan.candidate_version, status)
    except endpoint.TargetFault as failure:
        fault = failure.told
    following = rules.next_status(
        plan=plan,
        status=status,
        look=reply,
        now=now,
        can_prove=deps.target_of(run.profile).abilities.can_prove,
        signals=signals.read(deps, run, plan, status),
        fault=fault,
        held=True,
    )
    if following.phase != "unhealthy":
        unseen = "" if fault is None else f" The look could not be taken: {fault}"
        told = f"A person is asked; harm would still end it.{unseen}"
        following = following.model_copy(update={"phase": "inconclusive", "wake_at": None, "statement": told})
    return Seen(following, now, now + monitoring.look_interval(plan))


def shown(record: RunRecord, seen: Seen) -> dict[str, Any]:
    """The run's public JSON, with what was seen in place of what was when the person was asked."""
    output: dict[str, Any] = record.output or {}
    now = {"phase": seen.status.phase, "statement": seen.status.statement}
    return output | {"rollout": output.get("rollout", {}) | now}


def _stands(deps: Deps, record: RunRecord, now: datetime) -> RolloutStatus:
    """Where the rollout stood when the person was asked, as one that waits. It is judged since its newest plan was stored."""
    effects = deps.store.effects(record.run_id)
    plan = _newest(effects, "plan-")
    served = _newest([each for each in effects if each.status == "done"], "weight-")
    intent: Mapping[str, Any] = {} if served is None else served.intent
    output: dict[str, Any] = record.output or {}
    return RolloutStatus(
        phase="waiting",
        step_index=output.get("rollout", {}).get("stepIndex") or 0,
        weight=intent.get("weight", 0),
        mirror=intent.get("mirror", 0),
        started_at=now if plan is None else plan.intended_at,
    )


def _newest(effects: Sequence[EffectRecord], prefix: str) -> EffectRecord | None:
    """By the numbers in their names: attempt, then step."""
    found = [each for each in effects if each.name.startswith(prefix)]
    return max(found, key=lambda each: [int(n) for n in each.name.removeprefix(prefix).split("-")], default=None)


def _served(deps: Deps, run: Run, plan: RolloutPlan, candidate: str, status: RolloutStatus) -> DeploymentReply:
    version = deps.registry.get_version(run.profile.registered_model, candidate)
    key = f"{run.run_id}/asked"
    request = endpoint.request_for(
        version, status.weight, plan.last_known_good, key, plan.strategy, mirror=status.mirror
    )
    with endpoint.asking_the_target():
        return deps.target_of(run.profile).status(request)
