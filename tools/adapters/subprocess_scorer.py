# pyright: basic
"""Scoring in a subprocess: fetched and checked here, opened only there, without credentials and within limits."""

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.adapters.mlflow_client import client_for, translated
from tools.adapters.subprocesses import clean_environment, run_limited
from tools.contracts.training import ScoringJob, ScoringResult
from tools.errors import RetrainingError

WORKER = Path(__file__).with_name("scoring_worker.py")
COMPILED = ("scikit-learn", "numpy", "pandas", "scipy", "xgboost", "lightgbm", "catboost", "torch", "tensorflow")
"""Libraries whose stored objects are bound to a minor version."""
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*==\s*([^;\s]+)")


class SubprocessScorer:
    """See `tools.ports.Scorer`."""

    def __init__(self, tracking_uri: str, registry_uri: str, environments_dir: Path) -> None:
        self._tracking_uri, self._registry_uri, self._environments = tracking_uri, registry_uri, environments_dir

    def digest(self, model_uri: str) -> str | None:
        with tempfile.TemporaryDirectory(prefix="retraining-") as folder:
            try:
                return _digest(self._fetch(model_uri, Path(folder)))
            except RetrainingError:
                return None

    def score(self, job: ScoringJob) -> ScoringResult:
        with tempfile.TemporaryDirectory(prefix="retraining-") as name:
            folder = Path(name)
            try:
                model = self._fetch(job.model_uri, folder / "model")
            except RetrainingError as failure:
                return ScoringResult(status="failed", statement=f"{job.model_uri} could not be fetched: {failure.message}")
            digest = _digest(model)
            if job.expected_digest is not None and digest != job.expected_digest:
                said = f"{job.model_uri} was altered: its files have digest {digest[:12]}, {job.expected_digest[:12]} was recorded. It was not opened."
                return ScoringResult(status="digest_differs", artifact_digest=digest, statement=said)
            misfit = _misfit(model)
            python, environment = sys.executable, "ours"
            if misfit is not None:
                if job.environment != "build":
                    said = f"{job.model_uri} asks for an environment that is not ours: {misfit}. Set scoring.environment: build."
                    return ScoringResult(status="environment_does_not_fit", artifact_digest=digest, statement=said)
                built = self._build(model)
                if isinstance(built, str):
                    said = f"no environment could be built for {job.model_uri}: {built}"
                    return ScoringResult(status="environment_does_not_fit", artifact_digest=digest, statement=said)
                python, environment = str(built / "bin" / "python"), built.name
            return self._run(job, folder, model, digest, python, environment)

    def _run(self, job: ScoringJob, folder: Path, model: Path, digest: str, python: str, environment: str) -> ScoringResult:
        import pyarrow.parquet as pq

        part = folder / "out.parquet"
        order = {
            "model": str(model),
            "rows": str(Path(job.rows).resolve()),
            "features": list(job.features),
            "task": job.task,
            "output": str(part),
        }
        (folder / "job.json").write_text(json.dumps(order), encoding="utf-8")
        ended = run_limited(
            [python, "-P", str(WORKER), str(folder / "job.json")],
            cwd=folder,
            environment=_bare(folder),
            seconds=job.time_limit.total_seconds(),
            memory_mb=job.memory_limit_mb,
        )
        common: dict[str, Any] = {"seconds": ended.seconds, "environment": environment, "artifact_digest": digest}
        last = next((line.strip() for line in reversed(ended.tail.splitlines()) if line.strip()), "no output")[:300]
        if ended.how == "timed_out":
            return ScoringResult(status="timed_out", statement=f"{job.model_uri} gave no answer within {job.time_limit}.", **common)
        if ended.how == "out_of_memory":
            said = f"{job.model_uri} took more than {job.memory_limit_mb} MB and was ended."
            return ScoringResult(status="out_of_memory", statement=said, **common)
        if ended.how == "killed_by_signal" or ended.code != 0 or not part.exists():
            how = f"signal {ended.code}" if ended.how == "killed_by_signal" else f"exit code {ended.code}"
            return ScoringResult(status="failed", statement=f"{job.model_uri} could not score ({how}): {last}", **common)
        rows, asked = pq.read_metadata(part).num_rows, pq.read_metadata(job.rows).num_rows
        if rows != asked:
            return ScoringResult(status="failed", statement=f"{job.model_uri} gave {rows} predictions for {asked} rows.", **common)
        output = Path(job.output)
        output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        output.write_bytes(part.read_bytes())
        return ScoringResult(status="scored", output=str(output), rows=rows, statement=f"{rows:,} rows scored.", **common)

    def _fetch(self, model_uri: str, folder: Path) -> Path:
        """The model's files in a folder of our own, by the client's word on where they are."""
        import mlflow

        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        client = client_for(self._tracking_uri, self._registry_uri)
        with translated("registry", self._registry_uri, f"no model at {model_uri}"):
            location = model_uri
            if model_uri.startswith("models:/m-"):
                location = client.get_logged_model(model_uri.removeprefix("models:/")).artifact_location
            elif model_uri.startswith("models:/"):
                name, _, version = model_uri.removeprefix("models:/").rpartition("/")
                location = client.get_model_version_download_uri(name, version)
                if location.startswith("models:/m-"):
                    location = client.get_logged_model(location.removeprefix("models:/")).artifact_location
            found = mlflow.artifacts.download_artifacts(
                artifact_uri=location, dst_path=str(folder), tracking_uri=self._tracking_uri
            )
        path = Path(found)
        # A local artifact store may hand back its own folder: what is opened later must be what was digested.
        if folder not in path.resolve().parents and path.resolve() != folder.resolve():
            import shutil

            path = Path(shutil.copytree(path, folder / "copy"))
        return path

    def _build(self, model: Path) -> Path | str:
        """A virtual environment with the model's logged requirements, kept for the next time; or why not."""
        requirements = model / "requirements.txt"
        if not requirements.exists():
            return "the model was logged without requirements"
        target = self._environments / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
        if (target / ".ready").exists():
            return target
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(target)],
            [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(requirements), "pyarrow"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)  # noqa: S603
            if done.returncode != 0:
                return (done.stderr.strip().splitlines() or ["no output"])[-1][:300]
        (target / ".ready").touch()
        return target


