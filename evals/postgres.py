# pyright: reportMissingImports=false
"""A PostgreSQL server on loopback, empty, for as long as a block lasts. Debian's, or whichever is in PATH."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

USER: Final = "retrain"
PASSWORD: Final = "not-to-be-shown"
SECONDS: Final = 60.0


class NoServer(Exception):
    """PostgreSQL, or the driver for it, is not installed."""


def url_of(port: int) -> str:
    """Of the database, as a run store's."""
    return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"


@contextmanager
def running() -> Iterator[int]:
    """Its port. `USER` may do everything, by `PASSWORD`, in the database `postgres`.

    Raises:
        NoServer: nothing to start, or nothing to ask it with.
        RuntimeError: it did not start.
    """
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        raise NoServer("PostgreSQL's server is not installed: `make engines` installs Debian's")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise NoServer("PostgreSQL's driver is not installed: `make engines` installs psycopg") from error
    folder = Path(tempfile.mkdtemp(prefix="retrain-pg-"))
    # The server refuses to run as root.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    try:
        with _started(folder, as_user, initdb, server) as port:
            yield port
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _started(folder: Path, as_user: list[str], initdb: str, server: str) -> Iterator[int]:
    secret, port = folder / "secret", _free_port()
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    setup = [*as_user, initdb, "-D", str(folder / "data"), "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}"]
    made = subprocess.run([*setup, "--no-sync", "-E", "UTF8"], capture_output=True, text=True, cwd=folder, check=False)
    secret.unlink()
    if made.returncode != 0:
        raise RuntimeError(made.stderr)
    # Another zone than UTC: what is not pinned shows.
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off", "-c", "timezone=America/Lima"]
    options += ["-c", "max_connections=300"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*as_user, server, "-D", str(folder / "data"), *options], stderr=log, cwd=folder)
        try:
            _wait(port, process, folder / "log")
            yield port
        finally:
            process.terminate()
            process.wait(SECONDS)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            psycopg.connect(
                host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres", connect_timeout=2
            ).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.2)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-1000:]}")


def _program(name: str) -> str | None:
    """From PATH, or from where Debian puts a server's programs."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(places[0]) if places else shutil.which(name)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
