"""There is always a way back: proved before it is taken, ahead of whatever else is going on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.services import holds, notices, reviews
from agent.services.leases import LeaseKeeper
from agent.services.watch import Watch
from agent.state import Run
from tests.graph.traffic import endpoint_world, go_on, play
from tests.graph.world import BETTER, NAME, PERSON, World, add_version, by, make_world
from tests.graph.world import with_deps as seen_with
from tools.adapters.memory_notifier import MemoryNotifier
from tools.adapters.memory_target import MemoryTarget
from tools.adapters.memory_training import ScriptedTrainer, trained
from tools.contracts.rollout import RolloutStatus
from tools.contracts.training import TrainingResult
from tools.errors import Conflict, NotAllowed, NotFound, Unavailable


def roll_back(world: World, **changes: Any) -> dict[str, Any]:
    return world.run("rollback", reason="odd prices", **changes)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Version 2 replaced version 1."""
    made = make_world(tmp_path)
    made.run()
    assert made.champion == "2"
    return made


def test_rollback_proves_the_last_known_good_version_and_moves_once(world: World) -> None:
    output = roll_back(world)

    assert (output["rollout"]["phase"], output["rollout"]["championVersion"]) == ("rolled_back", "1")
    assert "20 of 20 golden rows" in output["rollout"]["statement"]
    assert world.moves == [("1", "2"), ("2", "1")]
    assert world.registry.get_version(NAME, "2").tags["retraining.status"] == "rolled_back"
    newest = world.store.champions(NAME)[0]
    assert (newest.version, newest.how, newest.by, newest.reason) == ("1", "rolled_back", PERSON, "odd prices")


def test_alias_alone_stays_unproved_and_an_endpoint_proves(tmp_path: Path) -> None:
    worlds = {
        "unproved": make_world(tmp_path / "alias"),
        "proved": make_world(tmp_path / "endpoint", target=MemoryTarget(can_split=False, weights={"1": 100})),
    }

    for proof, world in worlds.items():
        world.run()
        assert roll_back(world)["rollout"]["proof"] == proof


def test_endpoint_that_serves_something_else_is_not_called_rolled_back(tmp_path: Path) -> None:
    target = MemoryTarget(can_split=False, weights={"1": 100})
    world = make_world(tmp_path, target=target)
    world.run()
    target.serves = {"2": 100}

    output = roll_back(world)

    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("refused", "contradicted")


def test_named_version_is_taken_and_an_unknown_one_refused(world: World) -> None:
    with pytest.raises(NotFound):
        roll_back(world, rollback_to="9")
    with pytest.raises(Conflict, match="champion already"):
        roll_back(world, rollback_to="2")
    assert world.champion == "2"

    assert roll_back(world, rollback_to="1")["rollout"]["championVersion"] == "1"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda w: w.scorer.models.update({f"models:/{NAME}/1": by("a", sign=-1)}), id="answers otherwise"),
        pytest.param(lambda w: w.scorer.digests.update({f"models:/{NAME}/1": "other"}), id="altered files"),
        pytest.param(lambda w: w.scorer.models.pop(f"models:/{NAME}/1"), id="cannot be loaded"),
    ],
)
def test_version_that_cannot_be_proved_is_not_gone_back_to(world: World, spoil: Any) -> None:
    spoil(world)

    output = roll_back(world)

    assert output["rollout"]["phase"] == "refused"
    assert "The champion stays where it was" in output["rollout"]["statement"]
    assert world.champion == "2"


def test_without_any_earlier_champion_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    world = make_world(tmp_path)

    with pytest.raises(Conflict, match="no last known good version"):
        roll_back(world)

    assert world.store.list_runs() == []


def test_version_that_was_rolled_back_from_is_no_way_back(world: World) -> None:
    roll_back(world)

    with pytest.raises(Conflict, match=r"no last known good version to go back to \(version 1 is champion\)"):
        roll_back(world)

    assert world.champion == "1"


def test_version_deployed_again_after_a_rollback_can_be_gone_back_from_and_to(world: World) -> None:
    roll_back(world)
    holds.release(world.deps, holds.of_model(NAME), "mended", approvers=[PERSON], by=PERSON)
    world.run("judge", candidate_version="2")
    assert world.champion == "2"

    assert roll_back(world)["rollout"]["championVersion"] == "1"


def test_rollback_in_mode_observe_is_not_allowed(world: World) -> None:
    world.profile["mode"] = "observe"

    with pytest.raises(NotAllowed, match="mode observe"):
        roll_back(world)

    assert world.champion == "2"


