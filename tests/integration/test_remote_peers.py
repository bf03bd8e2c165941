"""Peers at real addresses on loopback: retries, deadlines, the breaker, who may ask, and where rows may come from."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from agent.entrypoints.cli.tokens import require_loopback_or
from agent.entrypoints.server.app import hashed
from agent.entrypoints.server.peer import MAX_BYTES
from agent.services.peer_work import Remembered, Rows, engineer, evaluator
from evals.decisions.doors_peers import served
from tests.graph.world import NAME, World, make_world
from tools.adapters.breaker import OPEN_SECONDS, OPENS_AFTER, Breaker
from tools.adapters.evaluator_local import LocalModelEvaluator
from tools.adapters.memory_target import MemoryTarget
from tools.adapters.remote_peer import RemotePeer
from tools.adapters.remote_ports import RemoteModelEvaluator, RemoteTarget
from tools.contracts.peer_settings import PeerSpec
from tools.contracts.peers import (
    DeploymentRequest,
    Envelope,
    EvaluationConfig,
    EvaluationRequest,
    ModelArtifact,
    TrafficConfig,
)
from tools.errors import BadInput, TimedOut, Unavailable

ROLE = "model-evaluator"


def now() -> datetime:
    return datetime.now(UTC)


def question(path: Path | str, run: str = "r1") -> Envelope[EvaluationRequest]:
    return Envelope[EvaluationRequest](
        schema_version="1.0",
        run_id=run,
        model_id="prices",
        sent_at=now(),
        sender="test",
        payload=EvaluationRequest(
            model_path="models:/m/1",
            test_data_path=str(path),
            target_column="y",
            prediction_column="prediction",
            task_type="classification",
            evaluation_config=EvaluationConfig(metrics=("accuracy",)),
        ),
    )


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    frame = pd.DataFrame({"y": [0, 1, 1, 0] * 50, "prediction": [0, 1, 0, 0] * 50, "secret": ["s"] * 200})
    frame.to_parquet(path)
    return path


class Counting:
    """An honest model-evaluator that counts its work and keeps what it was sent."""

    def __init__(self, shared: Rows = Rows()) -> None:  # noqa: B008
        self.inner = evaluator(LocalModelEvaluator(now), shared)
        self.calls: list[Mapping[str, bytes]] = []

    def __call__(self, action: str, message: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
        self.calls.append(files)
        return self.inner(action, message, files)


def at(url: str, **spec: Any) -> RemoteModelEvaluator:
    return RemoteModelEvaluator(RemotePeer(ROLE, PeerSpec(url=url, **spec)))


def test_a_peer_gets_the_columns_it_needs_and_answers_as_in_process(rows: Path) -> None:
    import io

    work = Counting()
    with served(ROLE, work) as url:
        told = at(url).evaluate(question(rows))

    assert told.payload.overall_metrics == {"accuracy": 0.75}
    assert told.payload.overall_metrics == LocalModelEvaluator(now).evaluate(question(rows)).payload.overall_metrics
    sent = pd.read_parquet(io.BytesIO(work.calls[0]["rows.parquet"]))
    assert list(sent.columns) == ["y", "prediction"]


def test_the_same_question_is_answered_once_and_another_again(rows: Path) -> None:
    work = Counting()
    with served(ROLE, Remembered(work)) as url:
        peer = at(url)
        first, second = peer.evaluate(question(rows)), peer.evaluate(question(rows))
        peer.evaluate(question(rows, run="r2"))

    assert first.payload == second.payload
    assert len(work.calls) == 2


def test_an_id_is_good_for_one_question(rows: Path) -> None:
    content = {**question(rows).to_json_dict(), "requestId": "mine"}
    with served(ROLE, Remembered(Counting())) as url:
        peer = RemotePeer(ROLE, PeerSpec(url=url))
        files = {"rows.parquet": rows.read_bytes()}
        attached = {**content, "payload": {**content["payload"], "testDataPath": "attached:rows.parquet"}}
        peer.ask("evaluate", attached, files, "mine")
        with pytest.raises(Unavailable, match="rejected"):
            peer.ask("evaluate", {**attached, "runId": "r9"}, files, "mine")


@pytest.mark.parametrize("shared", [True, False])
def test_a_path_is_read_only_where_the_peer_shares_its_folder(rows: Path, tmp_path: Path, shared: bool) -> None:
    folder = tmp_path if shared else tmp_path / "other"
    with served(ROLE, Counting(Rows((folder,)))) as url:
        peer = at(url, shared_files=True)
        if shared:
            assert peer.evaluate(question(rows)).payload.overall_metrics == {"accuracy": 0.75}
        else:
            with pytest.raises(Unavailable, match="rejected"):
                peer.evaluate(question(rows))


@pytest.mark.parametrize("name", ["../rows.parquet", "/etc/passwd", "a/../../b"])
def test_the_name_of_an_attached_file_is_never_a_path(rows: Path, name: str) -> None:
    content = question(f"attached:{name}").to_json_dict()
    with served(ROLE, Counting()) as url:
        told = RemotePeer(ROLE, PeerSpec(url=url)).ask("evaluate", content, {name: rows.read_bytes()}, "q")

    assert told["payload"]["overallMetrics"] == {"accuracy": 0.75}


@pytest.mark.parametrize(("token", "lets_in"), [("right", True), ("wrong", False), (None, False)])
def test_only_who_bears_the_token_is_answered(rows: Path, token: str | None, lets_in: bool) -> None:
    work = Counting()
    with served(ROLE, work, token_hashes=[hashed("right")]) as url:
        peer = at(url, token=token)
        if lets_in:
            assert peer.evaluate(question(rows)).payload.success
        else:
            with pytest.raises(Unavailable, match="refuses us"):
                peer.evaluate(question(rows))

    assert len(work.calls) == lets_in


def test_rows_beyond_the_bound_are_not_sent(rows: Path) -> None:
    work = Counting()
    with served(ROLE, work) as url, pytest.raises(Unavailable, match="was not asked") as raised:
        at(url, max_upload_mb=0.0001).evaluate(question(rows))

    assert "shared_files" in (raised.value.remedy or "")
    assert work.calls == []


@pytest.mark.parametrize("told", [True, False], ids=["length told", "length kept back"])
def test_a_body_of_any_size_is_refused_without_being_held(told: bool) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(MAX_BYTES // 1_000_000 + 2):
            yield b" " * 1_000_000

    with served(ROLE, Counting()) as url:
        body: Any = b" " * (MAX_BYTES + 1) if told else endless()
        try:
            status = httpx.post(url, content=body, timeout=60, trust_env=False).status_code
        except httpx.TransportError:  # closed while we still send
            status = 413
        assert 400 <= status < 500
        assert httpx.get(f"{url}/.well-known/agent-card.json", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}}', b'{"jsonrpc":"2.0","id":1}'],
)
def test_a_message_that_is_none_gets_an_answer(body: bytes) -> None:
    with served(ROLE, Counting()) as url:
        headers = {"content-type": "application/json", "A2A-Version": "1.0"}
        got = httpx.post(url, content=body, headers=headers, timeout=60, trust_env=False)

    assert got.status_code < 500
    assert "error" in got.json()


@pytest.mark.parametrize(
    "content", [{}, {"schemaVersion": "2.0"}, {"schemaVersion": "1.0", "payload": {}}], ids=["empty", "2.0", "half"]
)
def test_a_message_in_another_version_or_half_of_one_is_refused(content: dict[str, Any]) -> None:
    with served(ROLE, Counting()) as url, pytest.raises(Unavailable, match="rejected") as raised:
        RemotePeer(ROLE, PeerSpec(url=url)).ask("evaluate", content, {}, "q")

    assert "message" in str(raised.value.value)


# --- what fails, and comes back


@contextmanager
def answering(*statuses: int, card_url: str | None = None) -> Iterator[tuple[str, list[int]]]:
    """A server that answers its card's questions with these statuses, the last one for ever; and what it said."""
    said: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = statuses[min(len(said), len(statuses) - 1)]
            said.append(status)
            url = card_url or f"http://127.0.0.1:{self.server.server_port}/"  # pyright: ignore[reportAttributeAccessIssue]
            address = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
            card = {"name": "x", "description": "x", "version": "1", "capabilities": {}, "skills": []}
            body = json.dumps(card | {"supportedInterfaces": [address]}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", said
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()


def test_what_may_pass_is_asked_again_so_often_and_no_more() -> None:
    pauses: list[float] = []
    with answering(503) as (url, said):
        peer = RemotePeer(ROLE, PeerSpec(url=url, retries=2), pause=pauses.append)
        with pytest.raises(Unavailable, match="HTTP 503"):
            peer.ask("evaluate", {}, {}, "q")

    assert (said, pauses) == ([503] * 3, [0.2, 0.4])


def test_a_refusal_is_not_asked_again() -> None:
    with answering(403) as (url, said), pytest.raises(Unavailable, match="refuses us"):
        RemotePeer(ROLE, PeerSpec(url=url, retries=5), pause=lambda _: None).ask("evaluate", {}, {}, "q")

    assert said == [403]


def test_a_card_that_names_another_host_is_not_followed() -> None:
    with (
        answering(200, card_url="http://127.0.0.1:1/") as (url, said),
        pytest.raises(Unavailable, match="its own host and port"),
    ):
        RemotePeer(ROLE, PeerSpec(url=url), pause=lambda _: None).ask("evaluate", {}, {}, "q")

    assert said == [200]


def test_a_peer_that_fails_again_and_again_is_left_alone_and_then_tried_once() -> None:
    time = [0.0]
    with answering(403) as (url, said):
        peer = RemotePeer(ROLE, PeerSpec(url=url), monotonic=lambda: time[0])
        for _ in range(OPENS_AFTER + 4):
            with pytest.raises(Unavailable):
                peer.ask("evaluate", {}, {}, "q")
        assert len(said) == OPENS_AFTER
        with pytest.raises(Unavailable, match="failed 3 times in a row"):
            peer.ask("evaluate", {}, {}, "q")
        time[0] += OPEN_SECONDS + 1
        with pytest.raises(Unavailable, match="refuses us"):
            peer.ask("evaluate", {}, {}, "q")
        with pytest.raises(Unavailable, match="times in a row"):
            peer.ask("evaluate", {}, {}, "q")

    assert len(said) == OPENS_AFTER + 1


def test_an_answer_closes_the_breaker_again() -> None:
    time = [0.0]
    breaker = Breaker(lambda: time[0])
    for _ in range(OPENS_AFTER):
        breaker.require(ROLE)
        breaker.told(answered=False)
    time[0] += OPEN_SECONDS + 1
    breaker.require(ROLE)
    with pytest.raises(Unavailable):
        breaker.require(ROLE)  # one trial at a time
    breaker.told(answered=True)
    breaker.require(ROLE)


def test_nobody_there_is_unavailable_within_the_time() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        peer = RemotePeer(ROLE, PeerSpec(url=f"http://127.0.0.1:{taken.getsockname()[1]}", retries=0))
        with pytest.raises(Unavailable, match="cannot be reached"):
            peer.ask("evaluate", {}, {}, "q")


def test_who_listens_and_says_nothing_times_out() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimedOut, match=r"within 0\.5 s"):
            RemotePeer(ROLE, PeerSpec(url=url, timeout_seconds=0.5)).ask("evaluate", {}, {}, "q")


