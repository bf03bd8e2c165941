"""What a watch does when a look goes wrong: it tells, tries again, and never leaves the other rollouts without anybody who looks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.entrypoints.cli import watch as command
from agent.entrypoints.watch_http import STUCK, health
from agent.services import reviews
from agent.services.watch import LAST_RETRY, Watch
from tests.graph.test_rollback import roll_back
from tests.graph.traffic import ROLLOUT, endpoint_world, go_on, play, wake
from tests.graph.world import NAME, PERSON, World, add_version, by, with_deps
from tools.adapters.memory_notifier import MemoryNotifier
from tools.errors import BrokenInvariant, Busy, Conflict, RetrainingError, TimedOut, Unavailable

FULL = OSError(28, "No space left on device")
LOOK, HOUR = timedelta(minutes=10), timedelta(hours=1)


def at(world: World, weight: int) -> dict[str, Any]:
    """A rollout that waits with this share."""
    play(world)
    return go_on(world, world.run(by="joan"), until=lambda now: now["rollout"].get("weight") == weight)


def asked(world: World, weight: int = 20) -> dict[str, Any]:
    """A person is asked about a candidate with this share, because the target was silent for too long. It answers again."""
    output = at(world, weight)
    world.target.failure = TimedOut("no answer")
    while output["rollout"]["phase"] == "waiting":
        output = wake(world, output)
    world.target.failure = None
    assert (output["rollout"]["phase"], world.target.weights["2"]) == ("inconclusive", weight)
    return output


def looked(world: World, watch: Watch, time: timedelta = LOOK) -> list[Any]:
    world.pass_time(time)
    return list(watch.looks())


# --- what is raised ----------------------------------------------------------------------------------------------------


def test_crash_of_one_look_is_told_held_off_and_gone_on_from(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    at(world, 20)
    real, crash = world.target.status, list[Exception]([FULL])

    def status(request: Any) -> Any:
        if crash:
            raise crash[0]
        return real(request)

    world.target.status = status  # type: ignore[method-assign]
    watch = Watch(world.deps, world.runs)
    (look,) = looked(world, watch)
    assert isinstance(look.error, Unavailable)
    assert "No space left on device" in look.error.message
    assert list(watch.looks()) == []

    crash[0] = KeyError("weights")
    (look,) = looked(world, watch)
    assert isinstance(look.error, BrokenInvariant)
    assert "KeyError" in look.error.message

    crash.clear()
    (look,) = looked(world, watch)
    assert look.output is not None
    crash.append(KeyboardInterrupt())  # type: ignore[arg-type]
    world.pass_time(LOOK)
    with pytest.raises(KeyboardInterrupt):
        list(watch.looks())


def test_messages_and_records_that_cannot_be_read_hold_up_no_look(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    at(world, 20)
    lines: list[str] = []

    class Odd:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def unconfirmed(self, prefix: str) -> Any:
            raise FULL

    odd = with_deps(world, store=Odd(), progress=lines.append)
    (look,) = looked(odd, Watch(odd.deps, odd.runs))
    assert look.output is not None
    assert any("messages wait" in line and "No space left" in line for line in lines)

    class Unreadable(Odd):
        def effects(self, run_id: str) -> Any:
            raise ValueError("a record of another program")

    unreadable = with_deps(world, store=Unreadable())
    world.store.update_run(look.record.run_id, status="failed", parked_for=None, wake_at=None)
    (look,) = looked(unreadable, Watch(unreadable.deps, unreadable.runs))
    assert look.error is not None
    assert "a record of another program" in look.error.message


def test_conflict_that_nobody_else_is_behind_is_told_and_tried_again_later(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    at(world, 100)
    status = world.target.status

    def moved_meanwhile(request: Any) -> Any:
        world.registry.set_alias(NAME, "champion", foreign)
        return status(request)

    foreign, world.target.status = add_version(world, by("c")), moved_meanwhile
    watch = Watch(world.deps, world.runs)

    (look,) = looked(world, watch)

    assert isinstance(look.error, Conflict)
    assert "is version 3, not 1" in look.error.message
    assert looked(world, watch, LAST_RETRY - timedelta(seconds=1)) == []
    (again,) = looked(world, watch, timedelta(seconds=1))
    assert again.output is not None
    assert (again.output["rollout"]["phase"], world.target.weights) == ("rolled_back", {"1": 100})


def test_run_of_another_program_is_told_and_one_that_another_process_drives_is_not(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    output = at(world, 20)
    runs, raised = world.runs, list[RetrainingError]()

    def resume(_: str) -> Any:
        raise raised[0]

    runs.resume = resume  # type: ignore[method-assign]
    watch = Watch(world.deps, runs)
    raised.append(Busy("held by another run"))
    assert looked(world, watch) == []
    raised[0] = Conflict("left by state version 7", thing="state_version")
    (look,) = looked(world, watch)
    assert look.error is raised[0]

    record = world.store.get_run(output["runId"])
    other = world.store.acquire(record.model_name, record.run_id, "test:2:2", 60.0, preempt=True)
    raised[0] = Conflict("another process went on", thing="run")
    assert list(Watch(world.deps, runs).looks()) == []
    world.store.release(other)
    assert len(list(Watch(world.deps, runs).looks())) == 1


def test_watch_of_rollouts_outlives_a_round_that_fails_and_a_single_pass_does_not() -> None:
    class Stop:
        rounds = 0

        def is_set(self) -> bool:
            return self.rounds > 1

        def wait(self, _: float) -> bool:
            self.rounds += 1
            return False

    class Failing:
        def looks(self, *_: Any) -> Any:
            raise FULL

    stop: Any = Stop()
    watching: Any = Failing()
    command._follow(watching, stop, None, once=False, until_idle=False, every=0.1)
    assert stop.rounds == 2
    with pytest.raises(OSError, match="No space left"):
        command._follow(watching, stop, None, once=True, until_idle=False, every=0.1)


def test_health_is_that_of_both_threads(tmp_path: Path) -> None:
    now = datetime(2026, 7, 1, 12, tzinfo=UTC)
    old = now - STUCK - timedelta(seconds=1)
    assert health(None, None, now) == ({"status": "ok"}, 200)
    assert health(now, now, now)[1] == 200
    assert health(old, now, now)[1] == 503
    content, status = health(now, old, now)
    assert (content["status"], content["lastLook"], status) == ("stuck", old.isoformat(), 503)

    world = endpoint_world(tmp_path)
    watch = Watch(world.deps, world.runs)
    assert watch.looked_at is None
    looked(world, watch)
    ended, world.store.unfinished = world.now[0], None  # type: ignore[method-assign]
    with pytest.raises(TypeError):
        looked(world, watch)
    assert watch.looked_at == ended


# --- a disk that is full -------------------------------------------------------------------------------------------------


def test_people_hear_of_a_rollback_that_no_disk_takes_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier, lines = MemoryNotifier(("1:mail",)), list[str]()
    world = with_deps(endpoint_world(tmp_path), notifier_of=lambda _: notifier, progress=lines.append)
    at(world, 20)
    real = Path.write_text

    def write_text(path: Path, *args: Any, **more: Any) -> int:
        if path.name.startswith("incident"):
            raise FULL
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "write_text", write_text)

    assert roll_back(world)["rollout"]["phase"] == "rolled_back"
    assert [notice.event for _, notice in notifier.sent] == ["rolled_back"]
    assert any("could not be written down" in line for line in lines)


def test_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    blocked = world.deps.work_dir / "runs" / "odd"
    blocked.write_text("a file")
    with pytest.raises(Unavailable, match="folder of run odd cannot be made") as caught:
        world.deps.run_dir("odd")
    assert (caught.value.value, caught.value.remedy is not None) == (str(blocked), True)


# --- a person is asked, and does not answer ------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["errors", "health", "share"])
def test_harm_while_a_person_is_asked_goes_back_at_once_and_says_why(tmp_path: Path, harm: str) -> None:
    notifier = MemoryNotifier(("1:mail",))
    world = with_deps(endpoint_world(tmp_path), notifier_of=lambda _: notifier)
    output = asked(world)
    watch = Watch(world.deps, world.runs)
    (look,) = looked(world, watch)
    assert (look.output["rollout"]["phase"], list(watch.looks())) == ("inconclusive", [])
    assert "harm would still end it" in look.output["rollout"]["statement"]

    if harm == "errors":
        play(world, candidate=0.9)
    elif harm == "health":
        world.target.healthy = False
    else:
        world.target.weights = {"2": 60, "1": 40}
    (look,) = looked(world, watch)

    assert (look.output["rollout"]["phase"], world.target.weights) == ("rolled_back", {"1": 100})
    review = world.store.get_review(output["deploymentDecision"]["reviewId"])
    assert (review.status, review.answer, review.answered_by) == ("answered", "reject", "policy")
    told = [notice for _, notice in notifier.sent if notice.event == "rolled_back"]
    assert len(told) == 1
    assert review.reason is not None
    assert review.reason in told[0].body
    assert world.store.list_reviews() == []
    assert looked(world, watch) == []


def test_look_beside_a_question_moves_nothing_and_the_answer_still_counts(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    output = asked(world)
    watch = Watch(world.deps, world.runs)
    before = [call for call in world.target.calls if call.action != "status"]
    world.target.failure = TimedOut("no answer")
    for _ in range(6):
        (look,) = looked(world, watch, timedelta(minutes=1))
        assert "no answer" in look.output["rollout"]["statement"]
    world.target.failure = None
    assert len(looked(world, watch, timedelta(minutes=1))) == 1
    assert looked(world, watch, timedelta(seconds=59)) == []
    assert [call for call in world.target.calls if call.action != "status"] == before
    assert len(world.store.list_reviews()) == 1

    reviews.answer(world.deps, output["deploymentDecision"]["reviewId"], "reject", "it was too quiet", PERSON)
    (look,) = looked(world, watch)
    decided = look.output["deploymentDecision"]
    assert (look.output["rollout"]["phase"], decided["decidedBy"]) == ("rolled_back", PERSON)


def test_metric_may_fail_as_often_in_a_row_beside_a_question_as_its_plan_says(tmp_path: Path) -> None:
    metric = {"name": "errors", "margin": 0.05, "min_samples": 100, "failure_limit": 2}
    world = endpoint_world(tmp_path, rollout=ROLLOUT | {"metrics": [metric]})
    asked(world)
    play(world, candidate=0.9)
    watch = Watch(world.deps, world.runs)
    phases = [looked(world, watch)[0].output["rollout"]["phase"] for _ in range(3)]
    assert phases == ["inconclusive", "inconclusive", "rolled_back"]


def test_answer_of_a_person_that_comes_first_is_the_one_that_counts(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    output = asked(world)
    review = world.store.get_review(output["deploymentDecision"]["reviewId"])
    reviews.answer(world.deps, review.id, "reject", "no", PERSON)
    assert not reviews.refuse_for_harm(world.deps, review, "errors")
    assert world.store.get_review(review.id).answered_by == PERSON


def test_watcher_killed_between_the_refusal_and_the_way_back_leaves_it_to_the_next(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    output = asked(world)
    review = world.store.get_review(output["deploymentDecision"]["reviewId"])
    assert reviews.refuse_for_harm(world.deps, review, "errors: too many")
    (look,) = looked(world, Watch(world.deps, world.runs))
    assert look.output["rollout"]["phase"] == "rolled_back"
    assert look.output["deploymentDecision"]["decidedBy"] == "policy"


# --- a clock that is set back ------------------------------------------------------------------------------------------------


def test_clock_that_is_set_back_stops_no_looks_and_hides_no_harm(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    at(world, 20)
    watch = Watch(world.deps, world.runs)
    world.pass_time(-3 * HOUR)
    play(world, candidate=0.5)

    phases = [look.output["rollout"]["phase"] for _ in range(3) for look in looked(world, watch)]

    assert phases[-1] == "rolled_back"
    assert len(phases) <= 3


def test_clock_that_is_set_back_while_a_run_is_held_off_or_a_person_is_asked_stops_no_looks(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    at(world, 20)
    watch = Watch(world.deps, world.runs)
    world.target.failure = BrokenInvariant("odd")
    assert len(looked(world, watch)) == 1
    world.target.failure = None
    assert len(looked(world, watch, -3 * HOUR)) == 1

    twin = endpoint_world(tmp_path / "twin")
    asked(twin)
    watch = Watch(twin.deps, twin.runs)
    assert len(looked(twin, watch)) == 1
    twin.pass_time(-3 * HOUR)
    play(twin, candidate=0.9)
    phases = [look.output["rollout"]["phase"] for _ in range(3) for look in looked(twin, watch)]
    assert phases[-1] == "rolled_back"


def test_rollout_without_metrics_waits_out_its_pause_and_begins_it_anew_where_the_clock_was_set_back(
    tmp_path: Path,
) -> None:
    rollout = ROLLOUT | {"metrics": [], "step_pause": "PT3H", "max_duration": "PT24H"}
    world = endpoint_world(tmp_path, rollout=rollout)
    output = world.run(by="joan")
    assert output["rollout"]["phase"] == "waiting"
    watch = Watch(world.deps, world.runs)
    assert looked(world, watch, HOUR) == []

    (look,) = looked(world, watch, -3 * HOUR)

    assert look.output["rollout"]["phase"] == "waiting"
    assert looked(world, watch, timedelta(seconds=1)) == []
    assert watch.next_look() == world.now[0] - timedelta(seconds=1) + 3 * HOUR
