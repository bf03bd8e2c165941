"""One suite for every tracking server: memory, MLflow on a file, and (a part of it) a real MLflow server. Then what only
MLflow or only memory does."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conformance.conftest import answering, closed_port
from tools.adapters.memory_registry import MemoryTracking, TrackedRun, unreachable
from tools.adapters.mlflow_client import client_for
from tools.adapters.mlflow_tracking import RUN_TAG, MlflowTracking
from tools.errors import BadInput, NotAllowed, NotFound, RetrainingError, Unavailable
from tools.ports import Tracking

NOBODY = "0" * 32
"""A run that is in no server."""


@dataclass
class Rig:
    """A tracking server, and what a person would see there of a run."""

    tracking: Tracking
    status: Callable[[str], str]
    metrics: Callable[[str], dict[str, float]]


def in_memory() -> Rig:
    tracking = MemoryTracking()
    return Rig(tracking, lambda run: tracking.runs[run].status, lambda run: tracking.runs[run].metrics)


def in_mlflow(uri: str) -> Rig:
    client = client_for(uri)
    return Rig(
        MlflowTracking(uri),
        lambda run: client.get_run(run).info.status,
        lambda run: client.get_run(run).data.metrics,
    )


@pytest.fixture(params=["memory", "file"])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "memory":
        return in_memory()
    return in_mlflow(request.getfixturevalue(f"mlflow_{request.param}"))


everywhere = pytest.mark.parametrize(
    "rig", ["memory", "file", pytest.param("server", marks=pytest.mark.slow)], indirect=True
)
"""The server's part."""


@pytest.fixture
def run_id() -> str:
    """MLflow's servers live as long as the session: each test has a run of its own."""
    return f"run-{uuid4().hex}"


@pytest.fixture
def run(rig: Rig, run_id: str) -> str:
    """An open tracking run."""
    return rig.tracking.open_run(run_id, "catalog.schema.model", {})


def own_tags(rig: Rig, run: str) -> dict[str, str]:
    """Without those that MLflow adds."""
    return {key: value for key, value in rig.tracking.get_tags(run).items() if not key.startswith("mlflow.")}


# --- the suite -------------------------------------------------------------------------------------------------


@everywhere
def test_open_run_is_idempotent_by_run_id(rig: Rig, run_id: str):
    first = rig.tracking.open_run(run_id, "catalog.schema.model", {"kind": "run", "by": "ann"})
    again = rig.tracking.open_run(run_id, "catalog.schema.model", {"by": "bob", "why": "drift"})
    assert again == first
    assert own_tags(rig, first) == {RUN_TAG: run_id, "kind": "run", "by": "bob", "why": "drift"}


@everywhere
def test_another_run_id_or_model_is_another_run(rig: Rig, run_id: str):
    opened = [
        rig.tracking.open_run(run_id, "a", {}),
        rig.tracking.open_run(run_id, "b", {}),
        rig.tracking.open_run(f"{run_id}%", "a", {}),
        rig.tracking.open_run(f"{run_id}_", "a", {}),
        rig.tracking.open_run(run_id.upper(), "a", {}),
    ]
    assert len(set(opened)) == 5


@pytest.mark.parametrize("name", ["with space", "a/b", 'it\'s "odd" `ü` 100%_ \\ ; --', "日本 😀", "../../up"])
def test_run_of_a_model_with_an_odd_name_is_found_and_keeps_artifacts(rig: Rig, run_id: str, tmp_path: Path, name: str):
    run = rig.tracking.open_run(run_id, name, {})
    rig.tracking.log_json(run, "reports/decision.json", {"decision": "deploy"})
    assert rig.tracking.open_run(run_id, name, {}) == run
    fetched = rig.tracking.fetch(run, "reports/decision.json", tmp_path)
    assert fetched is not None
    assert json.loads(fetched.read_text()) == {"decision": "deploy"}


def test_quote_in_a_run_id_is_refused_before_it_reaches_a_filter(rig: Rig):
    with pytest.raises(BadInput, match="has a quote in it"):
        rig.tracking.open_run("x' OR tags.a != '", "m", {})


def test_odd_run_id_without_a_quote_is_found_again(rig: Rig, run_id: str):
    odd = f'{run_id} "odd" `ü` 100%_ \\ ; --'
    assert rig.tracking.open_run(odd, "m", {}) == rig.tracking.open_run(odd, "m", {})


