"""Signed webhooks over a real server: a bad signature, a replay and a flood ask for nothing, an honest message for a look."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature

from agent.entrypoints.server.signed import sign
from agent.services.sources import Sources
from agent.services.train import KEY_TAG
from tests.graph.watch_world import Tower, profile_triggers, stale
from tests.graph.world import NAME, World, make_world, with_deps
from tests.integration.test_server import Answer, Door, served
from tools.contracts.alertmanager import Alert
from tools.contracts.webhooks import SignedTrigger

SECRET, MLFLOW_SECRET = "only for these tests", "and this one"
OWN = "/webhooks/trigger"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path, champion=False, triggers=profile_triggers(new_version=True))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "prices.yaml").touch()
    made.now[0] = made.now[0].replace(microsecond=0)
    return made


@pytest.fixture
def door(world: World) -> Iterator[Door]:
    with served(world, secret=SECRET, mlflow_secret=MLFLOW_SECRET) as made:
        yield made


def send(
    door: Door, world: World, nonce: str = "nonce-0001", *, late: int = 0, secret: str = SECRET, **message: Any
) -> Answer:
    content = {"modelId": "prices", "trigger": "drift", "reason": "odd"} | message
    body, at = json.dumps(content).encode(), str(int(world.now[0].timestamp()) - late)
    headers = {"X-Retrain-Nonce": nonce, "X-Retrain-Timestamp": at}
    return door.ask("POST", OWN, body, **headers, **{"X-Retrain-Signature": sign(secret, nonce, at, body)})


def event(door: Door, world: World, entity: str, action: str, nonce: str = "delivery-1", **data: Any) -> Answer:
    """Signed as MLflow signs it."""
    body = json.dumps({"entity": entity, "action": action, "timestamp": "2026-07-01T00:00:00+00:00", "data": data})
    at = str(int(world.now[0].timestamp()))
    signature = _generate_hmac_signature(MLFLOW_SECRET, nonce, at, body)
    headers = {"X-MLflow-Delivery-Id": nonce, "X-MLflow-Timestamp": at, "X-MLflow-Signature": signature}
    return door.ask("POST", "/webhooks/mlflow", body.encode(), **headers)


def claimed(world: World) -> list[tuple[str, str, int]]:
    return [(each.source, each.kind, each.count) for each in world.store.claims("prices")]


def test_signed_message_brings_a_look_and_by_it_a_run(door: Door, world: World) -> None:
    answer = send(door, world)
    assert (answer.status, answer.content) == (202, {"looks": ["prices"], "ignored": []})
    assert claimed(world) == [("signed", "drift", 1)]
    tower = Tower(world)
    tower.seen = stale
    tower.loop.tick()
    tower.loop.end()
    assert len(tower.runs.started) == 1


def test_replayed_message_is_refused_by_this_server_and_by_the_next(door: Door, world: World) -> None:
    assert send(door, world).status == 202
    assert send(door, world).status == 409
    with served(world, secret=SECRET) as restarted:
        assert send(restarted, world).status == 409
    assert claimed(world) == [("signed", "drift", 1)]
    assert send(door, world, "nonce-0002").status == 202


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"secret": "guessed"}, "the signature does not fit"),
        ({"late": 301}, "not within five minutes"),
        ({"late": -301}, "not within five minutes"),
        ({"nonce": "short"}, "the nonce must be"),
    ],
)
def test_message_that_cannot_be_believed_is_refused_and_leaves_nothing(
    door: Door, world: World, how: dict[str, Any], told: str
) -> None:
    answer = send(door, world, **how)
    assert answer.status == 401
    assert told in answer.content["detail"]
    assert claimed(world) == []
    assert world.store._nonces == {}


def test_message_whose_body_was_changed_is_refused(door: Door, world: World) -> None:
    body, at = b'{"modelId":"prices"}', str(int(world.now[0].timestamp()))
    headers = {"X-Retrain-Nonce": "nonce-0001", "X-Retrain-Timestamp": at}
    signature = sign(SECRET, "nonce-0001", at, body)
    answer = door.ask("POST", OWN, b'{"modelId":"PRICES"}', **headers, **{"X-Retrain-Signature": signature})
    assert answer.status == 401


def test_message_without_a_signature_or_with_a_wrong_content_says_what_is_wanted(door: Door, world: World) -> None:
    bare = door.ask("POST", OWN, b"{}")
    assert (bare.status, "X-Retrain-Signature" in bare.content["detail"]) == (401, True)
    assert "trigger" in send(door, world, trigger="manual").content["detail"]
    unknown = send(door, world, "nonce-0002", modelId="nobody")
    assert (unknown.status, unknown.content["ignored"]) == (200, ["there is no profile 'nobody'"])


def test_webhook_without_a_secret_is_closed(world: World) -> None:
    with served(world) as closed:
        assert send(closed, world).status == 503
    assert claimed(world) == []


def test_flood_is_cut_off_and_neither_memory_nor_store_grow_with_it(door: Door, world: World) -> None:
    statuses = [send(door, world, f"nonce-{number:05}").status for number in range(300)]
    assert statuses[:120] == [202] * 120
    assert set(statuses[120:]) == {429}
    assert claimed(world) == [("signed", "drift", 120)]
    assert len(world.store._nonces) == 120


def test_ten_thousand_messages_that_are_let_in_are_one_claim(world: World) -> None:
    sources, begun = Sources(world.deps, lambda: ["prices"]), time.process_time()
    message = SignedTrigger(model_id="prices", trigger="drift", reason="odd")
    for _ in range(10_000):
        sources.signed(message)
    assert claimed(world) == [("signed", "drift", 10_000)]
    assert time.process_time() - begun < 60


def test_source_that_the_profile_does_not_accept_is_ignored(tmp_path: Path) -> None:
    world = make_world(tmp_path, champion=False, triggers=profile_triggers(accept=["mlflow"]))
    with served(world, secret=SECRET) as door:
        answer = send(door, world)
    assert (answer.status, answer.content["ignored"]) == (200, ["triggers.accept of 'prices' does not name signed"])
    assert claimed(world) == []


def test_version_that_somebody_registers_is_to_be_judged_and_ours_is_not(door: Door, world: World) -> None:
    version = {"name": NAME, "version": "7", "source": "models:/m-1", "run_id": None, "description": None}
    answer = event(door, world, "model_version", "created", **version, tags={})
    assert (answer.status, answer.content["looks"]) == (202, ["prices"])
    assert [(each.kind, each.version) for each in world.store.claims("prices")] == [("new_version", "7")]
    ours = event(door, world, "model_version", "created", "delivery-2", **version, tags={KEY_TAG: "r1"})
    assert (ours.status, len(claimed(world))) == (200, 1)
    other = event(door, world, "model_version", "created", "delivery-3", **(version | {"name": "else"}), tags={})
    assert other.content["ignored"] == ["no profile's registered_model is 'else'"]
    assert event(door, world, "model_version", "created", **version, tags={}).status == 409


def test_tag_that_asks_for_it_brings_a_look_and_any_other_does_not(door: Door, world: World) -> None:
    tag = {"name": NAME, "version": "1", "key": "retrain", "value": "performance"}
    assert event(door, world, "model_version_tag", "set", **tag).status == 202
    assert claimed(world) == [("mlflow", "performance", 1)]
    other = event(door, world, "model_version_tag", "set", "delivery-2", **(tag | {"key": "owner"}))
    assert other.content["ignored"] == ["model_version_tag.set asks for nothing"]
    odd = event(door, world, "model_version_tag", "set", "delivery-3", **(tag | {"value": "now"}))
    assert odd.content["ignored"] == ["the tag 'retrain' must be drift or performance"]


def _alert(model: str = "prices", **changes: str) -> dict[str, Any]:
    labels = {"alertname": "Odd", "retraining_action": "retrain", "retraining_model": model}
    return {
        "status": "firing",
        "labels": labels | changes,
        "annotations": {"summary": "odd"},
        "startsAt": "2026-07-01T00:00:00Z",
        "fingerprint": "f1",
    }


def test_ten_alerts_that_ask_for_a_look_are_one_claim(world: World) -> None:
    with served(world) as door:
        answer = door.alert(*[_alert(instance=str(number)) for number in range(10)], _alert("nobody"))
    assert (answer.status, answer.content["looks"]) == (202, ["prices"])
    assert answer.content["ignored"] == ["there is no profile 'nobody'"]
    assert claimed(world) == [("alertmanager", "drift", 10)]


def test_alert_that_is_resolved_asks_for_nothing(world: World) -> None:
    sources = Sources(with_deps(world).deps, lambda: ["prices"])
    taken = sources.alerts([Alert.model_validate(_alert() | {"status": "resolved"})])
    assert (taken.looks, claimed(world)) == ((), [])
