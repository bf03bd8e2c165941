"""Embedded serving without servers: what is written for Envoy, what is read from the log, what a full disk leaves."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tools.adapters import v2_protocol as protocol
from tools.adapters.model_environments import misfit
from tools.adapters.processes import start_of
from tools.adapters.serving import envoy_config, processes
from tools.adapters.serving.control import Control
from tools.adapters.serving.environment import LOCK, pins, python_for
from tools.adapters.serving.layout import Layout, fit_version, free_port, is_free, layout_of, read, replace
from tools.adapters.serving.segments import SegmentLog
from tools.adapters.serving.supervisor import EnvoyProcess
from tools.adapters.serving.target import ServingTargetAdapter
from tools.adapters.serving.version_server import VersionServer
from tools.contracts.peers import DeploymentReply, DeploymentRequest, ModelArtifact
from tools.contracts.profile import Profile
from tools.errors import BadInput, Conflict, Unavailable
from tools.observations import thinned


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# --- Envoy's configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "mirror"),
    [
        ({"6": 100}, {}),
        ({"6": 95, "7": 5}, {}),
        ({"7": 100}, {}),
        ({"6": 100}, {"7": 100}),
        ({"6": 50, "7": 50}, {"7": 10}),
    ],
)
def test_weights_read_back_from_a_route_are_those_put_into_it(weights: dict[str, int], mirror: dict[str, int]):
    route = envoy_config.routes(weights, stable="6", mirror=mirror)["resources"][0]
    assert envoy_config.weights_of(route) == (weights, mirror)


def test_a_version_is_backed_by_the_stable_one_and_the_stable_one_by_nobody():
    assert envoy_config.cluster_of("7", "6") == "version:7:else:6"
    assert envoy_config.cluster_of("6", "6") == "version:6"
    pair = next(c for c in envoy_config.clusters({"6": 1, "7": 2}, "m")["resources"] if c["name"] == "version:7:else:6")
    assert pair["cluster_type"]["typed_config"]["clusters"] == ["version:7", "version:6"]


def test_any_number_of_clients_of_a_dead_candidate_is_helped_at_once():
    # Envoy's own limit is three retries at a time.
    for cluster in envoy_config.clusters({"6": 1, "7": 2}, "m")["resources"]:
        assert cluster["circuit_breakers"]["thresholds"][0]["max_retries"] >= 1000


def test_reason_of_a_server_that_ended_is_its_exception_not_its_farewell(tmp_path: Path):
    (tmp_path / "log").write_text(
        "Traceback\n  x\nValueError: weights are missing\nINFO: Finished server process\nbye\n"
    )
    assert processes.reason(tmp_path / "log") == "ValueError: weights are missing"
    (tmp_path / "log").write_text("one\ntwo\nthree\nfour\n")
    assert processes.reason(tmp_path / "log") == "two\nthree\nfour"
    assert processes.reason(tmp_path / "none") == ""


def test_every_cluster_that_a_route_can_name_is_defined():
    defined = {cluster["name"] for cluster in envoy_config.clusters({"6": 1, "7": 2, "8": 3}, "m")["resources"]}
    for stable in "678":
        route = envoy_config.routes({"6": 20, "7": 30, "8": 50}, stable=stable, mirror={"8": 5})
        action = route["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]
        named = {share["name"] for share in action["weighted_clusters"]["clusters"]}
        assert named | {policy["cluster"] for policy in action["request_mirror_policies"]} <= defined


@pytest.mark.parametrize("weights", [{"6": 90}, {"6": 110}, {"6": 120, "7": -20}])
def test_weights_that_do_not_share_out_everything_are_refused(weights: dict[str, int]):
    with pytest.raises(ValueError, match="sum to 100"):
        envoy_config.routes(weights, stable="6", mirror={})


def test_a_route_never_reaches_the_calls_that_load_and_unload_models():
    host = envoy_config.routes({"6": 100}, stable="6", mirror={})["resources"][0]["virtual_hosts"][0]
    assert [entry["match"]["prefix"] for entry in host["routes"]] == ["/v2/models/", "/v2/health/"]


def test_everything_listens_on_loopback_only():
    text = json.dumps(envoy_config.bootstrap(port=1, admin_port=2, clusters="c", routes="r", node="m"))
    text += json.dumps(envoy_config.clusters({"6": 3}, "m"))
    assert text.count('"address": "127.0.0.1"') == text.count('"port_value"') == 3


# --- files -----------------------------------------------------------------------------------------------------------


def test_disk_that_fills_up_while_a_file_is_written_leaves_the_old_content(tmp_path: Path):
    file = tmp_path / "routes.json"
    replace(file, {"weights": "old"})
    # Where the new content is written first: a device that is always full.
    (tmp_path / "routes.json.new").symlink_to("/dev/full")
    with pytest.raises(Unavailable, match=r"No space left on device.*what was there before stands"):
        replace(file, {"weights": "new"})
    assert read(file) == {"weights": "old"}
    assert not (tmp_path / "routes.json.new").is_symlink()
    replace(file, {"weights": "new"})
    assert read(file) == {"weights": "new"}


def test_state_that_is_no_json_is_told_with_a_remedy(tmp_path: Path):
    (tmp_path / "wanted.json").write_text('{"half')
    with pytest.raises(Unavailable, match="cannot be read") as caught:
        read(tmp_path / "wanted.json")
    assert caught.value.remedy == "`retrain serving down MODEL` clears it away"


@pytest.mark.parametrize("version", ["", "../7", "a/b", "7 8", "-7"])
def test_version_that_is_no_file_name_is_refused(version: str):
    with pytest.raises(BadInput, match="cannot be served"):
        fit_version(version)


def test_names_of_catalogues_become_folders(tmp_path: Path):
    assert layout_of(tmp_path, "main.sales.prices").folder == tmp_path / "serving" / "main-sales-prices"


def settle(control: Control, port: int | None = None) -> None:
    limits = {"memory_limit_mb": 512, "load_seconds": 5.0}
    control.settle(model="m", task="classification", positive="1", port=port, limits=limits)


def test_ports_are_chosen_once_and_kept(tmp_path: Path):
    control = Control(Layout(tmp_path / "m"))
    settle(control)
    first = control.wanted
    settle(control)
    assert control.wanted == first
    assert first["port"] != first["admin_port"]


def test_port_that_somebody_else_has_is_told_before_anything_starts(tmp_path: Path):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(Conflict, match=f"port {port} of the endpoint is taken"):
            settle(Control(Layout(tmp_path / "m")), port)
    assert not (tmp_path / "m" / "wanted.json").exists()


def test_last_version_left_is_the_stable_one(tmp_path: Path):
    control = Control(Layout(tmp_path / "m"))
    settle(control)
    for version in ("6", "7"):
        control.want(version, files="f", python="p", envoy="e", digest="d")
    assert control.wanted["stable"] == "6"
    control.unwant("6")
    assert (control.wanted["stable"], list(control.wanted["versions"])) == ("7", ["7"])


def test_down_of_what_was_never_up_has_nothing_to_do(tmp_path: Path):
    assert Control(Layout(tmp_path / "m")).down() is False


def test_a_pid_that_was_used_again_is_not_taken_for_ours():
    started = start_of(os.getpid())
    assert processes.adopted({"pid": os.getpid(), "started": started}) is not None
    assert processes.adopted({"pid": os.getpid(), "started": f"1{started}"}) is None
    assert processes.adopted({"pid": os.getpid(), "started": psutil.Process().create_time() - 3600}) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are known by the wall clock here")
def test_servers_that_an_earlier_release_recorded_are_adopted_and_known_whatever_the_clock_says_later(
    monkeypatch: pytest.MonkeyPatch,
):
    told = psutil.Process.create_time
    child = processes.adopted({"pid": os.getpid(), "started": psutil.Process().create_time()})
    assert child is not None
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) - 3600)
    assert child.alive
    assert processes.adopted(child.to_json()) is not None


def test_servers_are_given_no_secret_and_one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("MLFLOW_TRACKING_PASSWORD", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "PYTHONPATH"):
        monkeypatch.setenv(name, "not-to-be-shown")
    given = processes.server_environment(tmp_path, sys.executable)
    assert "not-to-be-shown" not in given.values()
    assert given["OMP_NUM_THREADS"] == "1"


# --- supervision -----------------------------------------------------------------------------------------------------


def program(path: Path, does: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return str(path)


def until(true: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def set_clock(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    told = time.time
    monkeypatch.setattr(time, "time", lambda: told() + hours * 3600)


class OneServer:
    """A version's server that does what a line of shell says."""

    def __init__(self, folder: Path, does: str, before: dict[str, Any] | None = None) -> None:
        layout = Layout(folder / "m")
        layout.make()
        self.server = VersionServer(layout, "7", before or {})
        self.wanted = {
            "python": program(folder / "bin" / "python", does),
            "files": "f",
            "model": "m",
            "task": "classification",
            "positive": "1",
            "memory_limit_mb": 512,
            "load_seconds": 60.0,
        }

    def step(self) -> str:
        self.server.step(self.wanted, stable=False, taken=())
        return self.server.state