@everywhere
def test_json_round_trips_and_is_overwritten(rig: Rig, run: str, tmp_path: Path):
    content = {"name": 'ü 日本 😀 "x"', "number": 0.1, "none": None, "list": [1, {"deep": True}]}
    rig.tracking.log_json(run, "decision.json", {"old": 1})
    rig.tracking.log_json(run, "decision.json", content)
    fetched = rig.tracking.fetch(run, "decision.json", tmp_path / "new" / "folder")
    assert fetched == tmp_path / "new" / "folder" / "decision.json"
    assert fetched is not None
    assert json.loads(fetched.read_text(encoding="utf-8")) == content


@everywhere
def test_file_round_trips_byte_by_byte(rig: Rig, run: str, tmp_path: Path):
    file = tmp_path / "golden rows.parquet"
    file.write_bytes(bytes(range(256)) * 1000)
    rig.tracking.log_file(run, file, "lineage")
    fetched = rig.tracking.fetch(run, "lineage/golden rows.parquet", tmp_path / "fetched")
    assert fetched is not None
    assert fetched.is_relative_to(tmp_path / "fetched")
    assert fetched.read_bytes() == file.read_bytes()


@everywhere
def test_fetch_of_what_does_not_exist_is_none(rig: Rig, run: str, tmp_path: Path):
    rig.tracking.log_json(run, "reports/drift.json", {})
    missing = ("drift.json", "reports/other.json", "other/drift.json", "reports", "reports/drift.json/deeper")
    assert [rig.tracking.fetch(run, path, tmp_path) for path in missing] == [None] * len(missing)
    assert rig.tracking.fetch(NOBODY, "reports/drift.json", tmp_path) is None
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../up.json", "a/../up.json", "a//b", "a#b", "a?b", "a%2e", "a\\b"]
)
def test_path_that_stores_would_read_differently_is_refused(rig: Rig, run: str, tmp_path: Path, path: str):
    with pytest.raises(BadInput, match="is no path of an artifact"):
        rig.tracking.log_json(run, path, {})
    with pytest.raises(BadInput, match="is no path of an artifact"):
        rig.tracking.fetch(run, path, tmp_path)


def test_file_that_does_not_exist_is_not_found(rig: Rig, run: str, tmp_path: Path):
    for file in (tmp_path / "none.html", tmp_path):
        with pytest.raises(NotFound, match=r"no file .* to log"):
            rig.tracking.log_file(run, file, "reports")


@pytest.mark.parametrize("content", [{"a": float("nan")}, {"a": [float("inf")]}, {"a": object()}])
def test_report_that_json_has_no_word_for_is_refused(rig: Rig, run: str, tmp_path: Path, content: dict[str, object]):
    with pytest.raises(BadInput, match=r"drift\.json cannot be written as JSON"):
        rig.tracking.log_json(run, "drift.json", content)
    assert rig.tracking.fetch(run, "drift.json", tmp_path) is None


@everywhere
def test_metrics_are_kept_and_the_last_value_counts(rig: Rig, run: str):
    rig.tracking.log_metrics(run, {"candidate.auc": 0.5, "candidate.brier": 1e-300})
    rig.tracking.log_metrics(run, {"candidate.auc": 0.75})
    rig.tracking.log_metrics(run, {})
    assert rig.metrics(run) == {"candidate.auc": 0.75, "candidate.brier": 1e-300}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_metric_that_is_not_finite_is_refused_with_all_others(rig: Rig, run: str, value: float):
    with pytest.raises(BadInput, match=f"metric brier is {value}"):
        rig.tracking.log_metrics(run, {"auc": 0.5, "brier": value})
    assert rig.metrics(run) == {}


@pytest.mark.parametrize("key", ["", "..", "it's", 'a"b', "a`b", "a%b", "auc@1"])
def test_key_that_mlflow_cannot_keep_is_refused(rig: Rig, run: str, run_id: str, key: str):
    with pytest.raises(BadInput, match="refused"):
        rig.tracking.set_tags(run, {key: "v"})
    with pytest.raises(BadInput, match="refused"):
        rig.tracking.log_metrics(run, {key: 1.0})
    assert (own_tags(rig, run), rig.metrics(run)) == ({RUN_TAG: run_id}, {})


@everywhere
def test_tags_with_odd_characters_round_trip(rig: Rig, run: str, run_id: str):
    odd = {
        "quotes": "it's \"odd\" `ü` 100%_ \\ ; -- ' OR '1",
        "lines": "a\nb\tc",
        "empty": "",
        "a.b/c:d-e f": "日本 😀",
    }
    rig.tracking.set_tags(run, odd)
    assert own_tags(rig, run) == odd | {RUN_TAG: run_id}
    assert rig.tracking.open_run(run_id, "catalog.schema.model", {}) == run


