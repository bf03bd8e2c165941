"""What a person types to stop things and to let them go, on the store of a workspace in which a canary is under way.

The commands run in this process, through the door's own entry point: exit codes and messages are those of the shell.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agent.services import reviews
from agent.workspace import find_workspace
from tests.graph.traffic import ROLLOUT, endpoint_world, go_on, play, wake
from tests.graph.world import NAME, World
from tests.typed import Result, typed
from tools.adapters.memory_target import MemoryTrafficLog
from tools.adapters.store import SqlStore
from tools.errors import Conflict


@dataclass(frozen=True)
class Desk:
    """A workspace, the world whose runs its store holds, and the command line."""

    world: World
    folder: Path

    def type(self, *arguments: str) -> Result:
        return typed(*arguments, folder=self.folder)

    def held(self) -> list[str]:
        return sorted(hold["scope"] for hold in self.type("holds", "--json").json)

    def approvers(self, *names: str) -> None:
        profile = self.world.profile | {"review": {"approvers": names, "expires_after": "7d"}}
        (self.folder / "profiles" / "prices.yaml").write_text(json.dumps(profile))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    (tmp_path / "profiles").mkdir()
    space = find_workspace(tmp_path)
    space.work_dir.mkdir()
    world = endpoint_world(tmp_path, store_of=lambda clock: SqlStore(space.store, clock))
    made = Desk(world, tmp_path)
    made.approvers(reviews.os_user())
    return made


@pytest.fixture
def output(desk: Desk) -> dict[str, Any]:
    """Of the run whose canary is under way."""
    started = desk.world.run()
    play(desk.world)
    return started


def refused(told: Result, code: int, *said: str) -> None:
    """One clear message, nothing on stdout, no traceback."""
    assert (told.code, told.out) == (code, ""), told
    assert "Traceback" not in told.err
    for text in said:
        assert text in told.err


def applied(desk: Desk) -> int:
    return len([call for call in desk.world.target.calls if call.action == "apply"])


def test_paused_rollout_keeps_its_weight_and_a_resumed_one_is_promoted(desk: Desk, output: dict[str, Any]) -> None:
    paused = desk.type("rollout", "pause", "prices", "--reason", "looking at it")
    assert paused.code == 0, paused.err
    assert f"prices: paused by {reviews.os_user()}; `retrain rollout resume prices" in paused.out
    before = applied(desk)
    looked = wake(desk.world, output)
    assert (looked["rollout"]["phase"], applied(desk)) == ("waiting", before)
    assert "Paused by a person" in looked["rollout"]["statement"]

    resumed = desk.type("rollout", "resume", NAME, "--reason", "fine", "--json")

    assert (resumed.code, resumed.json["releasedBy"], resumed.json["releasedWhy"]) == (0, reviews.os_user(), "fine")
    assert go_on(desk.world, looked)["rollout"]["phase"] == "promoted"


def test_second_pause_says_that_the_first_stands_and_status_shows_who_holds(desk: Desk, output: dict[str, Any]) -> None:
    desk.type("rollout", "pause", "prices", "--reason", "looking at it")

    again = desk.type("rollout", "pause", "prices", "--reason", "me too")

    assert "already (looking at it); your reason is not recorded" in again.out
    shown = desk.type("rollout", "status", "prices").out
    assert f"held       by {reviews.os_user()}" in shown
    assert "looking at it" in shown


def test_hold_of_a_rollout_is_of_its_run_and_is_listed_with_who_and_why(desk: Desk, output: dict[str, Any]) -> None:
    scope = f"rollout:{output['runId']}"
    desk.type("rollout", "pause", "prices", "--reason", "looking at it")

    (listed,) = desk.type("holds", "--json").json

    assert (listed["scope"], listed["by"], listed["why"]) == (scope, reviews.os_user(), "looking at it")
    shown = desk.type("holds").out
    assert scope in shown
    assert "looking at it" in shown
    desk.type("rollout", "resume", "prices", "--reason", "fine")
    assert "nothing is held" in desk.type("holds").out
    (once,) = desk.type("holds", "--all", "--json").json
    assert (once["scope"], once["releasedWhy"]) == (scope, "fine")


def test_everything_paused_starts_no_run_until_it_is_resumed(desk: Desk) -> None:
    paused = desk.type("pause", "--all", "--reason", "freeze", "--json")
    assert (paused.code, paused.json["scope"]) == (0, "all")
    with pytest.raises(Conflict, match=r"everything is paused by .*\(freeze\)"):
        desk.world.run()

    resumed = desk.type("resume", "--all", "--reason", "over")

    assert resumed.code == 0, resumed.err
    assert desk.held() == []
    assert desk.world.run()["status"] == "parked"


def test_model_held_by_a_rollback_is_released_and_its_trigger_starts_runs_again(
    desk: Desk, output: dict[str, Any]
) -> None:
    go_on(desk.world, output)
    desk.world.run("rollback", reason="odd prices")
    assert desk.held() == [f"model:{NAME}"]
    scheduled = {"retrainingConfig": {"trigger": "scheduled"}}
    with pytest.raises(Conflict, match="held"):
        desk.world.run(request=scheduled)

    released = desk.type("release", "prices", "--reason", "mended")

    assert released.code == 0, released.err
    assert f"model:{NAME} is released by {reviews.os_user()}: mended" in released.out
    assert desk.world.run(request=scheduled)["status"] == "parked"


@pytest.mark.parametrize("command", [("rollout", "pause"), ("rollout", "resume"), ("release",)], ids=" ".join)
def test_unknown_model_is_not_found(desk: Desk, command: tuple[str, ...]) -> None:
    refused(desk.type(*command, "nobody", "--reason", "why"), 3, "error: ", "nobody", "remedy")


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_model_without_a_rollout_has_none_to_stop(desk: Desk, command: str) -> None:
    told = desk.type("rollout", command, "prices", "--reason", "why")

    refused(told, 4, "error: no rollout of 'prices' is under way", "remedy", "retrain rollout status")
    assert desk.held() == []


def test_rollout_that_has_ended_cannot_be_paused(desk: Desk, output: dict[str, Any]) -> None:
    assert go_on(desk.world, output)["rollout"]["phase"] == "promoted"

    refused(desk.type("rollout", "pause", "prices", "--reason", "late"), 4, "no rollout of 'prices' is under way")


def test_what_nobody_holds_cannot_be_released(desk: Desk, output: dict[str, Any]) -> None:
    refused(desk.type("rollout", "resume", "prices", "--reason", "why"), 3, f"rollout:{output['runId']}", "remedy")
    refused(desk.type("release", "prices", "--reason", "why"), 3, f"model:{NAME}", "remedy")
    refused(desk.type("resume", "--all", "--reason", "why"), 3, "all", "remedy")


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_everything_is_named_or_nothing_is_stopped(desk: Desk, command: str) -> None:
    refused(desk.type(command, "--reason", "why"), 2, f"`retrain {command}", "is about everything", "--all")
    assert desk.held() == []


@pytest.mark.parametrize(
    "command",
    [("rollout", "pause", "prices"), ("rollout", "resume", "prices"), ("pause", "--all"), ("resume", "--all")],
    ids=" ".join,
)
def test_reason_is_asked_for_and_a_blank_one_is_none(
    desk: Desk, output: dict[str, Any], command: tuple[str, ...]
) -> None:
    refused(desk.type(*command), 2, "--reason")
    refused(desk.type(*command, "--reason", " "), 2, "a hold is set and released with a reason", "remedy")
    assert desk.held() == []


def test_anybody_stops_things_and_only_an_approver_lets_them_go(desk: Desk, output: dict[str, Any]) -> None:
    desk.approvers("somebody-else")
    assert desk.type("rollout", "pause", "prices", "--reason", "odd").code == 0
    assert desk.type("pause", "--all", "--reason", "odd").code == 0
    held = desk.held()
    assert held == ["all", f"rollout:{output['runId']}"]

    for command in (("rollout", "resume", "prices"), ("resume", "--all")):
        refused(desk.type(*command, "--reason", "fine"), 5, reviews.os_user(), "somebody-else", "remedy")

    assert desk.held() == held


def test_error_is_json_where_json_was_asked_for(desk: Desk) -> None:
    told = desk.type("rollout", "pause", "prices", "--reason", "why", "--json")

    assert (told.code, told.json["error"], told.json["exitCode"]) == (4, "Conflict", 4)
    assert told.json["remedy"]


def test_second_pause_leaves_the_first_ones_name_and_reason(desk: Desk, output: dict[str, Any]) -> None:
    desk.type("rollout", "pause", "prices", "--reason", "first")

    again = desk.type("rollout", "pause", "prices", "--reason", "second", "--json")

    assert (again.code, again.json["why"]) == (0, "first")


def test_status_of_a_rollout_says_how_many_labels_did_not_count(tmp_path: Path) -> None:
    (tmp_path / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    (tmp_path / "profiles").mkdir()
    space = find_workspace(tmp_path)
    space.work_dir.mkdir()
    metrics = [*ROLLOUT["metrics"], {"name": "quality", "margin": 0.05, "critical": False}]
    world = endpoint_world(
        tmp_path, store_of=lambda clock: SqlStore(space.store, clock), rollout=ROLLOUT | {"metrics": metrics}
    )
    desk = Desk(world, tmp_path)
    desk.approvers(reviews.os_user())
    output = world.run()
    play(world)
    assert isinstance(world.target.log, MemoryTrafficLog)
    world.target.log.rows = replace(world.target.log.rows, orphan_labels=3, doubled_labels=2)
    wake(world, output)

    shown = " ".join(desk.type("rollout", "status").out.split())

    assert "3 match no request, 2 came again" in shown
