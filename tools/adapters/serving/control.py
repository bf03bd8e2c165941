# pyright: basic
"""Start, ask and stop the servers of one model, from any process."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.adapters.serving import processes
from tools.adapters.serving.admin import Admin
from tools.adapters.serving.layout import Layout, alone, free_port, is_free, read, replace
from tools.adapters.subprocesses import bare_environment
from tools.errors import BadInput, Conflict, TimedOut, Unavailable

POLL = 0.05
START_SECONDS = 20.0
STOP_SECONDS = 15.0
SEEN_SECONDS = 5.0
"""For Envoy to take up a file: measured 0.26 s."""
ROOT = Path(__file__).parents[3]
_LEFT_RUNNING: list[processes.Child] = []
"""Supervisors that this process started and that outlive it: kept, so that nothing takes them for forgotten."""


class Control:
    """The commands' side of a layout: it writes `wanted.json`, and waits for what the supervisor makes of it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @property
    def wanted(self) -> dict[str, Any]:
        """What commands asked for; empty before the first."""
        return read(self.layout.wanted)

    @property
    def running(self) -> dict[str, Any]:
        """What the supervisor reported last; empty where none runs or ran."""
        return read(self.layout.running)

    @property
    def admin(self) -> Admin:
        """Envoy's. Raises `Unavailable` where the model was never served."""
        port = self.wanted.get("admin_port")
        if port is None:
            raise Unavailable(
                "the model is not served", thing="serving", remedy="`retrain serving up MODEL` starts serving"
            )
        return Admin(port)

    @property
    def supervised(self) -> bool:
        """Whether the recorded supervisor runs."""
        return processes.adopted(self.running.get("supervisor")) is not None

    def version(self, version: str) -> dict[str, Any]:
        """What is known of a version's server; empty where it is not wanted or not yet seen."""
        record = self.running.get("versions", {}).get(version, {})
        asked = self.wanted.get("versions", {}).get(version)
        return record if asked is not None and record.get("prepared_at") == asked["prepared_at"] else {}

    def settle(
        self, *, model: str, task: str, positive: str | None, port: int | None, limits: dict[str, float]
    ) -> None:
        """What all versions have in common; ports are chosen once and kept.

        Raises:
            Conflict: The endpoint's port is taken by somebody else.
        """
        self.layout.make()
        with alone(self.layout.lock):
            wanted = self.wanted
            kept = port or wanted.get("port") or free_port()
            envoy_runs = processes.adopted(self.running.get("envoy", {}).get("process")) is not None
            if not envoy_runs or kept != wanted.get("port"):
                if not is_free(kept):
                    raise Conflict(
                        f"port {kept} of the endpoint is taken by another process",
                        thing="target.port",
                        value=kept,
                        remedy="name another port in the profile's target, or end what listens there",
                    )
                if envoy_runs:
                    raise Conflict(
                        f"the endpoint listens on port {wanted['port']}, the profile now says {kept}",
                        thing="target.port",
                        value=kept,
                        remedy="`retrain serving down MODEL`, then `up`",
                    )
                admin_port = wanted.get("admin_port")
                if admin_port is None or not is_free(admin_port):
                    wanted["admin_port"] = free_port()
            fresh = {"model": model, "task": task, "positive": positive, "port": kept, **limits}
            fresh |= {"versions": {}, "stable": None, "envoy": None} | {
                key: wanted[key] for key in ("versions", "stable", "envoy", "admin_port") if key in wanted
            }
            if fresh != wanted:
                replace(self.layout.wanted, fresh)

    def want(self, version: str, *, files: str, python: str, envoy: str, digest: str) -> None:
        """Ask for a version; one that failed before is tried anew."""
        with alone(self.layout.lock):
            wanted = self.wanted
            known = wanted["versions"].get(version)
            if known is not None and self.version(version).get("state") != "failed":
                return
            asked = {"files": files, "python": python, "digest": digest, "prepared_at": time.time()}
            versions = wanted["versions"] | {version: asked}
            stable = wanted["stable"] or version
            replace(self.layout.wanted, wanted | {"versions": versions, "stable": stable, "envoy": envoy})

    def unwant(self, version: str) -> None:
        """Its server is ended by the supervisor."""
        with alone(self.layout.lock):
            wanted = self.wanted
            if version in wanted.get("versions", {}):
                left = {v: asked for v, asked in wanted["versions"].items() if v != version}
                stable = wanted["stable"] if wanted["stable"] != version else next(iter(left), None)
                replace(self.layout.wanted, wanted | {"versions": left, "stable": stable})

    def name_stable(self, version: str) -> None:
        """Who answers where another cannot, and is never given up."""
        with alone(self.layout.lock):
            wanted = self.wanted
            if wanted["stable"] != version:
                replace(self.layout.wanted, wanted | {"stable": version})

    def supervise(self) -> None:
        """A supervisor, where none runs. Raises `Unavailable` where it does not come up."""
        if self.supervised:
            return
        here = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        environment = bare_environment({"PYTHONPATH": here})
        command = [sys.executable, "-m", "tools.adapters.serving.supervisor", str(self.layout.folder)]
        child = processes.start(command, self.layout.folder, environment, self.layout.log)
        _LEFT_RUNNING.append(child)
        self.wait(
            lambda: self.supervised or None,
            START_SECONDS,
            "the supervisor did not come up",
            # Another command may have started one meanwhile: then ours ends at once with 3, and theirs counts.
            fault=lambda: None if child.alive or self.supervised else processes.tail(self.layout.log, 5) or "it ended",
            patience=1.0,
        )

    def wait(
        self,
        done: Callable[[], Any],
        seconds: float,
        what: str,
        *,
        fault: Callable[[], str | None] = lambda: None,
        patience: float = 0.0,
    ) -> Any:
        """What `done` returns that is not None; `Unavailable` from it means not yet.

        Raises:
            Unavailable: `fault` named one for longer than `patience`.
            TimedOut: It took too long.
        """
        begun, faulty_since = time.monotonic(), None
        said = ""
        while True:
            try:
                found = done()
                if found is not None:
                    return found
            except Unavailable as failure:
                said = f": {failure.message}"
            problem, now = fault(), time.monotonic()
            if problem is None:
                faulty_since = None
            elif (faulty_since := faulty_since or now) + patience <= now:
                raise Unavailable(f"{what}: {problem}", thing="serving", value=str(self.layout.folder))
            if now - begun > seconds:
                raise TimedOut(f"{what} within {seconds:g} s{said}", thing="serving", value=seconds)
            time.sleep(POLL)

    def down(self) -> bool:
        """Everything of this model is ended, whatever state it was in; whether there was anything.

        Raises:
            Unavailable: Something would not end.
        """
        if not self.layout.folder.exists():
            return False
        with alone(self.layout.lock):
            wanted = read_or_empty(self.layout.wanted)
            if wanted:
                replace(self.layout.wanted, wanted | {"versions": {}, "stable": None})
            running = read_or_empty(self.layout.running)
        supervisor = processes.adopted(running.get("supervisor"))
        if supervisor is not None:
            processes.ask_to_stop(supervisor)
            until = time.monotonic() + STOP_SECONDS
            while supervisor.alive and time.monotonic() < until:
                time.sleep(POLL)
            supervisor.end(0.0)
        left = processes.strays(self.layout.folder)
        for stray in left:
            stray.end(3.0)
        self.layout.running.unlink(missing_ok=True)
        for path in (self.layout.routes, self.layout.clusters):
            path.unlink(missing_ok=True)
        if still := [stray.pid for stray in processes.strays(self.layout.folder)]:
            raise Unavailable(f"processes {still} would not end", thing="serving", value=still)
        return supervisor is not None or bool(left)


def read_or_empty(path: Path) -> dict[str, Any]:
    """For clearing away: a file that cannot be read holds nothing up."""
    try:
        return read(path)
    except Unavailable:
        return {}


def refuse_unknown(version: str) -> BadInput:
    """For a version that is not loaded."""
    return BadInput(f"version {version} is not loaded", thing="version", value=version)
