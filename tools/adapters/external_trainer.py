# pyright: basic
"""Training where it already lives: start it by a command or an HTTP call, then wait for its model."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.adapters.subprocesses import clean_environment, run_limited
from tools.adapters.training_runs import TrainingRuns
from tools.contracts.profile import ExternalTraining
from tools.contracts.training import TrainingOrder, TrainingResult
from tools.errors import BrokenInvariant, Unavailable


class ExternalTrainer:
    """See `tools.ports.Trainer`. The pipeline tags its tracking run `retraining.key` with the key it was given."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._runs = TrainingRuns(tracking_uri)

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        how = order.how
        if not isinstance(how, ExternalTraining):
            raise BrokenInvariant("the external trainer was given another kind of training", thing="training.kind")
        begun = time.monotonic()
        earlier = self._runs.adoptable(order.key)
        if earlier is not None:
            progress(f"adopted the finished training run {earlier.tracking_run_id}")
            return earlier
        if any(run.info.status == "RUNNING" for run in self._runs.find(order.key)):
            progress("training with this key is under way already; waiting for it")
        else:
            failure = self._start(order, how, progress)
            if failure is not None:
                return failure
        return self._wait(order, how, begun, progress)

    def _start(self, order: TrainingOrder, how: ExternalTraining, progress: Callable[[str], None]) -> TrainingResult | None:
        path = Path(order.log_path).with_suffix(".order.json")
        path.write_text(json.dumps(order.to_json_dict()), encoding="utf-8")
        if how.url is not None:
            return _post(how.url, order)
        environment = clean_environment(
            {
                "RETRAINING_KEY": order.key,
                "RETRAINING_ORDER": str(path),
                "RETRAINING_TRAINING_DATA": order.training_data,
                "RETRAINING_TARGET": order.target,
                "RETRAINING_FEATURES": ",".join(order.features),
                "RETRAINING_EVENT_TIME": order.event_time,
                "RETRAINING_TASK": order.task,
                "MLFLOW_TRACKING_URI": self._uri,
                "PYTHONSAFEPATH": "1",
            },
            keep=("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        )
        try:
            ended = run_limited(
                how.command,
                cwd=order.project_dir,
                environment=environment,
                seconds=how.time_limit.total_seconds(),
                log=Path(order.log_path),
                progress=lambda line: progress(f"command: {line}"),
            )
        except OSError as error:
            return _failed(f"{how.command[0]} cannot be started: {error.strerror}")
        if ended.how == "timed_out":
            return _failed(f"the command was ended after its time limit of {how.time_limit}", ended.tail, status="timed_out")
        if ended.how != "exited" or ended.code != 0:
            return _failed(f"the command ended with {ended.how} {ended.code}", ended.tail)
        return None

    def _wait(self, order: TrainingOrder, how: ExternalTraining, begun: float, progress: Callable[[str], None]) -> TrainingResult:
        while True:
            for run in self._runs.find(order.key):
                if run.info.status == "FINISHED":
                    uri = self._runs.model_of(run)
                    if uri is not None:
                        return self._runs.trained(run, uri, seconds=time.monotonic() - begun)
                    return _failed(f"tracking run {run.info.run_id} finished without a model", status="no_model")
                if run.info.status in ("FAILED", "KILLED"):
                    return _failed(f"tracking run {run.info.run_id} ended {run.info.status}")
            if time.monotonic() - begun > how.time_limit.total_seconds():
                return _failed(f"no tracking run with the key had a model after {how.time_limit}", status="timed_out")
            progress("waiting for the training's model")
            time.sleep(how.poll_every.total_seconds())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(url: str, order: TrainingOrder) -> TrainingResult | None:
    body = json.dumps(order.to_json_dict()).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": order.key}
    try:
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - the profile's own URL
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=30):
            return None
    except urllib.error.HTTPError as error:
        first = error.read(300).decode("utf-8", "replace").splitlines()[:1]
        return _failed(f"{url} answered {error.code}: {first[0] if first else error.reason}")
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"the training at {url} did not answer: {error}", thing="training.url", value=url, remedy="check that it runs, then resume"
        ) from error


def _failed(why: str, tail: str = "", status: Any = "failed") -> TrainingResult:
    return TrainingResult(status=status, log_tail=tail, statement=f"Training failed: {why}.")
