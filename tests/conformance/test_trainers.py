"""One suite for every trainer: scripted, MLflow Project, external command. Then what only a real one can do wrong."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.mlflow_files import database
from tools.adapters.external_trainer import ExternalTrainer
from tools.adapters.memory_training import ScriptedTrainer, trained
from tools.adapters.project_trainer import ProjectTrainer
from tools.adapters.subprocesses import bare_environment, pipeline_environment, run_limited
from tools.adapters.training_runs import TrainingRuns, identity
from tools.contracts.profile import ExternalTraining, ProjectTraining
from tools.contracts.training import TrainingOrder, TrainingResult
from tools.errors import BadInput, Unavailable
from tools.ports import Trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
]
EXAMPLES = Path(__file__).parents[2] / "examples"

LOGS_A_MODEL = """
import mlflow
with mlflow.start_run():
    mlflow.log_metric("auc", 0.75)
    mlflow.log_metric("odd", float("nan"))
    mlflow.log_text("flavors: {}", "model/MLmodel")
print("model logged")
"""
"""The layout of MLflow 2, which needs no library of models; the examples log the layout of MLflow 3."""
TAGS_A_RUN_OF_ITS_OWN = LOGS_A_MODEL.replace("start_run()", "start_run(tags={'retraining.key': KEY})").replace(
    "import mlflow", "import os, mlflow\nKEY = os.environ['RETRAINING_KEY']"
)
FAILS = "import sys\nprint('reading rows')\nsys.exit('boom: no such column')\n"


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tracking server's worth of SQLite."""
    return database(tmp_path_factory.mktemp("tracking") / "mlflow.db")


