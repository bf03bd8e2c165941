"""Triggers in both run stores, SQL and memory."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.conformance.trigger_store import START, TriggerPromises, evaluation, promise_of_one
from tools.adapters.memory_store import MemoryStore
from tools.adapters.store import SqlStore
from tools.contracts.triggers import Watcher
from tools.ports import Store


def lives(holder: str) -> bool | None:
    return None if holder.startswith("far") else not holder.startswith("dead")


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    clock = lambda: START  # noqa: E731
    if request.param == "memory":
        return MemoryStore(clock, lives)
    return SqlStore(f"sqlite:///{tmp_path}/store.db", clock, lives)


class TestTriggers(TriggerPromises):
    """Both keep them."""


def test_of_one_model_the_newest_evaluations_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.adapters.store_trigger_rules.KEPT_EVALUATIONS", 5)
    for number in range(8):
        store.add_evaluation(evaluation("fresh", START + timedelta(seconds=number)))
    store.add_evaluation(evaluation("fresh", model_id="other"))
    kept = store.evaluations("prices", 1000)
    assert [each.at for each in kept] == [START + timedelta(seconds=number) for number in (7, 6, 5, 4, 3)]
    assert len(store.evaluations("other")) == 1


def test_one_process_watches_a_store_on_sqlite_and_the_second_is_told_who(tmp_path: Path) -> None:
    promise_of_one(lambda: SqlStore(f"sqlite:///{tmp_path}/store.db", lambda: START, lives))


def test_process_that_was_killed_leaves_a_store_on_sqlite_at_once(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/store.db", lambda: START, lives)
    store.begin_watching(Watcher(holder="dead:2:0.00", started_at=START, beat_at=START))
    store.begin_watching(Watcher(holder="here:3:0.00", started_at=START, beat_at=START))
    assert len(store.watchers()) == 2
