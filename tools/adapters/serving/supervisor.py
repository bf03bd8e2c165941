# pyright: basic
"""Keeps the servers of one model as `wanted.json` says, in a process of its own: `python -m … FOLDER`.

It writes `running.json` and Envoy's clusters, nothing else. What an earlier supervisor left running is adopted by recorded pid
and start, so that its death costs no request; what is not wanted is ended. It opens no model.
"""

import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tools.adapters.processes import start_of
from tools.adapters.serving import envoy_config, processes
from tools.adapters.serving.layout import Layout, is_free, read, replace
from tools.adapters.serving.processes import Child
from tools.adapters.serving.version_server import BACK_OFF, VersionServer
from tools.adapters.subprocesses import bare_environment
from tools.errors import RetrainingError

TICK = 0.1
REPORT_SECONDS = 2.0
STOP_SECONDS = 4.0


class EnvoyProcess:
    """Envoy, started again whenever it is gone."""

    def __init__(self, layout: Layout, before: dict[str, Any]) -> None:
        self._layout = layout
        self.child: Child | None = processes.adopted(before.get("process"))
        self.restarts: int = before.get("restarts", 0)
        self.said = ""
        self._next_start, self._in_a_row, self._started_at = 0.0, 0, 0.0

    def step(self, wanted: dict[str, Any]) -> None:
        """One look."""
        if self.child is not None and self.child.alive:
            if self._in_a_row and time.monotonic() - self._started_at > BACK_OFF[-1]:
                self._in_a_row = 0
            return
        if self.child is not None:
            self.said = f"Envoy ended by itself: {processes.tail(self._layout.envoy / 'envoy.log', 3)}"
            self.child, self.restarts = None, self.restarts + 1
        if time.monotonic() < self._next_start:
            return
        taken = [port for port in (wanted["port"], wanted["admin_port"]) if not is_free(port)]
        if taken:
            self.said = f"port {taken[0]} is taken by another process"
        else:
            self._start(wanted)
        self._next_start = time.monotonic() + (
            BACK_OFF[min(self._in_a_row, len(BACK_OFF) - 1)] if self._in_a_row else 0.2
        )
        self._in_a_row += 1

    def _start(self, wanted: dict[str, Any]) -> None:
        layout = self._layout
        bootstrap = envoy_config.bootstrap(
            port=wanted["port"],
            admin_port=wanted["admin_port"],
            clusters=str(layout.clusters),
            routes=str(layout.routes),
            node=wanted["model"],
        )
        # Without hot restart there is no shared memory, and so no base id that two Envoys could fight over.
        command = [wanted["envoy"], "-c", str(layout.bootstrap), "--concurrency", "1", "--disable-hot-restart"]
        try:
            replace(layout.bootstrap, bootstrap)
            if not layout.routes.exists():
                replace(layout.routes, envoy_config.no_routes())
            self.child = processes.start(
                [*command, "--log-level", "warning"],
                layout.envoy,
                bare_environment({"HOME": str(layout.envoy)}),
                layout.envoy / "envoy.log",
            )
            self._started_at = time.monotonic()
        except (OSError, RetrainingError) as error:
            self.said = f"Envoy could not be started: {error}"

    def to_json(self) -> dict[str, Any]:
        """As `running.json` holds it."""
        process = None if self.child is None else self.child.to_json()
        return {"process": process, "restarts": self.restarts, "said": self.said}


class Supervisor:
    """See the module's docstring."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._before = read(layout.running)
        self._envoy = EnvoyProcess(layout, self._before.get("envoy", {}))
        self._servers: dict[str, VersionServer] = {}
        self._wanted: dict[str, Any] = {}
        self._stamp: tuple[int, int] | None = None
        self._written: tuple[Any, float] = (None, 0.0)
        self._ports: dict[str, int] | None = None
        self._me = processes.Child(os.getpid(), start_of(os.getpid()))
        self._swept = False
        self.stopping = False

    def run(self) -> None:
        """Until it is asked to stop, or nothing is wanted any more."""
        for kind in (signal.SIGTERM, signal.SIGINT):
            signal.signal(kind, self._stop)
        while not self.stopping:
            self._read_wanted()
            if not self._wanted.get("versions"):
                break
            self._step()
            time.sleep(TICK)
        self._end_all()

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _read_wanted(self) -> None:
        try:
            stat = self._layout.wanted.stat()
        except FileNotFoundError:
            self._wanted = {}
            return
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            self._wanted, self._stamp = read(self._layout.wanted), stamp

    def _step(self) -> None:
        wanted = self._wanted
        for version in [v for v in self._servers if v not in wanted["versions"]]:
            self._servers.pop(version).stop(STOP_SECONDS)
        for version, asked in wanted["versions"].items():
            before = self._before.get("versions", {}).get(version, {})
            if version not in self._servers:
                # Loaded anew by a later command: what an earlier process of this version did is not held against it.
                same = before if before.get("prepared_at") == asked["prepared_at"] else {}
                self._servers[version] = VersionServer(self._layout, version, same)
            taken = {s.port for v, s in self._servers.items() if v != version and s.port is not None}
            common = {key: wanted[key] for key in ("model", "task", "positive", "memory_limit_mb", "load_seconds")}
            self._servers[version].step(asked | common, version == wanted.get("stable"), taken)
        if not self._swept:
            self._sweep()
        self._write_clusters()
        self._envoy.step(wanted)
        self._report()

    def _sweep(self) -> None:
        """End what an earlier supervisor started and nobody wants or recorded."""
        mine = [server.child.pid for server in self._servers.values() if server.child is not None]
        mine += [] if self._envoy.child is None else [self._envoy.child.pid]
        for stray in processes.strays(self._layout.folder, mine):
            stray.end(STOP_SECONDS)
        self._before, self._swept = {}, True

    def _write_clusters(self) -> None:
        ports = {version: server.port for version, server in self._servers.items() if server.port is not None}
        if ports != self._ports:
            try:
                replace(self._layout.clusters, envoy_config.clusters(ports, self._wanted["model"]))
                self._ports = ports
            except RetrainingError as error:
                print(error.message, file=sys.stderr, flush=True)  # noqa: T201 - its own log

    def _report(self) -> None:
        versions = {
            version: server.to_json() | {"prepared_at": self._wanted["versions"][version]["prepared_at"]}
            for version, server in self._servers.items()
        }
        content = {"supervisor": self._me.to_json(), "envoy": self._envoy.to_json(), "versions": versions}
        last, at = self._written
        moved = _without_memory(content) != _without_memory(last)
        if moved or (content != last and time.monotonic() - at > REPORT_SECONDS):
            try:
                replace(self._layout.running, content)
                self._written = (content, time.monotonic())
            except RetrainingError as error:
                print(error.message, file=sys.stderr, flush=True)  # noqa: T201

    def _end_all(self) -> None:
        if self._envoy.child is not None:
            self._envoy.child.end(STOP_SECONDS)
        for server in self._servers.values():
            if server.child is not None:
                processes.ask_to_stop(server.child)
        for server in self._servers.values():
            server.stop(STOP_SECONDS)
        self._servers, self._envoy.child = {}, None
        self._sweep()
        self._layout.running.unlink(missing_ok=True)


def _without_memory(content: Any) -> Any:
    if content is None:
        return None
    versions = {v: {k: x for k, x in r.items() if k != "memory_mb"} for v, r in content["versions"].items()}
    return content | {"versions": versions}


def main(folder: str) -> int:
    """0 when it was asked to stop; 3 when another supervisor has the folder."""
    layout = Layout(Path(folder))
    with layout.supervisor_lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 3
        Supervisor(layout).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