def _bare(folder: Path) -> dict[str, str]:
    """No credentials, no tracking server, no network defaults: the worker needs none."""
    found = clean_environment({"OMP_NUM_THREADS": "1", "HOME": str(folder), "TMPDIR": str(folder), "PYTHONSAFEPATH": "1"})
    return {k: v for k, v in found.items() if not k.startswith(("MLFLOW_", "AWS_", "AZURE_", "GOOGLE_", "DATABRICKS_"))} | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/none.db",
    }


def _digest(model: Path) -> str:
    """sha256 over names and contents; what the registry writes beside the model is not the model."""
    total = hashlib.sha256()
    for file in sorted(path for path in model.rglob("*") if path.is_file()):
        name = file.relative_to(model).as_posix()
        if name == "registered_model_meta":
            continue
        total.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _misfit(model: Path) -> str | None:
    """Why this interpreter cannot stand in for the model's logged environment; None where it can."""
    import yaml

    env = model / "python_env.yaml"
    if env.exists():
        wanted = str((yaml.safe_load(env.read_text(encoding="utf-8")) or {}).get("python", ""))
        ours = f"{sys.version_info.major}.{sys.version_info.minor}"
        if wanted and wanted.split(".")[:2] != ours.split("."):
            return f"Python {wanted}, ours is {ours}"
    requirements = model / "requirements.txt"
    for line in requirements.read_text(encoding="utf-8").splitlines() if requirements.exists() else []:
        pin = _PIN.match(line.strip())
        if pin is None:
            continue
        name, wanted = pin[1].lower().replace("_", "-"), pin[2]
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return f"{name} {wanted} is not installed"
        if name in COMPILED and installed.split(".")[:2] != wanted.split(".")[:2]:
            return f"{name} {wanted}, ours is {installed}"
    return None
