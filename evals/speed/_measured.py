"""What did a process of its own cost? Its processor time with that of its children, and its peak memory.

`run(TASK, …)` starts `python -m evals.speed._tasks TASK JSON`, which does one thing and reports what it cost. A process of its
own, because memory that was once taken is rarely given back, and because imports count.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cost:
    """One process."""

    cpu: float
    """User and system seconds, children's too, from its very start."""
    seconds: float
    """Wall time of the task, imports and preparation aside."""
    task_cpu: float
    """Processor seconds of the task alone."""
    peak: float
    """Highest resident memory of the process itself, MB."""
    before: float
    """Resident memory when the task began (what was read or imported before is in it), MB."""
    tree_peak: float
    """Highest resident memory of the process and its children together, sampled, MB."""
    told: dict[str, Any]
    """What the task said."""


def run(task: str, **given: Any) -> Cost:
    """Do one task in a process of its own.

    Raises:
        RuntimeError: It failed; its last lines are the message.
    """
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "evals.speed._tasks", task, json.dumps(given)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{task} failed:\n" + "\n".join(done.stderr.splitlines()[-15:]))
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def measured(task: Callable[[], dict[str, Any]]) -> Cost:
    """Within the process: do it, and say what it all cost until now."""
    before, cpu, tree = _status("VmRSS"), _cpu(), _TreePeak()
    begun = time.perf_counter()
    with tree:
        told = task()
    seconds = time.perf_counter() - begun
    return Cost(_cpu(), seconds, _cpu() - cpu, _status("VmHWM"), before, max(tree.highest, _status("VmHWM")), told)


def _cpu() -> float:
    uses = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def _status(field: str) -> float:
    """MB, from Linux: `ru_maxrss` would count what the parent held before the program was loaded."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status says nothing of {field}")


class _TreePeak:
    """Looks at the process and its children ten times a second."""

    def __init__(self) -> None:
        self.highest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_TreePeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        import psutil

        own = psutil.Process()
        while not self._stop.wait(0.1):
            total = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            self.highest = max(self.highest, total / 2**20)
