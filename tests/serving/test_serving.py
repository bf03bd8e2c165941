"""Two versions behind Envoy under requests: weights, mirror, log, crashes, and what is left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from tests.serving.conftest import World, request
from tools.adapters.appended_table import AppendedTable
from tools.adapters.model_files import digest_of
from tools.adapters.serving import processes
from tools.adapters.serving.answer_copy import KEY, TIME, AnswerCopy, Copied
from tools.adapters.serving.asking import example
from tools.adapters.serving.load import SteadyLoad
from tools.errors import Conflict, Unavailable
from tools.observations import Observations

pytestmark = pytest.mark.serving


@pytest.fixture(scope="module")
def served(made: Callable[..., World]) -> World:
    """Versions 6 (champion) and 7, both loaded."""
    world = made()
    world.models.add("6")
    world.models.add("7", "also good")
    world.target.apply(request("6"))
    world.target.prepare(request("7"))
    return world


@pytest.fixture
def world(served: World) -> World:
    """All traffic on 6, 7 loaded beside it, whatever the test before did."""
    served.target.undo(request("6"))
    served.target.prepare(request("7"))
    return served


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    pd.DataFrame({"x": [-1.0, 2.0, 3.0]}).to_parquet(tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def loaded(world: World, rows: Path, per_second: float = 50) -> SteadyLoad:
    assert world.target.url is not None
    return SteadyLoad(world.target.url, [example(rows, ["x"])], per_second)


def until(true: Callable[[], Any], seconds: float = 20.0) -> float:
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, "it did not happen"
        time.sleep(0.05)
    return time.monotonic() - begun


def since(world: World, begun: float, versions: tuple[str, ...] = ("6", "7")) -> Observations:
    now = datetime.now(UTC)
    return world.target.log.observations(versions, datetime.fromtimestamp(begun, UTC), now + timedelta(hours=1), 10_000)


def test_weights_move_live_and_no_request_is_lost(world: World, rows: Path):
    with loaded(world, rows) as load:
        for weight in (5, 50, 100):
            assert world.target.apply(request("7", weight, "6")).observed_weights == {
                v: w for v, w in (("6", 100 - weight), ("7", weight)) if w
            }
            time.sleep(1.5)
        begun = time.time() + 0.2
        time.sleep(1.0)
        assert {reply.version for reply in load.replies if reply.at > begun} == {"7"}
        world.target.undo(request("6"))
        back = time.time() + 0.2
        time.sleep(1.0)
        assert {reply.version for reply in load.replies if reply.at > back} == {"6"}
    assert len(load.replies) > 200
    assert load.failed() == []


def test_mirrored_requests_are_logged_under_the_clients_request_id(world: World, rows: Path):
    assert world.target.apply(request("7", 0, "6", mirror=100)).observed_mirror == 100
    begun = time.time()
    with loaded(world, rows) as load:
        time.sleep(2.0)
    until(lambda: len(since(world, begun, ("7",))) == len(load.replies))
    found = since(world, begun)
    sent = {reply.request_id for reply in load.replies}
    assert {reply.version for reply in load.replies} == {"6"}
    for version, mirrored in (("6", False), ("7", True)):
        mine = found.of(found.version == version)
        assert set(mine.request_id) == sent
        assert set(mine.mirrored) == {mirrored}
    assert world.target.apply(request("7", 0, "6")).observed_mirror == 0


def test_golden_rows_are_answered_by_the_version_asked_with_the_digest_of_its_files(world: World, rows: Path):
    begun = time.time()
    answer = world.target.ask("7", rows)
    assert answer is not None
    assert (answer.version, answer.predictions) == ("7", (0, 1, 1))
    assert answer.digest == digest_of(world.models.root / "7")
    assert len(answer.latency_ms) == 3
    assert 50 < (answer.memory_mb or 0) < 2048
    assert len(since(world, begun)) == 0, "our own questions stand in no log"
    with pytest.raises(Unavailable, match="version 9 is not loaded"):
        world.target.ask("9", rows)


def test_version_with_traffic_cannot_be_released_and_one_without_leaves_nothing(world: World):
    world.target.apply(request("7", 10, "6"))
    with pytest.raises(Conflict, match="version 7 gets 10 %"):
        world.target.release("7")
    world.target.undo(request("6"))
    running = len(world.processes())
    world.target.release("7")
    world.target.release("7")
    until(lambda: len(world.processes()) == running - 1)
    assert not world.layout.files("7").exists()
    assert not world.layout.server("7").exists()


def test_candidate_that_is_killed_costs_no_request_and_shows_as_unhealthy_until_it_is_loaded_anew(
    world: World, rows: Path
):
    world.target.apply(request("7", 50, "6"))
    assert world.target.status(request("7", 50)).healthy is True
    with loaded(world, rows) as load:
        time.sleep(1.0)
        os.kill(world.target.control.version("7")["process"]["pid"], signal.SIGKILL)
        took = until(lambda: world.target.status(request("7", 50)).healthy is False)
        until(lambda: world.target.control.version("7")["state"] == "ready")
    assert load.failed() == []
    assert took < 3.0
    reply = world.target.status(request("7", 50))
    assert (reply.healthy, reply.monitoring["restarts"]) == (False, 1), (
        "back, but its clients were helped by 6 meanwhile"
    )
    assert world.target.status(request("6")).healthy is True
    world.target.undo(request("6"))
    world.target.release("7")
    world.target.prepare(request("7"))
    assert world.target.status(request("7")).healthy is True


def test_champion_that_is_killed_is_started_again(world: World):
    os.kill(world.target.control.version("6")["process"]["pid"], signal.SIGKILL)
    until(lambda: world.target.status(request("6")).healthy is False)
    until(lambda: world.target.status(request("6")).healthy is True)


def test_envoy_that_is_killed_comes_back_with_the_same_route(world: World, rows: Path):
    world.target.apply(request("7", 30, "6"))
    os.kill(world.target.control.running["envoy"]["process"]["pid"], signal.SIGKILL)

    def gone() -> bool:
        try:
            return world.target.status(request("7")).observed_weights is None
        except Unavailable as failure:
            return "Envoy does not answer" in failure.message

    def back() -> bool:
        try:
            reply = world.target.status(request("7"))
        except Unavailable:
            return False
        return reply.observed_weights == {"6": 70, "7": 30} and reply.healthy is True

    until(lambda: gone() or world.target.control.running["envoy"]["restarts"])
    until(back)
    with loaded(world, rows) as load:
        time.sleep(1.0)
    assert load.failed() == []


def test_supervisor_killed_outright_costs_no_request_and_its_servers_are_adopted(world: World, rows: Path):
    before = {v: r["process"] for v, r in world.target.control.running["versions"].items()}
    with loaded(world, rows) as load:
        os.kill(world.target.control.running["supervisor"]["pid"], signal.SIGKILL)
        until(lambda: not world.target.control.supervised)
        assert world.target.status(request("6")).monitoring["supervised"] is False
        other = world.again()
        other.apply(request("6"))
        assert other.control.supervised
        time.sleep(0.5)
    assert load.failed() == []
    assert {v: r["process"] for v, r in other.control.running["versions"].items()} == before


def test_disk_that_fills_up_while_a_route_is_written_leaves_the_old_route_in_force(world: World, rows: Path):
    full = world.layout.routes.with_name("routes.json.new")
    full.symlink_to("/dev/full")
    with pytest.raises(Unavailable, match="No space left on device"):
        world.target.apply(request("7", 50, "6"))
    assert world.target.status(request("7")).observed_weights == {"6": 100}
    with loaded(world, rows) as load:
        time.sleep(0.5)
    assert {(reply.status, reply.version) for reply in load.replies} == {(200, "6")}
    assert world.target.apply(request("7", 50, "6")).observed_weights == {"6": 50, "7": 50}


def test_body_that_is_no_request_blames_no_version(world: World):
    import http.client

    begun = time.time()
    connection = http.client.HTTPConnection("127.0.0.1", world.target.control.wanted["port"])
    bad = '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": ["text"]}]}'
    connection.request("POST", "/v2/models/prices/infer", bad, {"content-type": "application/json"})
    reply = connection.getresponse()
    assert (reply.status, b"could not convert" in reply.read()) == (400, True)
    connection.request("POST", "/v2/repository/models/prices/unload", "", {"content-type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    assert reply.status == 404
    connection.close()
    assert len(since(world, begun)) == 0


def test_secrets_are_not_passed_on(made: Callable[..., World], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-to-be-shown")
    world = made()
    world.models.add("6")
    world.target.apply(request("6"))
    pids = [*world.processes(), world.target.control.running["supervisor"]["pid"]]
    assert len(pids) == 3
    assert not any("not-to-be-shown" in psutil.Process(pid).environ().values() for pid in pids)
    assert psutil.Process(world.target.control.version("6")["process"]["pid"]).environ()["OMP_NUM_THREADS"] == "1"
    addresses = {
        c.laddr.ip for pid in pids for c in psutil.Process(pid).net_connections("inet") if c.status == "LISTEN"
    }
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def test_down_after_the_supervisor_was_killed_leaves_nothing(made: Callable[..., World]):
    world = made()
    world.models.add("6")
    world.target.apply(request("6"))
    port = world.target.control.wanted["port"]
    os.kill(world.target.control.running["supervisor"]["pid"], signal.SIGKILL)
    assert len(world.processes()) == 2
    assert world.again().control.down() is True
    assert processes.strays(world.layout.folder) == []
    assert world.again().control.down() is False
    world.again().apply(request("6"))
    assert world.target.control.wanted["port"] == port, "the endpoint's address is kept"


def test_disk_that_is_full_while_answers_are_logged_costs_no_request_and_what_was_logged_is_copied_once(
    made: Callable[..., World], rows: Path, tmp_path: Path
):
    world = made()
    place = world.layout.answers / "6"
    place.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small file system")
    try:
        world.models.add("6")
        world.target.apply(request("6"))
        assert world.target.lost_answers("6") == 0
        with loaded(world, rows) as load:
            until(lambda: (world.target.lost_answers("6") or 0) > 20)
        assert load.failed() == []
        logged = since(world, 0, ("6",))
        assert len(logged) + (world.target.lost_answers("6") or 0) == len(load.replies)
        table = AppendedTable("table", tmp_path, key=KEY, thing="target.answers", bounded_by=TIME)
        copies = AnswerCopy(world.layout.answers, tmp_path / "copied.json", table, "classification")
        assert copies.copy(wait=True) == Copied(added=len(logged))
        assert sorted(pd.read_parquet(tmp_path / "table")["request_id"]) == sorted(logged.request_id)
    finally:
        world.target.control.down()
        subprocess.run(["umount", str(place)], check=True)
