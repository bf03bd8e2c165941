"""Seldon's resources: what is written, what is read from conditions, what a Model answers through the mesh."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.bootstrap import build
from agent.settings import Settings
from agent.workspace import Workspace
from tools.adapters.seldon.inference import ask_model
from tools.adapters.seldon.target import SeldonTargetAdapter
from tools.contracts.seldon import (
    SeldonCall,
    SeldonDeployment,
    SeldonReplicas,
    SeldonReply,
    SeldonResources,
    SeldonTraffic,
)
from tools.errors import BadInput, Unavailable
from tools.seldon import candidate_name, experiment_manifest, mirrored, model_manifest, percents, readiness, version_of

PUBLISHED = Path(__file__).parents[3] / "shared" / "contracts"


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def found(
    *conditions: dict[str, str], kind: str = "Model", generation: int = 2, seen: int | None = 2, **spec: Any
) -> dict[str, Any]:
    status = {"conditions": list(conditions)} | ({} if seen is None else {"observedGeneration": seen})
    return {"kind": kind, "metadata": {"name": "m", "generation": generation}, "spec": spec, "status": status}


READY = (condition("ModelReady", "True"), condition("Ready", "True"))
SPLIT = (condition("ExperimentReady", "True"), condition("CandidatesReady", "True"), condition("Ready", "True"))


@pytest.mark.parametrize(
    ("what", "state", "why"),
    [
        (found(*READY), "ready", ""),
        (found(*READY, seen=1), "waiting", "the controller has seen generation 1, not 2"),
        (found(*READY, seen=None), "waiting", "the controller has seen generation none, not 2"),
        (found(), "waiting", "ModelReady, Ready not True yet"),
        (found(condition("ModelReady", "True"), condition("Ready", "Unknown")), "waiting", "Ready not True yet"),
        (found(condition("ModelReady", "False", "ModelFailed", "no")), "failed", "ModelReady is False (ModelFailed: no)"),
        (found(*READY, condition("Other", "False")), "failed", "Other is False"),
        (found(condition("ModelReady", "False", "ModelProgressing")), "waiting", "ModelReady, Ready not True yet"),
        (found(condition("ModelReady", "False", "ModelFailed"), seen=1), "waiting", "the controller has seen generation 1, not 2"),
        (found(*SPLIT, kind="Experiment"), "ready", ""),
        (found(*SPLIT, kind="Experiment", mirror={"name": "m"}), "waiting", "MirrorReady not True yet"),
        (found(*SPLIT, condition("ModelReady", "False"), kind="Experiment"), "failed", "ModelReady is False"),
    ],
)  # fmt: skip
def test_readiness_is_read_from_all_conditions_of_the_newest_generation(what: dict[str, Any], state: str, why: str):
    assert readiness(what) == (state, why)


def test_object_that_is_being_deleted_is_not_ready():
    leaving = found(*READY)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert readiness(leaving).state == "waiting"


def split(weight: int = 10, mirror: int = 0, models: tuple[str, ...] = ("m", "m-v7"), candidate: str = "m-v7"):
    return experiment_manifest(
        default="m", namespace="n", candidate=candidate, weight=weight, mirror=mirror, models=models
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"weight": -1}, "a weight of -1 %"),
        ({"weight": 101}, "a weight of 101 %"),
        ({"mirror": 101}, "a mirror of 101 %"),
        ({"models": ("m",)}, "there is no Model 'm-v7' to route to"),
        ({"models": ("m-v7",)}, "there is no Model 'm' to route to"),
        ({"candidate": "m"}, "cannot be tried against itself"),
    ],
)
def test_what_the_api_server_would_accept_and_makes_no_sense_is_refused(given: dict[str, Any], said: str):
    with pytest.raises(BadInput, match=said):
        split(**given)


@pytest.mark.parametrize("weight", [0, 1, 50, 100])
def test_weights_that_are_written_read_back(weight: int):
    served = {name: percent for name, percent in {"m": 100 - weight, "m-v7": weight}.items() if percent}
    assert percents(split(weight, mirror=5)) == served
    assert mirrored(split(weight, mirror=5), "m-v7") == 5


@pytest.mark.parametrize("weights", [[101, -1], [0, 0], [1, 2], []])
def test_weights_that_are_no_percents_are_none(weights: list[int]):
    assert percents({"spec": {"candidates": [{"name": str(n), "weight": w} for n, w in enumerate(weights)]}}) is None


def test_relative_weights_of_others_are_read_as_percents():
    assert percents({"spec": {"candidates": [{"name": "a", "weight": 3}, {"name": "b", "weight": 1}]}}) == {
        "a": 75,
        "b": 25,
    }


@pytest.mark.parametrize("version", ["7.1", "V7", "7_1", "", "-", "7/..", "x" * 60])
def test_versions_that_make_no_name_are_refused(version: str):
    with pytest.raises(BadInput, match="is no name for a resource"):
        candidate_name("prices", version)


def test_version_is_believed_only_beside_the_files_it_was_written_with():
    model = model_manifest(name="m", namespace="n", version="7", storage_uri="s3://7", requirements=(), memory=None)
    assert version_of(model, {}) == "7"
    model["spec"]["storageUri"] = "s3://8"
    assert version_of(model, {}) == "s3://8"
    assert version_of(model, {"s3://8": "8"}) == "8"


CALLS = [
    SeldonCall(action="status"),
    SeldonCall(
        action="deploy",
        deployment_config=SeldonDeployment(
            name="m", namespace="n", model_uri="s3://7", implementation="mlflow", replicas=1,
            resources=SeldonResources(requests={"memory": "1Gi"}), version="7",
        ),
    ),
    SeldonCall(action="traffic-split", traffic_config=SeldonTraffic(canary_percent=10, shadow_enabled=True)),
]  # fmt: skip
REPLIES = [
    SeldonReply(status="pending", action="status"),
    SeldonReply(
        status="success", action="deploy", deployment_name="m", endpoint="http://x", deployment_status="available",
        replicas=SeldonReplicas(desired=1, ready=1), traffic_split={"6": 90, "7": 10},
    ),
]  # fmt: skip


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="../shared/contracts is not beside this checkout")
@pytest.mark.parametrize(("message", "name"), [*((c, "input") for c in CALLS), *((r, "output") for r in REPLIES)])
def test_calls_and_replies_keep_to_the_published_schemas(message: SeldonCall | SeldonReply, name: str):
    schema = json.loads((PUBLISHED / f"seldon-model-deployer.{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(message.to_json_dict(), schema)
    assert set(type(message).model_json_schema()["properties"]) == set(schema["properties"])


class Mesh(HTTPServer):
    """Answers each row with the sum of its numbers, as the Model that `model_name` says."""

    model_name: str | None = "m-v7_1"
    status = 200

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None, Any]] = []
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Mesh  # type: ignore[assignment]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((self.path, self.headers["seldon-model"], body))
        total = sum(each["data"][0] for each in body["inputs"] if each["datatype"] != "BYTES")
        content = json.dumps(
            {"outputs": [{"name": "output-1", "data": [total]}], "model_name": self.server.model_name}
        ).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    server = Mesh()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", None]}), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def asked(mesh: Mesh, rows: Path, path: str = ""):
    return ask_model(f"http://127.0.0.1:{mesh.server_address[1]}{path}", "m-v7", "7", rows, 20)


def test_rows_are_asked_one_by_one_of_the_named_model(mesh: Mesh, rows: Path):
    answer = asked(mesh, rows, "/seldon/")
    assert (answer.version, answer.predictions, len(answer.latency_ms)) == ("7", (1.5, 3.5), 2)
    path, header, body = mesh.seen[1]
    assert (path, header, len(mesh.seen)) == ("/seldon/v2/models/m-v7/infer", "m-v7", 2)
    assert body["inputs"] == [
        {"name": "a", "shape": [1], "datatype": "INT64", "data": [2]},
        {"name": "b", "shape": [1], "datatype": "FP64", "data": [1.5]},
        {"name": "c", "shape": [1], "datatype": "BYTES", "data": [None]},
    ]


def test_answer_of_another_model_is_not_taken(mesh: Mesh, rows: Path):
    mesh.model_name = "m_3"
    with pytest.raises(Unavailable, match="Model m-v7 was asked, m answered"):
        asked(mesh, rows)


def test_model_that_refuses_rows_is_unavailable(mesh: Mesh, rows: Path):
    mesh.status = 500
    with pytest.raises(Unavailable, match="version 7 did not answer a row: ValueError: 500"):
        asked(mesh, rows)


def test_inference_url_that_is_no_address_is_refused(rows: Path):
    with pytest.raises(BadInput, match="is no http address"):
        ask_model("mesh:9000", "m", "7", rows, 1)


def test_profile_of_this_kind_gets_this_target_without_a_cluster_being_asked(tmp_path: Path):
    space = Workspace(
        root=tmp_path,
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        registry_uri=f"sqlite:///{tmp_path}/mlflow.db",
        store=f"sqlite:///{tmp_path}/store.db",
        profiles_dir=tmp_path / "profiles",
        work_dir=tmp_path / ".retraining",
    )
    space.profiles_dir.mkdir()
    (space.profiles_dir / "prices.yaml").write_text(PROFILE)
    deps = build(space, Settings()).deps

    target = deps.target_of(deps.load_profile("prices"))

    assert isinstance(target, SeldonTargetAdapter)
    able = target.abilities
    assert (able.can_split, able.can_prove, able.can_mirror, able.can_load, target.log) == (
        True,
        True,
        True,
        True,
        None,
    )
    assert (target.spec.name, target.spec.namespace) == ("prices", "models")


PROFILE = """\
registered_model: prices
task: regression
data: {source: rows.parquet, event_time: at, target: y, features: [a]}
metrics: {primary: {name: mae}}
target: {kind: seldon, name: prices, namespace: models, storage_uri: "s3://b/{name}/{version}"}
"""
