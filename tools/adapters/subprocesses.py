# pyright: basic
"""How is the user's code run? In a session of its own: log streamed, time and memory limited, no secrets, none left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from tools.adapters.mlflow_client import SET_BY_US
from tools.errors import BadInput

TAIL = 30
POLL_SECONDS = 0.1
LINE = 65_536
_SECRET = re.compile(
    r"^(OPENAI|ANTHROPIC|RETRAIN)_|TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|_PAT$", re.IGNORECASE
)
_LOGIN_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")
# A pipeline logs to the tracking server and uploads its model: the credentials for those are its own.
_PIPELINE_OWN = re.compile(r"^(MLFLOW|AWS|AZURE|GOOGLE|GCS|DATABRICKS)_|_PROXY$", re.IGNORECASE)
# A run or experiment of ours, left in the environment, would swallow what the pipeline logs.
_NOT_INHERITED = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "PYTHONSAFEPATH")
# What a process needs to start and compute. A model is code, so it is given nothing beyond this.
_BARE = re.compile(
    r"^(PATH|LANG|LANGUAGE|LC_\w+|TZ|LD_LIBRARY_PATH|DYLD_\w+|PYTHONPATH|VIRTUAL_ENV|CONDA_PREFIX|SYSTEMROOT"
    r"|JAVA_HOME|SPARK_HOME|(CUDA|NVIDIA|OMP|MKL|OPENBLAS|NUMEXPR|KMP)_(?!.*(KEY|TOKEN|SECRET))\w+)$"
)
# Waits for one line before it becomes the command: nothing starts that is not recorded.
_GATE = ("/bin/sh", "-c", 'read -r go && exec "$@"', "sh")


@dataclass(frozen=True)
class Finished:
    """How a process ended."""

    how: Literal["exited", "killed_by_signal", "timed_out", "out_of_memory"]
    code: int
    """Exit code, or the signal's number."""
    tail: str
    """Last lines of its output."""
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it ended by itself, with exit code 0."""
        return self.how == "exited" and self.code == 0

    @property
    def last_line(self) -> str:
        """The last line that says something, cut to 300 characters."""
        said = (line.strip() for line in reversed(self.tail.splitlines()))
        return next((line for line in said if line), "no output")[:300]


def pipeline_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours for a training pipeline: no secrets but those of tracking and artifact stores; `python` is this interpreter."""

    def kept(name: str, value: str) -> bool:
        own = _PIPELINE_OWN.search(name) is not None
        return (
            name not in _NOT_INHERITED
            and name not in SET_BY_US
            and (own or not (_SECRET.search(name) or _LOGIN_IN_URL.search(value)))
        )

    found = {name: value for name, value in os.environ.items() if kept(name, value)}
    return _with_our_python(found) | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONUNBUFFERED": "1"} | dict(extra)


def bare_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """For opening a model: an allow-list, so no credential of any name gets through."""
    found = {name: value for name, value in os.environ.items() if _BARE.match(name)}
    return _with_our_python(found) | {"MLFLOW_DISABLE_TELEMETRY": "true"} | dict(extra)


def _with_our_python(environment: dict[str, str]) -> dict[str, str]:
    here = str(Path(sys.executable).parent)
    return environment | {"PATH": os.pathsep.join([here, environment.get("PATH", os.defpath)])}


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
    """Run to the end or to a limit; whatever ends it, its process group and every descendant seen are gone afterwards.

    Args:
        command: Program and arguments; no shell reads them.
        seconds: Wall-clock limit.
        memory_mb: Limit on the resident memory of the whole tree, looked at ten times a second.
        log: File that the output (stdout and stderr together) is appended to as it comes. The command writes there
            itself: it goes on undisturbed when this process is killed.
        progress: Called in this thread with each line, cut to 160 characters.
        started: Called with the process id before the command begins; if it raises, the command never does.

    Raises:
        BadInput: The program does not exist or is not executable.
    """
    _require_program(command[0], Path(cwd), environment)
    begun = time.monotonic()
    output = _Pipe() if log is None else _LogFile(log)
    process = subprocess.Popen(
        [*(_GATE if started is not None else ()), *command],
        cwd=str(cwd),
        env=dict(environment),
        stdin=subprocess.DEVNULL if started is None else subprocess.PIPE,
        stdout=output.target,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    output.begin(process)
    tree = _Tree(process.pid)
    how: Literal["exited", "killed_by_signal", "timed_out", "out_of_memory"] = "exited"
    try:
        if started is not None and process.stdin is not None:
            started(process.pid)
            _open_gate(process.stdin)
        while process.poll() is None:
            output.tell(progress)
            used = tree.look()
            if time.monotonic() - begun > seconds:
                how = "timed_out"
                break
            if memory_mb is not None and used > memory_mb:
                how = "out_of_memory"
                break
            time.sleep(POLL_SECONDS)
    finally:
        # A hog that is asked politely goes on eating meanwhile.
        tree.end(patience=0.0 if how == "out_of_memory" else 3.0)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        output.finish()
    output.tell(progress)
    code = process.returncode
    if how == "exited" and code < 0:
        how, code = "killed_by_signal", -code
    return Finished(how, code, output.tail, time.monotonic() - begun)


def end_group(pid: int, patience: float = 3.0) -> None:
    """End the process group led by `pid`: asked first, then killed."""
    for kind, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 1.0)):
        try:
            os.killpg(pid, kind)
        except (ProcessLookupError, PermissionError):
            return
        until = time.monotonic() + wait
        while (alive := group_members(pid)) and time.monotonic() < until:
            time.sleep(0.05)
        if not alive:
            return


