# pyright: basic
"""Where does everything of one served model lie, and how is it written so that no reader sees half a file?

Two hands write, each only its own files: commands write `wanted.json` (under a lock) and the route, the supervisor writes
`running.json` and the clusters. So a `kill -9` of either leaves a state that the other understands.
"""

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tools.errors import BadInput, Unavailable

LOOPBACK = "127.0.0.1"
_FIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Layout:
    """Paths of one served model under the workspace's work folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wanted, self.running = folder / "wanted.json", folder / "running.json"
        self.lock, self.supervisor_lock = folder / "commands.lock", folder / "supervisor.lock"
        self.envoy = folder / "envoy"
        self.bootstrap = self.envoy / "bootstrap.json"
        self.clusters, self.routes = self.envoy / "clusters.json", self.envoy / "routes.json"
        self.answers, self.log = folder / "answers", folder / "supervisor.log"

    def files(self, version: str) -> Path:
        """The version's model files; MLServer looks for settings in its own folder, so they lie apart from it."""
        return self.folder / "models" / version

    def server(self, version: str) -> Path:
        """Settings and log of the version's server."""
        return self.folder / "servers" / version

    def make(self) -> None:
        """Raises `Unavailable` where the folder cannot be made."""
        try:
            for path in (self.folder, self.envoy, self.answers):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise unwritten(self.folder, error) from error


def layout_of(work_dir: Path, model_id: str) -> Layout:
    """The layout for a profile's id."""
    return Layout(work_dir / "serving" / fit_name(model_id))


def fit_name(name: str) -> str:
    """As a file name and a part of a URL."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)[:64] or "model"


def fit_version(version: str) -> str:
    """Raises `BadInput` for a version that could be no file name."""
    if _FIT.fullmatch(version) is None:
        raise BadInput(f"version {version!r} cannot be served", thing="version", value=version)
    return version


def read(path: Path) -> dict[str, Any]:
    """Content of a file that is replaced whole; empty where there is none. Raises `Unavailable` where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"{path} cannot be read: {error}",
            thing="serving",
            value=str(path),
            remedy="`retrain serving down MODEL` clears it away",
        ) from error


def replace(path: Path, content: Any) -> None:
    """The new content whole or the old one.

    Raises:
        Unavailable: Disk full, or not writable: the old content stands.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise unwritten(path, error) from error


def unwritten(path: Path, error: OSError) -> Unavailable:
    """For a file that could not be written."""
    return Unavailable(
        f"{path.name} could not be written ({error.strerror or error}); what was there before stands",
        thing="serving",
        value=str(path),
        remedy="make room on the disk, then try again",
    )


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One command at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """Of the system, on loopback."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return one.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