# --- deployment-engineer


def put(weight: int, path: str = f"models:/{NAME}/2", version: str = "2") -> DeploymentRequest:
    return DeploymentRequest(
        model_artifact=ModelArtifact(path=path, version=version),
        traffic_config=TrafficConfig(canary_percent=weight),
        previous_version="1",
        idempotency_key="r1/weight-1-0",
    )


@contextmanager
def remote_target(folder: Path) -> Iterator[tuple[World, RemoteTarget]]:
    world = make_world(folder, target=MemoryTarget(can_split=True, can_prove=True))
    numbers = iter(range(100))
    with served("deployment-engineer", engineer(world.deps)) as url:
        peer = RemotePeer("deployment-engineer", PeerSpec(url=url))
        mine = MemoryTarget(can_split=True, can_prove=True)
        yield world, RemoteTarget(peer, "prices", mine, world.deps.clock, lambda: f"q{next(numbers)}")


def test_a_deployment_engineer_elsewhere_applies_reports_and_undoes(tmp_path: Path) -> None:
    with remote_target(tmp_path) as (world, target):
        applied = target.apply(put(10))
        served_now = target.status(put(10))
        undone = target.undo(put(0, f"models:/{NAME}/1", "1"))

    assert applied.observed_weights == served_now.observed_weights == {"1": 90, "2": 10}
    assert undone.observed_weights == {"1": 100}
    assert [call.action for call in world.target.calls] == ["apply", "status", "undo"]
    assert world.moves == []


def test_a_deployment_engineer_serves_no_artifact_but_the_models_own(tmp_path: Path) -> None:
    with remote_target(tmp_path) as (world, target), pytest.raises(Unavailable, match="rejected"):
        target.apply(put(10, "models:/somebody-elses/2"))

    assert world.target.calls == []


# --- who may listen where


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "peer.example"])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    require_loopback_or(True, host, "RETRAIN_PEER_TOKEN")
    with pytest.raises(BadInput, match="reached from outside") as raised:
        require_loopback_or(False, host, "RETRAIN_PEER_TOKEN")
    assert "RETRAIN_PEER_TOKEN" in (raised.value.remedy or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    require_loopback_or(False, host, "RETRAIN_PEER_TOKEN")
