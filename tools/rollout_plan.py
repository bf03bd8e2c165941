"""What is to happen, step by step, when a candidate goes live? Plans are made, sealed and refused here; `rollout` steps them."""

from datetime import timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from tools.contracts.decision import DecisionKind
from tools.contracts.profile import BatchTarget, RolloutSpec, Target
from tools.contracts.rollout import (
    Analysis,
    Bake,
    Pause,
    RolloutMetric,
    RolloutPlan,
    SetMirror,
    SetWeight,
    Step,
)
from tools.errors import BadInput
from tools.evidence import digest

ERRORS: Final = RolloutMetric(name="errors", margin=0.01)
MISSING: Final = RolloutMetric(name="missing_values", margin=0.01)
LATENCY: Final = RolloutMetric(name="latency_ms", margin=0.05, critical=False)
SPREAD: Final = RolloutMetric(name="prediction_distribution", margin=0.1, critical=False)
DISAGREEMENT: Final = RolloutMetric(name="disagreement", margin=0.2, critical=False)
QUALITY: Final = RolloutMetric(name="quality", margin=0.02)


class Means(NamedTuple):
    """What the target and the data allow."""

    split: bool = False
    """Traffic can be split."""
    mirror: bool = False
    """Requests can be mirrored."""
    bake: bool = False
    """All traffic on the candidate can be watched while the champion could take over at once; see `can_bake`."""
    log: bool = False
    """There is a log of answers to judge by."""
    labels_in_time: bool = False
    """Labels arrive before the plan's deadline."""


SPLITS: Final = Means(split=True)
ALL: Final = Means(split=True, mirror=True, bake=True, log=True, labels_in_time=True)


def can_bake(target: Target, rollout: RolloutSpec, *, can_load: bool) -> bool:
    """Whether a bake would show anything.

    With servers it does where the champion stays loaded. In batch nothing is loaded: the champion can be scored from all the
    same, and each partition that the candidate writes is one more to be judged. A bake shorter than a partition would see none.
    """
    if isinstance(target, BatchTarget):
        return rollout.bake >= target.partition
    return can_load


def make_plan(
    *,
    decision: DecisionKind,
    rollout: RolloutSpec,
    candidate_version: str | None,
    last_known_good: str | None,
    means: Means = SPLITS,
    insisted: bool = False,
) -> RolloutPlan:
    """The plan of a `deploy` (all at once) or a `canary` (mirror, then the profile's weights, then all), with its digest.

    Where there is a log, a canary's last look below 100 % asks for what the profile's `promote_on` says; all others ask for
    enough samples without harm.

    Args:
        decision: What was decided.
        rollout: From the profile.
        candidate_version: Absent until it is registered.
        last_known_good: The version to go back to; None only for a first model.
        means: What the target can do.
        insisted: A person wants it although a canary could not tell: only harm that is shown stops it.

    Raises:
        BadInput: A decision that moves nothing, a canary without a version to go back to, pauses longer than the
            profile's `max_duration`, or steps of the profile's own that make no plan or that the target cannot do.
    """
    if decision not in ("deploy", "canary"):
        raise BadInput(f"{decision} moves nothing: there is no rollout to plan", thing="decision", value=decision)
    if decision == "canary" and last_known_good is None:
        raise BadInput(
            "a canary needs a version that keeps the rest of the traffic",
            thing="last_known_good",
            remedy="deploy the first model as a whole",
        )
    metrics = metrics_of(rollout, means) if means.log and last_known_good is not None else ()
    plan = RolloutPlan(
        candidate_version=candidate_version,
        last_known_good=last_known_good,
        strategy="canary" if decision == "canary" else "rolling",
        steps=_steps(decision, rollout, means, judged=bool(metrics), insisted=insisted),
        metrics=metrics,
        alpha=rollout.alpha,
        max_duration=rollout.max_duration,
    )
    plan = _sealed(plan)
    validate_plan(plan)
    return plan


def _steps(
    decision: DecisionKind, rollout: RolloutSpec, means: Means, *, judged: bool, insisted: bool
) -> tuple[Step, ...]:
    if decision == "canary" and rollout.steps is not None:
        return _own_steps(rollout.steps, rollout, means, judged=judged)
    steps: list[Step] = []
    pause = [Pause(duration=rollout.step_pause)] if rollout.step_pause > timedelta(0) else []
    if decision == "canary" and means.mirror and judged and rollout.mirror:
        steps += [SetMirror(percent=rollout.mirror), *pause, Analysis()]
    if decision == "canary" and means.split:
        for weight in rollout.canary_weights:
            steps += [SetWeight(weight=weight), *pause, Analysis()]
    if judged and steps:
        steps[-1] = Analysis(require=rollout.promote_on)
    steps += [SetWeight(weight=100), Analysis(require="no_alarm" if insisted else "no_harm")]
    if means.bake and rollout.bake > timedelta(0):
        steps.append(Bake(duration=rollout.bake))
    return tuple(steps)


