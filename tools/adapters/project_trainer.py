# pyright: basic
"""Training as an MLflow Project on this machine, by this interpreter's environment."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.adapters.subprocesses import Finished, clean_environment, run_limited
from tools.adapters.training_runs import TrainingRuns
from tools.contracts.profile import ProjectTraining
from tools.contracts.training import TrainingOrder, TrainingResult
from tools.errors import BadInput, BrokenInvariant


class ProjectTrainer:
    """See `tools.ports.Trainer`."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._runs = TrainingRuns(tracking_uri)

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        how = order.how
        if not isinstance(how, ProjectTraining):
            raise BrokenInvariant("the project trainer was given another kind of training", thing="training.kind")
        folder = Path(order.project_dir) / how.uri
        parameters = _parameters(order, how, _declared(folder, how))
        earlier = self._runs.adoptable(order.key)
        if earlier is not None:
            progress(f"adopted the finished training run {earlier.tracking_run_id}")
            return earlier
        if self._runs.end_orphans(order.key):
            progress("ended a training process that an earlier attempt had left behind")
        run_id = self._runs.create(order)
        command = [sys.executable, "-P", "-m", "mlflow", "run", str(folder), "-e", how.entry_point, "--env-manager", "local"]
        command += ["--run-id", run_id, *(part for name, value in parameters.items() for part in ("-P", f"{name}={value}"))]
        environment = clean_environment(
            {"MLFLOW_TRACKING_URI": self._uri, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "MLFLOW_LOGGING_LEVEL": "ERROR"},
            # The pipeline logs to the tracking server: these credentials are its own.
            keep=("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        )
        ended = run_limited(
            command,
            cwd=folder,
            environment=environment,
            seconds=how.time_limit.total_seconds(),
            memory_mb=how.memory_limit_mb,
            log=Path(order.log_path),
            progress=lambda line: progress(f"pipeline: {line}"),
            started=lambda pid: self._runs.claim(run_id, pid),
        )
        return self._result(run_id, ended, how)

    def _result(self, run_id: str, ended: Finished, how: ProjectTraining) -> TrainingResult:
        good = ended.how == "exited" and ended.code == 0
        self._runs.finish(run_id, "FINISHED" if good else "FAILED")
        if not good:
            said = {
                "exited": f"the pipeline exited with code {ended.code}",
                "killed_by_signal": f"the pipeline was killed by signal {ended.code}",
                "timed_out": f"the pipeline was ended after its time limit of {how.time_limit}",
                "out_of_memory": f"the pipeline was ended at its memory limit of {how.memory_limit_mb} MB",
            }[ended.how]
            last = next((line.strip() for line in reversed(ended.tail.splitlines()) if line.strip()), "no output")
            return TrainingResult(
                status="timed_out" if ended.how == "timed_out" else "failed",
                tracking_run_id=run_id,
                seconds=ended.seconds,
                log_tail=ended.tail,
                statement=f"Training failed: {said}; its log ends: {last[:300]}",
            )
        run: Any = self._runs.client.get_run(run_id)
        uri = self._runs.model_of(run)
        if uri is None:
            return TrainingResult(
                status="no_model",
                tracking_run_id=run_id,
                seconds=ended.seconds,
                log_tail=ended.tail,
                statement="Training failed: the pipeline ended well but logged no model.",
            )
        return self._runs.trained(run, uri, seconds=ended.seconds)


def _declared(folder: Path, how: ProjectTraining) -> set[str]:
    """Parameter names that the entry point declares."""
    import yaml

    file = folder / "MLproject"
    if not file.is_file():
        raise BadInput(f"no MLproject file in {folder}", thing="training.uri", value=how.uri, remedy="mend training.uri or add the file")
    try:
        project = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise BadInput(f"{file} is not YAML: {error}", thing="MLproject", value=str(file)) from error
    points = project.get("entry_points") or {}
    if how.entry_point not in points:
        raise BadInput(
            f"{file} has no entry point {how.entry_point!r}; it has {', '.join(points) or 'none'}",
            thing="training.entry_point",
            value=how.entry_point,
            remedy="name one of them",
        )
    return set(points[how.entry_point].get("parameters") or {})


def _parameters(order: TrainingOrder, how: ProjectTraining, declared: set[str]) -> dict[str, str]:
    """Ours as far as the project declares them; the profile's own all."""
    unknown = sorted(set(how.parameters) - declared)
    if unknown:
        raise BadInput(
            f"the project declares no parameter {unknown[0]!r}; it declares {', '.join(sorted(declared)) or 'none'}",
            thing="training.parameters",
            value=unknown[0],
            remedy="declare it in MLproject, or leave it out of the profile",
        )
    ours = {
        "training_data": order.training_data,
        "target": order.target,
        "features": ",".join(order.features),
        "event_time": order.event_time,
        "task": order.task,
        "window_start": "" if order.window_start is None else order.window_start.isoformat(),
        "window_end": "" if order.window_end is None else order.window_end.isoformat(),
    }
    return {k: v for k, v in ours.items() if k in declared and v} | {k: str(v) for k, v in how.parameters.items()}
