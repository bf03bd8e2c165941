"""Many models go back at once: no alert waits for the end of another model's rollback."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from agent.services import alarms as service
from agent.services.alarms import Alarms
from tools.alert_rules import ACTION
from tools.contracts.alertmanager import AlertmanagerMessage

MODELS = [f"m{number}" for number in range(12)]


class World:
    """Rollbacks that are recorded at once and end when they are let; `slow` are those whose record is held up too."""

    def __init__(self) -> None:
        self.may_end, self.may_begin = threading.Event(), threading.Event()
        self.slow: set[str] = set()
        self.running: dict[str, list[Any]] = {}
        self.store, self.clock = self, lambda: datetime(2026, 7, 1, tzinfo=UTC)

    def load_profile(self, name: str) -> Any:
        return SimpleNamespace(id=name)

    def unfinished(self, name: str) -> list[Any]:
        return list(self.running.get(name, []))

    def start(self, order: Any, *, recorded: Any) -> None:
        name = order.request.model_id
        if name in self.slow:
            assert self.may_begin.wait(20)
        run = SimpleNamespace(run_id=f"r-{name}", kind="rollback", status="running")
        self.running.setdefault(name, []).append(run)
        recorded(run.run_id)
        assert self.may_end.wait(20)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    def find(_: Any, profile: Any) -> Any:
        return SimpleNamespace(run=SimpleNamespace(run_id=f"canary-{profile.id}"), plan=SimpleNamespace(digest="d"))

    monkeypatch.setattr(service.active, "find", find)
    return World()


@pytest.fixture
def alarms(world: World) -> Iterator[Alarms]:
    made = Alarms(world, world)  # type: ignore[arg-type]
    yield made
    world.may_begin.set()
    world.may_end.set()
    made.close()


def message(*models: str) -> AlertmanagerMessage:
    alerts = [
        {
            "status": "firing",
            "labels": {
                "retraining_action": ACTION,
                "retraining_model": model,
                "retraining_run": f"canary-{model}",
                "retraining_plan": "d",
            },
            "startsAt": "2026-07-01T12:10:00Z",
            "fingerprint": f"f-{model}",
        }
        for model in models
    ]
    return AlertmanagerMessage.model_validate({"version": "4", "status": "firing", "receiver": "r", "alerts": alerts})


def test_a_rollback_waits_for_no_other_and_none_is_begun_twice(world: World, alarms: Alarms) -> None:
    with ThreadPoolExecutor(20) as callers:
        try:
            whole = callers.submit(alarms.take, message(*MODELS), "someone")
            assert whole.result(10).rollbacks == {name: f"r-{name}" for name in MODELS}
            again = [callers.submit(alarms.take, message(name), "someone") for name in MODELS]
            assert [each.result(10).rollbacks for each in again] == [{name: f"r-{name}"} for name in MODELS]
        finally:
            world.may_end.set()
    assert {len(runs) for runs in world.running.values()} == {1}


def test_a_rollback_that_is_slow_to_begin_holds_up_its_own_model_alone(world: World, alarms: Alarms) -> None:
    world.slow = {"m0"}
    with ThreadPoolExecutor(20) as callers:
        try:
            held = [callers.submit(alarms.take, message("m0"), "someone") for _ in range(3)]
            assert callers.submit(alarms.take, message("m1"), "someone").result(10).rollbacks == {"m1": "r-m1"}
            assert not any(each.done() for each in held)
            world.may_begin.set()
            assert [each.result(10).rollbacks for each in held] == [{"m0": "r-m0"}] * 3
        finally:
            world.may_begin.set()
            world.may_end.set()
    assert len(world.running["m0"]) == 1
