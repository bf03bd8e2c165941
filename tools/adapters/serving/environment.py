# pyright: basic
"""Where do the servers run? In an environment of their own, built once from pinned, hashed requirements that lie beside this file."""

import hashlib
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.adapters import model_environments as models
from tools.adapters.subprocesses import pipeline_environment, run_limited
from tools.errors import BadInput, Unavailable

LOCK = Path(__file__).with_name("requirements-serving.lock")
TOO_NEW = (3, 13)
"""MLServer 1.7 does not install on this Python or a later one."""
KNOWN = ((3, 12), (3, 11))


@dataclass(frozen=True)
class Servers:
    """What is started."""

    python: str
    envoy: str
    name: str
    """Folder of the environment."""


def environment_for(
    model: Path, environments: Path, progress: Callable[[str], None], seconds: float = models.BUILD_SECONDS
) -> Servers:
    """The shared environment where the model's logged requirements fit it, else one with them; built where it is not there.

    Raises:
        BadInput: No Python that MLServer and the model both take.
        Unavailable: It could not be built; nothing half made is left.
    """
    python = python_for(models.logged_python(model))
    base = shared(environments, progress, seconds, python)
    reason = models.misfit(model, python=_numbers(python), version_of=pins(LOCK.read_text(encoding="utf-8")))
    if reason is None:
        return base
    progress(f"the model does not fit the shared serving environment ({reason})")
    own = _built(python, environments, model, progress, seconds)
    return Servers(str(own / "bin" / "python"), base.envoy, own.name)


def shared(
    environments: Path,
    progress: Callable[[str], None],
    seconds: float = models.BUILD_SECONDS,
    python: str | None = None,
) -> Servers:
    """The environment of all models whose requirements fit it. Raises as `environment_for`."""
    made = _built(python or python_for(None), environments, None, progress, seconds)
    return Servers(str(made / "bin" / "python"), str(_packages(made) / "envoy" / "_bin" / "envoy"), made.name)


def python_for(
    logged: str | None,
    ours: tuple[int, int] = (sys.version_info.major, sys.version_info.minor),
    find: Callable[[str], str | None] | None = None,
) -> str:
    """An interpreter below 3.13, of the model's version where that is known.

    Raises:
        BadInput: There is none.
    """
    wanted = None if logged is None else tuple(int(part) for part in logged.split("."))[:2]
    if wanted is not None and wanted >= TOO_NEW:
        raise BadInput(
            f"the model was logged with Python {logged}; the servers (MLServer) need a Python below 3.13",
            thing="python",
            value=logged,
            remedy="train it with Python 3.11 or 3.12, or deploy it through a `command` target",
        )
    tried = (ours, *KNOWN) if wanted is None else (wanted,)
    for version in tried:
        if version >= TOO_NEW:
            continue
        if version == ours:
            return sys.executable
        found = (find or _working)(f"python{version[0]}.{version[1]}")
        if found is not None:
            return found
    asked = "3.11 or 3.12" if wanted is None else logged
    raise BadInput(
        f"the servers (MLServer) need Python {asked}; this is {ours[0]}.{ours[1]}, and there is no other on PATH",
        thing="python",
        value=f"{ours[0]}.{ours[1]}",
        remedy=f"install Python {asked} so that it is on PATH, or deploy through a `command` target",
    )


def _working(name: str) -> str | None:
    """On PATH, and it runs: a version manager's stand-in may name a Python that is not chosen."""
    found = shutil.which(name)
    if found is None:
        return None
    ended = run_limited([found, "-c", ""], cwd=Path.home(), environment=pipeline_environment({}), seconds=20)
    return found if ended.good else None


def pins(lock: str) -> Callable[[str], str]:
    """What `importlib.metadata.version` would say in an environment made from a lock file."""
    import importlib.metadata

    from packaging.markers import Marker
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    for name, version, marker in re.findall(r"^([\w.-]+)==([^\s;\\]+)(?:\s*;\s*([^\\\n]+))?", lock, re.MULTILINE):
        if not marker or Marker(marker.strip()).evaluate():
            found[canonicalize_name(name)] = version

    def version_of(name: str) -> str:
        try:
            return found[canonicalize_name(name)]
        except KeyError:
            raise importlib.metadata.PackageNotFoundError(name) from None

    return version_of


def _built(
    python: str, environments: Path, model: Path | None, progress: Callable[[str], None], seconds: float
) -> Path:
    """Folder of the environment; with the model's own requirements where a model is given."""
    file = LOCK if model is None else model / "requirements.txt"
    if not file.exists():
        raise Unavailable("the model was logged without requirements.txt", thing="model", value=str(model))
    key = hashlib.sha256(LOCK.read_bytes() + b"\0" + file.read_bytes() + b"\0" + Path(python).name.encode()).hexdigest()
    target = environments / f"serving-{key[:16]}"
    environments.mkdir(parents=True, exist_ok=True, mode=0o700)
    with models.alone(environments / f"{target.name}.lock"):
        if (target / ".ready").exists():
            return target
        progress("building the serving environment (MLServer, MLflow, Envoy); once a machine, about a minute")
        try:
            for command in _commands(python, target, file, model):
                _run(command, model or environments, seconds)
            (target / ".ready").touch()
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    return target


def _commands(python: str, target: Path, file: Path, model: Path | None) -> list[list[str]]:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    made = str(target / "bin" / "python")
    wanted = ["--require-hashes", "-r", str(file)] if model is None else ["-r", str(file), *_server_pins(file)]
    if uv is None:
        return [
            [python, "-I", "-m", "venv", "--clear", str(target)],
            [made, "-I", "-m", "pip", "install", "--quiet", "--no-input", *wanted],
        ]
    return [
        [uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", python, str(target)],
        [uv, "pip", "install", "--quiet", "--python", made, *wanted],
    ]


def _server_pins(file: Path) -> list[str]:
    """What the server itself needs beside the model's own pins."""
    version_of = pins(LOCK.read_text(encoding="utf-8"))
    named = {re.split(r"[\s\[=<>!~;@]", line.strip(), maxsplit=1)[0].lower() for line in file.read_text().splitlines()}
    return [f"mlserver=={version_of('mlserver')}"] + [need for need in models.WORKER_NEEDS if need not in named]


def _run(command: list[str], cwd: Path, seconds: float) -> None:
    begun = time.monotonic()
    ended = run_limited(command, cwd=cwd, environment=pipeline_environment({}), seconds=seconds)
    if not ended.good:
        what = f"timed out after {time.monotonic() - begun:.0f} s" if ended.how == "timed_out" else ended.tail[-800:]
        raise Unavailable(
            f"the serving environment could not be built: {what}",
            thing="serving environment",
            remedy="it is installed from your package index: check the network, then try again",
        )


def _packages(environment: Path) -> Path:
    return next((environment / "lib").glob("python3.*/site-packages"))


def _numbers(python: str) -> str:
    found = re.search(r"(\d+\.\d+)$", Path(python).name)
    return found[1] if found and python != sys.executable else f"{sys.version_info.major}.{sys.version_info.minor}"
