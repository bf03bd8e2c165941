# pyright: reportMissingImports=false
"""A real PostgreSQL server and a local Spark session, started by the tests and ended by them.

Where one cannot be had the tests are skipped with the reason; with `ENGINES_REQUIRED` set, as `make engines` does, that fails.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from evals.postgres import PASSWORD, USER, NoServer, running

__all__ = ["PASSWORD", "USER"]


def unavailable(why: str) -> None:
    """Skips, or fails where the engines were asked for."""
    if os.environ.get("ENGINES_REQUIRED"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def postgres_port() -> Iterator[int]:
    """Of a server with an empty database."""
    with ExitStack() as stack:
        try:
            port = stack.enter_context(running())
        except NoServer as error:
            unavailable(str(error))
            raise
        yield port


@pytest.fixture(scope="session")
def postgres(postgres_port: int) -> str:
    """Its address; the password is in the variable PGTEST_PASSWORD of the environ given."""
    return f"postgresql://{USER}:${{PGTEST_PASSWORD}}@127.0.0.1:{postgres_port}/postgres"


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