def test_clock_set_forward_while_a_version_loads_does_not_make_it_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one = OneServer(tmp_path, "exec sleep 60")
    try:
        assert one.step() == "starting"
        set_clock(monkeypatch, hours=1)
        assert one.step() == "starting"
    finally:
        one.server.stop(0.0)


def test_clock_set_back_does_not_hold_up_the_next_start_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one = OneServer(tmp_path, "exit 1", {"load_seconds": 1.0})
    until(lambda: one.step() == "waiting")
    set_clock(monkeypatch, hours=-1)
    until(lambda: one.step() == "starting")
    one.server.stop(0.0)


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: [Errno 98] error while attempting to bind on address ('127.0.0.1', 1): address already in use",
        "RuntimeError: Failed to bind to address 127.0.0.1:1; set GRPC_VERBOSITY=debug",
    ],
)
def test_server_whose_port_was_taken_before_it_listened_is_given_two_others(tmp_path: Path, said: str):
    one = OneServer(tmp_path, f'echo "{said}"; exit 1')
    ports: list[int | None] = []

    def given_up() -> bool:
        if one.step() == "starting" and one.server.port not in ports:
            ports.append(one.server.port)
        return one.server.state == "failed"

    until(given_up)
    assert len(ports) == 3
    assert one.server.restarts == 0, "no crash of the version"


