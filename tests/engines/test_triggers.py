# pyright: reportMissingImports=false
"""Triggers in a run store on PostgreSQL: the same promises, and several workers at once that double nothing and lose nothing."""

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.trigger_store import START, TriggerPromises, evaluation, firing, state, watch
from tests.engines.conftest import PASSWORD
from tools.adapters.store import SqlStore
from tools.errors import Conflict
from tools.ports import Store

pytestmark = pytest.mark.engines

MODELS, WORKERS = 120, 4


def lives(holder: str) -> bool | None:
    return None if holder.startswith("far") else not holder.startswith("dead")


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    """A schema of its own."""
    import psycopg
    from psycopg import sql

    address = postgres.replace("${PGTEST_PASSWORD}", os.environ.get("PGTEST_PASSWORD", PASSWORD))
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(name)))
    yield address.replace("postgresql://", "postgresql+psycopg://") + f"?options=-csearch_path%3D{name}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    made = SqlStore(url, lambda: START, lives)
    yield made
    made._engine.dispose()


class TestTriggers(TriggerPromises):
    """As SQLite and memory keep them."""


def test_any_number_of_processes_may_watch(store: Store) -> None:
    assert not store.watched_by_one
    watch(store, "far:1:0")
    watch(store, "far:2:0")
    assert len(store.watchers()) == 2


def test_workers_at_once_evaluate_each_model_once_and_start_each_run_once(store: Store, url: str) -> None:
    for number in range(MODELS):
        store.put_watch(state(f"m{number:03}"))

    def work(number: int) -> tuple[list[str], list[str]]:
        mine, holder = SqlStore(url, lambda: START, lives), f"far:{number}:0"
        watch(mine, holder)
        evaluated: list[str] = []
        while batch := mine.claim_watch(holder, START, 5):
            for each, _, version in batch:
                key = f"trigger/{each.model_id}"
                after = each.model_copy(update={"next_at": None})
                mine.settle_watch(
                    after, version, (evaluation("fires", model_id=each.model_id),), firing=firing(key, each.model_id)
                )
                evaluated.append(each.model_id)
        started: list[str] = []
        while found := mine.claim_firings(holder, START, 3):
            for each in found:
                started.append(each.key)
                mine.settle_firing(each.model_copy(update={"status": "started", "run_id": each.key}))
        mine._engine.dispose()
        return evaluated, started

    with ThreadPoolExecutor(WORKERS) as pool:
        done = list(pool.map(work, range(WORKERS)))
    counted = Counter(each for evaluated, _ in done for each in evaluated)
    assert counted == Counter(f"m{number:03}" for number in range(MODELS))
    started = Counter(each for _, each_started in done for each in each_started)
    # A worker may end before the last ones have written their firings: those are still there, for whoever comes.
    assert max(started.values()) == 1
    assert len(started) + store.waiting_firings() == MODELS
    assert sum(bool(evaluated) for evaluated, _ in done) > 1


def test_model_taken_over_from_a_worker_that_only_slept_is_settled_once(store: Store) -> None:
    from tests.conformance.trigger_store import after

    watch(store, "far:1:0")
    store.put_watch(state())
    ((slow, _, old),) = store.claim_watch("far:1:0", START, 1)
    watch(store, "far:2:0", after(100))
    ((quick, _, new),) = store.claim_watch("far:2:0", after(100), 1)
    assert store.settle_watch(quick, new, (evaluation(),), firing=firing()) is not None
    with pytest.raises(Conflict, match="taken over"):
        store.settle_watch(slow, old, (evaluation(),), firing=firing("another"))
    assert [each.key for each in store.firings()] == [firing().key]
