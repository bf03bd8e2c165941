"""Candidates that load and then do harm, and candidates that do not load. The champion serves on."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.serving.conftest import World, request
from tests.serving.test_serving import loaded, rows, since, until  # noqa: F401 - a fixture among them
from tools.errors import Unavailable

pytestmark = pytest.mark.serving


@pytest.fixture(scope="module")
def served(made: Callable[..., World]) -> World:
    world = made(load_limit="PT20S", memory_limit_mb=900)
    world.models.add("6")
    for version, behaviour in enumerate(
        ("nonsense", "raises", "hangs", "leaks", "dies", "does not load", "loads for ever"), 10
    ):
        world.models.add(str(version), behaviour)
    world.target.apply(request("6"))
    return world


NONSENSE, RAISES, HANGS, LEAKS, DIES, NO_LOAD, FOR_EVER = (str(number) for number in range(10, 17))


@pytest.fixture
def world(served: World) -> World:
    served.target.undo(request("6"))
    for version in served.target.control.wanted["versions"]:
        if version != "6":
            served.target.release(version)
    return served


def still_serves(world: World, file: Path) -> bool:
    with loaded(world, file) as load:
        time.sleep(0.5)
    return {(reply.status, reply.version) for reply in load.replies} == {(200, "6")}


def test_candidate_that_answers_nonsense_is_seen_in_its_log(world: World, rows: Path):  # noqa: F811
    world.target.prepare(request(NONSENSE))
    answer = world.target.ask(NONSENSE, rows)
    assert answer is not None
    assert answer.predictions == (None, None, None)
    begun = time.time()
    world.target.apply(request(NONSENSE, 50, "6"))
    with loaded(world, rows):
        time.sleep(1.5)
    mine = since(world, begun, (NONSENSE,))
    assert len(mine) > 10
    assert set(mine.prediction) == {None}


def test_candidate_that_raises_fails_its_own_answers_only(world: World, rows: Path):  # noqa: F811
    begun = time.time()
    world.target.apply(request(RAISES, 50, "6"))
    with loaded(world, rows) as load:
        time.sleep(1.5)
    mine, champions = since(world, begun, (RAISES,)), since(world, begun, ("6",))
    assert set(mine.failed) == {True}
    assert set(champions.failed) == {False}
    assert len(mine) == len(load.failed())
    assert "no such column" in load.failed()[0].said
    with pytest.raises(Unavailable, match="no such column"):
        world.target.ask(RAISES, rows)


def test_candidate_that_hangs_is_unhealthy_and_its_clients_are_answered_by_the_champion(world: World, rows: Path):  # noqa: F811
    world.target.apply(request(HANGS, 20, "6"))
    with loaded(world, rows, per_second=10) as load:
        until(lambda: world.target.status(request(HANGS)).healthy is False)
        begun = time.monotonic()
        world.target.undo(request("6"))
        assert time.monotonic() - begun < 2.0
    assert load.failed() == []
    assert still_serves(world, rows)


def test_candidate_that_leaks_memory_is_killed_and_given_up(world: World, rows: Path):  # noqa: F811
    world.target.apply(request(LEAKS, 50, "6"))
    with loaded(world, rows) as load:
        until(lambda: world.target.control.version(LEAKS)["state"] == "failed")
    reply = world.target.status(request(LEAKS))
    assert reply.healthy is False
    assert "of 900 and was killed" in reply.monitoring["said"]
    assert load.failed() == []
    pids = world.processes()
    time.sleep(2.0)
    assert world.processes() == pids, "it is not started again"


def test_candidate_that_dies_at_five_percent_is_started_again_three_times_and_then_given_up(world: World, rows: Path):  # noqa: F811
    world.target.apply(request(DIES, 5, "6"))
    with loaded(world, rows, per_second=40) as load:
        until(lambda: world.target.status(request(DIES)).healthy is False)
    assert load.failed() == []
    assert world.target.control.version(DIES)["restarts"] >= 1
    world.target.undo(request("6"))
    assert still_serves(world, rows)


def test_candidate_that_does_not_load_is_refused_with_the_reason_and_not_kept(world: World, rows: Path):  # noqa: F811
    with pytest.raises(Unavailable, match="weights are missing"):
        world.target.prepare(request(NO_LOAD))
    assert NO_LOAD not in world.target.control.wanted["versions"]
    assert still_serves(world, rows)
    until(lambda: len(world.processes()) == 2)


def test_candidate_that_is_not_ready_in_time_is_refused_and_ended(world: World, rows: Path):  # noqa: F811
    with pytest.raises(Unavailable, match="was not ready within 20 s"):
        world.target.prepare(request(FOR_EVER))
    assert still_serves(world, rows)
    until(lambda: len(world.processes()) == 2)


def test_nothing_that_failed_stands_in_the_log_as_an_answer_of_the_champion(world: World):
    now = datetime.now(UTC)
    mine = world.target.log.observations(["6"], now - timedelta(hours=1), now, 100_000)
    assert len(mine) > 100
    assert not mine.failed.any()
