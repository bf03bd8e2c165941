"""Plans by what the target can do, rules that fire or cannot tell, and what speaks against traffic."""

from datetime import timedelta
from typing import Any

import pytest

from tools import monitoring
from tools.contracts.profile import AliasTarget, BatchTarget, RolloutSpec, ServingTarget, Target
from tools.contracts.rollout import (
    Analysis,
    Bake,
    EndpointAnswer,
    MonitoringRule,
    Pause,
    RolloutMetric,
    RolloutPlan,
    SetMirror,
    SetWeight,
    SignalVerdict,
)
from tools.errors import BadInput
from tools.infrastructure import soundness
from tools.rollout_plan import Means, can_bake, make_plan, validate_plan

SPEC = RolloutSpec(canary_weights=(20,), step_pause=timedelta(0), bake=timedelta(minutes=5))
ALL = Means(split=True, mirror=True, bake=True, log=True, labels_in_time=True)


def plan(decision: Any = "canary", means: Means = ALL, rollout: RolloutSpec = SPEC, **more: Any) -> RolloutPlan:
    given: dict[str, Any] = {"candidate_version": "7", "last_known_good": "6"} | more
    return make_plan(decision=decision, rollout=rollout, means=means, **given)


def kinds(found: RolloutPlan) -> list[str]:
    return [step.kind for step in found.steps]


def test_canary_mirrors_weighs_bakes_and_must_be_safe_before_all_traffic() -> None:
    found = plan()

    assert kinds(found) == ["set_mirror", "analysis", "set_weight", "analysis", "set_weight", "analysis", "bake"]
    assert [step.require for step in found.steps if isinstance(step, Analysis)] == ["no_harm", "safe", "no_harm"]
    assert {metric.name for metric in found.metrics if metric.critical} == {"errors", "missing_values", "quality"}


def test_quality_is_not_critical_where_labels_come_after_the_deadline() -> None:
    late = {metric.name: metric.critical for metric in plan(means=ALL._replace(labels_in_time=False)).metrics}

    assert (late["quality"], late["errors"]) == (False, True)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        (ALL._replace(mirror=False), ["set_weight", "analysis", "set_weight", "analysis", "bake"]),
        (ALL._replace(split=False, bake=False), ["set_mirror", "analysis", "set_weight", "analysis"]),
        (ALL._replace(log=False), ["set_weight", "analysis", "set_weight", "analysis", "bake"]),
    ],
)
def test_plan_leaves_out_what_the_target_cannot_do(means: Means, expected: list[str]) -> None:
    assert kinds(plan(means=means)) == expected


def test_first_model_is_compared_with_nobody_and_a_person_who_insists_needs_no_samples() -> None:
    assert plan("deploy", last_known_good=None).metrics == ()
    insisted = plan("deploy", insisted=True)
    assert [step.require for step in insisted.steps if isinstance(step, Analysis)] == ["no_alarm"]
    assert insisted.metrics


LOOK, ALL_TRAFFIC = Analysis(), SetWeight(weight=100)
OWN = (SetMirror(percent=50), LOOK, SetWeight(weight=5), Pause(), Analysis(require="safe"), ALL_TRAFFIC, LOOK)


def test_own_steps_are_the_course_of_a_canary_and_of_nothing_else() -> None:
    own = SPEC.model_copy(update={"steps": OWN})
    assert plan(rollout=own).steps == OWN
    assert kinds(plan("deploy", rollout=own)) == ["set_weight", "analysis", "bake"]


@pytest.mark.parametrize(
    ("steps", "means", "message"),
    [
        (OWN, ALL._replace(mirror=False), "cannot mirror"),
        (OWN, ALL._replace(split=False), "cannot split"),
        ((*OWN, Bake(duration=timedelta(minutes=5))), ALL._replace(bake=False), "cannot keep the champion"),
        ((SetWeight(weight=5), LOOK, ALL_TRAFFIC, LOOK), ALL, "asks for less than promote_on"),
        ((SetWeight(weight=50), LOOK, SetWeight(weight=5), LOOK, ALL_TRAFFIC, LOOK), ALL, "promote_on|must ascend"),
        ((ALL_TRAFFIC,), ALL, "a canary needs"),
        ((), ALL, "must ascend"),
    ],
)
def test_own_steps_that_are_no_plan_or_not_for_the_target_are_refused(
    steps: tuple[Any, ...], means: Means, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        plan(rollout=SPEC.model_copy(update={"steps": steps}), means=means)


def test_own_steps_need_not_be_safe_where_the_profile_does_not_ask_or_nothing_is_judged() -> None:
    brisk = SPEC.model_copy(update={"steps": (SetWeight(weight=5), LOOK, ALL_TRAFFIC, LOOK)})
    assert plan(rollout=brisk.model_copy(update={"promote_on": "no_harm"})).steps == brisk.steps
    assert plan(rollout=brisk, means=ALL._replace(log=False)).steps == brisk.steps


ERRORS = RolloutMetric(name="errors", margin=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "steps": (
                    SetWeight(weight=20),
                    Analysis(),
                    SetMirror(percent=10),
                    Analysis(),
                    SetWeight(weight=100),
                    Analysis(),
                )
            },
            "seen by nobody",
        ),
        ({"steps": (SetMirror(percent=10), SetWeight(weight=100), Analysis())}, "without an analysis"),
        (
            {
                "steps": (
                    SetWeight(weight=20),
                    Analysis(),
                    Bake(duration=timedelta(1)),
                    SetWeight(weight=100),
                    Analysis(),
                )
            },
            "all traffic",
        ),
        ({"steps": (SetWeight(weight=0), Analysis(), SetWeight(weight=100), Analysis())}, "to nobody"),
        ({"steps": (SetMirror(percent=0), Analysis(), SetWeight(weight=100), Analysis())}, "to nobody"),
        (
            {
                "steps": (
                    SetMirror(percent=0),
                    Analysis(),
                    SetWeight(weight=20),
                    Analysis(),
                    SetWeight(weight=100),
                    Analysis(),
                )
            },
            "to nobody",
        ),
        ({"metrics": (ERRORS, ERRORS)}, "stands twice"),
        ({"last_known_good": None}, "does not name"),
    ],
)
def test_plan_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        validate_plan(plan().model_copy(update={"digest": "", **changes}))


