"""The suite of the run stores on a real PostgreSQL, and what several processes could do wrong to one there."""

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from evals.postgres import url_of
from tests.conformance import test_store as suite
from tests.conformance.test_store import SetClock, clock, lives, processes, run
from tools.adapters.store import SqlStore
from tools.errors import BadInput
from tools.ports import Store

pytestmark = pytest.mark.engines

__all__ = ["clock", "processes"]


def _of_any_store(test: Any) -> bool:
    asked = inspect.signature(test).parameters
    return "store" in asked or ("url" in asked and set(asked) <= {"url", "clock", "attempt", "processes"})


globals().update({name: test for name, test in vars(suite).items() if name.startswith("test_") and _of_any_store(test)})


@pytest.fixture
def url(postgres_port: int) -> Iterator[str]:
    """A schema of its own in the one server. Whatever was connected to it is closed afterwards."""
    import sqlalchemy as sa
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    opened: list[Any] = []

    def keep(connection: Any, _: Any) -> None:
        opened.append(connection)

    event.listen(Pool, "connect", keep)
    name = f"s{uuid4().hex}"
    engine = sa.create_engine(url_of(postgres_port))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    yield f"{url_of(postgres_port)}?options=-csearch_path%3D{name}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))
    event.remove(Pool, "connect", keep)
    for each in opened:
        each.close()


@pytest.fixture
def store(url: str, clock: SetClock) -> Store:
    return SqlStore(url, clock, lives)


def test_stores_that_are_made_at_once_are_one(url: str):
    barrier = Barrier(4)

    def opens() -> str:
        barrier.wait(30)
        return SqlStore(url, SetClock()).identity()

    with ThreadPoolExecutor(4) as pool:
        assert len({each.result() for each in [pool.submit(opens) for _ in range(4)]}) == 1


def test_look_that_two_record_at_once_stands_once(store: Store):
    barrier = Barrier(3)

    def looks(alpha: float) -> Any:
        barrier.wait(30)
        return store.record_look(suite.a_look("run-1", alpha=alpha))

    with ThreadPoolExecutor(3) as pool:
        told = [each.result() for each in [pool.submit(looks, alpha) for alpha in (0.01, 0.02, 0.03)]]
    assert [told[0]] * 3 == told
    assert store.looks("shop.prices") == [told[0]]


@pytest.mark.parametrize("text", ["a\x00b", "half \ud83d of one", "\\u0000"])
def test_text_that_postgresql_cannot_read_hides_no_other_run(store: Store, text: str):
    """The trap: such a character in one record, and no query that looks into records answers any more."""
    store.create_run(run("run-1", output={"log": text}))
    store.create_run(run("run-2"))
    assert {each.run_id for each in store.unfinished()} == {"run-1", "run-2"}
    kept = store.get_run("run-1").output
    assert kept is not None
    assert kept["log"] == text.replace("\x00", "\ufffd").replace("\ud83d", "\ufffd")


@pytest.mark.parametrize("key", ["k" * 300, "k\x00"])
def test_key_that_does_not_fit_is_the_callers_fault_and_nothing_is_kept(store: Store, key: str):
    with pytest.raises(BadInput, match="cannot keep"):
        store.create_run(run(idempotency_key=key))
    assert store.list_runs() == []
    assert store.create_run(run(idempotency_key="k" * 200)).idempotency_key == "k" * 200


def test_requests_at_once_on_this_store_lose_nothing_and_no_runs_overlap(tmp_path: Path):
    file = tmp_path / "rows.json"
    words = ["-m", "evals.reliability.load", "--quick", "--store", "PostgreSQL", "--json", str(file)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = json.loads(file.read_text())["rows"]
    assert [row["value"] for row in rows if row["target"]] == [0, 0, 0, 0]
