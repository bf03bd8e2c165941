"""An approval that is not exactly that executes nothing; beside each, the valid twin that does."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.services import reviews
from agent.services.keys import Keys
from tests.graph.desk_world import caller
from tests.graph.test_kill_points import Fragile, Fuse, Killed
from tests.graph.world import BETTER, NAME, World, add_version, by, make_world, with_deps
from tools.adapters.memory_notifier import MemoryNotifier
from tools.contracts.run import Review
from tools.errors import Conflict, NotAllowed, Unavailable

TWO: dict[str, Any] = {"approvers": ["ada", "grace"], "expires_after": "7d"}


def asked(folder: Path, **profile: Any) -> tuple[World, Review]:
    """A run that asks before it deploys."""
    world = make_world(folder, **{"mode": "recommend", "review": TWO} | profile)
    world.run()
    (review,) = world.store.list_reviews()
    return world, review


def rewrite(world: World, review: Review, **changes: Any) -> None:
    """What somebody who can write the store would do."""
    world.store._reviews.put(review.id, review.model_copy(update=changes))  # pyright: ignore[reportPrivateUsage]


def other_champion(world: World, review: Review) -> None:
    world.registry.set_alias(NAME, "champion", add_version(world, by("c")))


def other_files(world: World, review: Review) -> None:
    world.scorer.digests[BETTER] = "other"


def files_of_a_champion_recorded_anew(world: World, review: Review) -> None:
    world.registry.set_tags(NAME, "1", {"retraining.artifact_digest": "other"})


def other_bar(world: World, review: Review) -> None:
    world.profile["metrics"] = {**world.profile["metrics"], "primary": {"name": "accuracy", "min_improvement": 0.0}}


def other_words(world: World, review: Review) -> None:
    action = review.payload["action_requests"][0]
    shown = {**action, "args": {**action["args"], "decision": "canary"}}
    rewrite(world, review, payload={**review.payload, "action_requests": [shown]})


def other_subject(world: World, review: Review) -> None:
    assert review.subject is not None
    rewrite(world, review, subject=review.subject.model_copy(update={"candidate_digest": "other"}))


CHANGES: dict[str, tuple[Callable[[World, Review], None], str]] = {
    "champion": (other_champion, "the champion"),
    "candidate's files": (other_files, "the candidate's files"),
    "champion's files": (files_of_a_champion_recorded_anew, "the champion's files"),
    "profile": (other_bar, "the profile"),
    "payload": (other_words, "the question itself"),
    "subject": (other_subject, "the question itself"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_question_is_void_once_what_it_is_about_has_changed(tmp_path: Path, change: str) -> None:
    world, review = asked(tmp_path)
    alter, said = CHANGES[change]
    alter(world, review)
    world.registry.alias_moves.clear()
    world.registry.registrations.clear()

    with pytest.raises(Conflict, match=f"is void: since it was asked, .*{said}"):
        reviews.answer(world.deps, review.id, "approve", "fine", "ada")
    assert world.store.get_review(review.id).status == "void"
    with pytest.raises(Conflict, match="is void"):
        reviews.answer(world.deps, review.id, "approve", "fine", "grace")
    output = world.runs.resume(review.run_id)

    assert (output["deploymentDecision"]["decision"], output["deploymentDecision"]["decidedBy"]) == ("reject", "void")
    assert not world.touched


@pytest.mark.parametrize("change", ["champion", "candidate's files", "payload"])
def test_approval_is_held_against_the_world_again_before_its_effect(tmp_path: Path, change: str) -> None:
    world, review = asked(tmp_path)
    answered = reviews.answer(world.deps, review.id, "approve", "fine", "ada")
    CHANGES[change][0](world, answered)
    world.registry.alias_moves.clear()
    world.registry.registrations.clear()

    output = world.runs.resume(review.run_id)

    assert output["rollout"]["phase"] in ("refused", "not_started")
    assert not world.touched


def test_what_says_who_answers_and_who_hears_voids_nothing(tmp_path: Path) -> None:
    world, review = asked(tmp_path)
    world.profile["review"] = {**TWO, "approvers": ["grace", "joan"], "escalate_after": "1d"}
    world.profile["notify"] = {"urls": ["${CHAT}"]}

    reviews.answer(world.deps, review.id, "approve", "fine", "grace")

    assert world.runs.resume(review.run_id)["rollout"]["phase"] == "promoted"
    assert world.moves == [("1", "2")]


def test_what_cannot_be_told_is_not_approved_and_the_question_stays_open(tmp_path: Path) -> None:
    world, review = asked(tmp_path)
    model = world.scorer.models.pop(BETTER)

    with pytest.raises(Unavailable, match="cannot be told"):
        reviews.answer(world.deps, review.id, "approve", "fine", "ada")
    assert world.store.get_review(review.id).status == "open"

    world.scorer.models[BETTER] = model
    reviews.answer(world.deps, review.id, "approve", "fine", "ada")
    assert world.runs.resume(review.run_id)["rollout"]["phase"] == "promoted"


def test_approval_that_nobody_went_on_with_until_it_ran_out_deploys_nothing(tmp_path: Path) -> None:
    world, review = asked(tmp_path)
    reviews.answer(world.deps, review.id, "approve", "fine", "ada")
    world.pass_time(timedelta(days=7))

    output = world.runs.resume(review.run_id)

    assert output["deploymentDecision"]["decision"] == "reject"
    assert "not gone on with until it ran out" in " ".join(output["warnings"])
    assert not world.touched


def test_answer_to_one_run_is_none_to_the_next(tmp_path: Path) -> None:
    world, first = asked(tmp_path)
    reviews.answer(world.deps, first.id, "reject", "not now", "ada")
    world.runs.resume(first.run_id)
    second = world.run()["deploymentDecision"]["reviewId"]

    with pytest.raises(Conflict, match="is answered"):
        reviews.answer(world.deps, first.id, "approve", "fine", "ada")
    asked_now = world.store.get_review(second)
    with pytest.raises(Conflict, match="something else than this answer"):
        world.store.answer_review(second, first.digest, first.nonce, "approve", "ada", "fine", world.now[0])
    with pytest.raises(Conflict, match="something else than what was shown"):
        reviews.answer(world.deps, second, "approve", "fine", "ada", seen=first.digest)
    assert not world.touched

    reviews.answer(world.deps, second, "approve", "fine", "ada", seen=asked_now.digest)
    assert world.runs.resume(asked_now.run_id)["rollout"]["phase"] == "promoted"


def test_agents_word_is_no_approval_whatever_its_name_and_scopes(tmp_path: Path) -> None:
    world, review = asked(tmp_path)

    with pytest.raises(NotAllowed, match="its answer is no person's"):
        reviews.answer(world.deps, review.id, "approve", "fine", caller("ada", "agent"))
    assert world.store.get_review(review.id).status == "open"

    reviews.answer(world.deps, review.id, "approve", "fine", caller("ada"))
    assert world.runs.resume(review.run_id)["rollout"]["phase"] == "promoted"


def test_wrong_role_approves_nothing_and_the_right_one_does(tmp_path: Path) -> None:
    world, review = asked(tmp_path, review={**TWO, "roles": {"deploy": ["grace"], "roll_back": ["ada"]}})

    with pytest.raises(NotAllowed, match="'ada' may not answer approve to"):
        reviews.answer(world.deps, review.id, "approve", "fine", "ada")
    assert not world.touched

    reviews.answer(world.deps, review.id, "approve", "fine", "grace")
    assert world.runs.resume(review.run_id)["rollout"]["phase"] == "promoted"


def test_in_the_high_tier_nobody_approves_what_he_asked_for_himself_or_through_a_key(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="recommend", review=TWO, rollout={"risk": "high"})
    keys = Keys(world.store, world.deps.clock, is_user=lambda name: name == "ada")
    keys.create("bot", ["run"], by="ada", kind="agent")
    keys.create("grace", ["review"], by="ada", approvers=["ada"])
    number = world.run(by="bot")["deploymentDecision"]["reviewId"]

    with pytest.raises(NotAllowed, match="nobody approves what he asked for"):
        reviews.answer(world.deps, number, "approve", "fine", "ada")
    with pytest.raises(NotAllowed, match="nobody approves what he asked for"):
        reviews.answer(world.deps, number, "approve", "fine", caller("grace"))
    assert not world.touched

    keys.revoke("grace", by="grace")
    world.profile["review"] = TWO
    run_id = world.store.get_review(number).run_id
    reviews.answer(world.deps, number, "reject", "my own request", "ada")
    world.runs.resume(run_id)
    again = world.run(by="joan")["deploymentDecision"]["reviewId"]
    reviews.answer(world.deps, again, "approve", "fine", "ada")
    assert world.runs.resume(world.store.get_review(again).run_id)["rollout"]["phase"] == "promoted"


def test_key_in_an_approvers_name_that_no_approver_made_answers_nothing(tmp_path: Path) -> None:
    world, review = asked(tmp_path)
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    # Made before the name was an approver's.
    keys.create("grace", ["review"], by="mallory")

    with pytest.raises(NotAllowed, match="a key that mallory made"):
        reviews.answer(world.deps, review.id, "approve", "fine", caller("grace"))
    assert world.store.get_review(review.id).status == "open"

    keys.revoke("grace", by="ada")
    keys.create("grace", ["review"], by="ada", approvers=["ada", "grace"])
    reviews.answer(world.deps, review.id, "approve", "fine", caller("grace"))
    assert world.runs.resume(review.run_id)["rollout"]["phase"] == "promoted"


ASKING = {"store": {"open_review", "park", "intend", "confirm"}, "notifier": {"send"}}


def killed_while_asking(folder: Path, fuse: Fuse) -> World:
    notifier = MemoryNotifier()
    world = with_deps(make_world(folder, mode="recommend", review=TWO), notifier_of=lambda _: notifier)
    seen = with_deps(
        world,
        store=Fragile(world.store, ASKING["store"], fuse),
        notifier_of=lambda _: Fragile(notifier, ASKING["notifier"], fuse),
    )
    with suppress(Killed):
        seen.run()
    return world


@pytest.mark.slow
def test_run_killed_while_it_asks_asks_again_once_and_its_approval_deploys(tmp_path: Path) -> None:
    whole = Fuse()
    killed_while_asking(tmp_path / "whole", whole)
    assert "before open_review" in whole.names
    assert "after send" in whole.names

    for at, point in enumerate(whole.names):
        world = killed_while_asking(tmp_path / str(at), Fuse(at))
        (record,) = world.store.list_runs()
        if record.status != "parked":
            output = world.runs.resume(record.run_id)
            assert output["status"] == "parked", point
        (review,) = world.store.list_reviews(open_only=False)
        reviews.answer(world.deps, review.id, "approve", "fine", "ada")
        assert world.runs.resume(record.run_id)["rollout"]["phase"] == "promoted", point
        assert world.moves == [("1", "2")], point
