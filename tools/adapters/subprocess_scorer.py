# pyright: basic
"""What does a model predict? Fetched and checked here; opened only in a subprocess, without credentials, within limits."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.adapters import model_environments, own_metric_runner
from tools.adapters.model_environments import Interpreter
from tools.adapters.model_files import ModelFiles, digest_of, size_of
from tools.adapters.model_timing import Timed, time_in_turn
from tools.adapters.scoring_process import WORKER, run_worker
from tools.adapters.subprocesses import Finished
from tools.contracts.measuring import MetricJob, MetricResult, TimingJob, TimingResult
from tools.contracts.training import ScoringJob, ScoringResult
from tools.errors import RetrainingError
from tools.quoting import SAID, quoted

__all__ = ["WORKER", "SubprocessScorer", "checked"]


class SubprocessScorer:
    """Port `Scorer`. Whatever a model does comes back as a result.

    Args:
        environments_dir: Where built environments are kept, one folder per requirement hash.
        build_seconds: Time limit for building one.
    """

    def __init__(
        self,
        tracking_uri: str,
        registry_uri: str,
        environments_dir: Path,
        *,
        build_seconds: float = model_environments.BUILD_SECONDS,
    ) -> None:
        self._files = ModelFiles(tracking_uri, registry_uri)
        self._environments, self._build_seconds = environments_dir, build_seconds

    def digest(self, model_uri: str) -> str | None:
        """sha256 over the model's files; None where they cannot be fetched."""
        with _own_folder() as name:
            try:
                return digest_of(self._files.fetch(model_uri, Path(name) / "model"))
            except RetrainingError:
                return None

    def score(self, job: ScoringJob) -> ScoringResult:
        """Predictions in the rows' order, as Parquet at `job.output`: `prediction`, and `proba:<class>` where there are."""
        with _own_folder() as name:
            folder = Path(name)
            try:
                model = self._files.fetch(job.model_uri, folder / "model")
            except RetrainingError as failure:
                said = f"{job.model_uri} could not be fetched: {failure.message}"
                return ScoringResult(status="failed", statement=said)
            digest = digest_of(model)
            if job.expected_digest is not None and digest != job.expected_digest:
                said = (
                    f"{job.model_uri} was altered: its files have digest {digest[:12]}, {job.expected_digest[:12]} "
                    "was recorded. It was not opened."
                )
                return ScoringResult(status="digest_differs", artifact_digest=digest, statement=said)
            interpreter = self._interpreter(job.environment, model)
            if isinstance(interpreter, str):
                return ScoringResult(
                    status="environment_does_not_fit",
                    artifact_digest=digest,
                    statement=f"{job.model_uri}: {interpreter}",
                )
            return self._run(job, folder, model, digest, interpreter)

    def measure(self, job: MetricJob) -> MetricResult:
        """A user's own metric on a model's scored rows."""
        return own_metric_runner.measure(job)

    def time(self, job: TimingJob) -> TimingResult:
        """Both models are fetched first, so that only their own processes run while they are timed."""
        with _own_folder() as name:
            folder, ready = Path(name), list[Timed]()
            sides = (("champion", job.champion_uri, job.champion_digest), ("candidate", job.candidate_uri, None))
            for side, uri, expected in sides:
                try:
                    model = self._files.fetch(uri, folder / side)
                except RetrainingError as failure:
                    return TimingResult(fault=f"the {side} {uri} could not be fetched: {failure.message}")
                if expected is not None and digest_of(model) != expected:
                    return TimingResult(fault=f"the {side} {uri} was altered; it was not opened")
                interpreter = self._interpreter(job.environment, model)
                if isinstance(interpreter, str):
                    return TimingResult(fault=f"the {side} {uri}: {interpreter}")
                ready.append(Timed(side, model, interpreter))
            return time_in_turn(job, folder, ready[0], ready[1])

    def _interpreter(self, environment: str, model: Path) -> Interpreter | str:
        """What is to score, or why nothing can."""
        reason = model_environments.misfit(model)
        if reason is None:
            return Interpreter(sys.executable, "ours")
        if environment != "build":
            return f"our environment does not fit: {reason}. Set `scoring.environment: build` in the profile."
        built = model_environments.build(model, self._environments, self._build_seconds)
        if isinstance(built, str):
            return f"our environment does not fit ({reason}), and its own could not be built: {built}"
        return built

    def _run(self, job: ScoringJob, folder: Path, model: Path, digest: str, interpreter: Interpreter) -> ScoringResult:
        part, told, order = folder / "out.parquet", folder / "told.json", folder / "job.json"
        content = {
            "model": str(model),
            "rows": str(Path(job.rows).resolve()),
            "features": list(job.features),
            "task": job.task,
            "output": str(part),
            "told": str(told),
        }
        order.write_text(json.dumps(content), encoding="utf-8")
        size = size_of(model)  # before the worker leaves its caches beside the files
        ended = run_worker(interpreter, order, folder / "work", job.time_limit.total_seconds(), job.memory_limit_mb)
        common: dict[str, Any] = {
            "seconds": ended.seconds,
            "environment": interpreter.name,
            "artifact_digest": digest,
            "model_bytes": size,
        }
        failure = _failure(job, ended, part)
        if failure is not None:
            status, said = failure
            return ScoringResult(status=status, statement=said, by_model=ended.how == "exited", **common)
        rows, problem = checked(part, job)
        if problem is not None:
            return ScoringResult(status="failed", statement=f"{job.model_uri} {problem}.", by_model=True, **common)
        output = _keep(part, Path(job.output))
        notes = _notes(told)
        said = "; ".join([f"{rows:,} rows scored", *notes])
        return ScoringResult(status="scored", output=str(output), rows=rows, statement=f"{said}.", **common)


