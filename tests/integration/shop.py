"""A small real workspace: MLflow on SQLite, an MLflow Project, a stream whose rule changes half-way, a champion from before.

Everything is real but the data, which are few, so that a run takes seconds. Commands run as a user runs them: in
processes of their own.
"""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.bootstrap import App, build
from agent.services import adopt, reviews
from agent.settings import Settings
from agent.workspace import load_workspace
from tests.mlflow_files import database
from tests.streams import CHANGE, stream
from tests.typed import Result, typed
from tools.contracts.training import ModelVersion

NOW = "2026-07-01"
LIMIT = 900
"""Seconds after which a command counts as hanging: far beyond what one takes on a machine that is busy with others."""

TRAIN = """
import argparse, importlib.metadata, os, sys, time
import mlflow, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
for name in ("--training-data", "--target", "--features", "--event-time", "--behave"):
    parser.add_argument(name)
given = parser.parse_args()
rows = pd.read_parquet(given.training_data)
print("pipeline reads", len(rows), "rows as", os.getpid(), flush=True)
if given.behave == "fail":
    sys.exit("boom: the feature store is empty")
while given.behave.startswith("/") and os.path.exists(given.behave):
    time.sleep(0.05)
x, y = rows[given.features.split(",")].astype("float64"), rows[given.target].astype("int64")
model = LogisticRegression().fit(x, y)
if given.behave != "no_model":
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            model, name="model", signature=infer_signature(x.head(), model.predict(x.head())),
            pip_requirements=[f"{n}=={importlib.metadata.version(n)}" for n in ("mlflow", "scikit-learn")],
            serialization_format="cloudpickle",
        )
    print(logged.model_uri, flush=True)
print("model logged", flush=True)
"""

PROJECT = """name: shop
entry_points:
  main:
    parameters:
      training_data: path
      target: string
      features: string
      event_time: string
      behave: {type: string, default: well}
    command: "python train.py --training-data {training_data} --target {target} --features {features}
      --event-time {event_time} --behave {behave}"
"""

PROFILE = """registered_model: {registered}
mode: {mode}
task: classification
data:
  source: {source}
  event_time: at
  target: y
  features: [a, b, c]
  key: [at]
  label_maturity: 1d
data_window: 60d
validation_strategy: latest:20d
metrics:
  primary: {{name: accuracy, min_improvement: 0.02}}
  guardrails: [{{name: log_loss, margin: 0.05}}]
training: {{kind: project, uri: ., time_limit: {time_limit}, parameters: {{behave: {behave}}}}}
triggers: {{recent: 20d, drift: {drift}}}
review: {{approvers: {approvers}, expires_after: 7d}}
"""


class Shop:
    """The workspace in `folder`, and the command line as run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "profiles").mkdir()
        (folder / "MLproject").write_text(PROJECT)
        (folder / "train.py").write_text(TRAIN)
        (folder / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
        database(folder / "mlflow.db")
        stream().to_parquet(folder / "rows.parquet", index=False)
        self._uris: dict[datetime | None, str] = {}

    def profile(self, name: str, **changes: Any) -> str:
        """Write a profile; returns its name, which is also the registered model's unless `registered` is given."""
        given = {
            "registered": name,
            "mode": "act",
            "source": "rows.parquet",
            "behave": "well",
            "time_limit": "120s",
            "drift": "null",  # its report takes seconds of imports
            "approvers": [reviews.os_user()],
        }
        (self.folder / "profiles" / f"{name}.yaml").write_text(PROFILE.format(**(given | changes)))
        return name

    def app(self) -> App:
        return build(load_workspace(self.folder / "retraining.yaml"), Settings())

    def with_champion(self, name: str, **changes: Any) -> str:
        """A profile whose model has a champion, trained before the change and adopted."""
        self.profile(name, **changes)
        app = self.app()
        profile = app.deps.load_profile(name)
        rows = app.deps.data.write_labelled(
            profile.data, None, CHANGE, CHANGE, app.deps.run_dir(f"first-{name}") / "training.parquet"
        )
        uri = self._model_uri(rows.path, None)
        version = app.deps.registry.register(profile.registered_model, uri, None, {})
        app.deps.registry.set_alias(version.name, "champion", version.version)
        adopt.adopt(
            app.deps, profile, version=version, training=rows, as_of=datetime(2026, 6, 1, tzinfo=UTC), by="test"
        )
        return name

    def register_by_hand(self, name: str, since: datetime) -> str:
        """A version that somebody else trained, on rows from `since`; no lineage of ours."""
        registered = self.app().deps.load_profile(name).registered_model
        return self.app().deps.registry.register(registered, self.logged(name, since), None, {}).version

    def logged(self, name: str, since: datetime) -> str:
        """URI of a model trained on the profile's rows from `since`, unregistered."""
        app = self.app()
        profile, until = app.deps.load_profile(name), datetime(2026, 6, 8, tzinfo=UTC)
        rows = app.deps.data.write_labelled(
            profile.data, since, until, until, app.deps.run_dir(f"hand-{name}") / "training.parquet"
        )
        return self._model_uri(rows.path, since)

    def versions(self, name: str) -> list[ModelVersion]:
        return list(self.app().deps.registry.list_versions(name))

    def champion(self, name: str) -> str | None:
        found = self.app().deps.registry.by_alias(name, "champion")
        return None if found is None else found.version

    def retrain(
        self, *arguments: str, given: str | None = None, folder: Path | None = None, limit: float = LIMIT
    ) -> Result:
        """`retrain ARGUMENTS` in a process of its own, in the workspace or in `folder`."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=folder or self.folder,
            env=_environment(),
            input=given or "",
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def typed(self, *arguments: str, given: str = "", folder: Path | None = None) -> Result:
        """The same in this process, without the seconds of its imports: for all whose process is not the point."""
        return typed(*arguments, folder=folder or self.folder, given=given)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """`retrain ARGUMENTS`, left running; progress can be read from stderr."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_interrupts,
        )

    def _model_uri(self, rows: str, since: datetime | None) -> str:
        """Logged by the same pipeline, outside of any run of ours; once for all models: their rows are the same. It prints the URI."""
        if since in self._uris:
            return self._uris[since]
        env = _environment() | {"MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db"}
        arguments = ["--training-data", rows, "--target", "y", "--features", "a,b,c", "--event-time", "at"]
        train = [sys.executable, "train.py", *arguments, "--behave", "well"]
        told = subprocess.run(train, cwd=self.folder, env=env, capture_output=True, text=True, check=True).stdout
        self._uris[since] = next(line for line in told.splitlines() if line.startswith("models:/"))
        return self._uris[since]


COMMAND = (sys.executable, "-m", "agent.entrypoints.cli.app")


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": root, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}


def _hear_interrupts() -> None:
    """Ctrl-C is heard even where the tests were started in the background of a shell, which makes its children ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
