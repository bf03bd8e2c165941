# pyright: basic
"""What every way of training shares: the tracking run that bears the key, its model, its orphan."""

import math
import socket
from typing import Any

from tools.adapters.mlflow_client import client_for, translated
from tools.contracts.training import TrainingOrder, TrainingResult

KEY = "retraining.key"
PID, STARTED, HOST = "retraining.pid", "retraining.pid_started", "retraining.host"


class TrainingRuns:
    """Tracking runs by training key."""

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
        with translated("tracking server", self._uri):
            experiments = [e.experiment_id for e in self.client.search_experiments()]
            return list(self.client.search_runs(experiments, f"tags.`{KEY}` = '{key}'", order_by=["start_time DESC"]))

    def create(self, order: TrainingOrder) -> str:
        """A run for the pipeline to log into."""
        name = f"training/{order.model_name}"
        with translated("tracking server", self._uri):
            found = self.client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self.client.create_experiment(name)
            tags = {KEY: order.key, "retraining.training_digest": order.training_digest}
            if order.window_start and order.window_end:
                tags["retraining.training_start"] = order.window_start.isoformat()
                tags["retraining.training_end"] = order.window_end.isoformat()
            return self.client.create_run(experiment, tags=tags, run_name=order.key).info.run_id

    def model_of(self, run: Any) -> str | None:
        """URI of the model that the run logged, or None."""
        with translated("tracking server", self._uri):
            found = self.client.search_logged_models(
                experiment_ids=[run.info.experiment_id],
                filter_string=f"source_run_id = '{run.info.run_id}'",
                order_by=[{"field_name": "creation_time", "ascending": False}],
            )
            if found:
                return f"models:/{found[0].model_id}"
            for item in self.client.list_artifacts(run.info.run_id):
                if item.is_dir and any(f.path.endswith("/MLmodel") for f in self.client.list_artifacts(run.info.run_id, item.path)):
                    return f"runs:/{run.info.run_id}/{item.path}"
        return None

    def adoptable(self, key: str) -> TrainingResult | None:
        """The result of an earlier, finished run with the key and a model."""
        for run in self.find(key):
            if run.info.status == "FINISHED":
                uri = self.model_of(run)
                if uri is not None:
                    return self.trained(run, uri, adopted=True)
        return None

    def trained(self, run: Any, model_uri: str, *, adopted: bool = False, seconds: float | None = None) -> TrainingResult:
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
        import psutil

        try:
            started = f"{psutil.Process(pid).create_time():.2f}"
        except psutil.NoSuchProcess:
            return
        with translated("tracking server", self._uri):
            for name, value in ((PID, str(pid)), (STARTED, started), (HOST, socket.gethostname())):
                self.client.set_tag(run_id, name, value)

    def end_orphans(self, key: str) -> int:
        """End live processes of unfinished runs with the key; returns how many there were."""
        from tools.adapters.processes import is_alive
        from tools.adapters.subprocesses import end_group

        ended = 0
        for run in self.find(key):
            if run.info.status != "RUNNING":
                continue
            tags = run.data.tags
            if PID in tags and is_alive(f"{tags.get(HOST)}:{tags[PID]}:{tags.get(STARTED, '0')}"):
                end_group(int(tags[PID]))
                ended += 1
            self.finish(run.info.run_id, "KILLED")
        return ended

    def finish(self, run_id: str, status: str) -> None:
        """End the tracking run, if the pipeline has not."""
        with translated("tracking server", self._uri):
            if self.client.get_run(run_id).info.status == "RUNNING":
                self.client.set_terminated(run_id, status=status)
