# pyright: basic
"""Training where it already lives: start it by a command or an HTTP call, then wait for its model."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tools.adapters.subprocesses import pipeline_environment, run_limited
from tools.adapters.training_runs import ENVIRONMENT_KEY, UNFINISHED, TrainingRuns, end_orphan, identity
from tools.contracts.profile import ExternalTraining
from tools.contracts.training import TrainingOrder, TrainingResult
from tools.errors import BadInput, BrokenInvariant, Unavailable
from tools.masking import masked
from tools.quoting import SAID, quoted

HTTP_SECONDS = 30
PATIENCE = 5
"""Looks in a row that the tracking server may miss while a training of hours is waited for."""


class ExternalTrainer:
    """Port `Trainer`: the training tags its tracking run `retraining.key` with the key that it was given.

    Raises:
        BadInput: The command does not exist, or the URL is not http(s).
        Unavailable: The URL or the tracking server does not answer.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._runs = TrainingRuns(tracking_uri)

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        """Adopts a finished run with the key; waits for one under way; else starts the training and waits."""
        how = order.how
        if not isinstance(how, ExternalTraining):
            raise BrokenInvariant("the external trainer was given another kind of training", thing="training.kind")
        begun = time.monotonic()
        earlier = self._runs.adoptable(order)
        if earlier is not None:
            progress(f"adopted the finished training run {earlier.tracking_run_id}")
            return earlier
        known = self._runs.find(order.key)
        if any(run.info.status in UNFINISHED for run in known):
            progress("training with this key is under way already; waiting for it")
        elif (failure := self._start(order, how, progress)) is not None:
            return failure
        # What had ended before we began says nothing about this attempt.
        ended = {run.info.run_id for run in known if run.info.status not in UNFINISHED}
        return self._wait(order, how, begun, ended, progress)

    def _start(
        self, order: TrainingOrder, how: ExternalTraining, progress: Callable[[str], None]
    ) -> TrainingResult | None:
        """None where it was started well."""
        if how.url is not None:
            return _post(how.url, order)
        log = Path(order.log_path)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path, claim = log.with_suffix(".order.json"), log.with_suffix(".process.json")
        path.write_text(json.dumps(order.to_json_dict()), encoding="utf-8")
        if claim.exists() and end_orphan(json.loads(claim.read_text(encoding="utf-8")), order.key):
            progress("ended a training command that an earlier attempt had left behind")
        ended = run_limited(
            how.command,
            cwd=order.project_dir,
            environment=pipeline_environment({"MLFLOW_TRACKING_URI": self._uri, **_told(order, path)}),
            seconds=how.time_limit.total_seconds(),
            log=log,
            progress=lambda line: progress(f"command: {line}"),
            started=lambda pid: _write(claim, json.dumps(identity(pid))),
        )
        if ended.good:
            return None
        if ended.how == "timed_out":
            return _failed(f"the command was ended after its time limit of {how.time_limit}", ended.tail, "timed_out")
        word = "exit code" if ended.how == "exited" else "signal"
        return _failed(
            f"the command ended with {word} {ended.code}; its log ends: {quoted(ended.last_line, SAID)}", ended.tail
        )

    def _wait(
        self,
        order: TrainingOrder,
        how: ExternalTraining,
        begun: float,
        before: set[str],
        progress: Callable[[str], None],
    ) -> TrainingResult:
        until, missed = begun + how.time_limit.total_seconds(), 0
        while True:
            try:
                result = self._look(order, begun, before)
                missed = 0
            except Unavailable:
                result, missed = None, missed + 1
                if missed >= PATIENCE:
                    raise
            if result is not None:
                return result
            left = until - time.monotonic()
            if left <= 0:
                said = (
                    f"no tracking run tagged retraining.key={order.key} finished with a model within {how.time_limit}"
                )
                return _failed(said, status="timed_out")
            progress("waiting for the training's model")
            time.sleep(min(how.poll_every.total_seconds(), left))

    def _look(self, order: TrainingOrder, begun: float, before: set[str]) -> TrainingResult | None:
        """The training's result; None while it may still come."""
        runs = [run for run in self._runs.find(order.key) if run.info.run_id not in before]
        finished = [run for run in runs if run.info.status == "FINISHED"]
        for run in finished:
            uri = self._runs.model_of(run)
            if uri is not None:
                return self._runs.trained(run, uri, seconds=time.monotonic() - begun)
        if any(run.info.status in UNFINISHED for run in runs) or not runs:
            return None
        newest = runs[0].info
        if finished:
            return _failed(f"tracking run {finished[0].info.run_id} finished without a model", status="no_model")
        return _failed(f"tracking run {newest.run_id} ended {newest.status}", run_id=newest.run_id)


def _told(order: TrainingOrder, order_file: Path) -> dict[str, str]:
    """What the command finds in its environment; see docs/training.md."""
    window = {"RETRAINING_WINDOW_START": order.window_start, "RETRAINING_WINDOW_END": order.window_end}
    return {
        ENVIRONMENT_KEY: order.key,
        "RETRAINING_RUN_ID": order.key.partition(".")[0],
        "RETRAINING_MODEL": order.model_name,
        "RETRAINING_ORDER": str(order_file),
        "RETRAINING_TRAINING_DATA": order.training_data,
        "RETRAINING_TRAINING_DIGEST": order.training_digest,
        "RETRAINING_TARGET": order.target,
        "RETRAINING_FEATURES": ",".join(order.features),
        "RETRAINING_EVENT_TIME": order.event_time,
        "RETRAINING_TASK": order.task,
        **({} if order.group is None else {"RETRAINING_GROUP": order.group}),
    } | {name: value.isoformat() for name, value in window.items() if value is not None}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """An answer of 3xx is an answer: the order goes nowhere that the profile does not name."""


def _post(url: str, order: TrainingOrder) -> TrainingResult | None:
    shown = masked(url)
    if urlsplit(url).scheme not in ("http", "https"):
        raise BadInput(
            f"{shown} is no http(s) URL", thing="training.url", value=shown, remedy="e.g. https://host/train"
        )
    body = json.dumps(order.to_json_dict()).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": order.key}
    try:
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=HTTP_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        with error:
            first = error.read(300).decode("utf-8", "replace").splitlines()[:1]
        return _failed(f"{shown} answered {error.code}: {first[0] if first else error.reason}")
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"the training at {shown} did not answer: {error}",
            thing="training.url",
            value=shown,
            remedy="check that it runs, then resume: the order bears an idempotency key",
        ) from error


def _failed(
    why: str,
    tail: str = "",
    status: Literal["failed", "timed_out", "no_model"] = "failed",
    run_id: str | None = None,
) -> TrainingResult:
    return TrainingResult(status=status, tracking_run_id=run_id, log_tail=tail, statement=f"Training failed: {why}.")
