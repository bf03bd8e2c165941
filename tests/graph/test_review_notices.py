"""People hear of a question when it is asked, when half its time is gone, and when it has run out: once each, or later."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from agent.services import reviews
from agent.services.watch import Watch
from tests.graph.world import World, make_world, with_deps
from tools.adapters.memory_notifier import MemoryNotifier
from tools.errors import Unavailable

PATIENT: dict[str, Any] = {"approvers": ["ada", "grace"], "expires_after": "7d"}
NOBODY = Unavailable("no connection", thing="notify")


def told_world(folder: Path, **review: Any) -> tuple[World, MemoryNotifier]:
    notifier = MemoryNotifier(("1:mail", "2:chat", "escalation-1:boss"))
    world = make_world(folder, mode="recommend", review=PATIENT | review)
    return with_deps(world, notifier_of=lambda _: notifier), notifier


def watch(world: World) -> list[Any]:
    """A new watcher each time: nothing is kept but the store."""
    return list(Watch(world.deps, world.runs).looks())


def heard(notifier: MemoryNotifier) -> list[tuple[str, str]]:
    return [(channel, notice.key) for channel, notice in notifier.sent]


def test_question_is_told_once_with_brief_link_and_command_then_escalated_and_its_end_told(tmp_path: Path) -> None:
    world, notifier = told_world(tmp_path)
    run_id = world.run()["runId"]
    opened = [("1:mail", f"{run_id}/review_opened-1"), ("2:chat", f"{run_id}/review_opened-1")]
    assert heard(notifier) == opened

    body = notifier.sent[0][1].body
    assert "Deploy the candidate of prices (version 1 in production)?" in body
    assert "Asked by ada; may answer: ada, grace" in body
    assert f"Report: {world.deps.run_dir(run_id) / 'decision' / 'report.html'}" in body
    assert 'retrain review approve|reject 1 --reason "…"' in body
    assert "2026-07-08 12:00 UTC; unanswered, the champion stays" in body

    world.pass_time(timedelta(days=3.5) - timedelta(seconds=1))
    watch(world)
    assert heard(notifier) == opened
    world.pass_time(timedelta(seconds=1))
    watch(world)
    watch(world)
    escalated = [(channel, f"{run_id}/review_escalated-1") for channel in ("1:mail", "2:chat", "escalation-1:boss")]
    assert heard(notifier) == opened + escalated

    world.pass_time(timedelta(days=3.5))
    watch(world)
    watch(world)
    ended = [("1:mail", f"{run_id}/review_expired-1"), ("2:chat", f"{run_id}/review_expired-1")]
    assert heard(notifier) == opened + escalated + ended
    assert "Nothing was deployed" in notifier.sent[-1][1].body
    assert world.store.get_run(run_id).status == "finished"
    assert not world.touched


def test_hour_of_escalation_is_the_profiles(tmp_path: Path) -> None:
    world, notifier = told_world(tmp_path, escalate_after="PT1H")
    world.run()
    notifier.sent.clear()

    world.pass_time(timedelta(hours=1))
    watch(world)

    assert [channel for channel, _ in notifier.sent] == ["1:mail", "2:chat", "escalation-1:boss"]


def test_channel_that_fails_is_tried_again_and_the_others_do_not_hear_twice(tmp_path: Path) -> None:
    world, notifier = told_world(tmp_path)
    notifier.failures["1:mail"] = NOBODY
    output = world.run()
    assert (output["status"], [channel for channel, _ in notifier.sent]) == ("parked", ["2:chat"])

    watch(world)
    notifier.failures.clear()
    watch(world)
    watch(world)

    assert [channel for channel, _ in notifier.sent] == ["2:chat", "1:mail"]


def test_nobody_is_called_to_a_question_that_is_answered(tmp_path: Path) -> None:
    world, notifier = told_world(tmp_path)
    notifier.failures["1:mail"] = NOBODY
    number = world.run()["deploymentDecision"]["reviewId"]
    answered = reviews.answer(world.deps, number, "approve", "fine", "ada")
    world.runs.resume(answered.run_id)
    notifier.failures.clear()
    world.pass_time(timedelta(days=4))

    watch(world)

    assert not [notice for channel, notice in notifier.sent if channel == "1:mail" and "review" in notice.event]
    assert not [notice for _, notice in notifier.sent if notice.event == "review_escalated"]
    assert world.store.unconfirmed("notify-") == []


def test_question_that_a_killed_process_told_nobody_of_is_told_by_whoever_watches(tmp_path: Path) -> None:
    silent, notifier = told_world(tmp_path)
    # As if it had been killed right after parking: no message was even intended.
    world = with_deps(silent, notifier_of=lambda _: MemoryNotifier(()))
    run_id = world.run()["runId"]
    assert world.store.get_run(run_id).status == "parked"

    watch(silent)
    watch(silent)

    assert heard(notifier) == [("1:mail", f"{run_id}/review_opened-1"), ("2:chat", f"{run_id}/review_opened-1")]


def test_answer_whose_process_was_killed_is_gone_on_with_by_whoever_watches(tmp_path: Path) -> None:
    world, _ = told_world(tmp_path)
    number = world.run()["deploymentDecision"]["reviewId"]
    reviews.answer(world.deps, number, "approve", "fine", "ada")

    assert watch(world) == []
    world.pass_time(timedelta(minutes=1))
    (look,) = watch(world)

    assert look.output["rollout"]["phase"] == "promoted"
    assert world.moves == [("1", "2")]