def _own_folder() -> "tempfile.TemporaryDirectory[str]":
    """Mode 0700, so that nobody swaps a file between digest and opening."""
    return tempfile.TemporaryDirectory(prefix="retraining-", ignore_cleanup_errors=True)


def _failure(job: ScoringJob, ended: Finished, part: Path) -> tuple[Any, str] | None:
    if ended.how == "timed_out":
        return "timed_out", f"{job.model_uri} gave no answer within {job.time_limit}."
    if ended.how == "out_of_memory":
        return "out_of_memory", f"{job.model_uri} took more than {job.memory_limit_mb} MB and was ended."
    if not ended.good:
        how = "signal" if ended.how == "killed_by_signal" else "exit code"
        return "failed", f"{job.model_uri} could not score ({how} {ended.code}): {quoted(ended.last_line, SAID)}"
    if not part.exists():
        return "failed", f"{job.model_uri} ended the scoring process before it could answer."
    return None


def checked(part: Path, job: ScoringJob) -> tuple[int, str | None]:
    """Rows predicted, and what is wrong with them. The file comes from where the model's code ran: it proves nothing."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        asked, table = pq.read_metadata(job.rows).num_rows, pq.read_table(part)
    except (OSError, pa.ArrowException) as error:
        return 0, f"left an answer that cannot be read: {str(error).splitlines()[0][:200]}"
    if "prediction" not in table.column_names or table.num_rows != asked:
        return table.num_rows, f"gave {table.num_rows} predictions for {asked} rows"
    for name in table.column_names:
        column = table.column(name)
        missing = column.null_count
        if pa.types.is_floating(column.type):
            missing = int((~np.isfinite(column.to_numpy(zero_copy_only=False))).sum())
        if missing:
            return table.num_rows, f"gave {missing} values in {name!r} that are no finite number, in {asked} rows"
    return table.num_rows, None


def _keep(part: Path, output: Path) -> Path:
    """The answer under its final name, whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    shutil.copyfile(part, beside)
    os.replace(beside, output)
    return output


def _notes(told: Path) -> list[str]:
    """What the worker had to assume about the answer; cut short, for it may quote the model."""
    try:
        notes = json.loads(told.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(note)[:200] for note in notes][:5] if isinstance(notes, list) else []
