"""Plans, the meaning of each look at the target, and what counts as a proved rollback."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.contracts.peers import DeploymentReply
from tools.contracts.profile import RolloutSpec
from tools.contracts.rollout import Analysis, Pause, RolloutPlan, RolloutStatus, SetWeight
from tools.errors import BadInput
from tools.rollback import proof, report
from tools.rollout import asks_a_person, next_status, pending_action
from tools.rollout_plan import make_plan, validate_plan, with_candidate

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPEC = RolloutSpec(canary_weights=(10, 50), step_pause=timedelta(minutes=10), max_duration=timedelta(hours=2))


def a_plan(decision="canary", **changes) -> RolloutPlan:
    given = {"decision": decision, "rollout": SPEC, "candidate_version": "7", "last_known_good": "6"}
    return make_plan(**(given | changes))


def a_look(weight: int | None, healthy: bool | None = True) -> DeploymentReply:
    weights = None if weight is None else {"7": weight, "6": 100 - weight}
    return DeploymentReply(observed_weights=weights, healthy=healthy)


def walk(plan: RolloutPlan, looks, *, can_prove: bool = True, minutes: int = 11) -> list[RolloutStatus]:
    """Every status of a rollout in which the target answers `looks(step, weight)` each `minutes`."""
    status, now, seen = RolloutStatus(), NOON, []
    while (step := pending_action(plan, status)) is not None and len(seen) < 100:
        weight = step.weight if isinstance(step, SetWeight) else status.weight
        status = next_status(plan=plan, status=status, look=looks(step, weight), now=now, can_prove=can_prove)
        seen.append(status)
        now += timedelta(minutes=minutes)
    return seen


# --- plans


def test_canary_plan_looks_after_each_weight_and_ends_at_all():
    plan = a_plan()
    pause = Pause(duration=timedelta(minutes=10))
    assert plan.steps == (
        SetWeight(weight=10),
        pause,
        Analysis(),
        SetWeight(weight=50),
        pause,
        Analysis(),
        SetWeight(weight=100),
        Analysis(),
    )
    assert (plan.strategy, plan.last_known_good, plan.candidate_version) == ("canary", "6", "7")
    validate_plan(plan)


def test_deploy_plan_is_one_weight_and_one_look():
    assert a_plan("deploy").steps == (SetWeight(weight=100), Analysis())
    assert a_plan("deploy", last_known_good=None).last_known_good is None


def test_digest_follows_the_content():
    assert a_plan().digest == a_plan().digest
    assert a_plan().digest != a_plan(candidate_version="8").digest
    unregistered = a_plan(candidate_version=None)
    assert with_candidate(unregistered, "7") == a_plan()


@pytest.mark.parametrize("decision", ["reject", "manual_review"])
def test_decision_that_moves_nothing_has_no_plan(decision: str):
    with pytest.raises(BadInput, match="moves nothing"):
        a_plan(decision)


def test_canary_without_a_way_back_is_refused():
    with pytest.raises(BadInput, match="keeps the rest of the traffic"):
        a_plan(last_known_good=None)


def test_pauses_longer_than_the_whole_are_refused():
    with pytest.raises(BadInput, match="longer than its max_duration"):
        a_plan(rollout=SPEC.model_copy(update={"max_duration": timedelta(minutes=19)}))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), "weights must ascend"),
        ((SetWeight(weight=50), Analysis(), SetWeight(weight=10), Analysis()), "weights must ascend"),
        ((SetWeight(weight=10), Analysis(), SetWeight(weight=50), Analysis()), "last weight must be 100"),
        ((SetWeight(weight=100), Analysis()), "a canary needs a weight below 100"),
        ((SetWeight(weight=10), SetWeight(weight=100), Analysis()), "without an analysis of the one before"),
        ((SetWeight(weight=10), Analysis(), SetWeight(weight=100)), "last weight has no analysis"),
    ],
)
def test_plan_that_cannot_keep_its_promise_is_refused(steps, message: str):
    plan = a_plan().model_copy(update={"steps": steps, "digest": ""})
    with pytest.raises(BadInput, match=message):
        validate_plan(plan)


def test_altered_plan_is_refused():
    with pytest.raises(BadInput, match="digest is of other content"):
        validate_plan(a_plan().model_copy(update={"candidate_version": "8"}))


# --- stepping


def test_healthy_canary_goes_through_every_weight_and_is_proved():
    seen = walk(a_plan(), lambda step, weight: a_look(weight))
    assert [status.weight for status in seen if status.phase == "waiting"] == [10, 50]
    assert [(status.phase, status.weight, status.proof) for status in seen[-1:]] == [("healthy", 100, "proved")]
    assert seen[-1].step_index == len(a_plan().steps)


def test_pause_waits_until_its_time_and_no_longer():
    plan = a_plan()
    status = next_status(plan=plan, status=RolloutStatus(), look=a_look(10), now=NOON, can_prove=True)
    status = next_status(plan=plan, status=status, look=None, now=NOON, can_prove=True)
    assert (status.phase, status.wake_at) == ("waiting", NOON + timedelta(minutes=10))
    early = next_status(plan=plan, status=status, look=None, now=NOON + timedelta(minutes=9), can_prove=True)
    assert early == status
    late = next_status(plan=plan, status=status, look=None, now=NOON + timedelta(minutes=10), can_prove=True)
    assert (late.phase, late.step_index, late.wake_at) == ("progressing", 2, None)


def test_pause_without_an_end_waits_while_it_is_held_and_is_over_when_let_go() -> None:
    steps = (SetWeight(weight=10), Pause(), Analysis(), SetWeight(weight=100), Analysis())
    plan = a_plan().model_copy(update={"steps": steps, "digest": ""})
    validate_plan(plan)
    status = RolloutStatus(phase="progressing", step_index=1, weight=10, started_at=NOON)
    assert asks_a_person(pending_action(plan, status))

    waits = next_status(plan=plan, status=status, look=a_look(10), now=NOON, can_prove=True, held=True)
    assert (waits.phase, waits.step_index) == ("waiting", 1)
    assert "10 % until an approver lets it go on" in waits.statement
    let_go = next_status(plan=plan, status=waits, look=a_look(10), now=NOON, can_prove=True)
    assert (let_go.phase, let_go.step_index) == ("progressing", 2)
    forgotten = next_status(
        plan=plan, status=waits, look=a_look(10), now=NOON + 2 * plan.max_duration, can_prove=True, held=True
    )
    assert forgotten.phase == "inconclusive", "a person is asked, and silence goes back"


@pytest.mark.parametrize("kind", [SetWeight, Pause, Analysis])
def test_bad_health_at_any_step_is_unhealthy(kind: type):
    seen = walk(a_plan(), lambda step, weight: a_look(weight, healthy=not isinstance(step, kind)))
    assert seen[-1].phase == "unhealthy"
    assert seen[-1].statement == "The target reports bad health."


def test_other_weight_than_set_is_contradicted_and_unhealthy():
    seen = walk(a_plan("deploy"), lambda step, weight: a_look(weight if isinstance(step, SetWeight) else 0))
    assert (seen[-1].phase, seen[-1].proof, seen[-1].observed_weight) == ("unhealthy", "contradicted", 0)


@pytest.mark.parametrize("look", [None, a_look(None), a_look(100, healthy=None)])
def test_no_answer_waits_and_is_inconclusive_at_the_deadline(look):
    seen = walk(a_plan("deploy"), lambda step, weight: a_look(100) if isinstance(step, SetWeight) else look)
    assert {status.phase for status in seen[1:-1]} == {"waiting"}
    assert all(status.wake_at is not None for status in seen[1:-1])
    assert seen[-1].phase == "inconclusive"
    assert "Not finished within 2:00:00" in seen[-1].statement


def test_unconfirmed_weight_is_tried_again():
    plan = a_plan("deploy")
    status = next_status(plan=plan, status=RolloutStatus(), look=None, now=NOON, can_prove=True)
    assert (status.phase, status.weight, pending_action(plan, status)) == ("waiting", 0, SetWeight(weight=100))
    later = next_status(plan=plan, status=status, look=a_look(100), now=NOON, can_prove=True)
    assert (later.phase, later.weight) == ("progressing", 100)


def test_target_that_cannot_report_passes_a_deploy_unproved_and_never_a_canary():
    blind = a_look(None, healthy=None)
    deployed = walk(a_plan("deploy"), lambda step, weight: blind, can_prove=False)[-1]
    assert (deployed.phase, deployed.proof, deployed.observed_weight) == ("healthy", "unproved", None)
    canary = walk(a_plan(), lambda step, weight: blind, can_prove=False)[-1]
    assert (canary.phase, canary.weight) == ("inconclusive", 10)


@pytest.mark.parametrize("phase", ["healthy", "inconclusive", "unhealthy", "promoted", "aborted", "rolled_back"])
def test_ended_rollout_does_not_go_on(phase):
    status = RolloutStatus(phase=phase, step_index=1)
    assert pending_action(a_plan(), status) is None
    assert next_status(plan=a_plan(), status=status, look=a_look(10), now=NOON, can_prove=True) == status


def test_plan_without_a_version_is_not_stepped():
    with pytest.raises(BadInput, match="names no candidate version"):
        next_status(plan=a_plan(candidate_version=None), status=RolloutStatus(), look=None, now=NOON, can_prove=True)


def test_refusal_goes_back_at_once_unless_a_person_holds_the_rollout_and_silence_is_waited_for():
    plan, at_10 = a_plan(), RolloutStatus(phase="progressing", step_index=2, weight=10, started_at=NOON)
    given: dict[str, Any] = {"plan": plan, "status": at_10, "look": None, "now": NOON, "can_prove": True, "fault": "no"}
    refused = next_status(**given, refused=True)
    assert (refused.phase, refused.statement) == ("unhealthy", "The target refuses to go on with the rollout: no")
    assert next_status(**given).phase == "waiting"
    held = next_status(**given, refused=True, held=True)
    assert (held.phase, held.statement.endswith("The look could not be taken: no")) == ("waiting", True)


# --- rollback


def a_proof(**changes):
    given = {
        "version": "6",
        "loaded": True,
        "digest_recorded": "abc",
        "digest_now": "abc",
        "golden_expected": [0.5, "late", 1, [0.25, 0.75]],
        "golden_got": [0.5 + 1e-8, "late", 1, [0.25, 0.75]],
        "served": "unproved",
    }
    return proof(**(given | changes))


def test_unaltered_version_that_predicts_as_recorded_holds():
    found = a_proof()
    assert found.holds
    assert (found.golden_matches, found.golden_rows, found.artifact_digest) == (4, 4, "matches")
    assert found.statement == (
        "Version 6 loads, its files are as registered, 4 of 4 golden rows come out as recorded, "
        "what is served is not reported."
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"loaded": False},
        {"digest_now": "other"},
        {"digest_now": None},
        {"digest_recorded": None},
        {"golden_expected": [], "golden_got": []},
        {"golden_got": [0.5, "late", 1]},
        {"golden_got": [0.5, "early", 1, [0.25, 0.75]]},
        {"golden_got": [0.5001, "late", 1, [0.25, 0.75]]},
        {"golden_got": [0.5, "late", 1, [0.25]]},
        {"golden_expected": [10_000_000], "golden_got": [10_000_001]},
        {"golden_expected": [float("nan")], "golden_got": [float("nan")]},
        {"served": "contradicted"},
    ],
)
def test_proof_does_not_hold_when_anything_differs(changes):
    assert not a_proof(**changes).holds


def test_rollback_is_done_only_with_a_proof_of_that_version():
    given: dict[str, Any] = {
        "from_version": "7",
        "to_version": "6",
        "reason": "harm",
        "applied": True,
        "proved": a_proof(),
    }
    assert report(**given).done
    assert report(**given).statement.startswith("Back on version 6.")
    failures: tuple[dict[str, Any], ...] = (
        {"applied": False},
        {"proved": None},
        {"proved": a_proof(loaded=False)},
        {"to_version": "5"},
    )
    for changes in failures:
        assert not report(**(given | changes)).done
    nowhere = report(**(given | {"to_version": None, "proved": None, "applied": False}))
    assert (nowhere.done, nowhere.statement) == (False, "There is no version to go back to.")