def _own_steps(steps: tuple[Step, ...], rollout: RolloutSpec, means: Means, *, judged: bool) -> tuple[Step, ...]:
    """As the profile has them: nothing is left out that the target cannot do, and nothing promoted that `promote_on` would not."""
    if any(isinstance(step, SetMirror) for step in steps) and not means.mirror:
        _cannot("mirror requests", "set_mirror")
    if any(isinstance(step, SetWeight) and step.weight < 100 for step in steps) and not means.split:
        _cannot("split traffic", "set_weight below 100")
    if any(isinstance(step, Bake) for step in steps) and not means.bake:
        _cannot("keep the champion ready to take over for so long", "bake")
    before = steps[: next((n for n, step in enumerate(steps) if isinstance(step, SetWeight) and step.weight == 100), 0)]
    last = next((step for step in reversed(before) if isinstance(step, Analysis)), None)
    if judged and rollout.promote_on == "safe" and last is not None and last.require != "safe":
        raise BadInput(
            "rollout.steps: the last analysis below 100 % asks for less than promote_on",
            thing="rollout.steps",
            value=last.require,
            remedy="write `require: safe` there, or `promote_on: no_harm`",
        )
    return steps


def _cannot(what: str, step: str) -> None:
    raise BadInput(
        f"rollout.steps: the target cannot {what}",
        thing="rollout.steps",
        value=step,
        remedy="leave the step out, or serve by a target that can (docs/targets.md)",
    )


def require_plannable(rollout: RolloutSpec, means: Means | None = None) -> None:
    """Refuse what no rollout can be planned by, before anything is trained for it.

    Args:
        rollout: From the profile.
        means: What the target can do; where absent, only what no target could do is refused.

    Raises:
        BadInput: As `make_plan`.
    """
    least = ALL if rollout.steps is not None else SPLITS
    able = means or least
    whole = rollout.steps is None and not able.split and not able.mirror
    decision: DecisionKind = "deploy" if whole else "canary"
    make_plan(decision=decision, rollout=rollout, candidate_version="new", last_known_good="old", means=able)


def metrics_of(rollout: RolloutSpec, means: Means) -> tuple[RolloutMetric, ...]:
    """The profile's metrics; where it names none: errors, missing values, latency and spread, and quality where labels come.

    Quality is critical only where labels arrive in time: a canary that waits for labels of next month would never end.
    """
    if rollout.metrics is not None:
        return rollout.metrics
    mirrored = (DISAGREEMENT,) if means.mirror and rollout.mirror else ()
    quality = QUALITY if means.labels_in_time else QUALITY.model_copy(update={"critical": False})
    return (ERRORS, MISSING, LATENCY, SPREAD, *mirrored, quality)


def with_candidate(plan: RolloutPlan, version: str) -> RolloutPlan:
    """The same plan for a version that has just been registered, sealed anew."""
    return _sealed(plan.model_copy(update={"candidate_version": version}))


def validate_plan(plan: RolloutPlan) -> None:
    """Refuses a plan that cannot do what a plan promises.

    Raises:
        BadInput: Weights that do not ascend or do not end at 100, a weight or mirror of none, one without an analysis behind it,
            a mirror behind a weight, a bake below 100 %, pauses that exceed `max_duration`, a canary without a step before
            100 %, a metric named twice, metrics without a version to compare with, or a digest of other content.
    """
    weights = [step.weight for step in plan.steps if isinstance(step, SetWeight)]
    if not weights or any(later <= earlier for earlier, later in pairwise(weights)):
        _refuse("weights must ascend", weights)
    if weights[-1] != 100:
        _refuse("the last weight must be 100", weights)
    if weights[0] == 0 or any(isinstance(step, SetMirror) and step.percent == 0 for step in plan.steps):
        _refuse("a weight or mirror of 0 shows the candidate to nobody", 0)
    if plan.strategy == "canary" and len(weights) < 2 and not any(isinstance(step, SetMirror) for step in plan.steps):
        _refuse("a canary needs a weight below 100 or a mirror", weights)
    waits = _validated_order(plan)
    if waits > plan.max_duration:
        _refuse(f"its pauses take {waits}, longer than its max_duration {plan.max_duration}", str(waits))
    names = [metric.name for metric in plan.metrics]
    if len(set(names)) < len(names):
        _refuse("a metric stands twice", names)
    if names and plan.last_known_good is None:
        _refuse("its metrics compare with a version that it does not name", names)
    if plan.digest and plan.digest != _sealed(plan).digest:
        _refuse("its digest is of other content", plan.digest)


def _validated_order(plan: RolloutPlan) -> timedelta:
    """How long its pauses and bakes take together."""
    looked, weight, waits = True, 0, timedelta(0)
    for number, step in enumerate(plan.steps):
        if isinstance(step, SetWeight | SetMirror):
            if not looked:
                _refuse("a weight is raised without an analysis of the one before", number)
            if isinstance(step, SetMirror) and weight:
                _refuse("a mirror behind a weight would be seen by nobody", number)
            looked, weight = False, step.weight if isinstance(step, SetWeight) else weight
        elif isinstance(step, Analysis):
            looked = True
        elif isinstance(step, Bake):
            if weight != 100:
                _refuse("a bake needs all traffic on the candidate", number)
            waits += step.duration
        else:
            waits += step.duration or timedelta(0)
    if not looked:
        _refuse("the last weight has no analysis", weight)
    return waits


def _refuse(message: str, value: object) -> None:
    raise BadInput(f"rollout plan: {message}", thing="plan", value=value, remedy="see `rollout` in docs/profile.md")


def _sealed(plan: RolloutPlan) -> RolloutPlan:
    content = plan.to_state()
    del content["digest"]
    return plan.model_copy(update={"digest": digest(content)})
