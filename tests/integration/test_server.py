"""The HTTP door over a real server on loopback: who may call, which alert acts, and that ten alerts are one rollback."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.entrypoints.server.app import MAX_BYTES, application, hashed
from agent.entrypoints.server.process import listen, uvicorn_server
from agent.services import holds
from evals.loopback import running
from tests import remembered
from tests.graph.doors import app_of
from tests.graph.traffic import endpoint_world, play, wake
from tests.graph.world import NAME, World
from tools.errors import Unavailable

TOKEN = "only for these tests"
PATH = "/webhooks/alertmanager"


class Answer(NamedTuple):
    status: int
    kind: str
    content: dict[str, Any]


class Door:
    """A client of one server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            got = connection.getresponse()
            return Answer(got.status, got.headers["content-type"], json.loads(got.read()))
        finally:
            connection.close()

    def alert(self, *alerts: dict[str, Any], token: str | None = TOKEN, **changes: Any) -> Answer:
        message = {"version": "4", "status": "firing", "receiver": "retrain", "alerts": alerts} | changes
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.ask("POST", PATH, json.dumps(message).encode(), **bearer)


@contextmanager
def served(world: World, token: str | None = TOKEN, **options: Any) -> Iterator[Door]:
    app = application(app_of(world), () if token is None else (hashed(token),), **options)
    taken = listen("127.0.0.1", 0)
    server = uvicorn_server(app)
    with running(server, taken):
        yield Door(taken.getsockname()[1])


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A canary of version 2 is under way."""
    made = endpoint_world(tmp_path)
    with remembered.forests():
        output = made.run()
    play(made)
    while made.target.weights.get("2", 0) == 0:
        output = wake(made, output)
    return made


def alert(world: World, number: int = 1, **changes: str) -> dict[str, Any]:
    """As the exported rule of the rollout under way raises it."""
    run = next(run for run in world.store.list_runs() if run.kind == "retrain")
    plan = next(effect for effect in world.store.effects(run.run_id) if effect.name == "plan-1").intent
    labels = {
        "alertname": "RetrainingErrorsHarmful",
        "retraining_model": "prices",
        "retraining_action": "rollback",
        "retraining_run": run.run_id,
        "retraining_plan": plan["digest"],
    }
    return {
        "status": "firing",
        "labels": labels | changes,
        "annotations": {"summary": "a third of the answers fail"},
        "startsAt": "2026-07-01T12:10:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"f{number}",
    }


def rollbacks(world: World) -> list[Any]:
    return [run for run in world.store.list_runs() if run.kind == "rollback"]


def test_ten_alerts_in_ten_calls_at_once_make_one_rollback_that_is_proved(world: World) -> None:
    with served(world) as door:
        answers: list[Answer] = []
        calls = [threading.Thread(target=lambda n=n: answers.append(door.alert(alert(world, n)))) for n in range(10)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()

    (run,) = rollbacks(world)
    assert {answer.status for answer in answers} <= {200, 202}
    acted = [answer.content["rollbacks"] for answer in answers if answer.status == 202]
    assert acted
    assert all(each == {"prices": run.run_id} for each in acted)
    assert (run.status, run.requested_by) == ("finished", "alertmanager")
    assert run.output["rollout"]["phase"] == "rolled_back"
    assert world.target.weights == {"1": 100}
    (hold,) = world.store.holds()
    assert (hold.scope, hold.by) == (holds.of_model(NAME), "alertmanager")
    assert "RetrainingErrorsHarmful fires since 2026-07-01 12:10:00 UTC: a third of the answers fail" in hold.why


def test_alert_sent_again_after_the_rollback_moves_nothing(world: World) -> None:
    with served(world) as door:
        first = door.alert(alert(world))
    with served(world) as door:
        again = door.alert(alert(world))

    assert (first.status, again.status) == (202, 200)
    assert again.content == {
        "rollbacks": {},
        "ignored": ["RetrainingErrorsHarmful: no rollout of 'prices' is under way"],
    }
    assert len(rollbacks(world)) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"retraining_plan": "another"}, "exported for another plan", id="another plan"),
        pytest.param({"retraining_run": "r0"}, "exported for another plan", id="another run"),
        pytest.param({"retraining_action": "page"}, "does not carry", id="only a page"),
        pytest.param({"retraining_model": "nobody"}, "no profile 'nobody'", id="unknown model"),
        pytest.param({"status": "resolved"}, "resolved", id="resolved"),
    ],
)
def test_alert_of_something_else_moves_nothing(world: World, changes: dict[str, str], why: str) -> None:
    given = alert(world, 1, **{k: v for k, v in changes.items() if k != "status"})
    given["status"] = changes.get("status", "firing")

    with served(world) as door:
        answer = door.alert(given)

    assert answer.status == 200
    assert why in answer.content["ignored"][0]
    assert (rollbacks(world), world.store.holds()) == ([], [])


def test_only_who_bears_the_token_is_heard_and_without_a_token_nobody(world: World) -> None:
    with served(world) as door:
        strangers = [door.alert(alert(world), token=token) for token in (None, "", "wrong", TOKEN + "x")]
        basic = door.ask("POST", PATH, b"{}", Authorization=f"Basic {TOKEN}")
    with served(world, token=None) as door:
        closed = door.alert(alert(world))
        health = door.ask("GET", "/healthz")

    assert [answer.status for answer in [*strangers, basic]] == [401] * 5
    assert (closed.status, closed.kind) == (503, "application/problem+json")
    assert "RETRAIN_WEBHOOK_TOKEN" in closed.content["remedy"]
    assert (health.status, health.content) == (200, {"status": "ok"})
    assert rollbacks(world) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 422, id="empty"),
        pytest.param(b"{", 422, id="no JSON"),
        pytest.param(b"[" * 100_000, 422, id="deeply nested"),
        pytest.param(b"[]", 422, id="a list"),
        pytest.param(b'{"version": "3", "status": "firing", "alerts": []}', 422, id="another version"),
        pytest.param(b'{"version": "4", "status": "firing", "alerts": [{}]}', 422, id="alerts without fields"),
        pytest.param(b" " * (MAX_BYTES + 1), 413, id="too large"),
    ],
)
def test_message_that_is_none_is_refused_with_a_problem(world: World, body: bytes, status: int) -> None:
    with served(world) as door:
        answer = door.ask("POST", PATH, body, Authorization=f"Bearer {TOKEN}")

    assert (answer.status, answer.kind, answer.content["status"]) == (status, "application/problem+json", status)
    assert rollbacks(world) == []


def test_more_calls_than_the_rate_are_refused_until_time_has_passed(world: World) -> None:
    resolved = alert(world) | {"status": "resolved"}
    with served(world, calls_a_minute=2) as door:
        statuses = [door.alert(resolved).status for _ in range(3)]
        world.now[0] = world.now[0].replace(minute=(world.now[0].minute + 1) % 60, hour=world.now[0].hour + 1)
        later = door.alert(resolved).status

    assert (statuses, later) == ([200, 200, 429], 200)


def test_error_of_ours_is_a_problem_with_the_status_of_the_table(world: World) -> None:
    def away() -> Any:
        raise Unavailable("the run store did not answer", thing="store", remedy="look at it")

    world.store.identity = away  # type: ignore[method-assign]
    with served(world) as door:
        health, nowhere, wrong = door.ask("GET", "/healthz"), door.ask("GET", "/else"), door.ask("GET", PATH)

    assert (health.status, health.content["title"], health.content["remedy"]) == (503, "Unavailable", "look at it")
    assert (nowhere.status, wrong.status) == (401, 405)
    assert {nowhere.kind, wrong.kind} == {"application/problem+json"}


def test_rollback_that_is_refused_before_it_began_answers_why(world: World) -> None:
    first = alert(world)
    observing = replace(
        world.deps, load_profile=lambda _: world.deps.load_profile("prices").model_copy(update={"mode": "observe"})
    )

    with served(replace(world, deps=observing)) as door:
        answer = door.alert(first)

    assert (answer.status, answer.content["title"]) == (403, "NotAllowed")
    assert rollbacks(world) == []
