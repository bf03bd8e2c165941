# pyright: basic
"""The user's code in a process group of its own: log streamed, time and memory limited, no secrets in its environment."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SECRETS = re.compile(r"^(OPENAI|RETRAIN_|ANTHROPIC)|(TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|CREDENTIAL)", re.IGNORECASE)
TAIL = 30


@dataclass(frozen=True)
class Finished:
    """How a process ended."""

    how: Literal["exited", "killed_by_signal", "timed_out", "out_of_memory"]
    code: int
    """Exit code, or the signal's number."""
    tail: str
    """Last lines of its output."""
    seconds: float


def clean_environment(extra: Mapping[str, str] | None = None, *, keep: Sequence[str] = ()) -> dict[str, str]:
    """This environment without what looks like a secret; `python` is this interpreter's."""
    found = {name: value for name, value in os.environ.items() if name in keep or not SECRETS.search(name)}
    here = str(Path(sys.executable).parent)
    # Threads that spin while they wait make a small model on a busy machine ten times slower.
    found.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    found["PATH"] = os.pathsep.join([here, found.get("PATH", os.defpath)])
    return found | dict(extra or {})


def run_limited(
    command: Sequence[str],
    *,
    cwd: str | Path,
    environment: Mapping[str, str],
    seconds: float,
    memory_mb: int | None = None,
    log: Path | None = None,
    progress: Callable[[str], None] | None = None,
    started: Callable[[int], None] | None = None,
) -> Finished:
    """Run to the end or to a limit; whatever ends it, its whole group is gone afterwards.

    Raises:
        OSError: the program cannot be started.
    """
    begun = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - an argument list of the profile, never a shell string
        list(command),
        cwd=str(cwd),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=TAIL)
    reader = threading.Thread(target=_read, args=(process, log, tail, progress), daemon=True)
    reader.start()
    if started is not None:
        started(process.pid)
    how: Literal["exited", "killed_by_signal", "timed_out", "out_of_memory"] = "exited"
    try:
        while True:
            try:
                process.wait(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() - begun > seconds:
                    how = "timed_out"
                elif memory_mb is not None and _tree_mb(process.pid) > memory_mb:
                    how = "out_of_memory"
                if how != "exited":
                    break
    finally:
        end_group(process.pid)
        process.wait()
    reader.join(timeout=5)
    code = process.returncode
    if how == "exited" and code < 0:
        how, code = "killed_by_signal", -code
    return Finished(how, code, "\n".join(tail), time.monotonic() - begun)


def end_group(pid: int, patience: float = 3.0) -> None:
    """End the process group led by `pid`: asked first, then killed."""
    for kind, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 1.0)):
        try:
            os.killpg(pid, kind)
        except (ProcessLookupError, PermissionError):
            return
        until = time.monotonic() + wait
        while time.monotonic() < until and _group_lives(pid):
            time.sleep(0.05)


def _group_lives(pid: int) -> bool:
    import psutil

    for process in psutil.process_iter(["pid", "status"]):
        try:
            if os.getpgid(process.pid) == pid and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
        except (ProcessLookupError, PermissionError):
            continue
    return False


def _read(process: "subprocess.Popen[str]", log: Path | None, tail: "deque[str]", progress: Callable[[str], None] | None) -> None:
    out = None if log is None else log.open("a", encoding="utf-8")
    try:
        for line in process.stdout or ():
            text = line.rstrip("\n")
            tail.append(text)
            if out is not None:
                out.write(line)
                out.flush()
            if progress is not None and text.strip():
                progress(text.strip()[:160])
    finally:
        if out is not None:
            out.close()


def _tree_mb(pid: int) -> float:
    import psutil

    total = 0
    try:
        top = psutil.Process(pid)
        for process in [top, *top.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total / 2**20
