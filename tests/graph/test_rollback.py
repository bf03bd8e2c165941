"""There is always a way back: proved before it is taken, ahead of whatever else is going on."""

from pathlib import Path
from typing import Any

import pytest

from agent.services import reviews
from tests.graph.world import BETTER, NAME, PERSON, World, add_version, by, make_world
from tests.graph.world import with_deps as seen_with
from tools.adapters.memory_target import MemoryTarget
from tools.adapters.memory_training import ScriptedTrainer, trained
from tools.contracts.training import TrainingResult
from tools.errors import Conflict, NotAllowed, NotFound


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
