"""What happens step by step when a candidate goes live, and what does each look at the target mean?

Pure stepping: the caller asks `pending_action`, does it (sets a weight, takes a look), and hands what the target said
to `next_status`. Rules:

- unhealthy, or a reported weight other than the desired one: `unhealthy`, proof `contradicted` for the weight;
- no answer from a target that can report: `waiting`, looked at again, `inconclusive` at the plan's `max_duration`;
- a target that cannot report: a `rolling` plan passes its analysis unmeasured and stays `unproved`; a `canary` plan is
  `inconclusive` at once, since a canary nobody can watch proves nothing.
"""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from tools.contracts.comparison import Criteria
from tools.contracts.decision import DecisionKind
from tools.contracts.peers import DeploymentReply
from tools.contracts.profile import RolloutSpec
from tools.contracts.rollout import Analysis, MonitoringRule, Pause, RolloutPlan, RolloutStatus, SetMirror, SetWeight, Step
from tools.errors import BadInput
from tools.evidence import digest

STEPPING: Final = frozenset({"not_started", "progressing", "waiting"})
"""Phases in which the rollout may go on by itself; in all others it has ended, or a person is asked."""
LOOK_AGAIN: Final = timedelta(minutes=1)
"""Between looks where the plan has no pause to go by."""


def make_plan(
    *, decision: DecisionKind, rollout: RolloutSpec, candidate_version: str | None, last_known_good: str | None
) -> RolloutPlan:
    """The plan of a `deploy` (all at once) or a `canary` (the profile's weights, then all), with its digest.

    Raises:
        BadInput: A decision that moves nothing, a canary without a version to go back to, or pauses longer than the
            profile's `max_duration`.
    """
    if decision not in ("deploy", "canary"):
        raise BadInput(f"{decision} moves nothing: there is no rollout to plan", thing="decision", value=decision)
    if decision == "canary" and last_known_good is None:
        raise BadInput(
            "a canary needs a version that keeps the rest of the traffic",
            thing="last_known_good",
            remedy="deploy the first model as a whole",
        )
    steps: list[Step] = []
    for weight in rollout.canary_weights if decision == "canary" else ():
        steps.append(SetWeight(weight=weight))
        if rollout.step_pause > timedelta(0):
            steps.append(Pause(duration=rollout.step_pause))
        steps.append(Analysis())
    steps += [SetWeight(weight=100), Analysis()]
    plan = RolloutPlan(
        candidate_version=candidate_version,
        last_known_good=last_known_good,
        strategy="canary" if decision == "canary" else "rolling",
        steps=tuple(steps),
        max_duration=rollout.max_duration,
    )
    plan = _sealed(plan)
    validate_plan(plan)
    return plan


def with_candidate(plan: RolloutPlan, version: str) -> RolloutPlan:
    """The same plan for a version that has just been registered, sealed anew."""
    return _sealed(plan.model_copy(update={"candidate_version": version}))


def validate_plan(plan: RolloutPlan) -> None:
    """Refuses a plan that cannot do what a plan promises.

    Raises:
        BadInput: Weights that do not ascend or do not end at 100, a weight without an analysis behind it, an endless
            pause, pauses that exceed `max_duration`, a canary with one weight, or a digest of other content.
    """

    def refuse(message: str, value: object) -> None:
        raise BadInput(f"rollout plan: {message}", thing="plan", value=value, remedy="make a new plan")

    weights = [step.weight for step in plan.steps if isinstance(step, SetWeight)]
    if not weights or any(later <= earlier for earlier, later in pairwise(weights)):
        refuse("weights must ascend", weights)
    if weights[-1] != 100:
        refuse("the last weight must be 100", weights)
    if plan.strategy == "canary" and len(weights) < 2:
        refuse("a canary needs a weight below 100", weights)
    looked = True
    pauses = timedelta(0)
    for number, step in enumerate(plan.steps):
        if isinstance(step, SetWeight):
            if not looked:
                refuse("a weight is raised without an analysis of the one before", number)
            looked = False
        elif isinstance(step, Analysis):
            looked = True
        elif isinstance(step, SetMirror):
            continue
        elif step.duration is None:
            refuse("a pause without an end would wait for nobody", number)
        else:
            pauses += step.duration
    if not looked:
        refuse("the last weight has no analysis", weights)
    if pauses > plan.max_duration:
        refuse(f"its pauses take {pauses}, longer than its max_duration {plan.max_duration}", str(pauses))
    if plan.digest and plan.digest != _sealed(plan).digest:
        refuse("its digest is of other content", plan.digest)


