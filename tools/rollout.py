"""What does each look at a running rollout mean?

Pure stepping: the caller asks `pending_action`, does it (sets a weight, takes a look), and hands what the target said and what the
signals say to `next_status`. Rules:

- a trigger of `tools.monitoring` fires, more often in a row than the metric's `failure_limit`: `unhealthy`, at whatever step;
- no answer from a target that can report, or too few samples: `waiting`, looked at again, `inconclusive` at the plan's
  `max_duration` or a metric's `inconclusive_limit`; a person is asked then, and nobody's answer rolls back;
- looks that could not be taken are counted apart; too many in a row are `inconclusive` too, never harm and never health;
- a target that refuses will refuse again: the rollout ends and goes back, unless a person holds it, whom it waits for;
- a target that cannot report: a `rolling` plan passes its analysis unmeasured and stays `unproved`; a `canary` plan is
  `inconclusive` at once, since a canary nobody can watch proves nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from tools import monitoring
from tools.contracts.peers import DeploymentReply
from tools.contracts.rollout import (
    Analysis,
    Bake,
    Pause,
    Phase,
    RolloutPlan,
    RolloutStatus,
    SetMirror,
    SetWeight,
    SignalVerdict,
    Step,
)
from tools.errors import BadInput

STEPPING: Final = frozenset({"not_started", "progressing", "waiting"})
"""Phases in which the rollout may go on by itself; in all others it has ended, or a person is asked."""
ERROR_LIMIT: Final = 4
"""Looks in a row that could not be taken, where the plan names no metric."""


def pending_action(plan: RolloutPlan, status: RolloutStatus) -> Step | None:
    """The step to be done now; None when the rollout has ended or a person is asked."""
    if status.phase not in STEPPING or status.step_index >= len(plan.steps):
        return None
    return plan.steps[status.step_index]


def asks_a_person(step: Step | None) -> bool:
    """A pause without an end: the caller holds the rollout when it comes there, and an approver releases it."""
    return isinstance(step, Pause) and step.duration is None


def longest_wait(plan: RolloutPlan) -> timedelta:
    """The furthest ahead that a look of this plan is ever set."""
    if plan.metrics:
        return monitoring.look_interval(plan)
    waits = [step.duration for step in plan.steps if isinstance(step, Pause | Bake) and step.duration]
    return max(waits, default=monitoring.LOOK_AGAIN)


def next_status(
    *,
    plan: RolloutPlan,
    status: RolloutStatus,
    look: DeploymentReply | None,
    now: datetime,
    can_prove: bool,
    signals: Sequence[SignalVerdict] = (),
    fault: str | None = None,
    refused: bool = False,
    held: bool = False,
) -> RolloutStatus:
    """Where the rollout stands after the pending step was tried.

    Args:
        plan: As validated.
        status: Before.
        look: What the target answered to the step; None where it did not, or where nothing was asked.
        now: Aware.
        can_prove: Whether the target reports what it serves.
        signals: Verdicts on the plan's metrics so far.
        fault: Why the look could not be taken, where it could not.
        refused: The target said no: the same look will not be taken the next time either, until somebody mends something.
        held: A person paused the rollout: harm still ends it, nothing else moves it.

    Raises:
        BadInput: The plan has no candidate version yet.
    """
    step = pending_action(plan, status)
    if step is None:
        return status
    if plan.candidate_version is None:
        raise BadInput("the plan names no candidate version", thing="plan", remedy="register the candidate first")
    status = status.model_copy(
        update={
            # A clock that was set back begins both anew: an hour that lies ahead would wait for it to come round again.
            "started_at": min(status.started_at or now, now),
            "step_started_at": min(status.step_started_at or now, now),
            "signals": tuple(signals) or status.signals,
            "in_a_row": _in_a_row(plan, status, signals, fault),
        }
    )
    ended = _harm(plan, status, step, look, signals)
    if ended is None and refused and not held:
        ended = _ended(status, "unhealthy", f"The target refuses to go on with the rollout: {fault}")
    ended = ended or _given_up(plan, status, now, fault)
    if ended is not None:
        return ended
    if held:
        unseen = "" if fault is None else f" The look could not be taken: {fault}"
        why = f"{_share(status)} until an approver lets it go on" if asks_a_person(step) else "Paused by a person"
        return _waiting(plan, status, now, f"{why}; harm would still end it.{unseen}")
    if fault is not None:
        return _waiting(plan, status, now, f"The look could not be taken: {fault}")
    if isinstance(step, SetWeight | SetMirror):
        return _moved(plan, status, step, look, now)
    if isinstance(step, Pause):
        return _paused(plan, status, step, now)
    if isinstance(step, Bake):
        return _baked(plan, status, step, look, now)
    return _analysed(plan, status, step, look, signals, now, can_prove)


def _in_a_row(
    plan: RolloutPlan, status: RolloutStatus, signals: Sequence[SignalVerdict], fault: str | None
) -> dict[str, int]:
    """The counts behind the limits. Steps taken at one waking are one look; one that was not taken says nothing about harm."""
    before = status.in_a_row
    another = 1 if status.phase == "waiting" else 0

    def counted(name: str, seen: bool) -> int:
        return max(before.get(name, 0) + another, 1) if seen else 0

    unread = fault is not None or any(s.outcome == "error" and s.critical for s in signals)
    counts = {**before, "error": counted("error", unread)}
    for verdict in signals:
        if verdict.outcome == "error":
            continue
        failed, still = f"failed:{verdict.name}", f"open:{verdict.name}"
        counts[failed] = counted(failed, verdict.outcome == "harmful")
        counts[still] = counted(still, verdict.outcome in ("inconclusive", "no_data"))
    return {name: count for name, count in counts.items() if count}


def _harm(
    plan: RolloutPlan,
    status: RolloutStatus,
    step: Step,
    look: DeploymentReply | None,
    signals: Sequence[SignalVerdict],
) -> RolloutStatus | None:
    """The first trigger that fires. Another weight than desired counts only once it has been set."""
    observed = _observed(plan, look)
    seen = status if look is None else status.model_copy(update={"observed_weight": observed})
    values = {
        "healthy": None if look is None else look.healthy,
        "observed_weight": None if isinstance(step, SetWeight | SetMirror) else observed,
        "weight": status.weight,
    }
    found = {verdict.name: verdict for verdict in signals}
    limits = {metric.name: metric.failure_limit for metric in plan.metrics}
    for rule in monitoring.triggers(plan):
        verdict = found.get(rule.metric)  # type: ignore[call-overload]
        if not monitoring.fires(rule, {**values, "outcome": monitoring.outcome(verdict)}):
            continue
        if verdict is not None:
            if status.in_a_row.get(f"failed:{verdict.name}", 0) > limits[verdict.name]:
                return _ended(seen, "unhealthy", verdict.statement)
        elif rule.metric == "traffic":
            told = f"The target serves {observed} % of the candidate, {status.weight} % was set."
            return _ended(seen.model_copy(update={"proof": "contradicted"}), "unhealthy", told)
        else:
            return _ended(seen, "unhealthy", rule.statement)
    return None


def _given_up(plan: RolloutPlan, status: RolloutStatus, now: datetime, fault: str | None) -> RolloutStatus | None:
    """Too long, or too often without a look: a person is asked."""
    limit = min((metric.consecutive_error_limit for metric in plan.metrics), default=ERROR_LIMIT)
    if status.in_a_row.get("error", 0) >= limit:
        why = fault or next((s.statement for s in status.signals if s.outcome == "error"), "no reason was given")
        return _ended(status, "inconclusive", f"{limit} looks in a row could not be taken; the last: {why}")
    started = status.started_at
    if started is not None and now - started > plan.max_duration:
        return _ended(status, "inconclusive", f"Not finished within {plan.max_duration}; last: {status.statement}")
    for metric in plan.metrics:
        looks = status.in_a_row.get(f"open:{metric.name}", 0)
        if metric.critical and metric.inconclusive_limit is not None and looks >= metric.inconclusive_limit:
            return _ended(status, "inconclusive", f"{metric.name}: {looks} looks in a row told nothing.")
    return None


def _observed(plan: RolloutPlan, look: DeploymentReply | None) -> int | None:
    if look is None or look.observed_weights is None or plan.candidate_version is None:
        return None
    return look.observed_weights.get(plan.candidate_version, 0)


def _ended(status: RolloutStatus, phase: Phase, statement: str) -> RolloutStatus:
    return status.model_copy(update={"phase": phase, "wake_at": None, "statement": statement})


def _advanced(plan: RolloutPlan, status: RolloutStatus, statement: str) -> RolloutStatus:
    index = status.step_index + 1
    phase = "healthy" if index >= len(plan.steps) else "progressing"
    done = {"step_index": index, "phase": phase, "wake_at": None, "step_started_at": None, "statement": statement}
    return status.model_copy(update=done)


def _waiting(
    plan: RolloutPlan, status: RolloutStatus, now: datetime, statement: str, until: datetime | None = None
) -> RolloutStatus:
    """Looked at again after the shortest interval, or at `until` where that is sooner or there is nothing to be seen."""
    if plan.metrics:
        soon = now + monitoring.look_interval(plan)
        wake_at = soon if until is None else min(soon, until)
    else:
        pauses = [step.duration for step in plan.steps if isinstance(step, Pause) and step.duration]
        wake_at = until or now + (min(pauses) if pauses else monitoring.LOOK_AGAIN)
    return status.model_copy(update={"phase": "waiting", "wake_at": wake_at, "statement": statement})


def _moved(
    plan: RolloutPlan, status: RolloutStatus, step: SetWeight | SetMirror, look: DeploymentReply | None, now: datetime
) -> RolloutStatus:
    asked = f"{step.weight} %" if isinstance(step, SetWeight) else f"a mirror of {step.percent} %"
    if look is None:
        return _waiting(plan, status, now, f"The target did not confirm {asked}.")
    if isinstance(step, SetMirror):
        seen = status.model_copy(update={"mirror": step.percent, "observed_mirror": look.observed_mirror})
        return _advanced(plan, seen, f"{step.percent} % mirrored to version {plan.candidate_version}.")
    observed = _observed(plan, look)
    proof = "proved" if observed == step.weight else "unproved"
    seen = status.model_copy(
        update={
            "weight": step.weight,
            "observed_weight": observed,
            "proof": proof,
            "mirror": 0,
            "observed_mirror": look.observed_mirror,
        }
    )
    return _advanced(plan, seen, f"{step.weight} % set on version {plan.candidate_version}.")


def _end(status: RolloutStatus, duration: timedelta | None, now: datetime) -> datetime:
    return (status.step_started_at or now) + (duration or timedelta(0))


def _paused(plan: RolloutPlan, status: RolloutStatus, step: Pause, now: datetime) -> RolloutStatus:
    if asks_a_person(step):
        # While it is to wait it is held, and does not come here.
        return _advanced(plan, status, "An approver let it go on.")
    end = _end(status, step.duration, now)
    if now >= end:
        return _advanced(plan, status, "The pause is over.")
    return _waiting(plan, status, now, f"{_share(status)} until {end.isoformat()}.", end)


def _baked(
    plan: RolloutPlan, status: RolloutStatus, step: Bake, look: DeploymentReply | None, now: datetime
) -> RolloutStatus:
    """Ends with a look that was taken: nobody promotes what does not answer."""
    end = _end(status, step.duration, now)
    if now < end:
        told = f"All traffic on version {plan.candidate_version}, the champion ready to take over, until {end.isoformat()}."
        return _waiting(plan, status, now, told, end)
    if look is None or look.healthy is None or _observed(plan, look) is None:
        return _waiting(plan, status, now, "The bake is over, but the target does not report.")
    proved = status.model_copy(update={"observed_weight": _observed(plan, look), "proof": "proved"})
    return _advanced(plan, proved, f"Baked for {step.duration} without harm.")


def _analysed(
    plan: RolloutPlan,
    status: RolloutStatus,
    step: Analysis,
    look: DeploymentReply | None,
    signals: Sequence[SignalVerdict],
    now: datetime,
    can_prove: bool,
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
    open_ones = _not_yet(plan, step, signals)
    if open_ones:
        return _waiting(plan, proved, now, f"{_share(status)}; {'; '.join(open_ones)}")
    return _advanced(plan, proved, f"Healthy at {observed} %, as reported by the target.{_told(signals)}")


def _not_yet(plan: RolloutPlan, step: Analysis, signals: Sequence[SignalVerdict]) -> list[str]:
    """What the step still asks of the critical metrics. A metric without a verdict is one that has not been told."""
    if step.require == "no_alarm":
        return []
    enough = ("safe",) if step.require == "safe" else ("safe", "inconclusive")
    found = {verdict.name: verdict for verdict in signals}
    missing: list[str] = []
    for metric in plan.metrics:
        verdict = found.get(metric.name)
        if metric.critical and (verdict is None or verdict.outcome not in enough):
            missing.append(f"{metric.name}: no verdict yet" if verdict is None else verdict.statement)
    return missing


def _share(status: RolloutStatus) -> str:
    return f"{status.mirror} % mirrored" if status.mirror and not status.weight else f"{status.weight} %"


def _told(signals: Sequence[SignalVerdict]) -> str:
    """Harm in a metric that is only shown must be seen, though it stops nothing."""
    shown = [verdict.statement for verdict in signals if verdict.outcome == "harmful" and not verdict.critical]
    return "" if not shown else f" Not critical, but seen: {' '.join(shown)}"