def test_clock_set_back_does_not_hold_up_the_next_start_of_envoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    layout = Layout(tmp_path / "m")
    layout.make()
    envoy = EnvoyProcess(layout, {})
    wanted = {
        "envoy": program(tmp_path / "envoy", "exit 1"),
        "port": free_port(),
        "admin_port": free_port(),
        "model": "m",
    }

    def ended(times: int) -> bool:
        envoy.step(wanted)
        return envoy.restarts == times

    until(lambda: ended(1))
    set_clock(monkeypatch, hours=-1)
    until(lambda: ended(2))


# --- what Envoy says -------------------------------------------------------------------------------------------------


class Told:
    """Plays Envoy's admin interface and a supervisor that reports version 7 ready beside 6, the stable one."""

    def __init__(self, folder: Path) -> None:
        self.route: dict[str, Any] | None = envoy_config.routes({"6": 90, "7": 10}, stable="6", mirror={})["resources"][
            0
        ]
        self.counted: dict[str, int] | None = {}
        told = self

        class Admin(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = told.dump() if self.path.startswith("/config_dump") else told.clusters()
                body = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name upstream
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Admin)
        profile = Profile.model_validate(
            {
                "id": "m",
                "registered_model": "m",
                "task": "classification",
                "data": {"source": "x.parquet", "event_time": "at", "target": "y", "features": ["x"]},
                "metrics": {"primary": {"name": "accuracy", "min_improvement": 0.01}},
                "target": {"kind": "serving"},
            }
        )
        layout = Layout(folder / "m")
        self.target = ServingTargetAdapter(profile, layout, NoFiles(), folder)
        settle(self.target.control)
        replace(layout.wanted, self.target.control.wanted | {"admin_port": self.server.server_port})
        for version in ("6", "7"):
            self.target.control.want(version, files="f", python="p", envoy="e", digest="d")
        self.report(state="ready")

    def report(self, **record: Any) -> None:
        asked = self.target.control.wanted["versions"]
        versions = {version: record | {"prepared_at": asked[version]["prepared_at"]} for version in asked}
        me = {"pid": os.getpid(), "started": start_of(os.getpid())}
        replace(self.target.layout.running, {"supervisor": me, "versions": versions})

    def dump(self) -> dict[str, Any]:
        return {} if self.route is None else {"configs": [{"route_config": self.route}]}

    def clusters(self) -> dict[str, Any]:
        if self.counted is None:
            return {}
        stats = [{"name": name, "value": str(value)} for name, value in self.counted.items()]
        hosts = [{"stats": stats, "health_status": {"eds_health_status": "HEALTHY"}}]
        return {"cluster_statuses": [{"name": f"version:{version}", "host_statuses": hosts} for version in "67"]}

    def status(self, version: str = "7") -> DeploymentReply:
        return self.target.status(
            DeploymentRequest(
                model_artifact=ModelArtifact(path=f"models:/m/{version}", version=version), deployment_strategy="canary"
            )
        )


