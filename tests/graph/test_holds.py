"""What a person must let go: a model after a rollback, everything, one rollout. A rollback is always allowed."""

from datetime import timedelta
from pathlib import Path

import pytest

from agent.services import holds
from tests.graph.traffic import endpoint_world, go_on, play, wake
from tests.graph.world import NAME, PERSON, World, add_version, by, make_world
from tests.graph.world import with_deps as seen_with
from tools.adapters.memory_training import ScriptedTrainer, trained
from tools.contracts.training import TrainingResult
from tools.errors import BadInput, Conflict, NotAllowed, NotFound

SCOPE = f"model:{NAME}"


@pytest.fixture
def held(tmp_path: Path) -> World:
    """Version 2 replaced version 1 and was rolled back from."""
    made = make_world(tmp_path)
    made.run()
    made.run("rollback", reason="odd prices")
    assert made.champion == "1"
    return made


def release(world: World, scope: str = SCOPE, *, person: str = PERSON) -> None:
    approvers = world.deps.load_profile("prices").review.approvers
    holds.release(world.deps, scope, "mended", approvers=approvers, by=person)


def test_rollback_holds_its_model_and_says_who_why_and_by_which_run(held: World) -> None:
    (hold,) = held.store.holds()

    newest = held.store.list_runs()[0].run_id
    assert (hold.scope, hold.by, hold.run_id) == (SCOPE, PERSON, newest)
    assert "odd prices" in hold.why


@pytest.mark.parametrize(
    "config", [{"trigger": t} for t in ("scheduled", "drift", "performance")] + [{"triggerSource": "webhook"}]
)
def test_trigger_starts_no_run_of_a_held_model_and_does_once_it_is_released(
    held: World, config: dict[str, str]
) -> None:
    before = len(held.store.list_runs())

    with pytest.raises(Conflict, match=r"is held by ada since .*odd prices") as caught:
        held.run(request={"retrainingConfig": config})

    assert "`retrain release prices" in str(caught.value)
    assert len(held.store.list_runs()) == before
    release(held)
    held.run(request={"retrainingConfig": config})
    assert len(held.store.list_runs()) == before + 1


def test_person_may_train_and_judge_a_held_model_but_nothing_is_rolled_out_until_it_is_released(held: World) -> None:
    said: list[str] = []
    moves = list(held.moves)

    output = seen_with(held, progress=said.append).run()

    assert (output["deploymentDecision"]["decision"], output["rollout"]["phase"]) == ("deploy", "refused")
    assert "is held by ada" in output["rollout"]["statement"]
    assert any("nothing is rolled out until it is released" in line for line in said)
    assert held.moves == moves
    release(held)
    assert held.run()["rollout"]["phase"] == "promoted"


def test_only_an_approver_releases_and_only_with_a_reason(held: World) -> None:
    with pytest.raises(NotAllowed, match="'mallory' may not release"):
        release(held, person="mallory")
    with pytest.raises(BadInput, match="with a reason"):
        holds.release(held.deps, SCOPE, " ", approvers=[PERSON], by=PERSON)
    assert [hold.scope for hold in held.store.holds()] == [SCOPE]

    release(held)

    assert held.store.holds() == []
    with pytest.raises(NotFound):
        release(held)


def test_pause_stops_every_new_run_and_a_rollback_is_allowed(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.run()
    holds.put(world.deps, holds.ALL, "freeze", by="eve")

    for kind in ("retrain", "judge"):
        with pytest.raises(Conflict, match=r"everything is paused by eve since .*\(freeze\)"):
            world.run(kind, **({"candidate_version": "1"} if kind == "judge" else {}))  # type: ignore[arg-type]

    assert world.run("rollback", reason="odd prices")["rollout"]["phase"] == "rolled_back"


def test_run_in_flight_trains_nothing_once_paused_and_goes_on_after_resume(tmp_path: Path) -> None:
    world = make_world(tmp_path, validation_strategy="rolling:2x10d")
    calls: list[str] = []

    def train(_: object) -> TrainingResult:
        calls.append("trained")
        return trained("models:/m-better")

    paused = seen_with(world, trainers={"project": ScriptedTrainer(train)})
    paused.data.frames  # noqa: B018 - the world is whole
    holds.put(world.deps, "rollout:none", "another scope", by="eve")
    original = paused.runs

    def pause_after_validation(line: str) -> None:
        if line == "validate_data done":
            holds.put(world.deps, holds.ALL, "freeze", by="eve")

    stopping = seen_with(paused, progress=pause_after_validation)
    with pytest.raises(Conflict, match="nothing is trained"):
        stopping.run()
    assert (calls, world.moves) == ([], [])

    release(world, holds.ALL)
    run_id = world.store.list_runs()[0].run_id
    assert original.resume(run_id)["rollout"]["phase"] == "promoted"
    assert calls == ["trained", "trained"]


@pytest.mark.parametrize("what", ["all", "rollout"])
def test_held_rollout_keeps_its_weight_and_goes_on_when_released(tmp_path: Path, what: str) -> None:
    world = endpoint_world(tmp_path)
    output = world.run()
    play(world)
    scope = holds.ALL if what == "all" else holds.of_rollout(output["runId"])
    holds.put(world.deps, scope, "looking at it", by="eve")
    applied = len([c for c in world.target.calls if c.action == "apply"])

    for _ in range(3):
        output = wake(world, output, at_least=timedelta(minutes=5))

    assert output["rollout"]["phase"] == "waiting"
    assert "Paused by a person" in output["rollout"]["statement"]
    assert len([c for c in world.target.calls if c.action == "apply"]) == applied
    release(world, scope)
    assert go_on(world, output)["rollout"]["phase"] == "promoted"


def test_harm_takes_a_held_rollout_back(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    output = world.run()
    play(world, candidate=0.5)
    holds.put(world.deps, holds.of_rollout(output["runId"]), "looking at it", by="eve")

    assert go_on(world, output)["rollout"]["phase"] == "rolled_back"


def test_model_held_after_a_failed_canary_is_held_by_policy(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    output = world.run()
    play(world, candidate=0.5)
    assert go_on(world, output)["rollout"]["phase"] == "rolled_back"

    (hold,) = world.store.holds()

    assert (hold.scope, hold.by, hold.run_id) == (SCOPE, "policy", output["runId"])
    add_version(world, by("b"))
    with pytest.raises(Conflict, match="is held by policy"):
        world.run(request={"retrainingConfig": {"trigger": "scheduled"}})