@everywhere
@pytest.mark.parametrize(("failed", "status"), [(False, "FINISHED"), (True, "FAILED")])
def test_close_run_is_idempotent(rig: Rig, run: str, failed: bool, status: str):
    for _ in range(2):
        rig.tracking.close_run(run, failed=failed)
    assert rig.status(run) == status


@everywhere
def test_closed_run_is_opened_again_as_the_same(rig: Rig, run: str, run_id: str):
    rig.tracking.close_run(run, failed=True)
    assert rig.tracking.open_run(run_id, "catalog.schema.model", {}) == run
    assert rig.status(run) == "RUNNING"
    rig.tracking.close_run(run)
    assert rig.status(run) == "FINISHED"


@everywhere
def test_unknown_run_is_not_found(rig: Rig, tmp_path: Path):
    file = tmp_path / "page.html"
    file.write_text("x")
    for call in (
        lambda: rig.tracking.log_json(NOBODY, "a.json", {}),
        lambda: rig.tracking.log_file(NOBODY, file, "reports"),
        lambda: rig.tracking.log_metrics(NOBODY, {"auc": 0.5}),
        lambda: rig.tracking.set_tags(NOBODY, {"k": "v"}),
        lambda: rig.tracking.get_tags(NOBODY),
        lambda: rig.tracking.close_run(NOBODY),
    ):
        with pytest.raises(NotFound, match=f"no tracking run {NOBODY}"):
            call()


@everywhere
def test_nothing_is_said_on_standard_output(rig: Rig, run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    rig.tracking.log_json(run, "a.json", {})
    rig.tracking.fetch(run, "a.json", tmp_path)
    rig.tracking.close_run(run)
    assert capfd.readouterr().out == ""


# --- MLflow ----------------------------------------------------------------------------------------------------


def test_artifacts_lie_beside_the_file_not_in_the_present_folder(
    mlflow_file: str, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    tracking = MlflowTracking(mlflow_file)
    tracking.log_json(tracking.open_run(run_id, f"model {run_id}", {}), "unmistakable.json", {})
    beside = Path(mlflow_file.removeprefix("sqlite:///")).parent / "mlruns" / f"retraining%2Fmodel%20{run_id}"
    assert [file.name for file in beside.rglob("*.json")] == ["unmistakable.json"]
    assert list(tmp_path.iterdir()) == []


def test_deleted_experiment_is_named_with_a_remedy(mlflow_file: str, run_id: str):
    tracking, client = MlflowTracking(mlflow_file), client_for(mlflow_file)
    tracking.open_run(run_id, f"gone-{run_id}", {})
    client.delete_experiment(client.get_experiment_by_name(f"retraining/gone-{run_id}").experiment_id)
    with pytest.raises(BadInput, match=f"the experiment 'retraining/gone-{run_id}' was deleted") as caught:
        tracking.open_run(run_id, f"gone-{run_id}", {})
    assert "restore it" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:s3cret@mlflow.example:5000", "https://user:***@mlflow.example:5000"),
        ("databricks://profile", "databricks://profile"),
        ("sqlite:////srv/mlflow.db", "mlflow ui --backend-store-uri sqlite:////srv/mlflow.db"),
        ("sqlite:////srv/my models/m.db", "mlflow ui --backend-store-uri 'sqlite:////srv/my models/m.db'"),
        ("postgresql://user:s3cret@host/db", "mlflow ui --backend-store-uri 'postgresql://user:***@host/db'"),
    ],
)
def test_where_can_be_opened_or_pasted_and_has_no_password(uri: str, shown: str):
    assert MlflowTracking(uri).where() == shown


@pytest.mark.parametrize(
    ("uri", "kind", "says"),
    [
        (
            "nonsense://user:s3cret@host/x",
            BadInput,
            r"'nonsense://user:\*\*\*@host/x' is no address of a tracking server",
        ),
        ("http://[broken", BadInput, "is no address of a tracking server"),
        ("sqlite:///{folder}/text.db", BadInput, r"the tracking server at .*text\.db cannot be read: file is not a"),
        ("sqlite:///{folder}", Unavailable, "did not answer"),
        ("sqlite:///{folder}/text.db/mlflow.db", Unavailable, "did not answer"),
        ("mssql+pymssql://user:s3cret@host/x", BadInput, "needs the Python package pymssql, which is not installed"),
    ],
)
def test_bad_address_of_a_tracking_server_is_named_with_a_remedy(
    tmp_path: Path, uri: str, kind: type[RetrainingError], says: str
):
    (tmp_path / "text.db").write_text("this is no database\n" * 100)
    with pytest.raises(kind, match=says) as caught:
        MlflowTracking(uri.format(folder=tmp_path)).open_run("run-1", "m", {})
    assert caught.value.remedy
    assert "s3cret" not in f"{caught.value} {caught.value.value}"