class NoFiles:
    def fetch(self, model_uri: str, folder: Path) -> Path:
        raise AssertionError


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_envoy_that_has_not_read_its_route_yet_contradicts_nothing(told: Told):
    seen = told.status()
    assert (seen.observed_weights, seen.observed_mirror, seen.healthy) == ({"6": 90, "7": 10}, 0, True)
    told.route = told.counted = None
    seen = told.status()
    assert (seen.observed_weights, seen.observed_mirror, seen.healthy) == (None, None, None)
    told.route = envoy_config.no_routes()["resources"][0]
    assert told.status().observed_weights == {}, "a route that leads nowhere is known"


def test_version_with_traffic_is_not_released_while_envoy_has_not_read_its_route_yet(told: Told):
    route, told.route = told.route, None
    later = threading.Timer(0.2, lambda: setattr(told, "route", route))
    later.start()
    with pytest.raises(Conflict, match="version 7 gets 10 % of the traffic"):
        told.target.release("7")
    later.join()
    assert "7" in told.target.control.wanted["versions"]


def test_version_that_was_given_up_is_unhealthy_whatever_envoy_knows(told: Told):
    told.counted = None
    told.report(state="failed")
    assert (told.status("6").healthy, told.status("7").healthy) == (False, False)


@pytest.mark.parametrize(
    ("timeouts", "requests", "healthy"),
    [(0, 0, True), (1, 1, True), (1, 5000, True), (2, 2, False), (2, 199, False), (2, 200, True), (51, 5000, False)],
)
def test_candidate_hangs_where_more_than_one_request_and_one_percent_had_no_answer_in_time(
    told: Told, timeouts: int, requests: int, healthy: bool
):
    told.counted = {"rq_timeout": timeouts, "rq_total": requests}
    assert told.status("7").healthy is healthy
    assert told.status("6").healthy is True, "nobody answers in the stable version's place: its clients' errors tell"


# --- environment -----------------------------------------------------------------------------------------------------


def test_python_too_new_for_the_servers_is_refused_with_the_remedy():
    with pytest.raises(BadInput, match=r"need Python 3.11 or 3.12; this is 3.13") as caught:
        python_for(None, ours=(3, 13), find=lambda _: None)
    assert "install Python 3.11 or 3.12" in str(caught.value.remedy)
    assert python_for(None, ours=(3, 13), find=lambda name: f"/bin/{name}") == "/bin/python3.12"


def test_model_logged_with_a_python_too_new_is_refused_wherever_it_is_served():
    with pytest.raises(BadInput, match=r"logged with Python 3.13"):
        python_for("3.13", ours=(3, 11), find=lambda name: f"/bin/{name}")
    with pytest.raises(BadInput, match=r"need Python 3.12; this is 3.11"):
        python_for("3.12", ours=(3, 11), find=lambda _: None)


def test_requirements_are_pinned_and_hashed_and_name_no_index():
    text = LOCK.read_text(encoding="utf-8")
    assert "://" not in text.replace("via", "")
    packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert packages
    assert all("==" in line and line.endswith("\\") for line in packages)


@pytest.mark.parametrize("name", ["numpy", "pandas", "scikit-learn", "scipy", "cloudpickle", "mlflow"])
def test_servers_hold_the_versions_that_models_are_trained_with_here(name: str):
    ours = pins((Path(__file__).parents[2] / "requirements.lock").read_text(encoding="utf-8"))
    assert pins(LOCK.read_text(encoding="utf-8"))(name) == ours(name), "`make lock` makes both"


