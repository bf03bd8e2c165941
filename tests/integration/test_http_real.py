"""The HTTP door on real sockets: large and slow bodies, clients that go away, two answers at once, and the process itself."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.entrypoints.server.app import application
from agent.entrypoints.server.limits import Limits
from agent.entrypoints.server.process import listen, uvicorn_server
from agent.services.keys import Keys
from evals.loopback import running
from tests.graph.doors import app_of, gated
from tests.graph.world import PERSON, World, make_world

MANUAL = {"modelId": "prices", "retrainingConfig": {"trigger": "manual"}}
SECONDS = 60
OF_PROCESS = 300
"""Starting one takes seconds; on a busy machine many."""


@dataclass
class Caller:
    """A client with a key, on one port."""

    port: int
    token: str

    def open(self, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        given = None if body is None else json.dumps(body).encode()
        connection.request(method, path, given, {"Authorization": f"Bearer {self.token}"} | headers)
        return connection

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = self.open(method, path, body, **headers)
        try:
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()


def until(true: Any) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def served(world: World, **options: Any) -> Iterator[Caller]:
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    token = keys.create(PERSON, ["read", "run", "review", "roll_back"], by=PERSON).token
    taken = listen("127.0.0.1", 0)
    server = uvicorn_server(application(app_of(world), keys=keys, **options))
    with running(server, taken):
        yield Caller(taken.getsockname()[1], token)


@pytest.mark.parametrize("told", [True, False], ids=["length told", "in chunks"])
def test_body_of_50_megabytes_is_refused_without_being_read_whole(tmp_path: Path, told: bool) -> None:
    piece, pieces, sent = b" " * 100_000, 500, 0
    with served(make_world(tmp_path)) as caller, socket.create_connection(("127.0.0.1", caller.port), SECONDS) as s:
        length = f"Content-Length: {len(piece) * pieces}" if told else "Transfer-Encoding: chunked"
        head = f"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {caller.token}\r\n{length}\r\n\r\n"
        s.sendall(head.encode())
        try:
            for _ in range(pieces):
                s.sendall(piece if told else b"%x\r\n%b\r\n" % (len(piece), piece))
                sent += len(piece)
        except OSError:  # it has hung up: the answer is there all the same
            pass
        answer = s.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer
    assert sent < len(piece) * pieces


def test_body_that_does_not_come_is_refused_in_time_and_other_callers_are_served(tmp_path: Path) -> None:
    with (
        served(make_world(tmp_path), limits=Limits(body_seconds=0.3)) as caller,
        socket.create_connection(("127.0.0.1", caller.port), SECONDS) as s,
    ):
        head = f"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {caller.token}\r\n"
        s.sendall(f"{head}Content-Length: 100\r\n\r\nhalf".encode())
        meanwhile, _ = caller.ask("GET", "/v1/runs")
        answer = s.recv(65536)

    assert meanwhile == 200
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_client_that_goes_away_in_mid_stream_harms_neither_run_nor_server(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))
    with served(world, limits=Limits(streams_of_caller=1)) as caller:
        _, run = caller.ask("POST", "/v1/runs", MANUAL)
        path = f"/v1/runs/{run['runId']}"
        assert gate.begun.wait(SECONDS)
        connection = caller.open("GET", f"{path}/events")
        first = connection.getresponse().readline()
        refused, _ = caller.ask("GET", f"{path}/events")
        connection.sock.close() if connection.sock is not None else None
        connection.close()
        until(lambda: _opens(caller, f"{path}/events"))
        gate.open.set()
        _, ended = caller.ask("GET", f"{path}?wait=60")

    assert first == b"retry: 2000\n"
    assert refused == 429
    assert ended["status"] == "finished"
    assert world.champion == "2"


def _opens(caller: Caller, path: str) -> bool:
    """Whether a stream is to be had: the place of the one that went away is free again."""
    connection = caller.open("GET", path)
    try:
        return connection.getresponse().status == 200
    finally:
        connection.close()


def test_stream_is_heard_while_the_run_goes_on_and_ends_with_it(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))
    with served(world) as caller:
        _, run = caller.ask("POST", "/v1/runs", MANUAL)
        assert gate.begun.wait(SECONDS)
        connection = caller.open("GET", f"/v1/runs/{run['runId']}/events")
        answer = connection.getresponse()
        before = _until(answer, b"training has begun")
        gate.open.set()
        after = _until(answer, b"event: end")
        rest = answer.read()
        connection.close()

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert b"event: end" not in before
    assert b"conclude done" in after
    assert rest.startswith(b'data: {"runId":')


def test_stream_and_wait_of_a_key_that_is_revoked_end_and_say_so_and_anothers_goes_on(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))
    with served(world, limits=Limits(known_seconds=0.1)) as caller:
        keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
        gone = Caller(caller.port, keys.create("gone", ["read"], by=PERSON, kind="agent").token)
        _, run = caller.ask("POST", "/v1/runs", MANUAL)
        assert gate.begun.wait(SECONDS)
        path = f"/v1/runs/{run['runId']}"
        mine, theirs = (each.open("GET", f"{path}/events") for each in (caller, gone))
        heard, cut = mine.getresponse(), theirs.getresponse()
        _until(cut, b"training has begun")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(gone.ask, "GET", f"{path}?wait=60")
            keys.revoke("gone", by=PERSON)
            last = _until(cut, b"event: closed") + cut.read()
            status, said = waiting.result(SECONDS)
        gate.open.set()
        rest = _until(heard, b"event: end")
        mine.close()
        theirs.close()

    assert b"no longer good" in last
    assert b"event: end" not in last
    assert (status, said["title"]) == (401, "Unauthorised")
    assert b"conclude done" in rest
    assert b"event: closed" not in rest
    assert world.champion == "2"


def _until(answer: Any, text: bytes) -> bytes:
    got = b""
    while text not in got:
        line = answer.readline()
        assert line
        got += line
    return got


def test_run_that_another_process_drives_is_followed_through_the_store(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))
    elsewhere = threading.Thread(target=lambda: world.runs.start(world.order()))
    with served(world) as caller:
        elsewhere.start()
        assert gate.begun.wait(SECONDS)
        (run,) = world.store.list_runs()
        connection = caller.open("GET", f"/v1/runs/{run.run_id}/events")
        answer = connection.getresponse()
        before = _until(answer, b'"status":"running"')
        gate.open.set()
        after = _until(answer, b"event: end")
        connection.close()
    elsewhere.join(SECONDS)

    assert b"event: run" in before
    assert b"event: progress" not in before + after


def test_of_two_answers_at_once_one_counts_and_the_run_goes_on_once(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="recommend")
    with served(world) as caller:
        _, run = caller.ask("POST", "/v1/runs?wait=60", MANUAL)
        _, listed = caller.ask("GET", "/v1/reviews")
        path = f"/v1/reviews/{listed['reviews'][0]['id']}/answer"
        with ThreadPoolExecutor(2) as pool:
            answers = list(
                pool.map(lambda said: caller.ask("POST", path, {"answer": said, "reason": "x"}), ["approve", "reject"])
            )
        _, after = caller.ask("GET", f"/v1/runs/{run['runId']}?wait=60")

    assert sorted(status for status, _ in answers) == [202, 409]
    (said,) = [content["answer"] for status, content in answers if status == 202]
    assert after["status"] == "finished"
    assert world.champion == ("2" if said == "approve" else "1")
    assert len(world.moves) == (1 if said == "approve" else 0)


def test_stopping_server_ends_streams_and_waits_for_the_run(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))
    with served(world) as caller:
        _, run = caller.ask("POST", "/v1/runs", MANUAL)
        assert gate.begun.wait(SECONDS)
        connection = caller.open("GET", f"/v1/runs/{run['runId']}/events")
        answer = connection.getresponse()
        _until(answer, b"training has begun")
        threading.Timer(0.5, gate.open.set).start()
    rest = answer.read()
    connection.close()

    assert b"event: end" not in rest
    assert world.store.get_run(run["runId"]).status == "finished"


# --- the process


def retrain(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent.entrypoints.cli.app", *arguments, "--workspace", str(folder)]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n", encoding="utf-8")
    (tmp_path / "profiles").mkdir()
    return tmp_path


def line_with(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"it never said {text!r}")


@pytest.mark.slow
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_where_it_listens_answers_and_ends_with_0(workspace: Path, asked: signal.Signals) -> None:
    made = subprocess.run(
        retrain(workspace, "keys", "create", "ci", "--agent", "--scope", "read", "--json"),
        capture_output=True,
        text=True,
        check=True,
        timeout=OF_PROCESS,
    )
    token = json.loads(made.stdout)["token"]
    process = subprocess.Popen(retrain(workspace, "serve", "--port", "0"), stderr=subprocess.PIPE, text=True)
    try:
        port = int(line_with(process, "listening on").rsplit(":", 1)[1])
        doors = [line_with(process, f" {name} ").split()[-1] for name in ("http", "a2a", "mcp")]
        line_with(process, "Ctrl-C ends it")
        status, runs = Caller(port, token).ask("GET", "/v1/runs")
        stranger, _ = Caller(port, "guess").ask("GET", "/v1/runs")
        process.send_signal(asked)
        _, said = process.communicate(timeout=OF_PROCESS)
    finally:
        process.kill()

    assert [each.rsplit("/", 1)[1] for each in doors] == ["v1", "a2a", "mcp"]
    assert (status, runs, stranger) == (200, {"runs": []}, 401)
    assert process.returncode == 0
    assert "ended" in said
    assert token not in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_serve_refuses_a_taken_port_and_an_open_address_without_keys(workspace: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        busy = subprocess.run(
            retrain(workspace, "serve", "--port", str(port)), capture_output=True, text=True, timeout=OF_PROCESS
        )
    environment = {name: value for name, value in os.environ.items() if name != "RETRAIN_WEBHOOK_TOKEN"}
    wide = subprocess.run(
        retrain(workspace, "serve", "--host", "0.0.0.0", "--port", "0"),
        capture_output=True,
        text=True,
        timeout=OF_PROCESS,
        env=environment,
    )

    assert busy.returncode == 4
    assert f"port {port} on 127.0.0.1 is taken" in busy.stderr
    assert wide.returncode == 2
    assert "retrain keys create" in wide.stderr
