# pyright: basic
"""Training as an MLflow Project on this machine, by this interpreter's environment."""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools.adapters.subprocesses import Finished, pipeline_environment, run_limited
from tools.adapters.training_runs import ENVIRONMENT_KEY, TrainingRuns
from tools.contracts.profile import ProjectTraining
from tools.contracts.training import TrainingOrder, TrainingResult
from tools.errors import BadInput, BrokenInvariant
from tools.quoting import SAID, quoted

WORKER = Path(__file__).with_name("project_worker.py")


class ProjectTrainer:
    """Port `Trainer`: the run is made here, tagged with the key, and handed to the project by its id.

    Raises:
        BadInput: The project, its entry point or a parameter is not as the profile says.
        Unavailable: The tracking server does not answer.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._runs = TrainingRuns(tracking_uri)

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        """Adopts a finished run with the key; ends what an earlier attempt left running; else starts the project."""
        how = order.how
        if not isinstance(how, ProjectTraining):
            raise BrokenInvariant("the project trainer was given another kind of training", thing="training.kind")
        folder = Path(order.project_dir) / how.uri
        parameters = _parameters(order, how, _declared(folder, how))
        earlier = self._runs.adoptable(order)
        if self._runs.end_orphans(order.key):
            progress("ended a training process that an earlier attempt had left behind")
        if earlier is not None:
            progress(f"adopted the finished training run {earlier.tracking_run_id}")
            return earlier
        run = self._runs.create(order)
        ended = self._run(order, how, folder, parameters, run, progress)
        return self._result(run.info.run_id, ended, how)

    def _run(
        self,
        order: TrainingOrder,
        how: ProjectTraining,
        folder: Path,
        parameters: Mapping[str, str],
        run: Any,
        progress: Callable[[str], None],
    ) -> Finished:
        run_id = run.info.run_id
        # MLflow leaves a folder a run behind in TMPDIR; this one goes with the run.
        with tempfile.TemporaryDirectory(prefix="retraining-", ignore_cleanup_errors=True) as name:
            job = {
                "folder": str(folder),
                "entry_point": how.entry_point,
                "parameters": parameters,
                "experiment_id": run.info.experiment_id,
                "run_id": run_id,
            }
            path = Path(name) / "job.json"
            path.write_text(json.dumps(job), encoding="utf-8")
            return run_limited(
                [sys.executable, "-P", str(WORKER), str(path)],
                cwd=folder,
                environment=pipeline_environment(
                    {"MLFLOW_TRACKING_URI": self._uri, ENVIRONMENT_KEY: order.key, "TMPDIR": name}
                ),
                seconds=how.time_limit.total_seconds(),
                memory_mb=how.memory_limit_mb,
                log=Path(order.log_path),
                progress=lambda line: progress(f"pipeline: {line}"),
                started=lambda pid: self._runs.claim(run_id, pid),
            )

    def _result(self, run_id: str, ended: Finished, how: ProjectTraining) -> TrainingResult:
        run = self._runs.finish(run_id, "FINISHED" if ended.good else "FAILED" if ended.how == "exited" else "KILLED")
        common: dict[str, Any] = {"tracking_run_id": run_id, "seconds": ended.seconds, "log_tail": ended.tail}
        if not ended.good or run.info.status != "FINISHED":
            said = {
                "exited": "the pipeline failed" if not ended.good else f"the pipeline called its run {run.info.status}",
                "killed_by_signal": f"the pipeline was killed by signal {ended.code}",
                "timed_out": f"the pipeline was ended after its time limit of {how.time_limit}",
                "out_of_memory": f"the pipeline was ended at its memory limit of {how.memory_limit_mb} MB",
            }[ended.how]
            return TrainingResult(
                status="timed_out" if ended.how == "timed_out" else "failed",
                statement=f"Training failed: {said}; its log ends: {quoted(ended.last_line, SAID)}",
                **common,
            )
        uri = self._runs.model_of(run)
        if uri is None:
            said = "Training failed: the pipeline ended well but logged no model into its tracking run."
            return TrainingResult(status="no_model", statement=said, **common)
        return self._runs.trained(run, uri, seconds=ended.seconds)


def _declared(folder: Path, how: ProjectTraining) -> dict[str, Any]:
    """Parameters that the entry point declares, with how each is declared."""
    import yaml

    if not folder.is_dir():
        raise BadInput(f"no folder {folder}", thing="training.uri", value=how.uri, remedy="name the project's folder")
    # MLflow looks for the name in any case.
    file = next((path for path in sorted(folder.iterdir()) if path.name.lower() == "mlproject"), None)
    if file is None:
        remedy = "add an MLproject file, or name the folder that has one"
        raise BadInput(f"no MLproject file in {folder}", thing="training.uri", value=how.uri, remedy=remedy)
    try:
        project = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is not YAML: {error}", thing="MLproject", value=str(file), remedy="mend it") from error
    points = project.get("entry_points") if isinstance(project, dict) else None
    points = points if isinstance(points, dict) else {}
    if how.entry_point not in points:
        raise BadInput(
            f"{file} has no entry point {how.entry_point!r}",
            thing="training.entry_point",
            value=how.entry_point,
            remedy=f"it has: {', '.join(map(str, points)) or 'none'}",
        )
    return dict((points[how.entry_point] or {}).get("parameters") or {})


def _parameters(order: TrainingOrder, how: ProjectTraining, declared: Mapping[str, Any]) -> dict[str, str]:
    """Ours as far as the project declares them; the profile's own all."""
    ours = {
        "training_data": order.training_data,
        "target": order.target,
        "features": ",".join(order.features),
        "event_time": order.event_time,
        "task": order.task,
        "group": order.group or "",
        "window_start": "" if order.window_start is None else order.window_start.isoformat(),
        "window_end": "" if order.window_end is None else order.window_end.isoformat(),
    }
    for name, value in how.parameters.items():
        if name not in declared:
            raise BadInput(
                f"the project declares no parameter {name!r}",
                thing="training.parameters",
                value=name,
                remedy=f"declare it in MLproject or leave it out; declared: {', '.join(sorted(declared)) or 'none'}",
            )
        if name in ours and str(value) != ours[name]:
            raise BadInput(
                f"the profile sets the parameter {name!r}, which the orchestrator sets to {ours[name]!r}",
                thing=f"training.parameters.{name}",
                value=value,
                remedy="leave it out: training must see the rows that were prepared for it",
            )
    comma = next((name for name in order.features if "," in name), None)
    if "features" in declared and comma is not None:
        raise BadInput(
            f"the feature {comma!r} has a comma in its name, and features are handed over with commas between them",
            thing="data.features",
            value=comma,
            remedy="rename the column, or leave `features` out of the MLproject's parameters",
        )
    given = {k: v for k, v in ours.items() if k in declared and v} | {k: str(v) for k, v in how.parameters.items()}
    for name, spec in declared.items():
        if name not in given and not (isinstance(spec, dict) and spec.get("default") is not None):
            raise BadInput(
                f"the project asks for the parameter {name!r}, and nothing gives it a value",
                thing="training.parameters",
                value=name,
                remedy="set it in the profile's training.parameters, or give it a default in MLproject",
            )
    return given