def group_members(group: int) -> list[int]:
    """Living processes of a process group; zombies are dead."""
    import psutil

    found: list[int] = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, PermissionError):
            continue
    return found


def _require_program(program: str, cwd: Path, environment: Mapping[str, str]) -> None:
    named = str(cwd / program) if os.sep in program else program
    if shutil.which(named, path=environment.get("PATH")) is None:
        raise BadInput(
            f"the program {program!r} cannot be started from {cwd}",
            thing="command",
            value=program,
            remedy="check the name, the path from the workspace, and that it is executable",
        )


def _open_gate(stdin: IO[str]) -> None:
    try:
        stdin.write("go\n")
        stdin.close()
    except BrokenPipeError:
        return  # ended before it was let go: its exit tells


class _Output:
    """What a command says: the last lines are kept, the news are told in the caller's thread."""

    target: int | IO[bytes]
    """For the command's stdout."""

    def __init__(self) -> None:
        self._last: deque[str] = deque(maxlen=TAIL)
        self._news: deque[str] = deque(maxlen=500)

    @property
    def tail(self) -> str:
        return "\n".join(list(self._last))

    def begin(self, process: "subprocess.Popen[str]") -> None:
        raise NotImplementedError

    def look(self) -> None:
        """Take in what was said since the last look."""

    def finish(self) -> None:
        raise NotImplementedError

    def tell(self, progress: Callable[[str], None] | None) -> None:
        self.look()
        while self._news:
            line = self._news.popleft().strip()
            if progress is not None and line:
                progress(line[:160])

    def _take(self, line: str) -> None:
        self._last.append(line.rstrip("\n"))
        self._news.append(line)


class _Pipe(_Output):
    """Drained in a thread, so that a full pipe never stops the command; nothing is written to disk."""

    target = subprocess.PIPE

    def begin(self, process: "subprocess.Popen[str]") -> None:
        self._pipe = process.stdout
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        # A stray that left the session may hold the pipe open; the command itself has ended.
        self._thread.join(timeout=2)
        if self._pipe is not None and not self._thread.is_alive():
            self._pipe.close()

    def _drain(self) -> None:
        while self._pipe is not None and (line := self._pipe.readline(LINE)):
            self._take(line)


class _LogFile(_Output):
    """Written by the command itself, read behind it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.target = self._writer = path.open("ab")
        self._reader = path.open("rb")
        self._reader.seek(0, os.SEEK_END)
        self._rest = b""

    def begin(self, process: "subprocess.Popen[str]") -> None:
        self._writer.close()

    def look(self) -> None:
        while not self._reader.closed and (read := self._reader.read(LINE)):
            *lines, self._rest = (self._rest + read).split(b"\n")
            if len(self._rest) > LINE:
                lines, self._rest = [*lines, self._rest], b""
            for line in lines:
                self._take(line.decode("utf-8", errors="replace"))

    def finish(self) -> None:
        self.look()
        if self._rest:
            self._take(self._rest.decode("utf-8", errors="replace"))
        self._reader.close()


class _Tree:
    """A process and its descendants, also those that left its group."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: dict[int, float] = {}

    def look(self) -> float:
        """Resident memory of all, in MB. Shared pages count in each process that has them."""
        import psutil

        total = 0
        try:
            top = psutil.Process(self._pid)
            processes = [top, *top.children(recursive=True)]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return 0.0
        for process in processes:
            try:
                self._seen[process.pid] = process.create_time()
                total += process.memory_info().rss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return total / 2**20

    def end(self, patience: float) -> None:
        """End the group, then whoever was seen and lives on outside of it."""
        import psutil

        self.look()
        end_group(self._pid, patience)
        for pid, born in self._seen.items():
            try:
                stray = psutil.Process(pid)
                if pid != self._pid and stray.create_time() == born:
                    stray.kill()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
