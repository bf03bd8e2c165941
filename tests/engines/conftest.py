# pyright: reportMissingImports=false
"""A real PostgreSQL server and a local Spark session, started by the tests and ended by them.

Where one cannot be had the tests are skipped with the reason; with `ENGINES_REQUIRED` set, as `make engines` does, that fails.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

USER, PASSWORD = "retrain", "not-to-be-shown"


def unavailable(why: str) -> None:
    """Skips, or fails where the engines were asked for."""
    if os.environ.get("ENGINES_REQUIRED"):
        pytest.fail(why)
    pytest.skip(why)


def _program(name: str) -> str | None:
    """From PATH, or from where Debian puts a server's programs."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(places[0]) if places else shutil.which(name)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a server with an empty database; the password is in the variable PGTEST_PASSWORD of the environ given."""
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        unavailable("PostgreSQL's server is not installed: `make engines` installs Debian's")
    assert initdb is not None
    assert server is not None
    folder = Path(tempfile.mkdtemp(prefix="retrain-pg-"))
    # The server refuses to run as root.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    secret = folder.parent / f"{folder.name}.secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    port = _free_port()
    setup = [*as_user, initdb, "-D", str(folder / "data"), "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}"]
    made = subprocess.run([*setup, "--no-sync", "-E", "UTF8"], capture_output=True, text=True, cwd=folder)
    secret.unlink()
    assert made.returncode == 0, made.stderr
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off", "-c", "timezone=America/Lima"]
    log = (folder.parent / f"{folder.name}.log").open("w")
    process = subprocess.Popen([*as_user, server, "-D", str(folder / "data"), *options], stderr=log, cwd=folder)
    try:
        _wait(port, process)
        yield f"postgresql://{USER}:${{PGTEST_PASSWORD}}@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(30)
        log.close()
        Path(log.name).unlink()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    for _ in range(150):
        assert process.poll() is None, "PostgreSQL ended at once"
        try:
            psycopg.connect(
                host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres", connect_timeout=2
            ).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.2)
    raise AssertionError("PostgreSQL did not answer within half a minute")


@pytest.fixture(scope="session")
def spark() -> Iterator[None]:
    """A local session; `spark:` sources use it."""
    if shutil.which("java") is None:
        unavailable("Spark needs Java, which is not installed")
    session = (
        pytest.importorskip("pyspark.sql") if not os.environ.get("ENGINES_REQUIRED") else __import__("pyspark.sql")
    )
    assert session is not None
    from pyspark.sql import SparkSession

    # A driver of another zone than UTC: what is pinned shows.
    os.environ["TZ"] = "America/Lima"
    time.tzset()
    made = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.warehouse.dir", tempfile.mkdtemp(prefix="retrain-spark-"))
        .getOrCreate()
    )
    yield
    made.stop()
    del os.environ["TZ"]
    time.tzset()
