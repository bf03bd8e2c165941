"""A person's answer counts only as what it is: theirs, in time, once, about this very case."""

import os
import pwd
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.services import reviews
from tests.graph.world import NAME, PERSON, World, add_version, by, make_world
from tools.adapters.memory_target import MemoryTarget
from tools.errors import BadInput, Conflict, NotAllowed, NotFound


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Asks a person before every effect."""
    return make_world(tmp_path, mode="recommend")


def ask(world: World) -> tuple[str, int]:
    """A parked run and the number of its question."""
    output = world.run()
    return output["runId"], output["deploymentDecision"]["reviewId"]


def answer(world: World, review: int, verdict: Any, reason: str = "looked at it", by: str = PERSON) -> dict[str, Any]:
    answered = reviews.answer(world.deps, review, verdict, reason, by)
    return world.runs.resume(answered.run_id)


def test_question_is_in_langchains_payload_and_bound_to_the_case(world: World) -> None:
    run_id, number = ask(world)

    review = world.store.get_review(number)

    (action,) = review.payload["action_requests"]
    (config,) = review.payload["review_configs"]
    assert (action["name"], action["args"]["champion"], action["args"]["decision"]) == ("deploy", "1", "deploy")
    assert config == {"action_name": "deploy", "allowed_decisions": ["approve", "reject"]}
    assert (review.run_id, review.requested_by, review.approvers) == (run_id, PERSON, (PERSON,))
    assert review.expires_at - review.created_at == timedelta(days=7)
    assert len(review.digest) == 64
    assert len(review.nonce) == 32


def test_approval_deploys_and_the_record_bears_the_persons_name_and_reason(world: World) -> None:
    _, number = ask(world)

    output = answer(world, number, "approve", "the desk agrees")

    assert (output["deploymentDecision"]["decision"], output["deploymentDecision"]["decidedBy"]) == ("deploy", PERSON)
    assert output["deploymentDecision"]["rationale"].startswith(f"{PERSON} answered approve")
    assert world.moves == [("1", "2")]
    newest = world.store.champions(NAME)[0]
    assert (newest.by, newest.reason) == (PERSON, "the desk agrees")


def test_refusal_moves_nothing(world: World) -> None:
    _, number = ask(world)

    output = answer(world, number, "reject")

    assert (output["deploymentDecision"]["decision"], output["status"]) == ("reject", "finished")
    assert not world.touched


def test_expired_question_deploys_nothing_even_if_answered_late(world: World) -> None:
    run_id, number = ask(world)
    world.pass_time(timedelta(days=7, seconds=1))

    with pytest.raises(Conflict, match="expired"):
        answer(world, number, "approve")
    output = world.runs.resume(run_id)

    assert (output["deploymentDecision"]["decision"], output["deploymentDecision"]["decidedBy"]) == ("reject", "expiry")
    assert not world.touched


def test_expired_question_frees_its_model_for_the_next_run(world: World) -> None:
    run_id, _ = ask(world)
    with pytest.raises(Conflict, match="parked"):
        world.run()
    world.pass_time(timedelta(days=8))

    output = world.run()

    assert world.store.get_run(run_id).status == "finished"
    assert output["status"] == "parked"


@pytest.mark.parametrize(
    ("verdict", "reason", "person", "kind", "message"),
    [
        ("approve", "fine", "mallory", NotAllowed, "'mallory' may not answer"),
        ("approve", "  ", PERSON, BadInput, "with a reason"),
        ("canary", "fine", PERSON, BadInput, "offers no canary"),
    ],
)
def test_answer_that_is_not_allowed_leaves_the_question_open(
    world: World, verdict: Any, reason: str, person: str, kind: type[Exception], message: str
) -> None:
    run_id, number = ask(world)

    with pytest.raises(kind, match=message):
        answer(world, number, verdict, reason, person)

    assert world.store.get_review(number).status == "open"
    assert world.store.get_run(run_id).status == "parked"
    assert not world.touched
    assert answer(world, number, "approve")["rollout"]["phase"] == "promoted"


def test_approver_who_was_removed_since_may_not_answer(world: World) -> None:
    _, number = ask(world)
    world.profile["review"] = {"approvers": ["grace"]}

    for person in (PERSON, "grace"):
        with pytest.raises(NotAllowed, match="approvers: nobody"):
            answer(world, number, "approve", by=person)

    assert not world.touched


def test_reviewer_is_the_os_user_whatever_the_environment_says(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, number = ask(world)
    me = pwd.getpwuid(os.getuid()).pw_name
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, PERSON)

    with pytest.raises(NotAllowed, match=repr(me)):
        reviews.answer(world.deps, number, "approve", "fine")
    assert not world.moves


def test_second_answer_is_refused(world: World) -> None:
    _, number = ask(world)
    answer(world, number, "approve")

    with pytest.raises(Conflict, match=f"answered by {PERSON}"):
        answer(world, number, "reject")

    assert world.moves == [("1", "2")]


def test_answer_to_nothing_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="no review 41"):
        answer(world, 41, "approve")


def test_finished_run_cannot_be_resumed(world: World) -> None:
    run_id, number = ask(world)
    answer(world, number, "approve")

    with pytest.raises(Conflict, match="is finished"):
        world.runs.resume(run_id)


def test_resuming_an_unanswered_run_leaves_it_parked(world: World) -> None:
    run_id, number = ask(world)

    with pytest.raises(Conflict, match=f"waits for review {number}"):
        world.runs.resume(run_id)

    assert world.store.get_run(run_id).status == "parked"
    lease = world.store.current_lease(NAME)
    assert lease is not None
    assert lease.expires_at is None
    assert answer(world, number, "approve")["status"] == "finished"


def test_approval_of_a_canary_edit_starts_a_canary(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="recommend", target=MemoryTarget(weights={"1": 100}))
    _, number = ask(world)

    output = answer(world, number, "canary", "carefully")

    assert output["deploymentDecision"]["decision"] == "canary"
    assert 0 < world.target.weights["2"] < 100
    assert world.moves == []


def test_champion_that_changed_meanwhile_voids_the_question(world: World) -> None:
    run_id, number = ask(world)
    other = add_version(world, by("c"))
    world.registry.set_alias(NAME, "champion", other)

    with pytest.raises(Conflict, match="is void: since it was asked, the champion"):
        answer(world, number, "approve")
    output = world.runs.resume(run_id)

    assert (output["deploymentDecision"]["decision"], output["deploymentDecision"]["decidedBy"]) == ("reject", "void")
    assert world.champion == other


@pytest.mark.parametrize(
    ("decisions", "counts_as"),
    [
        ([{"type": "approve"}], "approve"),
        ([{"type": "reject", "message": "no"}], "reject"),
        ([{"type": "edit", "edited_action": {"name": "deploy", "args": {"decision": "canary"}}}], "canary"),
        ([{"type": "edit", "edited_action": {"name": "deploy", "args": {"decision": "deploy"}}}], None),
        (
            [{"type": "edit", "edited_action": {"name": "deploy", "args": {"decision": "canary", "candidate": "9"}}}],
            None,
        ),
        ([{"type": "respond", "message": "approve"}], None),
        ([{"type": "approve"}, {"type": "approve"}], None),
        ([], None),
    ],
)
def test_only_approve_reject_and_the_canary_edit_count(tmp_path: Path, decisions: Any, counts_as: str | None) -> None:
    world = make_world(tmp_path, mode="recommend", target=MemoryTarget(weights={"1": 100}))
    _, number = ask(world)

    assert reviews.from_langchain(decisions, world.store.get_review(number)) == counts_as