def test_model_that_fits_the_shared_environment_needs_none_of_its_own(tmp_path: Path):
    version_of = pins(LOCK.read_text(encoding="utf-8"))
    (tmp_path / "requirements.txt").write_text(f"scikit-learn=={version_of('scikit-learn')}\nmlflow==3.1.0\n")
    assert misfit(tmp_path, "3.11", version_of) is None
    (tmp_path / "requirements.txt").write_text("scikit-learn==1.2.0\n")
    assert "scikit-learn 1.2.0" in str(misfit(tmp_path, "3.11", version_of))
    (tmp_path / "requirements.txt").write_text("no-such-package==1.0\n")
    assert "not installed" in str(misfit(tmp_path, "3.11", version_of))


# --- log ---------------------------------------------------------------------------------------------------------------


def row(number: int, version: str = "7", **more: Any) -> dict[str, Any]:
    fixed = {"mirrored": False, "failed": False, "ms": 2.5, "prediction": 1, "probability": 0.75}
    return {"id": f"r{number}", "version": version, "at": 1000.0 + number} | fixed | more


def segment(folder: Path, version: str, rows: list[dict[str, Any]], name: str = "1", end: str = "") -> None:
    (folder / version).mkdir(exist_ok=True)
    (folder / version / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows) + end)


def test_log_of_a_version_that_never_answered_is_empty(tmp_path: Path):
    assert len(SegmentLog(tmp_path).observations(["7"], at(0), at(9e9), 10)) == 0


def test_answers_of_several_segments_and_versions_come_in_order_of_time(tmp_path: Path):
    segment(tmp_path, "7", [row(3), row(4)], "2")
    segment(tmp_path, "7", [row(1)], "1")
    segment(tmp_path, "6", [row(2, "6", mirrored=True, failed=True, prediction=None, probability=None)])
    found = SegmentLog(tmp_path).observations(["6", "7"], at(0), at(9e9), 10)
    assert found.request_id.tolist() == ["r1", "r2", "r3", "r4"]
    assert found.version.tolist() == ["7", "6", "7", "7"]
    assert found.mirrored.tolist() == found.failed.tolist() == [False, True, False, False]
    assert found.prediction.tolist() == [1, None, 1, 1]
    assert [value == value for value in found.probability] == [True, False, True, True]
    assert not found.cut


def test_only_the_time_asked_for_is_read_and_of_many_answers_a_part(tmp_path: Path):
    segment(tmp_path, "7", [row(number) for number in range(10)])
    log = SegmentLog(tmp_path)
    assert log.observations(["7"], at(1002), at(1005), 10).request_id.tolist() == ["r2", "r3", "r4"]
    part = log.observations(["7"], at(0), at(9e9), 3)
    kept = thinned([f"r{number}" for number in range(10)], 3)
    assert (part.request_id.tolist(), part.cut) == ([f"r{number}" for number in range(10) if kept[number]], True)
    assert 3 < len(part) < 10


def test_line_under_way_and_line_that_a_full_disk_cut_are_no_answers(tmp_path: Path):
    segment(tmp_path, "7", [row(1)], end='{"id": "half\n' + json.dumps(row(2)) + "\n" + '{"id": "r3", "at"')
    assert SegmentLog(tmp_path).observations(["7"], at(0), at(9e9), 10).request_id.tolist() == ["r1", "r2"]


# --- protocol ------------------------------------------------------------------------------------------------------------


def test_rows_become_a_tensor_a_column_with_gaps_as_null():
    body = protocol.infer_request(
        {"x": [1, float("nan")], "day": [datetime(2026, 1, 2, tzinfo=UTC), None]}, {"x": "FP64", "day": "BYTES"}
    )
    assert body["inputs"] == [
        {"name": "x", "shape": [2], "datatype": "FP64", "data": [1.0, None]},
        {"name": "day", "shape": [2], "datatype": "BYTES", "data": ["2026-01-02T00:00:00+00:00", None]},
    ]
    json.dumps(body, allow_nan=False)


def test_free_ports_are_free():
    assert is_free(free_port())