def test_tracking_server_that_is_down_is_unavailable_and_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = closed_port()
    down = MlflowTracking(f"http://user:s3cret@127.0.0.1:{port}")
    (file := tmp_path / "page.html").write_text("x")
    for call in (
        lambda: down.open_run("run-1", "m", {}),
        lambda: down.log_json(NOBODY, "a.json", {}),
        lambda: down.log_file(NOBODY, file, "reports"),
        lambda: down.log_metrics(NOBODY, {"auc": 0.5}),
        lambda: down.set_tags(NOBODY, {"k": "v"}),
        lambda: down.get_tags(NOBODY),
        lambda: down.fetch(NOBODY, "a.json", tmp_path),
        lambda: down.close_run(NOBODY),
    ):
        with pytest.raises(Unavailable, match=rf"server at http://user:\*\*\*@127.0.0.1:{port} did not") as caught:
            call()
        assert "check that it runs" in str(caught.value.remedy)
        assert "s3cret" not in str(caught.value)


@pytest.mark.slow
def test_tracking_server_that_is_down_is_given_up_within_seconds():
    start = time.monotonic()
    with pytest.raises(Unavailable):
        MlflowTracking(f"http://127.0.0.1:{closed_port()}").open_run("run-1", "m", {})
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, "<html>nothing here</html>", Unavailable),
        (200, "<html>welcome</html>", Unavailable),
        (401, "who are you?", NotAllowed),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "not you"}', NotAllowed),
    ],
)
def test_server_that_is_no_mlflow_or_refuses_is_never_read_as_no_artifact(
    tmp_path: Path, status: int, body: str, kind: type[RetrainingError]
):
    with answering(status, body) as address:
        tracking = MlflowTracking(address)
        for call in (lambda: tracking.fetch(NOBODY, "a.json", tmp_path), lambda: tracking.open_run("run-1", "m", {})):
            with pytest.raises(RetrainingError) as caught:
                call()
            assert type(caught.value) is kind


@pytest.mark.parametrize(("status", "kind"), [(401, NotAllowed), (403, NotAllowed), (404, Unavailable)])
def test_refusal_of_the_artifact_store_is_told_from_its_absence(
    tmp_path: Path, status: int, kind: type[RetrainingError]
):
    with answering(status, "no") as address:
        run = {"info": {"run_id": NOBODY, "artifact_uri": f"{address}/api/2.0/mlflow-artifacts/artifacts/1"}}
        with answering(200, json.dumps({"run": run})) as server, pytest.raises(RetrainingError) as caught:
            MlflowTracking(server).fetch(NOBODY, "a.json", tmp_path)
        assert type(caught.value) is kind


# --- memory ----------------------------------------------------------------------------------------------------


def test_memory_shows_all_that_was_tracked():
    tracking = MemoryTracking()
    run = tracking.open_run("run-1", "prices", {"k": "v"})
    tracking.log_json(run, "a.json", {"b": 1})
    tracking.log_metrics(run, {"auc": 0.5})
    tracking.close_run(run)
    assert tracking.runs == {
        run: TrackedRun(
            id=run,
            run_id="run-1",
            model_name="prices",
            tags={RUN_TAG: "run-1", "k": "v"},
            metrics={"auc": 0.5},
            artifacts={"a.json": b'{\n "b": 1\n}'},
            status="FINISHED",
        )
    }
    assert tracking.where() == "in memory, gone with this process"


def test_memory_that_is_unreachable_fails_every_call_until_it_is_back(tmp_path: Path):
    tracking = MemoryTracking()
    run = tracking.open_run("run-1", "prices", {})
    (file := tmp_path / "page.html").write_text("x")
    tracking.failure = unreachable("tracking server")
    for call in (
        lambda: tracking.open_run("run-1", "prices", {}),
        lambda: tracking.log_json(run, "a.json", {}),
        lambda: tracking.log_file(run, file, "reports"),
        lambda: tracking.log_metrics(run, {"auc": 0.5}),
        lambda: tracking.set_tags(run, {"k": "v"}),
        lambda: tracking.get_tags(run),
        lambda: tracking.fetch(run, "a.json", tmp_path),
        lambda: tracking.close_run(run),
    ):
        with pytest.raises(Unavailable, match="tracking server in memory did not answer"):
            call()
    tracking.failure = None
    assert tracking.runs == {run: TrackedRun(run, "run-1", "prices", {RUN_TAG: "run-1"})}
