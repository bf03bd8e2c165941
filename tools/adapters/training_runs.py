# pyright: basic
"""What every way of training shares: the tracking run that bears the key, its model, its orphan."""

import json
import math
import os
import socket
from typing import Any

from tools.adapters.mlflow_client import client_for, experiment_id, translated
from tools.adapters.processes import is_alive
from tools.adapters.subprocesses import end_group, group_members
from tools.contracts.training import TrainingOrder, TrainingResult
from tools.errors import BadInput

KEY = "retraining.key"
DIGEST = "retraining.training_digest"
OUTCOME = "retraining.outcome"
"""`failed` where a pipeline failed behind a tracking run that it had already finished."""
PID, STARTED, HOST = "retraining.pid", "retraining.pid_started", "retraining.host"
ENVIRONMENT_KEY = "RETRAINING_KEY"
UNFINISHED = ("RUNNING", "SCHEDULED")


class TrainingRuns:
    """Tracking runs by training key. All methods raise `Unavailable` when the server does not answer."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._made: Any = None

    @property
    def client(self) -> Any:
        if self._made is None:
            self._made = client_for(self._uri)
        return self._made

    def find(self, key: str) -> list[Any]:
        """Runs with the key in any experiment, newest first."""
        if "'" in key:
            raise BadInput(f"the training key {key!r} has a quote in it", thing="key", value=key)
        with translated("tracking server", self._uri):
            experiments = [e.experiment_id for e in _pages(self.client.search_experiments)]
            return _pages(
                self.client.search_runs,
                experiment_ids=experiments,
                filter_string=f"tags.`{KEY}` = '{key}'",
                order_by=["start_time DESC"],
            )

    def get(self, run_id: str) -> Any:
        with translated("tracking server", self._uri):
            return self.client.get_run(run_id)

    def create(self, order: TrainingOrder) -> Any:
        """A run for the pipeline to log into, in experiment `training/MODEL`."""
        name = f"training/{order.model_name}"
        tags = {KEY: order.key, DIGEST: order.training_digest}
        if order.window_start and order.window_end:
            tags["retraining.training_start"] = order.window_start.isoformat()
            tags["retraining.training_end"] = order.window_end.isoformat()
        with translated("tracking server", self._uri):
            return self.client.create_run(experiment_id(self.client, self._uri, name), tags=tags, run_name=order.key)

    def model_of(self, run: Any) -> str | None:
        """URI of the model that the run logged, or None. Of several: the one named `model`, else the newest."""
        with translated("tracking server", self._uri):
            return self._logged_model(run) or self._model_artifact(run)

    def _logged_model(self, run: Any) -> str | None:
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.search_logged_models(
                experiment_ids=[run.info.experiment_id],
                filter_string=f"source_run_id = '{run.info.run_id}'",
                order_by=[{"field_name": "creation_time", "ascending": False}],
            )
        except MlflowException as error:
            if error.error_code in ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "FEATURE_DISABLED"):
                return None  # a server from before logged models
            raise
        whole = [model for model in found if str(model.status) not in ("PENDING", "FAILED")]
        chosen = next((model for model in whole if model.name == "model"), whole[0] if whole else None)
        return None if chosen is None else f"models:/{chosen.model_id}"

    def _model_artifact(self, run: Any) -> str | None:
        """The layout of MLflow 2: a folder with an MLmodel file among the run's artifacts."""
        history = json.loads(run.data.tags.get("mlflow.log-model.history", "[]"))
        paths = [str(entry["artifact_path"]) for entry in reversed(history) if "artifact_path" in entry]
        if not paths:
            items = self.client.list_artifacts(run.info.run_id)
            paths = sorted((item.path for item in items if item.is_dir), key=lambda path: (path != "model", path))
        for path in paths:
            inside = self.client.list_artifacts(run.info.run_id, path)
            if any(file.path.rpartition("/")[2] == "MLmodel" for file in inside):
                return f"runs:/{run.info.run_id}/{path}"
        return None

    def adoptable(self, order: TrainingOrder) -> TrainingResult | None:
        """The result of an earlier, finished run with the key and a model, trained on the same rows."""
        for run in self.find(order.key):
            tags = run.data.tags
            other_rows = tags.get(DIGEST, order.training_digest) != order.training_digest
            if run.info.status != "FINISHED" or OUTCOME in tags or other_rows:
                continue
            uri = self.model_of(run)
            if uri is not None:
                return self.trained(run, uri, adopted=True)
        return None

    def trained(
        self, run: Any, model_uri: str, *, adopted: bool = False, seconds: float | None = None
    ) -> TrainingResult:
        """A success, with the finite metrics that the pipeline logged."""
        metrics = {name: float(value) for name, value in run.data.metrics.items() if math.isfinite(value)}
        how = "an earlier finished run was adopted" if adopted else "the pipeline logged a model"
        return TrainingResult(
            status="trained",
            tracking_run_id=run.info.run_id,
            model_uri=model_uri,
            metrics=metrics,
            adopted=adopted,
            seconds=seconds,
            statement=f"Trained: {how}.",
        )

    def claim(self, run_id: str, pid: int) -> None:
        """Record who trains, so that a later process can tell an orphan from a stranger."""
        with translated("tracking server", self._uri):
            for name, value in identity(pid).items():
                self.client.set_tag(run_id, name, value)

    def end_orphans(self, key: str) -> int:
        """End live processes of earlier runs with the key, and the runs; returns how many processes there were."""
        ended = 0
        for run in self.find(key):
            ended += end_orphan(run.data.tags, key)
            if run.info.status in UNFINISHED:
                self.finish(run.info.run_id, "KILLED")
        return ended

    def finish(self, run_id: str, status: str) -> Any:
        """End the tracking run as `status`; a run that ended itself keeps its word, but a failure overrules success."""
        now = self.get(run_id)
        with translated("tracking server", self._uri):
            if status != "FINISHED" and now.info.status == "FINISHED":
                self.client.set_tag(run_id, OUTCOME, "failed")
            if now.info.status in UNFINISHED or status != "FINISHED":
                self.client.set_terminated(run_id, status=status)
        return self.get(run_id)


def identity(pid: int) -> dict[str, str]:
    """What tells this process from any later one with its number; empty where it has ended."""
    import psutil

    try:
        started = f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return {}
    return {PID: str(pid), STARTED: started, HOST: socket.gethostname()}


def end_orphan(recorded: Any, key: str) -> bool:
    """End the process group recorded by `identity`, if it lives on this host and is still the same; True if it did."""
    if not _is_ours(recorded, key):
        return False
    end_group(int(recorded[PID]))
    return True


def _is_ours(recorded: Any, key: str) -> bool:
    if not all(name in recorded for name in (PID, STARTED, HOST)) or recorded[HOST] != socket.gethostname():
        return False
    pid = int(recorded[PID])
    if pid == os.getpgrp():
        return False
    if is_alive(f"{recorded[HOST]}:{pid}:{recorded[STARTED]}"):
        return True
    # The leader may be dead and its children train on; they bear the key, a stranger's group does not.
    return any(_bears(member, key) for member in group_members(pid))


def _bears(pid: int, key: str) -> bool:
    import psutil

    try:
        return psutil.Process(pid).environ().get(ENVIRONMENT_KEY) == key
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _pages(search: Any, **criteria: Any) -> list[Any]:
    found: list[Any] = []
    page = None
    while True:
        part = search(**criteria, page_token=page)
        found += list(part)
        page = part.token
        if not page:
            return found
