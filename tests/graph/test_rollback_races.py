"""Two at once: a rollback beside a look, a promotion or another rollback; a champion moved by somebody else; a person who insists."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.requests import request_from_flags
from agent.services import active, holds, reviews
from tests.graph.test_rollback import roll_back
from tests.graph.traffic import endpoint_world, go_on, play, wake
from tests.graph.world import NAME, PERSON, World, add_version, by, with_deps
from tools.contracts.request import RunOrder
from tools.contracts.run import ChampionEvent
from tools.errors import Conflict, TimedOut, Unavailable


def canary_at(folder: Path, weight: int) -> tuple[World, dict[str, Any]]:
    """A harmless canary under way, asked for by somebody who may not approve it."""
    world = endpoint_world(folder)
    play(world)
    return world, go_on(world, world.run(by="joan"), until=lambda now: now["rollout"].get("weight") == weight)


def once_during(
    port: Any, method: str, act: Callable[[], object], *, when: Callable[..., bool] = lambda *_: True
) -> None:
    """`act` by another process, in the middle of the first such call."""
    real, done = getattr(port, method), []

    def call(*args: Any) -> Any:
        if not done and when(*args):
            done.append(True)
            act()
        return real(*args)

    setattr(port, method, call)


def in_doubt(world: World, output: dict[str, Any]) -> dict[str, Any]:
    """The target is silent until a person is asked, and then answers again."""
    world.target.failure = TimedOut("no answer within 10 s")
    while output["rollout"]["phase"] == "waiting":
        output = wake(world, output)
    world.target.failure = None
    assert (output["rollout"]["phase"], world.target.weights) == ("inconclusive", {"1": 80, "2": 20})
    return output


def answer(world: World, output: dict[str, Any]) -> dict[str, Any]:
    reviews.answer(world.deps, output["deploymentDecision"]["reviewId"], "approve", "it is fine", PERSON)
    return world.runs.resume(output["runId"])


def test_canary_in_doubt_that_has_its_share_goes_on_when_a_person_insists(tmp_path: Path) -> None:
    world, output = canary_at(tmp_path, 20)

    output = go_on(world, answer(world, in_doubt(world, output)))

    assert (output["rollout"]["phase"], world.target.weights, world.champion) == ("promoted", {"2": 100}, "2")


def test_insisting_that_is_refused_leaves_no_share_behind(tmp_path: Path) -> None:
    world, output = canary_at(tmp_path, 20)
    output = in_doubt(world, output)
    holds.put(world.deps, holds.of_model(NAME), "odd prices", by="eve")

    output = answer(world, output)

    assert (output["rollout"]["phase"], world.target.weights, world.champion) == ("rolled_back", {"1": 100}, "1")
    assert "odd prices" in str(output["rollback"] if "rollback" in output else world.store.holds())


def test_abort_in_the_middle_of_a_weight_stays_the_last_word(tmp_path: Path) -> None:
    world, output = canary_at(tmp_path, 0)
    other = with_deps(world)
    once_during(world.target, "apply", lambda: roll_back(other))

    with pytest.raises(Conflict, match=r"took the model while this run set 20 %; that was taken back"):
        go_on(world, output)

    assert (world.target.weights, world.champion) == ({"1": 100}, "1")
    assert [(run.kind, run.status) for run in world.store.list_runs()] == [
        ("rollback", "finished"),
        ("retrain", "aborted"),
    ]


def test_abort_in_the_middle_of_a_promotion_stays_the_last_word(tmp_path: Path) -> None:
    world, output = canary_at(tmp_path, 100)
    other = with_deps(world)
    once_during(world.registry, "set_alias", lambda: roll_back(other), when=lambda _, alias, __: alias == "champion")

    with pytest.raises(Conflict, match="made version 2 champion; that was taken back"):
        go_on(world, output)

    assert (world.target.weights, world.champion) == ({"1": 100}, "1")
    assert [event.version for event in world.store.champions(NAME)][:1] != ["2"]


def earlier_champion(world: World) -> str:
    """Before version 1 another was champion: who goes back twice lands there."""
    version = add_version(world, by("a"))
    for number, days in ((version, 9), ("1", 8)):
        at = world.now[0] - timedelta(days=days)
        event = ChampionEvent(
            model_name=NAME, version=number, previous=None, how="deployed", run_id=None, at=at, by="test"
        )
        world.store.record_champion(event)
    return version


def test_second_rollback_during_the_first_is_refused_and_goes_back_no_further(tmp_path: Path) -> None:
    world, _ = canary_at(tmp_path, 20)
    earlier_champion(world)
    other, said = with_deps(world), []

    def again() -> None:
        with pytest.raises(Conflict) as refused:
            roll_back(other)
        said.append(refused.value.message)

    once_during(world.target, "undo", again)

    assert roll_back(world)["rollout"]["phase"] == "rolled_back"
    assert len(said) == 1
    assert (world.target.weights, world.champion) == ({"1": 100}, "1")


def test_abort_of_a_rollout_that_just_ended_goes_back_no_further(tmp_path: Path) -> None:
    world, output = canary_at(tmp_path, 20)
    earlier_champion(world)
    order = RunOrder(
        kind="rollback",
        request=request_from_flags("prices"),
        requested_by=PERSON,
        as_of=world.now[0],
        of_run=output["runId"],
        reason="odd prices",
    )
    assert roll_back(world)["rollout"]["phase"] == "rolled_back"

    with pytest.raises(Conflict, match="no longer under way"):
        world.runs.start(order)

    assert (world.target.weights, world.champion) == ({"1": 100}, "1")


def test_rollback_whose_target_could_not_be_told_is_gone_on_with_and_not_begun_again(tmp_path: Path) -> None:
    world, _ = canary_at(tmp_path, 20)
    earlier_champion(world)
    world.target.failures["undo"] = Unavailable("no answer")
    with pytest.raises(Unavailable):
        roll_back(world)

    with pytest.raises(Conflict, match=r"rollback .* is not over"):
        roll_back(world)

    world.target.failures.clear()
    (unfinished,) = world.store.unfinished("prices")
    world.runs.resume(unfinished.run_id)
    assert (world.target.weights, world.champion) == ({"1": 100}, "1")


def test_champion_moved_by_somebody_else_ends_the_rollout_and_the_rehearsed_version_gets_the_traffic(
    tmp_path: Path,
) -> None:
    for weight in (20, 100):
        world, output = canary_at(tmp_path / str(weight), weight)
        foreign = add_version(world, by("c"))
        world.registry.set_alias(NAME, "champion", foreign)

        output = go_on(world, output)

        assert (output["rollout"]["phase"], world.target.weights) == ("rolled_back", {"1": 100})
        assert world.champion == foreign, "somebody's decision, and not ours to undo"
        assert f"Somebody else made version {foreign} champion" in output["rollout"]["statement"]
        assert active.find(world.deps, world.deps.load_profile("prices")) is None


def test_rollback_after_the_champion_was_moved_by_somebody_else_goes_to_the_version_it_was_rehearsed_with(
    tmp_path: Path,
) -> None:
    world, _ = canary_at(tmp_path, 20)
    foreign = add_version(world, by("c"))
    world.registry.set_alias(NAME, "champion", foreign)

    assert roll_back(world)["rollout"]["phase"] == "rolled_back"

    assert (world.target.weights, world.champion) == ({"1": 100}, foreign)