def test_deployment_is_refused_while_the_way_back_cannot_be_proved(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    digests = world.scorer.digests

    def train_while_the_champion_rots(_: Any) -> TrainingResult:
        digests[f"models:/{NAME}/1"] = "other"
        return trained(BETTER)

    world = seen_with(world, trainers={"project": ScriptedTrainer(train_while_the_champion_rots)})
    output = world.run()

    assert world.moves == []
    assert output["deploymentDecision"]["decision"] == "manual_review"


def test_rollback_overtakes_a_waiting_run_and_voids_its_question(world: World) -> None:
    asked = world.run("judge", candidate_version=add_version(world, by("b")))
    number = asked["deploymentDecision"]["reviewId"]

    output = roll_back(world)

    assert output["rollout"]["phase"] == "rolled_back"
    assert world.store.get_review(number).status == "void"
    overtaken = world.store.get_run(asked["runId"])
    assert (overtaken.status, overtaken.error) == ("aborted", f"a rollback (run {output['runId']}) took the model")
    with pytest.raises(Conflict, match="void"):
        reviews.answer(world.deps, number, "approve", "too late", PERSON)
    with pytest.raises(Conflict, match="aborted"):
        world.runs.resume(asked["runId"])
    assert world.champion == "1"


@pytest.mark.parametrize("to", ["9", "1"])
def test_rollback_that_is_refused_leaves_the_waiting_question_open(world: World, to: str) -> None:
    asked = world.run("judge", candidate_version=add_version(world, by("b")))
    number = asked["deploymentDecision"]["reviewId"]
    world.scorer.digests[f"models:/{NAME}/1"] = "other"

    try:
        assert roll_back(world, rollback_to=to)["rollout"]["phase"] == "refused"
    except NotFound:
        assert to == "9"

    assert world.store.get_review(number).status == "open"
    reviews.answer(world.deps, number, "reject", "after all", PERSON)
    assert world.runs.resume(asked["runId"])["status"] == "finished"


def test_rollback_overtakes_a_run_in_flight_whose_next_effect_is_refused(world: World) -> None:
    other = seen_with(world)

    def train_while_an_engineer_rolls_back(_: Any) -> TrainingResult:
        assert roll_back(other)["rollout"]["phase"] == "rolled_back"
        return trained(BETTER)

    busy = seen_with(world, trainers={"project": ScriptedTrainer(train_while_an_engineer_rolls_back)})

    with pytest.raises(Conflict, match="taken over"):
        busy.run()

    assert (world.champion, len(world.registry.registrations)) == ("1", 1)
    assert sorted(run.status for run in world.store.list_runs()) == ["aborted", "finished", "finished"]
    assert world.store.current_lease(NAME) is None


class Gone:
    """A port whose every call fails as an unreachable server does."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise Unavailable(f"{self._what} did not answer", thing=self._what)

        return fail


@pytest.mark.parametrize("port", ["tracking", "data", "scorer", "rationale", "drift_detective", "model_evaluator"])
def test_rollback_needs_the_registry_and_not(world: World, port: str) -> None:
    said: list[str] = []
    if port == "scorer":  # files that cannot be had at all: neither digest nor answers
        world.scorer.digests[f"models:/{NAME}/1"] = None  # type: ignore[assignment]
        without = seen_with(world, tracking=Gone("tracking"), progress=said.append)
    else:
        without = seen_with(world, **{port: Gone(port)}, progress=said.append)

    output = roll_back(without)

    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("rolled_back", "unproved")
    assert world.champion == "1"
    assert [hold.scope for hold in world.store.holds()] == [holds.of_model(NAME)]
    if port in ("tracking", "scorer"):
        assert "but not proved" in output["rollout"]["statement"]
        assert "its golden rows are not at hand" in output["rollout"]["statement"]
        assert any("tracking did not answer" in line for line in said)
    else:
        assert "20 of 20 golden rows" in output["rollout"]["statement"]


def test_rollback_goes_on_without_recorded_golden_rows_and_says_that_nothing_was_measured(world: World) -> None:
    for run in world.tracking.runs.values():
        for name in [name for name in run.artifacts if "golden" in name]:
            del run.artifacts[name]

    output = roll_back(world)

    assert (output["rollout"]["phase"], world.champion) == ("rolled_back", "1")
    assert "not proved" in output["rollout"]["statement"]
    assert "golden rows are not at hand" in output["rollout"]["statement"]


def test_registry_that_is_away_is_the_one_thing_that_a_rollback_cannot_do_without(world: World) -> None:
    with pytest.raises(Unavailable):
        roll_back(seen_with(world, registry=Gone("registry")))

    assert world.champion == "2"


@pytest.mark.parametrize("builds", [True, False])
def test_target_that_is_away_does_not_keep_the_alias_and_is_told_once_it_is_back(tmp_path: Path, builds: bool) -> None:
    target = MemoryTarget(can_split=False, weights={"1": 100})
    world = make_world(tmp_path, target=target)
    world.run()
    away = Unavailable("connection refused", thing="target")
    if builds:
        target.failure = away
        without = world
    else:

        def cannot_be_built(_: Any) -> Any:
            raise away

        without = seen_with(world, target_of=cannot_be_built)

    with pytest.raises(Unavailable, match="the target could not be told to go back") as caught:
        roll_back(without)

    run = world.store.list_runs()[0]
    assert (world.champion, target.weights, run.status) == ("1", {"2": 100}, "failed")
    assert f"`retrain run --resume {run.run_id}`" in str(caught.value)
    assert [hold.scope for hold in world.store.holds()] == [holds.of_model(NAME)]
    assert json.loads((world.deps.run_dir(run.run_id) / "incident.json").read_text())["outcome"] == "not_proved"

    target.failure = None
    (look,) = Watch(world.deps, world.runs).looks()

    assert look.output is not None
    assert (look.output["rollout"]["phase"], look.output["rollout"]["proof"]) == ("rolled_back", "proved")
    assert target.weights == {"1": 100}
    assert world.moves == [("1", "2"), ("2", "1")]
    assert len(world.store.holds(in_force=False)) == 1


# --- who hears of it, and what is written down -----------------------------------------------------------------------


def told(world: World) -> tuple[World, MemoryNotifier]:
    notifier = MemoryNotifier(("1:mail", "2:chat"))
    return seen_with(world, notifier_of=lambda _: notifier), notifier


def test_rollback_tells_each_channel_once_and_leaves_an_incident(world: World) -> None:
    seen, notifier = told(world)

    output = roll_back(seen)

    run_id = output["runId"]
    assert [(channel, notice.key) for channel, notice in notifier.sent] == [
        ("1:mail", f"{run_id}/rolled_back"),
        ("2:chat", f"{run_id}/rolled_back"),
    ]
    assert "odd prices" in notifier.sent[0][1].body
    assert "retrain release prices" in notifier.sent[0][1].body
    folder = world.deps.run_dir(run_id)
    incident = json.loads((folder / "incident.json").read_text())
    assert {k: incident[k] for k in ("outcome", "reason", "by", "fromVersion", "toVersion", "held")} == {
        "outcome": "rolled_back",
        "reason": "odd prices",
        "by": PERSON,
        "fromVersion": "2",
        "toVersion": "1",
        "held": holds.of_model(NAME),
    }
    effects = [(entry["effect"], entry["done"]) for entry in incident["timeline"]]
    assert effects == [("way-back-0", True), ("undo", True), ("rollback-alias-0", True), ("hold", True)]
    page = (folder / "incident.md").read_text()
    assert "20 of 20 golden rows" in page
    (tracked,) = [run for run in world.tracking.runs.values() if run.run_id == run_id]
    assert tracked.artifacts["incident/incident.md"].decode() == page
    assert json.loads(tracked.artifacts["incident.json"]) == incident


def test_channel_that_fails_stops_no_rollback_and_is_tried_again_by_the_next_watch(world: World) -> None:
    seen, notifier = told(world)
    notifier.failures["1:mail"] = Unavailable("no connection", thing="notify")

    assert roll_back(seen)["rollout"]["phase"] == "rolled_back"
    assert [channel for channel, _ in notifier.sent] == ["2:chat"]
    assert [effect.intent["channel"] for effect in notices.unsent(seen.deps)] == ["1:mail"]
    list(Watch(seen.deps, seen.runs).looks())
    assert [channel for channel, _ in notifier.sent] == ["2:chat"]

    notifier.failures.clear()
    watch = Watch(seen.deps, seen.runs)
    for _ in range(3):
        list(watch.looks())

    assert [channel for channel, _ in notifier.sent] == ["2:chat", "1:mail"]
    assert notices.unsent(seen.deps) == []


def test_refused_rollback_tells_people_holds_nothing_and_moves_nothing(world: World) -> None:
    seen, notifier = told(world)
    world.scorer.digests[f"models:/{NAME}/1"] = "other"

    roll_back(seen)

    assert [notice.event for _, notice in notifier.sent] == ["refused", "refused"]
    assert (world.champion, world.store.holds()) == ("2", [])


def test_incident_of_an_aborted_canary_shows_the_signals_and_both_runs(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    output = world.run()
    play(world)
    output = go_on(world, output, until=lambda o: bool(o["rollout"].get("signals")))

    back = roll_back(world)

    incident = json.loads((world.deps.run_dir(back["runId"]) / "incident.json").read_text())
    assert (incident["overtakenRun"], incident["fromVersion"], incident["toVersion"]) == (output["runId"], "2", "1")
    assert [signal["name"] for signal in incident["signals"]] == ["errors"]
    assert {entry["runId"] for entry in incident["timeline"]} == {output["runId"], back["runId"]}
    assert incident["planDigest"]


def test_promotion_and_doubt_are_told_and_other_phases_are_not(world: World) -> None:
    seen, notifier = told(world)
    record = world.store.list_runs()[0]
    run = Run(record.run_id, world.order(), world.deps.load_profile("prices"), "", None)
    lease = LeaseKeeper(world.store, NAME, record.run_id, "test:1:1")
    with lease:
        deps = replace(seen.deps, lease=lease)
        for phase in ("promoted", "inconclusive", "waiting", "promoted"):
            notices.rollout(deps, run, RolloutStatus(phase=phase, statement="seen"))  # type: ignore[arg-type]

    assert [(c, n.event) for c, n in notifier.sent] == [
        ("1:mail", "promoted"),
        ("2:chat", "promoted"),
        ("1:mail", "inconclusive"),
        ("2:chat", "inconclusive"),
    ]
