# pyright: basic
"""Does this interpreter fit a model's logged environment, and if not, can one be built?"""

import fcntl
import hashlib
import importlib.metadata
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.adapters.subprocesses import pipeline_environment, run_limited

STORED_OBJECTS = frozenset(
    (
        *("scikit-learn", "numpy", "pandas", "scipy", "xgboost", "lightgbm", "catboost"),
        *("torch", "tensorflow", "keras", "statsmodels", "skops", "polars"),
    )
)
"""Libraries whose stored objects are bound to a minor version; for others the major version decides."""
ANY_VERSION = frozenset(("mlflow", "mlflow-skinny", "mlflow-tracing", "pip", "setuptools", "wheel"))
"""MLflow reads what earlier and later versions of it logged."""
CALENDAR = 1900
"""A first number like this is a year: it says nothing about compatibility."""
WORKER_NEEDS = ("mlflow", "pandas", "pyarrow")
BUILD_SECONDS = 1800.0


@dataclass(frozen=True)
class Interpreter:
    """What scores."""

    python: str
    name: str
    """`ours`, or the built environment's requirement hash."""


def misfit(
    model: Path,
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}",
    version_of: Callable[[str], str] = importlib.metadata.version,
) -> str | None:
    """Why this interpreter cannot stand in for the model's logged environment; None where it can.

    Another environment than this one is named by its Python and by what it has installed.

    Python and libraries of stored objects must agree in the first two numbers, other pinned packages in the first; a
    package without a pin must be there. A model without a logged environment is taken to fit.
    """
    wanted = logged_python(model)
    if wanted is not None and wanted != python:
        return f"it was logged with Python {wanted}, ours is {python}"
    for requirement in _requirements(model):
        reason = _package_misfit(requirement, version_of)
        if reason is not None:
            return reason
    return None


def build(model: Path, environments: Path, seconds: float = BUILD_SECONDS) -> Interpreter | str:
    """A virtual environment with the model's logged requirements, kept for the next time; or why there is none."""
    file = model / "requirements.txt"
    if not file.exists():
        return "the model was logged without requirements.txt"
    python = _find_python(logged_python(model))
    if python is None:
        return f"it needs Python {logged_python(model)}, and there is no python{logged_python(model)} on PATH"
    text = file.read_bytes()
    name = hashlib.sha256(text + b"\0" + Path(python).name.encode()).hexdigest()[:16]
    target = environments / name
    made = Interpreter(str(target / "bin" / "python"), name)
    environments.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(environments / f"{name}.lock"):
        if (target / ".ready").exists():
            return made
        named = {_name(line) for line in text.decode("utf-8", "replace").splitlines()}
        extra = [package for package in WORKER_NEEDS if package not in named]
        until = time.monotonic() + seconds
        for command in (
            [python, "-I", "-m", "venv", "--clear", str(target)],
            [made.python, "-I", "-m", "pip", "install", "--quiet", "--no-input", "-r", str(file), *extra],
        ):
            left = max(until - time.monotonic(), 1.0)
            # In the model's folder, so that a relative line of the requirements means a file logged with it.
            ended = run_limited(command, cwd=model, environment=pipeline_environment({}), seconds=left)
            if ended.how == "timed_out":
                return f"it was not installed within {seconds:.0f} s"
            if not ended.good:
                return ended.last_line
        (target / ".ready").touch()
    return made


def logged_python(model: Path) -> str | None:
    """`3.11`, from python_env.yaml, or from the flavor where there is none."""
    import yaml

    for name, path in (("python_env.yaml", ("python",)), ("MLmodel", ("flavors", "python_function", "python_version"))):
        file = model / name
        if not file.exists():
            continue
        found: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        numbers = re.match(r"(\d+)\.(\d+)", str(found or ""))
        if numbers is not None:
            return f"{numbers[1]}.{numbers[2]}"
    return None


def _requirements(model: Path) -> Iterator[Any]:
    """Named packages of requirements.txt; options, paths and addresses are pip's to resolve, not ours to judge."""
    from packaging.requirements import InvalidRequirement, Requirement

    file = model / "requirements.txt"
    for raw in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        line = re.split(r"(?:^|\s)#|\s--", raw, maxsplit=1)[0].strip()
        if not line or line.startswith("-"):
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def _package_misfit(requirement: Any, version_of: Callable[[str], str]) -> str | None:
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    name = canonicalize_name(requirement.name)
    try:
        installed = Version(version_of(requirement.name))
    except importlib.metadata.PackageNotFoundError:
        if name in ANY_VERSION:
            return None
        return f"it needs {requirement}, which is not installed"
    pin = next((spec.version for spec in requirement.specifier if spec.operator in ("==", "===")), None)
    if pin is None or name in ANY_VERSION:
        return None
    try:
        wanted = Version(pin.removesuffix(".*"))
    except InvalidVersion:
        return None
    numbers = 2 if name in STORED_OBJECTS else 1
    same = (*installed.release, 0)[:numbers] == (*wanted.release, 0)[:numbers]
    if same or (numbers == 1 and wanted.release[0] > CALENDAR):
        return None
    return f"it was logged with {requirement.name} {pin}, ours is {installed}"


def _name(line: str) -> str:
    return re.split(r"[\s\[=<>!~;@]", line.strip(), maxsplit=1)[0].lower().replace("_", "-")


def _find_python(wanted: str | None) -> str | None:
    if wanted in (None, f"{sys.version_info.major}.{sys.version_info.minor}"):
        return sys.executable
    return shutil.which(f"python{wanted}")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Two models with the same requirements are scored at once; one of them builds."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
