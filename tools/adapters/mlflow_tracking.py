# pyright: basic
"""The tracking server in MLflow: one run per orchestration run, every report an artifact of it."""

import json
import math
import shlex
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tools.adapters.mlflow_client import client_for, experiment_id, translated
from tools.errors import BadInput, NotFound
from tools.masking import masked

RUN_TAG = "retraining.run_id"


def json_text(content: Mapping[str, Any], path: str) -> str:
    """A report as the tracking server keeps it.

    Raises:
        BadInput: It holds something that JSON has no word for, e.g. NaN.
    """
    try:
        return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{path} cannot be written as JSON: {error}", thing=path, remedy="omit what was not measured"
        ) from error


def plain_path(path: str) -> str:
    """The path of an artifact, if every artifact store takes it for the same file.

    Raises:
        BadInput: It leaves the run's folder, or a web address would read it otherwise.
    """
    if path.startswith("/") or set(path) & set("%#?\\") or {"", ".", ".."} & set(path.split("/")):
        raise BadInput(
            f"{path!r} is no path of an artifact", thing="artifact", value=path, remedy="e.g. reports/drift.json"
        )
    return path


def existing(file: Path) -> Path:
    """The file to log.

    Raises:
        NotFound: There is none.
    """
    if not file.is_file():
        raise NotFound(f"no file {file} to log", thing="artifact", value=file, remedy="check that it was written")
    return file


def finite(metrics: Mapping[str, float]) -> Mapping[str, float]:
    """The metrics.

    Raises:
        BadInput: One of them is NaN or infinite.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise BadInput(f"metric {name} is {value}", thing=name, value=value, remedy="omit what was not measured")
    return metrics


def unquoted(run_id: str) -> str:
    """The run id, if a search filter can hold it.

    Raises:
        BadInput: It has a quote in it.
    """
    if "'" in run_id:
        raise BadInput(f"the run id {run_id!r} has a quote in it", thing="run_id", value=run_id)
    return run_id


class MlflowTracking:
    """See `tools.ports.Tracking`. The client is made at first use: MLflow takes seconds to import."""

    def __init__(self, tracking_uri: str, experiment_prefix: str = "retraining") -> None:
        self._uri, self._prefix = tracking_uri, experiment_prefix
        self._made: Any = None

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = client_for(self._uri)
        return self._made

    def _translated(self, tracking_run_id: str) -> AbstractContextManager[None]:
        return translated("tracking server", self._uri, f"no tracking run {tracking_run_id}")

    def open_run(self, run_id: str, model_name: str, tags: Mapping[str, str]) -> str:
        wanted = f"tags.`{RUN_TAG}` = '{unquoted(run_id)}'"
        with translated("tracking server", self._uri):
            experiment = experiment_id(self._client, self._uri, f"{self._prefix}/{model_name}")
            found = self._client.search_runs([experiment], wanted, max_results=1)
            if found:
                tracking_run = found[0].info.run_id
                self._client.update_run(tracking_run, status="RUNNING")
                for key, value in tags.items():
                    self._client.set_tag(tracking_run, key, value)
                return tracking_run
            made = self._client.create_run(experiment, tags={RUN_TAG: run_id, **tags}, run_name=run_id)
            return made.info.run_id

    def log_json(self, tracking_run_id: str, path: str, content: Mapping[str, Any]) -> None:
        text = json_text(content, plain_path(path))
        with self._translated(tracking_run_id):
            self._client.log_text(tracking_run_id, text, path)

    def log_file(self, tracking_run_id: str, file: Path, folder: str) -> None:
        plain_path(f"{folder}/{existing(file).name}")
        with self._translated(tracking_run_id):
            self._client.log_artifact(tracking_run_id, str(file), folder)

    def log_metrics(self, tracking_run_id: str, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._translated(tracking_run_id):
            self._client.log_batch(
                tracking_run_id, metrics=[Metric(name, value, now, 0) for name, value in finite(metrics).items()]
            )

    def set_tags(self, tracking_run_id: str, tags: Mapping[str, str]) -> None:
        with self._translated(tracking_run_id):
            for key, value in tags.items():
                self._client.set_tag(tracking_run_id, key, value)

    def get_tags(self, tracking_run_id: str) -> Mapping[str, str]:
        with self._translated(tracking_run_id):
            return dict(self._client.get_run(tracking_run_id).data.tags)

    def fetch(self, tracking_run_id: str, path: str, folder: Path) -> Path | None:
        from mlflow.exceptions import MlflowException

        plain_path(path)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with translated("tracking server", self._uri):
            try:
                listed = self._client.list_artifacts(tracking_run_id, str(Path(path).parent) if "/" in path else None)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
            if path not in {item.path for item in listed if not item.is_dir}:
                return None
            return Path(self._client.download_artifacts(tracking_run_id, path, str(folder)))

    def close_run(self, tracking_run_id: str, *, failed: bool = False) -> None:
        with self._translated(tracking_run_id):
            self._client.set_terminated(tracking_run_id, status="FAILED" if failed else "FINISHED")

    def where(self) -> str:
        if self._uri.startswith(("http://", "https://", "databricks")):
            return masked(self._uri)
        return f"mlflow ui --backend-store-uri {shlex.quote(masked(self._uri))}"
