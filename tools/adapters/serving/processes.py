# pyright: basic
"""A server's process: started in a session of its own, known by pid and start, so that another supervisor can adopt it."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.adapters.processes import is_running, start_of
from tools.adapters.subprocesses import bare_environment, end_group

_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)\b")
_NEVER = "0"
"""A start that no process has."""
LOG_BYTES = 5_000_000


class Child:
    """One process, ours or adopted."""

    def __init__(self, pid: int, started: str, popen: "subprocess.Popen[bytes] | None" = None) -> None:
        self.pid, self.started, self._popen = pid, started, popen

    @property
    def alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        if self._popen is not None:
            return self._popen.poll() is None
        # What cannot be seen is not ours: a stranger must not be ended.
        return is_running(self.pid, self.started) is True

    @property
    def memory_mb(self) -> float:
        """Resident memory of it and its children."""
        import psutil

        total = 0
        try:
            top = psutil.Process(self.pid)
            for process in (top, *top.children(recursive=True)):
                total += process.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass
        return total / 2**20

    def end(self, patience: float) -> None:
        """Asked, then killed, with all of its session."""
        if self.alive:
            end_group(self.pid, patience)
        if self._popen is not None:
            self._popen.wait()

    def to_json(self) -> dict[str, Any]:
        """As `adopted` reads it."""
        return {"pid": self.pid, "started": self.started}


def start(command: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path) -> Child:
    """Start it in a session of its own. Raises `OSError`."""
    import psutil

    if log.exists() and log.stat().st_size > LOG_BYTES:
        os.replace(log, log.with_suffix(".old"))
    with log.open("ab") as out:
        popen = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        started = start_of(popen.pid)
    except psutil.NoSuchProcess:
        started = _NEVER
    return Child(popen.pid, started, popen)


def adopted(record: Mapping[str, Any] | None) -> Child | None:
    """The recorded process where it still runs."""
    import psutil

    if not record or "pid" not in record:
        return None
    child = Child(int(record["pid"]), str(record["started"]))
    if not child.alive:
        return None
    try:
        # An earlier release recorded seconds on the wall clock: from here on it is known by what no clock moves.
        return Child(child.pid, start_of(child.pid))
    except psutil.NoSuchProcess:
        return None


def ask_to_stop(child: Child) -> None:
    """SIGTERM to the process alone: a supervisor ends its servers itself."""
    try:
        os.kill(child.pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def server_environment(home: Path, python: str) -> dict[str, str]:
    """For a process that opens a model: an allow-list, so no secret of ours gets through."""
    binaries = str(Path(python).parent)
    kept = bare_environment(
        {
            "HOME": str(home),
            "TMPDIR": str(home),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "MLFLOW_TRACKING_URI": f"sqlite:///{home}/none.db",
        }
    )
    kept = {name: value for name, value in kept.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX")}
    return kept | {"PATH": os.pathsep.join([binaries, kept.get("PATH", os.defpath)])}


def reason(log: Path) -> str:
    """The last exception in a log: what a server says while it stops comes behind it. The last lines where there is none."""
    raised = [line for line in tail(log, 80).splitlines() if _EXCEPTION.match(line)]
    return raised[-1][:500] if raised else tail(log, 3)


def tail(log: Path, lines: int) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 6000))
            return "\n".join(file.read().decode(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""


def strays(folder: Path, known: Sequence[int] = ()) -> list[Child]:
    """Servers of this folder that nobody recorded: their starter died between start and record."""
    import psutil

    marks = (str(folder / "servers") + os.sep, str(folder / "envoy") + os.sep)
    found: list[Child] = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid not in known and any(word.startswith(marks) for word in words):
            with suppress(psutil.NoSuchProcess):
                found.append(Child(process.pid, start_of(process.pid)))
    return found