# --- rules


def verdict(outcome: Any) -> SignalVerdict:
    return SignalVerdict(name="errors", outcome=outcome, statement="…")


@pytest.mark.parametrize(
    ("condition", "values", "fires"),
    [
        ("healthy == false", {"healthy": False}, True),
        ("healthy == false", {"healthy": None}, None),
        ("observed_weight != weight", {"observed_weight": 10, "weight": 20}, True),
        ("observed_weight != weight", {"observed_weight": 20, "weight": 20}, False),
        ("outcome == harmful", {"outcome": "harmful"}, True),
        ("outcome == harmful", {"outcome": "inconclusive"}, False),
        ("outcome == safe", {"outcome": None}, None),
    ],
)
def test_rule_fires_holds_back_or_cannot_tell(condition: str, values: dict[str, Any], fires: bool | None) -> None:
    rule = MonitoringRule(metric="errors", condition=condition, statement="…")

    assert monitoring.fires(rule, values) is fires


def test_condition_that_cannot_be_read_is_refused_and_want_of_data_is_no_outcome() -> None:
    with pytest.raises(BadInput, match="cannot read"):
        monitoring.fires(MonitoringRule(metric="errors", condition="p99 < 3", statement="…"), {})
    assert [monitoring.outcome(verdict(o)) for o in ("no_data", "error", "safe", "harmful")] == [
        None,
        None,
        "safe",
        "harmful",
    ]


def test_every_critical_metric_has_a_trigger_and_every_metric_a_check() -> None:
    found = plan()

    assert [rule.metric for rule in monitoring.checks(found)] == ["health", "traffic", *(m.name for m in found.metrics)]
    critical = [m.name for m in found.metrics if m.critical]
    assert [rule.metric for rule in monitoring.triggers(found)] == ["health", "traffic", *critical]


# --- before any traffic


@pytest.mark.parametrize(
    ("target", "bake", "can_load", "bakes"),
    [
        (BatchTarget(output="o", shadow="s"), timedelta(days=2), False, True),
        (BatchTarget(output="o", shadow="s"), timedelta(days=1), False, True),
        (BatchTarget(output="o", shadow="s"), timedelta(minutes=10), False, False),
        (ServingTarget(), timedelta(minutes=10), True, True),
        (AliasTarget(), timedelta(days=9), False, False),
    ],
)
def test_bake_is_planned_where_it_would_show_something(
    target: Target, bake: timedelta, can_load: bool, bakes: bool
) -> None:
    assert can_bake(target, RolloutSpec(bake=bake), can_load=can_load) is bakes


def sound(answer: EndpointAnswer | None, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "version": "7",
        "answer": answer,
        "golden_expected": ["a", "b"],
        "digest_recorded": "d",
        "latency_limit_ms": 50.0,
        "memory_limit_mb": 500.0,
        "load_limit_seconds": 60.0,
    }
    return soundness(**(given | changes))


GOOD = EndpointAnswer(
    version="7", digest="d", predictions=("a", "b"), latency_ms=(5.0, 6.0), memory_mb=300.0, load_seconds=9.0
)


def test_version_that_answers_as_recorded_within_its_bounds_is_sound() -> None:
    found = sound(GOOD)

    assert (found.sound, found.golden_matches, found.latency_ms) == (True, 2, 5.5)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"version": "6"}, "version 6 answered"),
        ({"digest": "e"}, "not the registered ones"),
        ({"predictions": ("a", "c")}, "only 1 of 2"),
        ({"predictions": ("a",)}, "1 answered"),
        ({"latency_ms": (70.0,)}, "median latency is 70"),
        ({"latency_ms": ()}, "could not be measured"),
        ({"memory_mb": 900.0}, "memory is 900"),
        ({"load_seconds": 99.0}, "loading time is 99"),
    ],
)
def test_anything_that_speaks_against_traffic_is_named(changes: dict[str, Any], fault: str) -> None:
    found = sound(GOOD.model_copy(update=changes))

    assert not found.sound
    assert fault in " ".join(found.faults)


def test_nobody_to_ask_and_nothing_recorded_are_faults_too() -> None:
    assert not sound(None).answered
    assert not sound(None).sound
    assert "no golden rows" in sound(GOOD, golden_expected=[]).faults[0]