def pending_action(plan: RolloutPlan, status: RolloutStatus) -> Step | None:
    """The step to be done now; None when the rollout has ended or a person is asked."""
    if status.phase not in STEPPING or status.step_index >= len(plan.steps):
        return None
    return plan.steps[status.step_index]


def next_status(
    *, plan: RolloutPlan, status: RolloutStatus, look: DeploymentReply | None, now: datetime, can_prove: bool
) -> RolloutStatus:
    """Where the rollout stands after the pending step was tried.

    Args:
        plan: As validated.
        status: Before.
        look: What the target answered to the step; None where it did not, or where nothing was asked.
        now: Aware.
        can_prove: Whether the target reports what it serves.

    Raises:
        BadInput: The plan has no candidate version yet.
    """
    step = pending_action(plan, status)
    if step is None:
        return status
    if plan.candidate_version is None:
        raise BadInput("the plan names no candidate version", thing="plan", remedy="register the candidate first")
    started = status.started_at or now
    status = status.model_copy(update={"started_at": started})
    harm = _harm(plan, status, step, look)
    if harm is not None:
        return harm
    if now - started > plan.max_duration:
        return _ended(status, "inconclusive", f"Not finished within {plan.max_duration}; last: {status.statement}")
    if isinstance(step, SetWeight):
        return _weighed(plan, status, step, look, now)
    if isinstance(step, Pause):
        return _paused(plan, status, step, now)
    return _analysed(plan, status, look, now, can_prove)


def monitoring_rules(
    *, decision: DecisionKind, criteria: Criteria, rollout: RolloutSpec
) -> tuple[tuple[MonitoringRule, ...], tuple[MonitoringRule, ...]]:
    """(post-deployment checks, rollback triggers) of a decision that moves something; empty for one that does not.

    `change` in a condition is the metric against the last known good version on the same rows with mature labels,
    positive when better; `low` and `high` are its interval.
    """
    if decision not in ("deploy", "canary"):
        return (), ()
    every = max(rollout.step_pause, LOOK_AGAIN)
    checks = [
        MonitoringRule(
            metric="health", condition="healthy == true", interval=every, statement="The target reports good health."
        ),
        MonitoringRule(
            metric="traffic",
            condition="observed_weight == weight",
            interval=every,
            statement="The target serves the share it was told to.",
        ),
    ]
    triggers = [
        MonitoringRule(
            metric="health", condition="healthy == false", interval=every, statement="The target reports bad health."
        ),
        MonitoringRule(
            metric="traffic",
            condition="observed_weight != weight",
            interval=every,
            statement="The target serves another share than it was told to.",
        ),
    ]
    for criterion in (criteria.primary, *criteria.guardrails):
        name, margin = criterion.metric, criterion.margin
        unit = "of the champion's value" if criterion.unit == "relative" else "absolute"
        checks.append(
            MonitoringRule(
                metric=name,
                condition=f"low >= {0.0 - margin:g}",
                statement=f"{name} has lost no more than {margin:g} ({unit}) against the last known good version.",
            )
        )
        triggers.append(
            MonitoringRule(
                metric=name,
                condition=f"high < {0.0 - margin:g}",
                statement=f"{name} has surely lost more than {margin:g} ({unit}) against the last known good version.",
            )
        )
    return tuple(checks), tuple(triggers)


