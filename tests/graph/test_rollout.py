"""From the decision to production and back: what is asked before traffic, what each look does, and what a person may do."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.services import active, holds, reviews
from agent.services.watch import Watch
from tests.graph.test_rollback import roll_back
from tests.graph.traffic import ROLLOUT, endpoint_world, go_on, play, wake
from tests.graph.world import NAME, PERSON, World, add_version, by, with_deps
from tools.adapters.command_target import CommandTargetAdapter
from tools.adapters.memory_notifier import MemoryNotifier
from tools.adapters.memory_target import MemoryTrafficLog
from tools.contracts.profile import CommandTarget
from tools.contracts.rollout import EndpointAnswer
from tools.contracts.run import ChampionEvent
from tools.errors import (
    BadInput,
    BrokenInvariant,
    Conflict,
    NotAllowed,
    NotFound,
    RetrainingError,
    TimedOut,
    Unavailable,
)


def actions(world: World, *names: str) -> list[tuple[str, str, int | None]]:
    return [(call.action, call.version, call.weight) for call in world.target.calls if call.action in names]


def log_of(world: World) -> MemoryTrafficLog:
    assert isinstance(world.target.log, MemoryTrafficLog)
    return world.target.log


def test_harmless_canary_is_mirrored_weighed_baked_promoted_and_only_then_the_champion_is_unloaded(
    tmp_path: Path,
) -> None:
    world = endpoint_world(tmp_path)
    play(world)

    output = world.run()
    kinds = [step["kind"] for step in output["deploymentDecision"]["rolloutPlan"]["steps"]]
    assert kinds == [
        "set_mirror",
        "pause",
        "analysis",
        "set_weight",
        "pause",
        "analysis",
        "set_weight",
        "analysis",
        "bake",
    ]
    assert (world.target.mirror, world.target.weights) == ({"2": 100}, {"1": 100})
    output = go_on(world, output, until=lambda now: now["rollout"].get("weight") == 100)
    assert (world.target.loaded, world.champion) == ({"1", "2"}, "1")
    output = go_on(world, output)

    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("promoted", "proved")
    assert world.moves == [("1", "2")]
    assert actions(world, "apply", "release") == [
        ("apply", "2", 0),
        ("apply", "2", 20),
        ("apply", "2", 100),
        ("release", "1", None),
    ]
    assert (world.target.loaded, world.target.mirror) == ({"2"}, {})


def serving_world(folder: Path, **target: Any) -> World:
    """The same endpoint, as a profile of embedded serving has it."""
    world = endpoint_world(folder)
    world.profile["target"] = {"kind": "serving", **target}
    return world


def order_of(world: World, candidate: str) -> list[str]:
    """What came first in a rollback: traffic, or the proof in a subprocess."""
    events: list[str] = []
    scored, undone = world.scorer.score, world.target.undo

    def score(job: Any) -> Any:
        events.append("proof")
        return scored(job)

    def undo(request: Any) -> Any:
        events.append("traffic")
        return undone(request)

    world.scorer.score, world.target.undo = score, undo  # type: ignore[method-assign]
    assert roll_back(world)["rollout"]["proof"] == "proved"
    assert world.target.weights == {candidate: 100}
    return events


def test_champion_of_before_stays_loaded_and_takes_the_traffic_back_before_anything_else(tmp_path: Path) -> None:
    world = serving_world(tmp_path)
    play(world)
    assert go_on(world, world.run())["rollout"]["phase"] == "promoted"
    assert world.target.loaded == {"1", "2"}

    assert order_of(world, "1") == ["traffic", "proof"]
    assert world.target.loaded == {"1"}, "what failed is unloaded"


def test_way_back_that_was_unloaded_or_answers_otherwise_there_is_proved_first(tmp_path: Path) -> None:
    world = serving_world(tmp_path, keep_former=False)
    play(world)
    go_on(world, world.run())
    assert world.target.loaded == {"2"}
    right = world.target._answers
    assert right is not None

    def asked(version: str, rows: Path) -> EndpointAnswer:
        if version not in world.target.loaded:
            raise Unavailable(f"version {version} is not loaded", thing="version")
        return right(version, rows)

    world.target._answers = asked

    assert order_of(world, "1")[0] == "proof"


def test_version_that_is_no_longer_the_way_back_is_unloaded_at_the_next_promotion(tmp_path: Path) -> None:
    world = serving_world(tmp_path)
    before = ChampionEvent(
        model_name=NAME, version="0", previous=None, how="deployed", run_id=None, at=world.now[0], by="test"
    )
    world.store.record_champion(before)
    world.target.loaded.add("0")
    play(world)

    go_on(world, world.run())

    assert world.target.loaded == {"1", "2"}


@pytest.mark.parametrize("at_weight", [0, 20, 100])
def test_candidate_that_fails_requests_goes_back_at_the_first_look_that_shows_it(
    tmp_path: Path, at_weight: int
) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == at_weight)
    play(world, candidate=0.4)

    output = wake(world, output, at_least=timedelta(minutes=20))

    assert output["rollout"]["phase"] == "rolled_back"
    assert (world.target.weights, world.moves) == ({"1": 100}, [])
    assert world.registry.get_version(NAME, "2").tags["retraining.status"] == "rolled_back"
    assert "2" not in world.target.loaded


def test_without_traffic_nothing_is_concluded_and_a_person_is_asked_whose_silence_goes_back(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)

    output = go_on(world, world.run())

    assert (output["rollout"]["phase"], output["rollout"]["weight"]) == ("inconclusive", 0)
    assert world.moves == []
    assert wake(world, output)["rollout"]["phase"] == "rolled_back"
    assert (world.target.weights, world.champion) == ({"1": 100}, "1")


def test_person_who_insists_on_an_inconclusive_canary_gets_it_unless_harm_shows(tmp_path: Path) -> None:
    for harm, phase in ((0.01, "promoted"), (0.5, "rolled_back")):
        world = endpoint_world(tmp_path / phase)
        output = go_on(world, world.run(by="joan"))
        reviews.answer(world.deps, output["deploymentDecision"]["reviewId"], "approve", "a quiet night", PERSON)
        play(world, candidate=harm)

        output = go_on(world, world.runs.resume(output["runId"]))

        assert output["rollout"]["phase"] == phase


def test_log_that_cannot_be_read_asks_a_person_after_the_limit_and_not_before(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    log_of(world).failure = Unavailable("the table is locked")
    output = world.run()
    looks = 0
    while output["rollout"]["phase"] == "waiting":
        output, looks = wake(world, output), looks + 1

    assert output["rollout"]["phase"] == "inconclusive"
    assert "the table is locked" in output["rollout"]["statement"]
    assert looks >= 1

    twin = endpoint_world(tmp_path / "twin")
    play(twin)
    log_of(twin).failure = Unavailable("the table is locked")
    output = wake(twin, twin.run())
    log_of(twin).failure = None
    assert go_on(twin, output)["rollout"]["phase"] == "promoted"


def nonsense(_: str, __: Path) -> EndpointAnswer:
    return EndpointAnswer(version="2", predictions=(7,) * 20)


def nobody(_: str, __: Path) -> EndpointAnswer:
    raise Unavailable("version 2 was not ready within 90 s")


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        pytest.param(nonsense, "0 of 20 golden rows", id="nonsense"),
        pytest.param(nobody, "not ready within 90 s", id="hangs"),
    ],
)
def test_candidate_that_the_endpoint_cannot_serve_gets_no_traffic(tmp_path: Path, answers: Any, told: str) -> None:
    world = endpoint_world(tmp_path)
    right = world.target._answers
    assert right is not None
    world.target._answers = lambda version, rows: right(version, rows) if version == "1" else answers(version, rows)

    output = world.run()

    assert output["rollout"]["phase"] == "refused"
    assert told in output["rollout"]["statement"]
    assert actions(world, "apply", "undo") == []
    assert (world.champion, world.target.loaded) == ("1", {"1"})


@pytest.mark.parametrize("wrong", ["serves another", "answers otherwise"])
def test_rollout_is_refused_where_the_endpoint_does_not_serve_the_champion(tmp_path: Path, wrong: str) -> None:
    world = endpoint_world(tmp_path)
    if wrong == "serves another":
        world.target.serves = {"0": 100}
    else:
        right = world.target._answers
        assert right is not None
        world.target._answers = lambda v, rows: right(v, rows).model_copy(update={"predictions": (7,) * 20})

    output = world.run()

    assert output["rollout"]["phase"] == "refused"
    assert actions(world, "apply", "prepare") == []


def test_abort_gives_all_traffic_to_the_champion_and_is_final(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == 20)

    ended = roll_back(world)

    assert (ended["rollout"]["phase"], ended["rollout"]["proof"]) == ("rolled_back", "proved")
    assert (world.target.weights, world.champion, world.moves) == ({"1": 100}, "1", [])
    assert world.registry.get_version(NAME, "2").tags["retraining.rolled_back_why"] == "odd prices"
    assert world.store.get_run(output["runId"]).status == "aborted"
    with pytest.raises(Conflict, match="aborted"):
        world.runs.resume(output["runId"])


def test_rollout_of_a_dead_process_blocks_new_runs_until_somebody_goes_on_or_aborts(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == 20)
    world.target.failure = BrokenInvariant("the process died here")
    with pytest.raises(BrokenInvariant):
        wake(world, output)
    world.target.failure = None
    assert world.store.get_run(output["runId"]).status == "failed"

    with pytest.raises(Conflict, match="is rolling out version 2"):
        world.run("judge", candidate_version=add_version(world, by("c")))
    (look,) = Watch(world.deps, world.runs).looks()
    assert look.output is not None
    assert go_on(world, look.output)["rollout"]["phase"] == "promoted"


def test_endpoint_that_says_yes_and_answers_as_another_version_is_not_called_rolled_back(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == 20)
    right = world.target._answers
    assert right is not None
    world.target._answers = lambda version, rows: right("2", rows).model_copy(update={"version": version})

    ended = roll_back(world)

    assert (ended["rollout"]["phase"], ended["rollout"]["proof"]) == ("refused", "contradicted")


def test_watch_takes_each_look_at_its_hour_and_tries_what_fails_again_later(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    world.run()
    watch = Watch(world.deps, world.runs)
    assert list(watch.looks()) == []
    world.now[0] = watch.next_look()  # type: ignore[assignment]
    (look,) = watch.looks()
    assert look.output is not None

    world.target.failure = BrokenInvariant("odd")
    world.pass_time(timedelta(minutes=10))
    (failed,) = watch.looks()
    assert (failed.error, list(watch.looks())) == (world.target.failure, [])
    world.target.failure = None
    world.pass_time(timedelta(minutes=10))
    (look,) = watch.looks()
    assert look.output is not None


# --- a target that refuses, or does not answer, in mid-rollout


@pytest.mark.parametrize(
    ("kind", "action", "at_weight"),
    [
        pytest.param(NotAllowed, "status", 0, id="the account lost its role while requests were mirrored"),
        pytest.param(BadInput, "apply", 0, id="the first weight is not accepted"),
        pytest.param(Conflict, "apply", 20, id="somebody else's object is in the way"),
        pytest.param(NotFound, "status", 100, id="it is not there any more, during the bake"),
    ],
)
def test_target_that_refuses_ends_the_rollout_and_the_champion_has_all_traffic(
    tmp_path: Path, kind: type[BadInput], action: str, at_weight: int
) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == at_weight)
    world.target.failures[action] = kind("user 'retrain' may not do that", remedy="give it the role")
    watch = Watch(world.deps, world.runs)
    for _ in range(10):  # a weight is due at one of the next looks
        world.pass_time(timedelta(minutes=10))
        if looks := list(watch.looks()):
            (look,) = looks
            assert look.output is not None, "a refusal is an outcome of the rollout, not of the watch"
            output = look.output
        if output["rollout"]["phase"] != "waiting":
            break

    assert (output["status"], output["rollout"]["phase"]) == ("finished", "rolled_back")
    assert (world.target.weights, world.target.mirror, world.champion, world.moves) == ({"1": 100}, {}, "1", [])
    why = world.registry.get_version(NAME, "2").tags["retraining.rolled_back_why"]
    assert "The target refuses to go on" in why
    assert "user 'retrain' may not do that (remedy: give it the role)" in why


def test_target_that_refuses_the_way_back_too_is_told_again_until_it_takes_it(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == 20)
    world.target.failure = NotAllowed("user 'retrain' may not do that")
    world.pass_time(timedelta(minutes=10))
    watch = Watch(world.deps, world.runs)

    (look,) = watch.looks()

    assert isinstance(look.error, Unavailable)
    record = world.store.get_run(output["runId"])
    assert (record.status, active.find(world.deps, world.deps.load_profile("prices")) is not None) == ("failed", True)
    # What `retrain rollout status` prints of a run that failed.
    assert record.error is not None
    assert "user 'retrain' may not do that" in record.error
    assert (world.champion, world.moves) == ("1", [])
    world.target.failure = None
    world.pass_time(timedelta(minutes=10))
    (look,) = watch.looks()
    assert look.output is not None
    assert (look.output["rollout"]["phase"], world.target.weights) == ("rolled_back", {"1": 100})


def test_target_that_does_not_answer_is_asked_again_and_after_the_limit_a_person_is(tmp_path: Path) -> None:
    for silent_looks, phase in ((2, "promoted"), (10, "inconclusive")):
        world = endpoint_world(tmp_path / phase)
        play(world)
        output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == 20)
        world.target.failure = TimedOut("no answer within 10 s")
        for _ in range(silent_looks):
            if output["rollout"]["phase"] == "waiting":
                output = wake(world, output)
        world.target.failure = None

        output = go_on(world, output)

        assert output["rollout"]["phase"] == phase
        assert world.target.weights == {"2": 100} if phase == "promoted" else {"1": 80, "2": 20}
        assert ("no answer within 10 s" in output["rollout"]["statement"]) == (phase == "inconclusive")


def test_refusal_while_a_person_holds_the_rollout_waits_for_that_person(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == 20)
    scope = holds.of_rollout(output["runId"])
    holds.put(world.deps, scope, "looking at it", by="eve")
    world.target.failures["status"] = NotAllowed("user 'retrain' may not do that")

    output = wake(world, output)

    assert (output["rollout"]["phase"], world.target.weights) == ("waiting", {"1": 80, "2": 20})
    assert "user 'retrain' may not do that" in output["rollout"]["statement"]
    holds.release(world.deps, scope, "seen", approvers=[PERSON], by=PERSON)
    assert wake(world, output)["rollout"]["phase"] == "rolled_back"
    assert world.target.weights == {"1": 100}


OWN_STEPS = [
    {"kind": "set_weight", "weight": 5},
    {"kind": "pause"},
    {"kind": "analysis", "require": "safe"},
    {"kind": "set_weight", "weight": 100},
    {"kind": "analysis"},
]


def own_steps_world(folder: Path) -> World:
    world = endpoint_world(folder, rollout={**ROLLOUT, "steps": OWN_STEPS})
    play(world)
    return world


def test_pause_without_an_end_waits_for_an_approver_tells_once_and_goes_on_when_let_go(tmp_path: Path) -> None:
    notifier = MemoryNotifier(("1:mail",))
    world = with_deps(own_steps_world(tmp_path), notifier_of=lambda _: notifier)
    output = world.run()
    for _ in range(4):
        output = wake(world, output, at_least=timedelta(minutes=10))
    assert (output["rollout"]["phase"], world.target.weights) == ("waiting", {"1": 95, "2": 5})
    (hold,) = world.store.holds()
    scope = holds.of_rollout(output["runId"])
    assert (hold.scope, hold.by, hold.run_id) == (scope, "plan", output["runId"])
    told = [notice for _, notice in notifier.sent if notice.event == "waits_for_a_person"]
    assert len(told) == 1
    assert "retrain rollout resume prices" in told[0].body

    with pytest.raises(NotAllowed, match="may not release"):
        holds.release(world.deps, scope, "fine", approvers=[PERSON], by="eve")
    holds.release(world.deps, scope, "fine", approvers=[PERSON], by=PERSON)

    assert go_on(world, output)["rollout"]["phase"] == "promoted"
    assert world.store.holds() == []


def test_pause_without_an_end_is_no_shelter_from_harm_and_asks_a_person_at_the_deadline(tmp_path: Path) -> None:
    world = own_steps_world(tmp_path / "harm")
    output = world.run()
    play(world, candidate=0.5)
    assert go_on(world, output)["rollout"]["phase"] == "rolled_back"

    world = own_steps_world(tmp_path / "silence")
    output = wake(world, world.run(), at_least=timedelta(hours=3))
    assert output["rollout"]["phase"] == "inconclusive"
    assert "reviewId" in output["deploymentDecision"]
    expired = wake(world, output, at_least=timedelta(days=30))
    assert (expired["rollout"]["phase"], world.target.weights) == ("rolled_back", {"1": 100})


def test_rollback_from_a_pause_holds_the_model_and_leaves_no_hold_of_the_rollout(tmp_path: Path) -> None:
    for folder, told in (("harm", None), ("abort", "odd prices")):
        world = own_steps_world(tmp_path / folder)
        output = world.run()
        assert [hold.scope for hold in world.store.holds()] == [holds.of_rollout(output["runId"])]
        if told is None:
            play(world, candidate=0.5)
            output = go_on(world, output)
        else:
            output = roll_back(world)

        assert output["rollout"]["phase"] == "rolled_back"
        (hold,) = world.store.holds()
        assert hold.scope == holds.of_model(NAME)
        assert (told or "errors") in hold.why


def test_process_killed_around_the_hold_of_a_pause_leaves_one_hold_and_one_release_is_enough(tmp_path: Path) -> None:
    class Killed(BaseException): ...

    for killed_at in ("set_hold", "confirm"):
        world = own_steps_world(tmp_path / killed_at)
        real = world.store

        class Dying:
            def __getattr__(self, name: str, real: Any = real, killed_at: str = killed_at) -> Any:
                method = getattr(real, name)

                def call(*args: Any, **kwargs: Any) -> Any:
                    if name == "confirm" == killed_at and "/pause-" in str(args[0]):
                        raise Killed
                    result = method(*args, **kwargs)
                    if name == "set_hold" == killed_at:
                        raise Killed
                    return result

                return call

        with pytest.raises(Killed):
            with_deps(world, store=Dying()).run()
        (run,) = world.store.list_runs()
        output = world.runs.resume(run.run_id)
        (hold,) = world.store.holds()
        assert hold.scope == holds.of_rollout(run.run_id)
        holds.release(world.deps, hold.scope, "fine", approvers=[PERSON], by=PERSON)
        assert go_on(world, output)["rollout"]["phase"] == "promoted"


def test_own_steps_that_the_target_cannot_do_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    world = own_steps_world(tmp_path)
    world.target.can_split = False

    with pytest.raises(BadInput, match="the target cannot split traffic"):
        world.run()
    assert world.store.list_runs() == []


def test_lost_lease_is_no_refusal_of_the_target_and_moves_nothing(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    output = world.run()
    assert (world.target.mirror, world.target.weights) == ({"2": 100}, {"1": 100})
    lost: RetrainingError = Conflict("the lease went to another run")

    class Losing:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def intend(self, lease: Any, key: str, name: str, intent: Any) -> Any:
            if name.startswith("weight-"):
                raise lost
            return world.store.intend(lease, key, name, intent)

    losing = with_deps(world, store=Losing())
    with pytest.raises(Conflict) as caught:
        go_on(losing, output)
    assert caught.value is lost
    assert actions(world, "undo") == []
    assert (world.target.weights, world.moves) == ({"1": 100}, [])


def test_refused_release_of_the_old_champion_does_not_undo_a_promotion(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)
    output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == 100)
    world.target.failures["release"] = NotAllowed("user 'retrain' may not do that")

    output = go_on(world, output)

    assert (output["status"], output["rollout"]["phase"], world.champion) == ("finished", "promoted", "2")


def test_target_that_refuses_to_load_the_candidate_refuses_the_rollout(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    world.target.failures["prepare"] = BadInput("memory '12 potatoes' is no quantity", remedy="write 500Mi")

    output = world.run()

    assert (output["status"], output["rollout"]["phase"]) == ("finished", "refused")
    assert "12 potatoes' is no quantity (remedy: write 500Mi)" in output["rollout"]["statement"]
    assert (actions(world, "apply", "undo"), world.champion) == ([], "1")


def test_command_that_can_split_no_more_ends_the_canary_and_is_told_to_go_back(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path, rollout={**ROLLOUT, "mirror": 0, "canary_weights": [20, 50]})
    play(world)
    output = go_on(world, world.run(), until=lambda now: now["rollout"].get("weight") == 20)
    (tmp_path / "target.py").write_text(
        "import json, os, pathlib\n"
        "undone = pathlib.Path('undone')\n"
        "if os.environ['RETRAINING_ACTION'] == 'undo':\n"
        "    undone.write_text(os.environ['RETRAINING_VERSION'])\n"
        "print(json.dumps({'weights': {'1': 100} if undone.exists() else {'1': 80, '2': 20}, 'healthy': True}))\n"
    )
    argv = (sys.executable, "target.py")
    command = CommandTargetAdapter(CommandTarget(apply=argv, status=argv, undo=argv, can_split=False), tmp_path)
    changed = with_deps(world, target_of=lambda _: command, traffic_log_of=lambda *_: log_of(world))

    output = go_on(changed, output)

    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("rolled_back", "proved")
    assert ((tmp_path / "undone").read_text(), world.champion) == ("1", "1")
    why = world.registry.get_version(NAME, "2").tags["retraining.rolled_back_why"]
    assert "the command target cannot split traffic: 50 % asked for version 2" in why


def test_plan_is_stored_before_anything_moves_and_found_by_its_effects(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    output = world.run()
    found = active.find(world.deps, world.deps.load_profile("prices"))

    assert found is not None
    assert (found.run.run_id, found.plan.candidate_version, found.plan.last_known_good) == (output["runId"], "2", "1")
    names = [effect.name for effect in world.store.effects(output["runId"])]
    assert names.index("plan-1") < names.index("weight-1-0")
    assert ROLLOUT["metrics"][0]["name"] == found.plan.metrics[0].name
