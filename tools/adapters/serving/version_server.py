# pyright: basic
"""One version's server in the supervisor's hands: started, looked at, restarted with a back-off, given up."""

import json
import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tools.adapters.serving import admin, processes
from tools.adapters.serving.layout import LOOPBACK, Layout, free_port, is_free
from tools.adapters.serving.processes import Child

BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the n-th start in a row."""
CHANCES = 3
"""Restarts of a version that is not the stable one; then it is given up."""
CALM = 600.0
"""Seconds without a crash after which earlier ones are forgotten."""
READY_SECONDS = 1.0
PORT_CHANCES = 2
"""New ports for a server that was never ready and found its own taken."""
_PORT_TAKEN = re.compile(r"address already in use|Failed to bind to address")
"""In MLServer's log, of its HTTP and its gRPC port."""
HERE = Path(__file__).parent


class VersionServer:
    """What `running.json` says of a version comes from here.

    State: `starting`, `ready`, `waiting` (to be restarted), `failed` (given up).
    """

    def __init__(self, layout: Layout, version: str, before: dict[str, Any]) -> None:
        self.version, self._layout = version, layout
        self.child: Child | None = processes.adopted(before.get("process"))
        self.port: int | None = before.get("port")
        self.state: str = before.get("state", "starting") if self.child else "starting"
        self.restarts: int = before.get("restarts", 0)
        self.crashed_at: float | None = before.get("crashed_at")
        self.killed_for_memory: int = before.get("killed_for_memory", 0)
        self.load_seconds: float | None = before.get("load_seconds")
        self.said: str = before.get("said", "")
        self.memory_mb = 0.0
        # Durations by the clock that nobody sets; `crashed_at` is for readers of the file.
        self._begun = time.monotonic()
        self._next_start = self._ended_at = 0.0
        self._was_ready = self.load_seconds is not None
        self._in_a_row = self._ports_lost = 0

    def step(self, wanted: dict[str, Any], stable: bool, taken: Collection[int]) -> None:
        """One look at it, and what follows."""
        if self.state == "failed":
            return
        if self.child is None:
            if time.monotonic() >= self._next_start:
                self._start(wanted, taken)
            return
        if not self.child.alive and self._lost_its_port():
            self.child, self.port, self.state = None, None, "waiting"
        elif not self.child.alive:
            self._ended(stable, f"its server ended by itself: {processes.reason(self._log)}")
        else:
            self._look_at(self.child, wanted, stable)

    def _look_at(self, child: Child, wanted: dict[str, Any], stable: bool) -> None:
        self.memory_mb = child.memory_mb
        if self.memory_mb > wanted["memory_limit_mb"]:
            used = self.memory_mb
            child.end(patience=0.0)  # a hog that is asked politely goes on eating meanwhile
            self.killed_for_memory += 1
            self._ended(stable, f"it took {used:.0f} MB of {wanted['memory_limit_mb']} and was killed", leaks=True)
        elif self.state == "starting":
            self._look_whether_ready(wanted, stable)
        elif self._in_a_row and time.monotonic() - self._ended_at > CALM:
            self._in_a_row = 0

    def stop(self, patience: float) -> None:
        """Ends the process; nothing of it stays."""
        if self.child is not None:
            self.child.end(patience)
            self.child = None

    def to_json(self) -> dict[str, Any]:
        """As `running.json` holds it."""
        return {
            "process": None if self.child is None else self.child.to_json(),
            "port": self.port,
            "state": self.state,
            "restarts": self.restarts,
            "crashed_at": self.crashed_at,
            "killed_for_memory": self.killed_for_memory,
            "load_seconds": self.load_seconds,
            "memory_mb": round(self.memory_mb / 8) * 8,
            "said": self.said,
        }

    @property
    def _log(self) -> Path:
        return self._layout.server(self.version) / "server.log"

    def _start(self, wanted: dict[str, Any], taken: Collection[int]) -> None:
        try:
            if self.port is None or not is_free(self.port):
                self.port = _other_port(taken)
            home = self._lay_out(wanted, self.port)
            python = wanted["python"]
            command = [python, "-P", str(Path(python).parent / "mlserver"), "start", str(home)]
            self.child = processes.start(command, home, processes.server_environment(home, python), self._log)
        except OSError as error:
            self.said = f"its server could not be started: {error}"
            self.state, self._next_start = "waiting", time.monotonic() + BACK_OFF[-1]
            return
        self._begun, self.state = time.monotonic(), "starting"

    def _lay_out(self, wanted: dict[str, Any], port: int) -> Path:
        home = self._layout.server(self.version)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(HERE / "runtime.py", home / "retrain_runtime.py")
        shutil.copyfile(HERE / "answer_log.py", home / "answer_log.py")
        shutil.copyfile(HERE.parent / "scoring_worker.py", home / "scoring_worker.py")
        settings = {
            "host": LOOPBACK,
            "http_port": port,
            "grpc_port": free_port(),
            "metrics_endpoint": None,
            "parallel_workers": 0,
            "debug": False,
            "environments_dir": str(home / "environments"),
        }
        model = {
            "name": wanted["model"],
            "implementation": "retrain_runtime.Runtime",
            "parameters": {
                "uri": wanted["files"],
                "version": self.version,
                "extra": {
                    "answers": str(self._layout.answers / self.version),
                    "task": wanted["task"],
                    "positive": wanted["positive"],
                },
            },
        }
        (home / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (home / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
        return home

    def _look_whether_ready(self, wanted: dict[str, Any], stable: bool) -> None:
        assert self.child is not None
        try:
            status, _ = admin.get(self.port or 0, f"/v2/models/{wanted['model']}/ready", READY_SECONDS)
        except Exception:  # noqa: BLE001 - not there yet, whatever way it says so
            status = 0
        took = time.monotonic() - self._begun
        if status == 200:
            self.state, self.said, self._was_ready = "ready", "", True
            self.load_seconds = round(took, 2)
        elif took > wanted["load_seconds"]:
            self.child.end(patience=1.0)
            self._ended(stable, f"it was not ready within {wanted['load_seconds']:g} s")

    def _lost_its_port(self) -> bool:
        """A port is chosen seconds before the server listens there: who takes it meanwhile is no fault of the version's."""
        if self._was_ready or self._ports_lost >= PORT_CHANCES or not _PORT_TAKEN.search(processes.tail(self._log, 20)):
            return False
        self._ports_lost += 1
        return True

    def _ended(self, stable: bool, said: str, *, leaks: bool = False) -> None:
        """It is gone: again, later, or never."""
        self.child, self.said, self.memory_mb = None, said, 0.0
        self.crashed_at, self._ended_at = round(time.time(), 2), time.monotonic()
        if not self._was_ready or (not stable and (leaks or self.restarts >= CHANCES)):
            self.state = "failed"
            return
        self.state = "waiting"
        self.restarts += 1
        self._next_start = time.monotonic() + BACK_OFF[min(self._in_a_row, len(BACK_OFF) - 1)]
        self._in_a_row += 1


def _other_port(taken: Collection[int]) -> int:
    """None of another version's: its requests would be answered by this one."""
    while (port := free_port()) in taken:
        continue
    return port