def _sealed(plan: RolloutPlan) -> RolloutPlan:
    content = plan.to_state()
    del content["digest"]
    return plan.model_copy(update={"digest": digest(content)})


def _observed(plan: RolloutPlan, look: DeploymentReply | None) -> int | None:
    if look is None or look.observed_weights is None or plan.candidate_version is None:
        return None
    return look.observed_weights.get(plan.candidate_version, 0)


def _harm(plan: RolloutPlan, status: RolloutStatus, step: Step, look: DeploymentReply | None) -> RolloutStatus | None:
    """Bad health counts at any step; another weight than desired only once it has been set."""
    observed = _observed(plan, look)
    if look is not None and look.healthy is False:
        seen = status.model_copy(update={"observed_weight": observed})
        return _ended(seen, "unhealthy", "The target reports bad health.")
    if observed is None or isinstance(step, SetWeight) or observed == status.weight:
        return None
    seen = status.model_copy(update={"observed_weight": observed, "proof": "contradicted"})
    return _ended(seen, "unhealthy", f"The target serves {observed} % of the candidate, {status.weight} % was set.")


def _ended(status: RolloutStatus, phase: str, statement: str) -> RolloutStatus:
    return status.model_copy(update={"phase": phase, "wake_at": None, "statement": statement})


def _advanced(plan: RolloutPlan, status: RolloutStatus, statement: str) -> RolloutStatus:
    index = status.step_index + 1
    phase = "healthy" if index >= len(plan.steps) else "progressing"
    return status.model_copy(update={"step_index": index, "phase": phase, "wake_at": None, "statement": statement})


def _waiting(plan: RolloutPlan, status: RolloutStatus, now: datetime, statement: str) -> RolloutStatus:
    pauses = [step.duration for step in plan.steps if isinstance(step, Pause) and step.duration]
    again = now + (min(pauses) if pauses else LOOK_AGAIN)
    return status.model_copy(update={"phase": "waiting", "wake_at": again, "statement": statement})


def _weighed(
    plan: RolloutPlan, status: RolloutStatus, step: SetWeight, look: DeploymentReply | None, now: datetime
) -> RolloutStatus:
    if look is None:
        return _waiting(plan, status, now, f"The target did not confirm {step.weight} %.")
    observed = _observed(plan, look)
    proof = "proved" if observed == step.weight else "unproved"
    seen = status.model_copy(update={"weight": step.weight, "observed_weight": observed, "proof": proof})
    return _advanced(plan, seen, f"{step.weight} % set on version {plan.candidate_version}.")


def _paused(plan: RolloutPlan, status: RolloutStatus, step: Pause, now: datetime) -> RolloutStatus:
    if status.phase == "waiting" and status.wake_at is not None:
        return _advanced(plan, status, "The pause is over.") if now >= status.wake_at else status
    wake_at = now + (step.duration or timedelta(0))
    told = f"{status.weight} % until {wake_at.isoformat()}."
    return status.model_copy(update={"phase": "waiting", "wake_at": wake_at, "statement": told})


def _analysed(
    plan: RolloutPlan, status: RolloutStatus, look: DeploymentReply | None, now: datetime, can_prove: bool
) -> RolloutStatus:
    if not can_prove:
        if plan.strategy == "canary":
            return _ended(status, "inconclusive", "The target cannot report: a canary on it cannot be watched.")
        unproved = status.model_copy(update={"observed_weight": None, "proof": "unproved"})
        return _advanced(plan, unproved, "Passed unmeasured: the target cannot report what it serves.")
    observed = _observed(plan, look)
    if look is None or observed is None or look.healthy is None:
        unknown = (
            "did not answer" if look is None else "reports no weights" if observed is None else "reports no health"
        )
        return _waiting(plan, status.model_copy(update={"observed_weight": observed}), now, f"The target {unknown}.")
    proved = status.model_copy(update={"observed_weight": observed, "proof": "proved"})
    return _advanced(plan, proved, f"Healthy at {observed} %, as reported by the target.")