@pytest.fixture(autouse=True)
def artifacts_beside(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Artifacts land beside it, not in the checkout."""
    monkeypatch.chdir(Path(tracking_uri.removeprefix("sqlite:///")).parent)


@pytest.fixture(scope="session")
def runs(tracking_uri: str) -> TrainingRuns:
    return TrainingRuns(tracking_uri)


def order(
    folder: Path, how: ProjectTraining | ExternalTraining, key: str | None = None, **changes: Any
) -> TrainingOrder:
    given = {
        "key": key or f"run-{folder.name}",
        "model_name": "prices.eu.hourly",
        "how": how,
        "project_dir": str(folder),
        "training_data": str(folder / "rows.parquet"),
        "target": "y",
        "features": ("a", "b c"),
        "event_time": "at",
        "task": "classification",
        "window_start": datetime(2026, 1, 1, tzinfo=UTC),
        "window_end": datetime(2026, 2, 1, tzinfo=UTC),
        "training_digest": "d1",
        "log_path": str(folder / "logs" / "training.log"),
    }
    return TrainingOrder.model_validate(given | changes)


def project(folder: Path, code: str, parameters: str = "", options: str = "") -> ProjectTraining:
    """An MLflow Project of one script."""
    declared = f"    parameters:\n{parameters}" if parameters else ""
    text = f'name: tiny\nentry_points:\n  main:\n{declared}    command: "python train.py{options}"\n'
    (folder / "MLproject").write_text(text)
    (folder / "train.py").write_text(code)
    return ProjectTraining(uri=".", time_limit=timedelta(seconds=60))


def command(folder: Path, code: str, seconds: float = 60) -> ExternalTraining:
    (folder / "submit.py").write_text(code)
    return ExternalTraining(
        command=(sys.executable, "submit.py"),
        poll_every=timedelta(milliseconds=50),
        time_limit=timedelta(seconds=seconds),
    )


def quiet(_: str) -> None:
    return None


def failed(result: TrainingResult, status: str = "failed") -> str:
    """The statement of a result that must be a failure without a model."""
    assert (result.status, result.model_uri, result.adopted) == (status, None, False)
    return result.statement


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for(path: Path, seconds: float = 20) -> str:
    until = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until, f"{path.name} was never written"
        time.sleep(0.05)
    return path.read_text()


# The suite


@dataclass
class Rig:
    """A trainer with a training that goes well and one that does not."""

    trainer: Trainer
    good: ProjectTraining | ExternalTraining
    bad: ProjectTraining | ExternalTraining
    says: list[str] = field(default_factory=list)

    def train(self, folder: Path, how: ProjectTraining | ExternalTraining) -> TrainingResult:
        return self.trainer.train(order(folder, how), self.says.append)


def scripted(folder: Path, _: str) -> Rig:
    good, bad = ProjectTraining(uri="good"), ProjectTraining(uri="bad")
    bad_end = TrainingResult(status="failed", log_tail="boom: no such column", statement="Training failed: boom.")
    good_end = trained("models:/m-1", metrics={"auc": 0.75})
    return Rig(ScriptedTrainer(lambda asked: bad_end if asked.how == bad else good_end), good, bad)


def by_project(folder: Path, uri: str) -> Rig:
    made: list[ProjectTraining] = []
    for name, code in (("good", LOGS_A_MODEL), ("bad", FAILS)):
        (folder / name).mkdir()
        made.append(project(folder / name, code).model_copy(update={"uri": name}))
    return Rig(ProjectTrainer(uri), made[0], made[1])


def by_command(folder: Path, uri: str) -> Rig:
    bad = command(folder, FAILS)
    (folder / "good.py").write_text(TAGS_A_RUN_OF_ITS_OWN)
    return Rig(ExternalTrainer(uri), bad.model_copy(update={"command": (sys.executable, "good.py")}), bad)


@pytest.mark.slow
@pytest.mark.parametrize("make", [scripted, by_project, by_command])
def test_failure_is_a_result_the_next_attempt_trains_and_the_one_after_adopts(
    make: Callable[[Path, str], Rig], tmp_path: Path, tracking_uri: str
):
    rig = make(tmp_path, tracking_uri)

    first = rig.train(tmp_path, rig.bad)
    assert "boom" in failed(first)
    assert "boom: no such column" in first.log_tail

    second = rig.train(tmp_path, rig.good)
    assert (second.status, second.adopted, second.metrics) == ("trained", False, {"auc": 0.75})
    assert second.model_uri is not None
    assert second.tracking_run_id is not None

    third = rig.train(tmp_path, rig.bad)
    assert (third.status, third.adopted, third.metrics) == ("trained", True, {"auc": 0.75})
    assert (third.model_uri, third.tracking_run_id) == (second.model_uri, second.tracking_run_id)
    assert any("adopted" in line for line in rig.says)


# MLflow Projects


@pytest.mark.slow
def test_project_gets_the_declared_parameters_only_and_nothing_secret(
    tmp_path: Path, tracking_uri: str, runs: TrainingRuns, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@db/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for-the-artifact-store")
    monkeypatch.setenv("MLFLOW_RUN_ID", "somebody-elses")
    (tmp_path / "helper.py").write_text("NAME = 'the module beside the script'\n")
    code = """
import json, os, sys
import helper
told = {"argv": sys.argv[1:], "python": sys.executable, "env": dict(os.environ), "helper": helper.NAME}
open("told.json", "w").write(json.dumps(told))
"""
    declared = "      features: string\n      depth: {type: float, default: 3}\n      window_end: string\n"
    how = project(tmp_path, code, declared, " {features} {depth} {window_end}")
    asked = order(tmp_path, how.model_copy(update={"parameters": {"depth": 7}}))

    result = ProjectTrainer(tracking_uri).train(asked, quiet)

    told = json.loads((tmp_path / "told.json").read_text())
    assert told["argv"] == ["a,b c", "7", "2026-02-01T00:00:00+00:00"]
    assert Path(told["python"]).parent == Path(sys.executable).parent
    assert told["helper"] == "the module beside the script"
    assert told["env"]["MLFLOW_RUN_ID"] == result.tracking_run_id
    assert told["env"]["AWS_SECRET_ACCESS_KEY"] == "for-the-artifact-store"
    assert "OPENAI_API_KEY" not in told["env"]
    assert "DATABASE_URL" not in told["env"]
    assert "logged no model" in failed(result, "no_model")
    tracked = runs.get(result.tracking_run_id or "")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.tags["retraining.key"] == asked.key
    assert tracked.data.tags["retraining.host"] == socket.gethostname()
    experiment = runs.client.get_experiment(tracked.info.experiment_id)
    assert experiment.name == "training/prices.eu.hourly"
    assert runs.client.search_registered_models() == []


@pytest.mark.slow
def test_project_that_hangs_is_ended_with_its_children_and_its_run_is_not_left_running(
    tmp_path: Path, tracking_uri: str, runs: TrainingRuns
):
    code = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("going to sleep", flush=True)
open("pids", "w").write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""
    how = project(tmp_path, code).model_copy(update={"time_limit": timedelta(seconds=8)})

    result = ProjectTrainer(tracking_uri).train(order(tmp_path, how), quiet)

    assert "time limit of 0:00:08" in failed(result, "timed_out")
    assert "going to sleep" in result.log_tail
    assert [alive(int(pid)) for pid in (tmp_path / "pids").read_text().split()] == [False, False]
    assert runs.get(result.tracking_run_id or "").info.status == "KILLED"


@pytest.mark.slow
def test_project_that_fails_behind_its_finished_run_is_a_failure_and_is_not_adopted(
    tmp_path: Path, tracking_uri: str, runs: TrainingRuns
):
    how = project(tmp_path, LOGS_A_MODEL + "raise SystemExit('the check behind training failed')\n")
    lines: list[str] = []
    asked = order(tmp_path, how)

    result = ProjectTrainer(tracking_uri).train(asked, lines.append)

    assert "the check behind training failed" in failed(result)
    assert result.log_tail.splitlines() == ["model logged", "the check behind training failed"]
    assert (tmp_path / "logs" / "training.log").read_text().splitlines() == result.log_tail.splitlines()
    assert "pipeline: model logged" in lines
    assert runs.get(result.tracking_run_id or "").info.status == "FAILED"
    assert runs.adoptable(asked) is None


@pytest.mark.slow
@pytest.mark.parametrize("leader_lives", [True, False])
def test_live_orphan_of_the_key_is_ended_and_training_starts_anew(
    leader_lives: bool, tmp_path: Path, tracking_uri: str, runs: TrainingRuns
):
    asked = order(tmp_path, project(tmp_path, LOGS_A_MODEL))
    nested = (
        "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    )
    report = f"open({str(tmp_path / 'child')!r}, 'w').write(str(c.pid)); time.sleep(600)"
    orphan = subprocess.Popen(
        [sys.executable, "-c", f"{nested}; {report}"],
        start_new_session=True,
        env=os.environ | {"RETRAINING_KEY": asked.key},
    )
    child = int(wait_for(tmp_path / "child"))
    left = runs.create(asked).info.run_id
    runs.claim(left, orphan.pid)
    if not leader_lives:
        orphan.kill()
        orphan.wait()

    result = ProjectTrainer(tracking_uri).train(asked, quiet)

    orphan.wait()
    assert result.status == "trained"
    assert not result.adopted
    assert not alive(child)
    assert runs.get(left).info.status == "KILLED"
    assert result.tracking_run_id != left


def test_process_that_only_has_an_orphans_number_is_left_alone(tmp_path: Path, runs: TrainingRuns):
    asked = order(tmp_path, ProjectTraining(uri="."))
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        left = runs.create(asked).info.run_id
        runs.claim(left, stranger.pid)
        runs.client.set_tag(left, "retraining.pid_started", "1.00")
        elsewhere = runs.create(asked).info.run_id
        runs.claim(elsewhere, stranger.pid)
        runs.client.set_tag(elsewhere, "retraining.host", "another-host")

        assert runs.end_orphans(asked.key) == 0

        assert alive(stranger.pid)
        assert [runs.get(run).info.status for run in (left, elsewhere)] == ["KILLED", "KILLED"]
    finally:
        stranger.kill()
        stranger.wait()


def finished_run(runs: TrainingRuns, asked: TrainingOrder, model: bool = True) -> str:
    run_id = runs.create(asked).info.run_id
    if model:
        runs.client.log_text(run_id, "flavors: {}", "nested_name/MLmodel")
    runs.client.set_terminated(run_id, "FINISHED")
    return run_id


def test_finished_run_is_adopted_without_starting_the_project(tmp_path: Path, tracking_uri: str, runs: TrainingRuns):
    asked = order(tmp_path, project(tmp_path, "open('started', 'w')"))
    run_id = finished_run(runs, asked)

    result = ProjectTrainer(tracking_uri).train(asked, quiet)

    assert (result.status, result.adopted, result.tracking_run_id) == ("trained", True, run_id)
    assert result.model_uri == f"runs:/{run_id}/nested_name"
    assert not (tmp_path / "started").exists()


def test_run_on_other_rows_or_without_a_model_is_not_adopted(tmp_path: Path, runs: TrainingRuns):
    asked = order(tmp_path, ProjectTraining(uri="."))
    finished_run(runs, asked.model_copy(update={"training_digest": "other"}))
    finished_run(runs, asked, model=False)
    assert runs.adoptable(asked) is None
    same = finished_run(runs, asked)
    assert (adopted := runs.adoptable(asked)) is not None
    assert adopted.tracking_run_id == same


@dataclass(frozen=True)
class Fault:
    id: str
    says: str
    parameters: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)


FAULTS = [
    Fault("no folder", "no folder", changes={"uri": "nowhere"}),
    Fault("no MLproject", "no MLproject file", changes={"uri": "empty"}),
    Fault("unknown entry point", "no entry point 'train'", changes={"entry_point": "train"}),
    Fault("unknown parameter", "no parameter 'deth'", changes={"parameters": {"deth": 3}}),
    Fault(
        "parameter that would change the rows",
        "the profile sets the parameter 'training_data'",
        "      training_data: path\n",
        {"parameters": {"training_data": "everything.parquet"}},
    ),
    Fault("parameter nobody gives", "asks for the parameter 'depth'", "      depth: float\n"),
    Fault("comma in a feature", "has a comma in its name", "      features: string\n", asked={"features": ("a,b",)}),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_fault_in_the_project_is_named_before_anything_starts(fault: Fault, tmp_path: Path, tracking_uri: str):
    (tmp_path / "empty").mkdir()
    how = project(tmp_path, "", fault.parameters).model_copy(update=fault.changes)

    with pytest.raises(BadInput, match=fault.says) as caught:
        ProjectTrainer(tracking_uri).train(order(tmp_path, how, **fault.asked), quiet)

    assert caught.value.remedy


@pytest.mark.parametrize("broken", ["entry_points: [", "entry_points: []\n", "- a list\n", ""])
def test_project_file_that_makes_no_sense_is_bad_input(broken: str, tmp_path: Path, tracking_uri: str):
    (tmp_path / "MLproject").write_text(broken)
    with pytest.raises(BadInput, match="MLproject"):
        ProjectTrainer(tracking_uri).train(order(tmp_path, ProjectTraining(uri=".")), quiet)


@pytest.mark.parametrize("kind", ["project", "external"])
def test_unreachable_tracking_server_is_unavailable(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        trainer, how = (
            (ProjectTrainer(uri), project(tmp_path, ""))
            if kind == "project"
            else (ExternalTrainer(uri), command(tmp_path, ""))
        )
        with pytest.raises(Unavailable):
            trainer.train(order(tmp_path, how), quiet)


# External training


def test_command_is_told_everything_by_its_environment_and_its_run_is_awaited(
    tmp_path: Path, tracking_uri: str, runs: TrainingRuns
):
    asked = order(
        tmp_path, command(tmp_path, "import json, os; json.dump(dict(os.environ), open('told.json', 'w'))"), "r1.2"
    )

    def somebody() -> None:
        told = json.loads(wait_for(tmp_path / "told.json"))
        finished_run(runs, asked.model_copy(update={"key": told["RETRAINING_KEY"]}))

    scheduler = threading.Thread(target=somebody)
    scheduler.start()
    result = ExternalTrainer(tracking_uri).train(asked, quiet)
    scheduler.join()

    told = json.loads((tmp_path / "told.json").read_text())
    assert (result.status, result.adopted) == ("trained", False)
    assert {name: value for name, value in told.items() if name.startswith(("RETRAINING_", "MLFLOW_TRACKING_URI"))} == {
        "RETRAINING_KEY": "r1.2",
        "RETRAINING_RUN_ID": "r1",
        "RETRAINING_MODEL": "prices.eu.hourly",
        "RETRAINING_ORDER": str(tmp_path / "logs" / "training.order.json"),
        "RETRAINING_TRAINING_DATA": str(tmp_path / "rows.parquet"),
        "RETRAINING_TRAINING_DIGEST": "d1",
        "RETRAINING_TARGET": "y",
        "RETRAINING_FEATURES": "a,b c",
        "RETRAINING_EVENT_TIME": "at",
        "RETRAINING_TASK": "classification",
        "RETRAINING_WINDOW_START": "2026-01-01T00:00:00+00:00",
        "RETRAINING_WINDOW_END": "2026-02-01T00:00:00+00:00",
        "MLFLOW_TRACKING_URI": tracking_uri,
    }
    assert json.loads(Path(told["RETRAINING_ORDER"]).read_text())["features"] == ["a", "b c"]


def test_run_under_way_is_waited_for_and_not_started_again(tmp_path: Path, tracking_uri: str, runs: TrainingRuns):
    asked = order(tmp_path, command(tmp_path, "open('started', 'w')"))
    under_way = runs.create(asked).info.run_id

    def finish(line: str) -> None:
        if "waiting for the training's model" in line:
            runs.client.log_text(under_way, "flavors: {}", "model/MLmodel")
            runs.client.set_terminated(under_way, "FINISHED")

    result = ExternalTrainer(tracking_uri).train(asked, finish)

    assert (result.status, result.tracking_run_id) == ("trained", under_way)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(("ends", "status"), [("FAILED", "failed"), ("KILLED", "failed"), ("FINISHED", "no_model")])
def test_awaited_run_that_ends_badly_is_a_failure(
    ends: str, status: str, tmp_path: Path, tracking_uri: str, runs: TrainingRuns
):
    asked = order(tmp_path, command(tmp_path, ""))
    under_way = runs.create(asked).info.run_id
    result = ExternalTrainer(tracking_uri).train(asked, lambda _: runs.client.set_terminated(under_way, ends))
    assert under_way in failed(result, status)


def test_failure_of_an_earlier_attempt_is_not_taken_for_this_ones(
    tmp_path: Path, tracking_uri: str, runs: TrainingRuns
):
    asked = order(tmp_path, command(tmp_path, "open('started', 'w')"))
    runs.client.set_terminated(runs.create(asked).info.run_id, "FAILED")

    def succeed(line: str) -> None:
        if "waiting" in line:
            finished_run(runs, asked)

    result = ExternalTrainer(tracking_uri).train(asked, succeed)

    assert result.status == "trained"
    assert (tmp_path / "started").exists()


def test_live_command_of_an_earlier_attempt_is_ended_before_a_new_one(tmp_path: Path, tracking_uri: str):
    asked = order(tmp_path, command(tmp_path, "raise SystemExit('the second attempt ran')"))
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "training.process.json").write_text(json.dumps(identity(orphan.pid)))

    result = ExternalTrainer(tracking_uri).train(asked, quiet)

    assert orphan.wait(timeout=5) == -15
    assert "the second attempt ran" in failed(result)


def test_command_without_a_model_in_time_is_timed_out(tmp_path: Path, tracking_uri: str):
    hangs = command(tmp_path, "import time; time.sleep(600)", seconds=1)
    assert "the command was ended" in failed(
        ExternalTrainer(tracking_uri).train(order(tmp_path, hangs), quiet), "timed_out"
    )
    silent = command(tmp_path, "", seconds=1)
    said = failed(ExternalTrainer(tracking_uri).train(order(tmp_path, silent), quiet), "timed_out")
    assert f"retraining.key=run-{tmp_path.name}" in said


def test_command_that_does_not_exist_is_bad_input(tmp_path: Path, tracking_uri: str):
    how = ExternalTraining(command=("./no-such-program",))
    with pytest.raises(BadInput, match="no-such-program"):
        ExternalTrainer(tracking_uri).train(order(tmp_path, how), quiet)


@dataclass
class Endpoint:
    """A loopback server that trains, or answers something else."""

    answer: int = 202
    body: bytes = b"queued"
    then: Callable[[], object] = lambda: None
    location: str | None = None
    got: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    @contextmanager
    def serve(self) -> Iterator[str]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.got.append((self.path, dict(self.headers), body))
                endpoint.then()
                self.send_response(endpoint.answer)
                if endpoint.location is not None:
                    self.send_header("Location", endpoint.location)
                self.end_headers()
                self.wfile.write(endpoint.body)

            def do_GET(self) -> None:
                endpoint.got.append((self.path, {}, {}))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                return None

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/train"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def by_url(url: str, seconds: float = 20) -> ExternalTraining:
    return ExternalTraining(url=url, poll_every=timedelta(milliseconds=50), time_limit=timedelta(seconds=seconds))


def test_url_gets_the_order_with_an_idempotency_key_once(tmp_path: Path, tracking_uri: str, runs: TrainingRuns):
    endpoint = Endpoint()
    with endpoint.serve() as url:
        asked = order(tmp_path, by_url(url))
        endpoint.then = lambda: finished_run(runs, asked)
        first = ExternalTrainer(tracking_uri).train(asked, quiet)
        second = ExternalTrainer(tracking_uri).train(asked, quiet)

    ((path, headers, body),) = endpoint.got
    assert (path, headers["Idempotency-Key"], body) == ("/train", asked.key, asked.to_json_dict())
    assert [(r.status, r.adopted) for r in (first, second)] == [("trained", False), ("trained", True)]


@pytest.mark.parametrize("answer", [302, 400, 500])
def test_url_that_answers_anything_but_success_is_a_failure_with_its_words(
    answer: int, tmp_path: Path, tracking_uri: str
):
    endpoint = Endpoint(answer=answer, body=b"quota used up\nsecond line", location="/elsewhere")
    with endpoint.serve() as url:
        result = ExternalTrainer(tracking_uri).train(order(tmp_path, by_url(url)), quiet)
    assert failed(result) == f"Training failed: {url} answered {answer}: quota used up."
    assert len(endpoint.got) == 1


def test_url_that_does_not_answer_is_unavailable_and_one_of_another_scheme_bad_input(tmp_path: Path, tracking_uri: str):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        asked = order(tmp_path, by_url(f"http://127.0.0.1:{nobody.getsockname()[1]}/train"))
        with pytest.raises(Unavailable, match="did not answer"):
            ExternalTrainer(tracking_uri).train(asked, quiet)
    with pytest.raises(BadInput, match=r"no http\(s\) URL"):
        ExternalTrainer(tracking_uri).train(order(tmp_path, by_url("file:///etc/hostname")), quiet)


# The subprocess itself


def run(code: str, folder: Path, **limits: Any) -> Any:
    given = {"seconds": 30.0, "cwd": folder, "environment": pipeline_environment({})} | limits
    return run_limited([sys.executable, "-c", code], **given)


def test_memory_hog_is_ended_though_a_child_does_the_eating(tmp_path: Path):
    eats = "import time\nkept = []\nwhile True: kept.append(bytearray(20_000_000)); time.sleep(0.02)"
    ended = run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {eats!r}])", tmp_path, memory_mb=300)
    assert ended.how == "out_of_memory"
    modest = run("kept = bytearray(20_000_000)", tmp_path, memory_mb=300)
    assert (modest.how, modest.code, modest.good) == ("exited", 0, True)


def test_command_never_begins_when_its_start_cannot_be_recorded(tmp_path: Path):
    def unrecorded(_: int) -> None:
        raise Unavailable("the tracking server is gone")

    with pytest.raises(Unavailable):
        run("open('began', 'w')", tmp_path, started=unrecorded)
    assert not (tmp_path / "began").exists()
    recorded: list[int] = []
    run("import os; open('began', 'w').write(str(os.getpid()))", tmp_path, started=recorded.append)
    assert (tmp_path / "began").read_text() == str(recorded[0])


def test_death_by_signal_is_told_from_an_exit_code(tmp_path: Path):
    killed = run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    left = run("raise SystemExit(9)", tmp_path)
    assert [(end.how, end.code, end.good) for end in (killed, left)] == [
        ("killed_by_signal", 9, False),
        ("exited", 9, False),
    ]


def test_endless_output_is_drained_and_only_its_end_is_kept(tmp_path: Path):
    lines: list[str] = []
    log = tmp_path / "deep" / "log"
    ended = run("for n in range(20_000): print(n)\nprint('x' * 300_000)", tmp_path, log=log, progress=lines.append)
    assert ended.good
    assert "19999" in ended.tail
    assert len(ended.tail.splitlines()) <= 30
    assert len(ended.last_line) == 300
    assert max(map(len, lines)) == 160
    assert log.read_text().startswith("0\n1\n2\n")


def test_progress_that_raises_ends_the_command(tmp_path: Path):
    def broken(_: str) -> None:
        raise RuntimeError("the screen is gone")

    code = "import os, time; open('pid', 'w').write(str(os.getpid())); print('hello', flush=True); time.sleep(600)"
    with pytest.raises(RuntimeError, match="the screen is gone"):
        run(code, tmp_path, progress=broken)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_model_is_opened_without_any_credential_and_a_pipeline_without_ours(monkeypatch: pytest.MonkeyPatch):
    secrets = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "GITHUB_PAT", "OPENAI_BASE_URL", "CUDA_API_TOKEN")
    for name in (*secrets, "SOME_SETTING"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    bare, pipeline = bare_environment({"HOME": "/h"}), pipeline_environment({})

    assert not set(bare) & {*secrets, "SOME_SETTING"}
    assert (bare["LC_ALL"], bare["HOME"]) == ("C.UTF-8", "/h")
    assert set(pipeline) & {*secrets, "SOME_SETTING"} == {
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_TRACKING_TOKEN",
        "SOME_SETTING",
    }


# The examples


@dataclass(frozen=True)
class Example:
    id: str
    data: str
    target: str
    features: str
    task: str
    metric: str


TRAINED = [
    Example(
        "electricity",
        "electricity.parquet",
        "price_up",
        "period nsw_price nsw_demand vic_price vic_demand transfer",
        "classification",
        "last_tenth_accuracy",
    ),
    Example(
        "flights",
        "nyc_flights.parquet",
        "arr_delay",
        "hour carrier origin dest distance temp wind_gust visib",
        "regression",
        "last_tenth_mean_absolute_error",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "example",
    [pytest.param(TRAINED[0], id="electricity"), pytest.param(TRAINED[1], id="flights", marks=pytest.mark.reliability)],
)
def test_example_logs_a_model_with_a_signature_and_registers_nothing(
    example: Example, tmp_path: Path, tracking_uri: str, runs: TrainingRuns
):
    import pandas as pd

    rows = pd.read_parquet(EXAMPLES / example.id / example.data)
    rows[rows[example.target].notna()].head(2000).to_parquet(tmp_path / "rows.parquet")
    how = ProjectTraining(uri=str(EXAMPLES / example.id))
    features = tuple(example.features.split())
    asked = order(tmp_path, how, task=example.task, target=example.target, features=features, event_time="event_time")
    lines: list[str] = []

    result = ProjectTrainer(tracking_uri).train(asked, lines.append)

    assert result.status == "trained", result.log_tail
    assert set(result.metrics) == {example.metric}
    assert len(lines) == 2
    model = runs.client.get_logged_model((result.model_uri or "").removeprefix("models:/"))
    assert model.source_run_id == result.tracking_run_id
    assert runs.client.search_registered_models() == []
