"""One suite for both run stores, SQL and memory. Then what only a database, or only a process, can do wrong."""

import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tools.adapters.memory_store import MemoryStore
from tools.adapters.processes import is_alive, this_holder
from tools.adapters.store import SqlStore
from tools.contracts.access import ApiKey
from tools.contracts.comparison import Look
from tools.contracts.run import ChampionEvent, EffectRecord, Hold, Lease, Review, RunRecord
from tools.errors import BadInput, BrokenInvariant, Conflict, NotFound, RetrainingError, Unavailable
from tools.ports import Store

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)
HERE = "here:1:0.00"
"""A holder that is alive, as is every other one, except those named `dead` and those `far` away."""


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def lives(holder: str) -> bool | None:
    return None if holder.startswith("far") else not holder.startswith("dead")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, clock: SetClock, url: str) -> Store:
    return MemoryStore(clock, lives) if request.param == "memory" else SqlStore(url, clock, lives)


def run(run_id: str = "run-1", **changes: Any) -> RunRecord:
    given = {
        "run_id": run_id,
        "model_id": "prices",
        "model_name": "shop.prices",
        "kind": "retrain",
        "status": "running",
        "requested_by": "ann",
        "created_at": START,
        "updated_at": START,
    }
    return RunRecord.model_validate(given | changes)


def review(run_id: str = "run-1", digest: str = "d1", **changes: Any) -> Review:
    given = {
        "id": 0,
        "run_id": run_id,
        "model_id": "prices",
        "status": "open",
        "offered": "deploy",
        "payload": {"action_requests": [{"name": "deploy"}]},
        "digest": digest,
        "nonce": "n1",
        "requested_by": "ann",
        "approvers": ("bob", "eve"),
        "created_at": START,
        "expires_at": START + timedelta(hours=1),
    }
    return Review.model_validate(given | changes)


def event(version: str, model_name: str = "shop.prices", **changes: Any) -> ChampionEvent:
    given = {"model_name": model_name, "version": version, "previous": None, "how": "deployed", "run_id": "run-1"}
    return ChampionEvent.model_validate(given | {"at": START, "by": "policy"} | changes)


def acquire(store: Store, run_id: str = "run-1", holder: str = HERE, **options: Any) -> Lease:
    return store.acquire("shop.prices", run_id, holder, 60, **options)


def answer(store: Store, review_id: int = 1, **changes: Any) -> Review:
    given = {"digest": "d1", "nonce": "n1", "answer": "approve", "by": "bob", "reason": "looks right", "at": START}
    return store.answer_review(review_id, **given | changes)


# --- runs ------------------------------------------------------------------------------------------------------------


def test_run_is_read_back_whole(store: Store):
    given = run(kind="judge", wake_at=START, parked_for="review", output={"é": [1, None, {"x": 0.1}]}, error="a\nb")
    assert store.create_run(given) == given
    assert store.get_run("run-1") == given


def test_known_idempotency_key_returns_the_earlier_run_as_it_is_now(store: Store):
    store.create_run(run("run-1", idempotency_key="k"))
    now = store.update_run("run-1", status="finished")
    assert store.create_run(run("run-2", idempotency_key="k")) == now
    assert store.list_runs() == [now]


def test_idempotency_key_of_another_model_is_a_conflict(store: Store):
    store.create_run(run("run-1", idempotency_key="k"))
    with pytest.raises(Conflict, match=r"'k' was used for 'prices' \(run run-1\)"):
        store.create_run(run("run-2", model_id="loads", idempotency_key="k"))
    assert [r.run_id for r in store.list_runs()] == ["run-1"]


def test_idempotency_key_of_another_request_is_a_conflict_and_nothing_is_written(store: Store):
    order = {"request": {"model_id": "prices", "x": 1}, "as_of": "then", "candidate_version": None}
    first = store.create_run(run(idempotency_key="k", order=order))
    same = run(
        "run-2", idempotency_key="k", order=order | {"as_of": "now", "request": {"model_id": "shop.prices", "x": 1}}
    )
    assert (store.repeated(same), store.create_run(same)) == (first, first)
    for changes in (
        {"order": order | {"request": {"model_id": "prices", "x": 2}}},
        {"order": order | {"candidate_version": "3"}},
        {"order": order, "kind": "judge"},
    ):
        other = run("run-2", idempotency_key="k", **changes)
        for ask in (store.repeated, store.create_run):
            with pytest.raises(Conflict, match="'k' was used for another request"):
                ask(other)
    assert store.repeated(run("run-2", idempotency_key="new")) is None
    assert store.repeated(run("run-2")) is None
    assert store.list_runs() == [first]


def test_runs_without_a_key_are_all_kept(store: Store):
    made = [store.create_run(run(f"run-{n}")) for n in (1, 2)]
    assert store.list_runs() == made[::-1]


def test_run_recorded_twice_is_a_conflict_and_the_first_stays(store: Store):
    first = store.create_run(run("run-1"))
    with pytest.raises(Conflict, match="'run-1' was recorded already"):
        store.create_run(run("run-1", requested_by="mallory"))
    assert store.get_run("run-1") == first


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.get_run("run-9"),
        lambda store: store.update_run("run-9", status="failed"),
    ],
)
def test_unknown_run_is_not_found(store: Store, ask: Callable[[Store], Any]):
    with pytest.raises(NotFound, match="no run 'run-9'") as caught:
        ask(store)
    assert (caught.value.thing, caught.value.value) == ("run", "run-9")


def test_update_sets_the_fields_given_and_the_time(store: Store, clock: SetClock):
    before = store.create_run(run())
    clock.wait(5)
    after = store.update_run("run-1", status="parked", parked_for="review", output={"a": 1})
    changes = {"status": "parked", "parked_for": "review", "output": {"a": 1}, "updated_at": clock.now}
    assert after == before.model_copy(update=changes)
    assert store.get_run("run-1") == after


@pytest.mark.parametrize("field", ["colour", "model_id", "idempotency_key", "created_at"])
def test_update_of_no_field_or_of_what_a_run_is_found_by_is_refused(store: Store, field: str):
    before = store.create_run(run())
    with pytest.raises(BrokenInvariant, match=field):
        store.update_run("run-1", **{field: "x"})
    assert store.get_run("run-1") == before


def test_update_to_a_value_that_makes_no_sense_changes_nothing(store: Store):
    before = store.create_run(run())
    with pytest.raises(ValidationError):
        store.update_run("run-1", status="happy")
    assert store.get_run("run-1") == before


def test_runs_are_listed_newest_first_by_model_and_limited(store: Store):
    """Times as text are the trap: a whole second has no fraction to sort by."""
    moments = {"run-1": 0.5, "run-2": 0.0, "run-3": 1.0, "run-4": 0.500001}
    for run_id, seconds in moments.items():
        store.create_run(run(run_id, created_at=START + timedelta(seconds=seconds)))
    store.create_run(run("run-5", model_id="loads"))
    listed = {
        "all": [r.run_id for r in store.list_runs()],
        "prices": [r.run_id for r in store.list_runs("prices")],
        "two": [r.run_id for r in store.list_runs(limit=2)],
        "nothing": store.list_runs("nothing"),
    }
    assert listed == {
        "all": ["run-3", "run-4", "run-1", "run-5", "run-2"],
        "prices": ["run-3", "run-4", "run-1", "run-2"],
        "two": ["run-3", "run-4"],
        "nothing": [],
    }


def test_unfinished_runs_are_those_that_may_still_go_on(store: Store):
    for number, status in enumerate(("running", "parked", "finished", "failed", "aborted")):
        made = run(
            f"run-{number}", created_at=START + timedelta(seconds=number), model_id="loads" if number == 1 else "prices"
        )
        store.create_run(made.model_copy(update={"status": status}))

    assert [r.run_id for r in store.unfinished()] == ["run-3", "run-1", "run-0"]
    assert [r.run_id for r in store.unfinished("loads")] == ["run-1"]
    store.update_run("run-3", status="finished")
    assert [r.run_id for r in store.unfinished("prices")] == ["run-0"]


def test_what_a_caller_does_to_its_objects_later_changes_nothing_in_the_store(store: Store):
    rows = [1]
    store.create_run(run(output={"rows": rows}))
    rows.append(2)
    output = store.get_run("run-1").output
    assert output is not None
    output["rows"].append(3)
    assert store.get_run("run-1").output == {"rows": [1]}


def test_store_is_empty_until_a_run_is_recorded(store: Store):
    store.record_champion(event("1"))
    before = store.is_empty()
    store.create_run(run())
    assert (before, store.is_empty()) == (True, False)


def test_identity_is_stable_and_its_own(store: Store, clock: SetClock, tmp_path: Path):
    others = {MemoryStore(clock).identity(), SqlStore(f"sqlite:///{tmp_path}/other.db", clock).identity()}
    assert len({store.identity(), store.identity()} | others) == 3


# --- leases ----------------------------------------------------------------------------------------------------------


def test_free_lease_is_granted_under_the_first_token(store: Store, clock: SetClock):
    got = acquire(store)
    assert got == Lease(
        model_name="shop.prices", run_id="run-1", holder=HERE, token=1, expires_at=START + timedelta(seconds=60)
    )
    assert store.current_lease("shop.prices") == got


def test_nobody_holds_a_model_that_was_never_acquired(store: Store):
    acquire(store)
    assert store.current_lease("shop.loads") is None


@pytest.mark.parametrize(
    ("holder", "parked", "seconds", "asker", "granted"),
    [
        pytest.param(HERE, False, 0, ("run-1", HERE), True, id="its own process again"),
        pytest.param(HERE, False, 0, ("run-1", "here:2:0.00"), False, id="the same run in a second process"),
        pytest.param(HERE, False, 0, ("run-2", HERE), False, id="another run in the same process"),
        pytest.param(HERE, False, 60, ("run-2", "here:2:0.00"), False, id="another run at the last moment"),
        pytest.param(HERE, False, 60.5, ("run-2", "here:2:0.00"), True, id="another run after it ran out"),
        pytest.param("far:1:0.00", False, 0, ("run-2", HERE), False, id="another run, holder out of sight"),
        pytest.param("far:1:0.00", False, 0, ("run-1", HERE), False, id="the same run, holder out of sight"),
        pytest.param("dead:1:0.00", False, 0, ("run-1", HERE), True, id="the same run after its process died"),
        pytest.param("dead:1:0.00", False, 0, ("run-2", HERE), True, id="another run after the process died"),
        pytest.param("dead:1:0.00", True, 0, ("run-1", HERE), True, id="the same run wakes in another process"),
        pytest.param("dead:1:0.00", True, 10**6, ("run-2", HERE), False, id="another run while it is parked"),
    ],
)
def test_held_lease_gives_way_to(
    store: Store, clock: SetClock, holder: str, parked: bool, seconds: float, asker: tuple[str, str], granted: bool
):
    held = acquire(store, holder=holder)
    if parked:
        store.park(held)
    before = store.current_lease("shop.prices")
    clock.wait(seconds)
    if granted:
        assert acquire(store, *asker).token == 2
        return
    with pytest.raises(Conflict):
        acquire(store, *asker)
    assert store.current_lease("shop.prices") == before


def test_refusal_names_run_process_and_since_when(store: Store, clock: SetClock):
    acquire(store)
    clock.wait(5)
    with pytest.raises(Conflict) as caught:
        acquire(store, "run-2")
    assert str(caught.value) == (
        "'shop.prices' is held by run run-1 since 2026-01-01 00:00:00 UTC (running in process here:1:0.00)\n"
        "  remedy: wait until run run-1 is done; `retrain runs show run-1`"
    )


def test_refusal_by_a_parked_run_says_how_it_can_be_ended(store: Store):
    store.park(acquire(store))
    with pytest.raises(Conflict) as caught:
        acquire(store, "run-2")
    assert str(caught.value) == (
        "'shop.prices' is held by run run-1 since 2026-01-01 00:00:00 UTC "
        "(parked: it waits for a person or a rollout)\n"
        "  remedy: `retrain runs show run-1`; answer its review, resume it, or roll back, which pre-empts it"
    )


@pytest.mark.parametrize("parked", [False, True])
def test_rollback_takes_the_lease_from_whoever_holds_it(store: Store, parked: bool):
    held = acquire(store)
    if parked:
        store.park(held)
    taken = acquire(store, "run-2", preempt=True)
    assert store.current_lease("shop.prices") == taken


def test_tokens_only_grow(store: Store, clock: SetClock):
    first = acquire(store)
    second = acquire(store, "run-2", preempt=True)
    store.release(second)
    third = acquire(store, "run-3")
    clock.wait(61)
    fourth = acquire(store, "run-4")
    assert [lease.token for lease in (first, second, third, fourth)] == [1, 2, 3, 4]


def test_heartbeat_puts_the_end_off(store: Store, clock: SetClock):
    lease = acquire(store)
    clock.wait(50)
    assert store.heartbeat(lease, 60) is True
    assert store.current_lease("shop.prices") == lease.model_copy(
        update={"expires_at": clock.now + timedelta(seconds=60)}
    )


def test_heartbeat_is_false_once_another_took_the_lease(store: Store):
    lease = acquire(store)
    taken = acquire(store, "run-2", preempt=True)
    assert store.heartbeat(lease, 10**6) is False
    assert store.current_lease("shop.prices") == taken


def test_heartbeat_is_false_once_the_same_run_took_it_again(store: Store):
    lease = acquire(store)
    acquire(store)
    assert store.heartbeat(lease, 60) is False


def test_heartbeat_is_false_once_released(store: Store):
    lease = acquire(store)
    store.release(lease)
    assert store.heartbeat(lease, 60) is False
    assert store.current_lease("shop.prices") is None


def test_heartbeat_that_comes_late_leaves_a_parked_lease_parked(store: Store):
    """The trap: the keeper's thread may beat in the very moment in which the run parks."""
    lease = acquire(store)
    store.park(lease)
    assert store.heartbeat(lease, 60) is True
    assert store.current_lease("shop.prices") == lease.model_copy(update={"expires_at": None})


def test_parking_a_lease_that_was_taken_over_is_a_conflict(store: Store):
    lease = acquire(store)
    taken = acquire(store, "run-2", preempt=True)
    with pytest.raises(Conflict, match="was taken over"):
        store.park(lease)
    assert store.current_lease("shop.prices") == taken


def test_release_frees_the_model(store: Store):
    store.release(acquire(store))
    assert store.current_lease("shop.prices") is None
    assert acquire(store, "run-2").token == 2


def test_release_by_an_older_token_changes_nothing(store: Store):
    older = acquire(store)
    newest = acquire(store)
    store.release(older)
    assert store.current_lease("shop.prices") == newest


def test_release_of_one_model_leaves_the_others_alone(store: Store):
    other = store.acquire("shop.loads", "run-1", HERE, 60)
    store.release(acquire(store))
    assert store.current_lease("shop.loads") == other


# --- effects ---------------------------------------------------------------------------------------------------------


def test_effect_is_intended_once_and_the_second_gets_the_earlier_record(store: Store, clock: SetClock):
    lease = acquire(store)
    first = store.intend(lease, "run-1/train", "train", {"seed": 1})
    clock.wait(5)
    again = store.intend(acquire(store), "run-1/train", "train", {"seed": 2})
    assert first == EffectRecord(
        key="run-1/train",
        run_id="run-1",
        name="train",
        status="intended",
        token=1,
        intent={"seed": 1},
        intended_at=START,
    )
    assert (again, store.effects("run-1")) == (first, [first])


@pytest.mark.parametrize("how", ["taken over", "released", "taken again by its own run"])
def test_effect_under_an_old_token_is_refused_and_not_recorded(store: Store, how: str):
    lease = acquire(store)
    if how == "taken over":
        acquire(store, "run-2", preempt=True)
    elif how == "released":
        store.release(lease)
    else:
        acquire(store)
    with pytest.raises(Conflict, match="was taken over; train is not done"):
        store.intend(lease, "run-1/train", "train", {})
    assert store.effects("run-1") == []


def test_effect_recorded_before_a_takeover_is_not_shown_to_the_old_token(store: Store):
    lease = acquire(store)
    store.intend(lease, "run-1/train", "train", {})
    acquire(store, "run-2", preempt=True)
    with pytest.raises(Conflict, match="was taken over"):
        store.intend(lease, "run-1/train", "train", {})


def test_confirmed_effect_carries_its_result_and_time(store: Store, clock: SetClock):
    lease = acquire(store)
    intended = store.intend(lease, "run-1/train", "train", {})
    clock.wait(5)
    done = store.confirm("run-1/train", {"version": "7"})
    assert done == intended.model_copy(
        update={"status": "done", "result": {"version": "7"}, "done_at": START + timedelta(seconds=5)}
    )
    assert store.intend(lease, "run-1/train", "train", {}) == done


def test_effect_confirmed_before_it_was_intended_breaks_an_invariant(store: Store):
    with pytest.raises(BrokenInvariant, match="'run-1/train' was confirmed before it was intended"):
        store.confirm("run-1/train", {})
    assert store.effects("run-1") == []


def test_effects_come_by_run_in_order_of_intent(store: Store):
    lease = acquire(store)
    other = store.acquire("shop.loads", "run-2", HERE, 60)
    for held, name in [(lease, "train"), (other, "train"), (lease, "register"), (lease, "alias")]:
        store.intend(held, f"{held.run_id}/{name}", name, {})
    store.confirm("run-1/train", {})
    assert [effect.key for effect in store.effects("run-1")] == ["run-1/train", "run-1/register", "run-1/alias"]


def test_unconfirmed_effects_of_all_runs_come_by_the_beginning_of_their_names(store: Store):
    lease = acquire(store)
    for name in ("notify-a", "notify-b", "notifyXc", "undo"):
        store.intend(lease, f"run-1/{name}", name, {"n": name})
    store.confirm("run-1/notify-a", {})
    other = store.acquire("shop.loads", "run-2", HERE, 60)
    store.intend(other, "run-2/notify-a", "notify-a", {})

    assert [e.key for e in store.unconfirmed("notify-")] == ["run-1/notify-b", "run-2/notify-a"]
    assert store.unconfirmed("notify_") == []


# --- holds -----------------------------------------------------------------------------------------------------------


def hold(scope: str = "model:shop.prices", **changes: Any) -> Hold:
    return Hold.model_validate({"scope": scope, "why": "odd prices", "by": "ann", "at": START} | changes)


def test_hold_stands_until_it_is_released_and_stays_on_record(store: Store):
    given = store.set_hold(hold(run_id="run-1"))
    assert store.holds() == [given]

    released = store.release_hold(given.scope, "bob", "mended", START + timedelta(hours=1))

    assert (released.released_by, released.released_why) == ("bob", "mended")
    assert (store.holds(), store.holds(in_force=False)) == ([], [released])


def test_second_hold_of_a_scope_returns_the_first_until_that_is_released(store: Store):
    first = store.set_hold(hold())
    assert store.set_hold(hold(why="again", by="eve")) == first
    store.release_hold(first.scope, "bob", "mended", START)

    second = store.set_hold(hold(why="again", by="eve"))

    assert store.holds() == [second]
    assert [h.why for h in store.holds(in_force=False)] == ["odd prices", "again"]


def test_release_of_one_scope_leaves_the_others_and_an_unknown_one_is_not_found(store: Store):
    for scope in ("all", "model:shop.prices", "rollout:run-1"):
        store.set_hold(hold(scope))
    store.release_hold("all", "bob", "mended", START)

    assert [h.scope for h in store.holds()] == ["model:shop.prices", "rollout:run-1"]
    with pytest.raises(NotFound, match="nothing is held under 'all'"):
        store.release_hold("all", "bob", "mended", START)


def test_scope_that_means_nothing_is_refused():
    with pytest.raises(ValidationError):
        hold("everything")


# --- reviews ---------------------------------------------------------------------------------------------------------


def test_opened_review_gets_an_id_and_is_read_back_whole(store: Store):
    opened = [store.open_review(review("run-1", id=99)), store.open_review(review("run-2", id=99))]
    assert opened == [review("run-1", id=1), review("run-2", id=2)]
    assert [store.get_review(1), store.get_review(2)] == opened


def test_review_of_the_same_run_and_digest_is_opened_once(store: Store):
    opened = store.open_review(review(nonce="n1"))
    assert store.open_review(review(nonce="n2")) == opened
    assert store.list_reviews() == [opened]


def test_review_of_something_else_voids_what_the_run_asked_before(store: Store):
    first, other = store.open_review(review("run-1", "d1")), store.open_review(review("run-2", "d1"))
    second = store.open_review(review("run-1", "d2"))
    void = first.model_copy(update={"status": "void"})
    assert store.list_reviews(open_only=False) == [void, other, second]


def test_review_asked_again_after_its_end_is_a_new_one(store: Store):
    store.open_review(review())
    store.close_review(1, "expired")
    assert store.open_review(review()) == review(id=2)


def test_reviews_are_listed_by_status_and_model(store: Store):
    for run_id, model_id in [("run-1", "prices"), ("run-2", "loads"), ("run-3", "prices")]:
        store.open_review(review(run_id, model_id=model_id))
    store.close_review(1, "void")
    listed = [
        [r.id for r in store.list_reviews()],
        [r.id for r in store.list_reviews(open_only=False)],
        [r.id for r in store.list_reviews(model_id="prices")],
        [r.id for r in store.list_reviews(open_only=False, model_id="prices")],
    ]
    assert listed == [[2, 3], [1, 2, 3], [3], [1, 3]]


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.get_review(9),
        lambda store: answer(store, 9),
        lambda store: store.close_review(9, "void"),
    ],
)
def test_unknown_review_is_not_found(store: Store, ask: Callable[[Store], Any]):
    with pytest.raises(NotFound, match="no review 9"):
        ask(store)


def test_answer_is_recorded_with_who_when_and_why(store: Store):
    opened = store.open_review(review())
    at = START + timedelta(minutes=59)
    said = answer(store, answer="canary", at=at)
    assert said == opened.model_copy(
        update={
            "status": "answered",
            "answer": "canary",
            "answered_by": "bob",
            "answered_at": at,
            "reason": "looks right",
        }
    )
    assert (store.get_review(1), store.list_reviews()) == (said, [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"digest": "d2"}, "review 1 is about something else than this answer"),
        ({"nonce": "n2"}, "review 1 is about something else than this answer"),
        ({"at": START + timedelta(hours=1)}, "review 1 expired at 2026-01-01 01:00 UTC"),
    ],
)
def test_answer_to_something_else_or_too_late_is_a_conflict(store: Store, changes: dict[str, Any], why: str):
    opened = store.open_review(review())
    with pytest.raises(Conflict) as caught:
        answer(store, **changes)
    assert caught.value.message == why
    assert store.get_review(1) == opened


def test_second_answer_is_a_conflict_and_the_first_stands(store: Store):
    store.open_review(review())
    first = answer(store, answer="reject", by="bob")
    with pytest.raises(Conflict, match="review 1 is answered"):
        answer(store, answer="approve", by="eve")
    assert store.get_review(1) == first


@pytest.mark.parametrize("status", ["expired", "void"])
def test_closed_review_takes_no_answer(store: Store, status: str):
    opened = store.open_review(review())
    closed = store.close_review(1, status)
    with pytest.raises(Conflict, match=f"review 1 is {status}"):
        answer(store)
    assert (closed, store.get_review(1)) == (opened.model_copy(update={"status": status}), closed)


def test_answered_review_is_not_closed_any_more(store: Store):
    store.open_review(review())
    answered = answer(store)
    assert store.close_review(1, "expired") == answered
    assert store.get_review(1) == answered


def test_answer_that_nobody_offers_changes_nothing(store: Store):
    opened = store.open_review(review())
    with pytest.raises(ValidationError):
        answer(store, answer="perhaps")
    assert store.get_review(1) == opened


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_appends_only_what_changed_newest_first(store: Store):
    for version, reason in [("1", "a"), ("1", "again"), ("2", "b"), ("1", "back"), ("1", "again")]:
        store.record_champion(event(version, reason=reason))
    assert store.champions("shop.prices") == [
        event("1", reason="back"),
        event("2", reason="b"),
        event("1", reason="a"),
    ]


def test_history_is_kept_by_model(store: Store):
    store.record_champion(event("1", "shop.prices"))
    store.record_champion(event("1", "shop.loads"))
    histories = [store.champions(name) for name in ("shop.prices", "shop.loads", "shop.nothing")]
    assert histories == [[event("1", "shop.prices")], [event("1", "shop.loads")], []]


# --- looks at holdouts -----------------------------------------------------------------------------------------------


def a_look(run_id: str, model_name: str = "shop.prices", **changes: Any) -> Look:
    spans = ({"start": START, "end": START + timedelta(days=14)},)
    given = {"model_name": model_name, "run_id": run_id, "digest": f"of {run_id}", "spans": spans, "at": START}
    return Look.model_validate(given | {"alpha": 0.025} | changes)


def test_looks_are_kept_by_model_oldest_first(store: Store):
    kept = [store.record_look(a_look(run)) for run in ("run-2", "run-1")]
    store.record_look(a_look("run-3", "shop.loads"))
    assert store.looks("shop.prices") == kept == [a_look("run-2"), a_look("run-1")]
    assert store.looks("shop.nothing") == []


def test_first_record_of_a_runs_look_stands(store: Store):
    first = store.record_look(a_look("run-1"))
    assert store.record_look(a_look("run-1", alpha=0.001)) == first
    assert store.looks("shop.prices") == [first]


# --- keys --------------------------------------------------------------------------------------------------------------


def key(key_id: str = "00000000000000a1", name: str = "ci", **changes: Any) -> ApiKey:
    given = {
        "id": key_id,
        "name": name,
        "kind": "agent",
        "scopes": ["run", "read"],
        "token_sha256": "ab" * 32,
        "created_at": START,
        "created_by": "ann",
    }
    return ApiKey.model_validate(given | changes)


SECOND = "00000000000000a2"


def test_key_is_read_back_whole_and_an_unknown_id_is_none(store: Store):
    made = key(models=["prices"], expires_at=START + timedelta(days=1))
    assert store.add_key(made) == made
    assert (store.get_key(made.id), store.get_key(SECOND)) == (made, None)


@pytest.mark.parametrize("name", ["ci", "CI"])
def test_name_of_a_good_key_is_taken_whatever_its_case(store: Store, name: str):
    first = store.add_key(key())
    with pytest.raises(Conflict, match=f"a key '{name}' already"):
        store.add_key(key(SECOND, name))
    assert store.list_keys() == [first]


def test_revoked_key_stays_on_record_and_its_name_is_free_for_its_kind_alone(store: Store, clock: SetClock):
    store.add_key(key())
    ended = store.revoke_key("CI", "bob", START + timedelta(hours=1))
    assert (ended.revoked_by, ended.revoked_at) == ("bob", START + timedelta(hours=1))
    with pytest.raises(Conflict, match="of kind agent"):
        store.add_key(key(SECOND, kind="person"))
    second = store.add_key(key(SECOND))
    assert store.list_keys() == [ended, second]
    assert store.get_key(second.id) == second


def test_key_that_is_not_there_or_revoked_cannot_be_revoked(store: Store):
    store.add_key(key())
    first = store.revoke_key("ci", "bob", START)
    for name in ("ci", "other"):
        with pytest.raises(NotFound, match=f"no key '{name}'"):
            store.revoke_key(name, "eve", START + timedelta(hours=1))
    assert store.list_keys() == [first]


def test_last_use_never_goes_back_and_leaves_a_revocation_standing(store: Store):
    made = store.add_key(key())
    store.use_key(made.id, START + timedelta(hours=2))
    store.use_key(made.id, START + timedelta(hours=1))
    store.use_key(SECOND, START)
    store.revoke_key("ci", "bob", START)
    store.use_key(made.id, START + timedelta(hours=3))
    (kept,) = store.list_keys()
    assert (kept.last_used_at, kept.revoked_by) == (START + timedelta(hours=3), "bob")


# --- many at once ----------------------------------------------------------------------------------------------------

ROUNDS, RIVALS = 8, 3
Attempt = Callable[[Store, int, int], str]


def _answers(store: Store, n: int, who: int) -> str:
    return "won" if answer(store, n + 1, by=f"person {who}").answered_by == f"person {who}" else "lied to"


def _acquires(store: Store, n: int, who: int) -> str:
    try:
        store.acquire(f"model {n}", f"run-{who}", f"here:{who}:0.00", 60)
        return "won"
    except Conflict as refused:
        told = refused.message
    # Who asks must learn for whom to wait, even where all of them were the first.
    holder = store.current_lease(f"model {n}")
    assert holder is not None
    assert f" held by run {holder.run_id} since " in told
    return "Conflict"


def _intends(store: Store, n: int, who: int) -> str:
    lease = Lease(model_name="shop.prices", run_id="run-1", holder=HERE, token=1, expires_at=None)
    return str(store.intend(lease, f"run-1/effect {n}", "effect", {"by": who}).intent)


def _creates(store: Store, n: int, who: int) -> str:
    return store.create_run(run(f"run-{n}-{who}", idempotency_key=f"k{n}")).run_id


def _adds_key(store: Store, n: int, who: int) -> str:
    store.add_key(key(f"{n:08x}{who:08x}", f"name-{n}"))
    return "won"


def prepare_race(store: Store) -> None:
    for n in range(ROUNDS):
        store.open_review(review(f"run-{n}"))
    acquire(store)


def attempts(store: Store, attempt: Attempt, who: int, barrier: Any) -> list[str]:
    """What one rival got in each round."""
    got: list[str] = []
    for n in range(ROUNDS):
        barrier.wait(timeout=30)
        try:
            got.append(attempt(store, n, who))
        except Conflict:
            got.append("Conflict")
    return got


def assert_race_was_fair(attempt: Attempt, by_rival: list[list[str]]) -> None:
    for in_round in zip(*by_rival, strict=True):
        if attempt in (_answers, _acquires, _adds_key):
            assert sorted(in_round) == ["Conflict"] * (RIVALS - 1) + ["won"]
        else:
            assert len(set(in_round)) == 1
            assert in_round[0] != "Conflict"


each_race = pytest.mark.parametrize("attempt", [_answers, _acquires, _intends, _creates, _adds_key])


@each_race
def test_of_threads_at_once_one_wins(store: Store, attempt: Attempt):
    prepare_race(store)
    barrier = threading.Barrier(RIVALS)
    with ThreadPoolExecutor(RIVALS) as pool:
        rivals = [pool.submit(attempts, store, attempt, who, barrier) for who in range(RIVALS)]
        assert_race_was_fair(attempt, [rival.result() for rival in rivals])


BARRIER: Any = None
"""Set in each process of the pool."""


def _set_barrier(barrier: Any) -> None:
    global BARRIER
    BARRIER = barrier


def _attempts_in_process(url: str, attempt: Attempt, who: int) -> list[str]:
    return attempts(SqlStore(url, SetClock(), lives), attempt, who, BARRIER)


def _opens_new_stores(folder: str) -> list[str]:
    identities: list[str] = []
    for n in range(ROUNDS):
        BARRIER.wait(timeout=30)
        identities.append(SqlStore(f"sqlite:///{folder}/{n}.db", SetClock()).identity())
    return identities


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(RIVALS, context, _set_barrier, (context.Barrier(RIVALS),)) as pool:
        yield pool


@pytest.mark.slow
@each_race
def test_of_processes_at_once_one_wins(url: str, attempt: Attempt, processes: ProcessPoolExecutor):
    prepare_race(SqlStore(url, SetClock(), lives))
    rivals = [processes.submit(_attempts_in_process, url, attempt, who) for who in range(RIVALS)]
    assert_race_was_fair(attempt, [rival.result() for rival in rivals])


@pytest.mark.slow
def test_processes_that_make_the_store_at_once_make_one(tmp_path: Path, processes: ProcessPoolExecutor):
    rivals = [processes.submit(_opens_new_stores, str(tmp_path)) for _ in range(RIVALS)]
    first, *others = [rival.result() for rival in rivals]
    assert (others, len(set(first))) == ([first] * (RIVALS - 1), ROUNDS)


# --- the two agree ---------------------------------------------------------------------------------------------------

MODELS, RUNS = st.sampled_from(["prices", "loads"]), st.sampled_from(["run-1", "run-2", "run-3"])
SMALL = st.integers(0, 4)
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 60, 61])),
    st.tuples(st.just("create"), RUNS, MODELS, st.sampled_from([None, "k1", "k2"])),
    st.tuples(st.just("update"), RUNS, st.sampled_from(["finished", "failed"])),
    st.tuples(st.just("acquire"), MODELS, RUNS, st.sampled_from([HERE, "dead:1:0.00", "far:1:0.00"]), st.booleans()),
    st.tuples(st.sampled_from(["heartbeat", "park", "release"]), SMALL),
    st.tuples(st.just("intend"), SMALL, st.sampled_from(["train", "alias"])),
    st.tuples(st.just("confirm"), RUNS, st.sampled_from(["train", "alias"])),
    st.tuples(st.just("open"), RUNS, MODELS, st.sampled_from(["d1", "d2"])),
    st.tuples(st.just("answer"), SMALL, st.sampled_from(["d1", "d2"]), SMALL),
    st.tuples(st.just("close"), SMALL, st.sampled_from(["expired", "void"])),
    st.tuples(st.just("champion"), MODELS, st.sampled_from(["1", "2"])),
)


def take(store: Store, clock: SetClock, leases: list[Lease], step: tuple[Any, ...]) -> Any:
    """One step; `leases` are those it was granted, the old ones too."""
    match step:
        case ("create", run_id, model_id, key):
            return store.create_run(run(run_id, model_id=model_id, idempotency_key=key, created_at=clock.now))
        case ("update", run_id, status):
            return store.update_run(run_id, status=status)
        case ("acquire", name, run_id, holder, preempt):
            leases.append(store.acquire(name, run_id, holder, 60, preempt=preempt))
            return leases[-1]
        case ("heartbeat", n):
            return [store.heartbeat(lease, 30) for lease in leases[-n - 1 :][:1]]
        case ("park" | "release" as name, n):
            return [getattr(store, name)(lease) for lease in leases[-n - 1 :][:1]]
        case ("intend", n, name):
            return [store.intend(lease, f"{lease.run_id}/{name}", name, {"n": n}) for lease in leases[-n - 1 :][:1]]
        case ("confirm", run_id, name):
            return store.confirm(f"{run_id}/{name}", {"name": name})
        case ("open", run_id, model_id, digest):
            return store.open_review(review(run_id, digest, model_id=model_id))
        case ("answer", n, digest, hours):
            return answer(store, n, digest=digest, at=START + timedelta(minutes=20 * hours))
        case ("close", n, status):
            return store.close_review(n, status)
        case ("champion", name, version):
            return store.record_champion(event(version, name, at=clock.now))
    raise AssertionError(step)


def outcome(*given: Any) -> Any:
    try:
        return take(*given)
    except RetrainingError as error:
        return type(error), str(error), error.thing, error.value


def everything(store: Store) -> list[Any]:
    names = ("prices", "loads")
    return [
        [store.is_empty(), store.list_runs(), store.list_runs("loads", 1)],
        [store.list_reviews(), store.list_reviews(open_only=False), store.list_reviews(model_id="loads")],
        [store.effects(run_id) for run_id in ("run-1", "run-2", "run-3")],
        [(store.current_lease(name), store.champions(name)) for name in names],
    ]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=10, max_size=40))
def test_memory_and_sql_agree_at_every_step(steps: list[tuple[Any, ...]]):
    clock, in_memory, in_sql = SetClock(), list[Lease](), list[Lease]()
    with tempfile.TemporaryDirectory() as folder:
        memory, sql = MemoryStore(clock, lives), SqlStore(f"sqlite:///{folder}/store.db", clock, lives)
        for step in steps:
            if step[0] == "wait":
                clock.wait(step[1])
            else:
                assert outcome(memory, clock, in_memory, step) == outcome(sql, clock, in_sql, step)
        assert everything(memory) == everything(sql)


# --- the database ----------------------------------------------------------------------------------------------------


def test_records_survive_reopening(url: str, clock: SetClock):
    store = SqlStore(url, clock)
    store.create_run(run(model_id="loads", idempotency_key="k"))
    lease = store.acquire("loads", "run-1", HERE, 60)
    store.intend(lease, "run-1/train", "train", {})
    store.open_review(review(model_id="loads"))
    store.record_champion(event("1", "loads"))
    again = SqlStore(url, clock)
    assert everything(again) == everything(store)
    assert (again.identity(), again.current_lease("loads")) == (store.identity(), lease)


def test_store_of_an_earlier_program_gets_holds_and_keys_by_itself(url: str, clock: SetClock, tmp_path: Path):
    made = SqlStore(url, clock).create_run(run())
    with sqlite3.connect(tmp_path / "store.db") as database:
        database.execute("DROP TABLE retraining_holds")
        database.execute("DROP TABLE retraining_keys")
    database.close()

    store = SqlStore(url, clock)

    assert (store.holds(), store.list_keys(), store.get_run("run-1")) == ([], [], made)
    assert store.set_hold(hold()) == store.holds()[0]
    assert store.add_key(key()) == store.list_keys()[0]


def test_files_are_their_owners_alone(tmp_path: Path, clock: SetClock):
    """Reviews hold nonces; a generous umask is the trap."""
    umask = os.umask(0)
    try:
        store = SqlStore(f"sqlite:///{tmp_path}/folder/store.db", clock)
        store.create_run(run())
    finally:
        os.umask(umask)
    folder = tmp_path / "folder"
    modes = {path.name: f"{path.stat().st_mode & 0o777:o}" for path in (folder, *folder.iterdir())}
    assert modes == {"folder": "700", "store.db": "600", "store.db-wal": "600", "store.db-shm": "600"}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "cannot be read"),
        ("store.db", "cannot be read"),
        ("sqlite://host/store.db", "cannot be read"),
        ("postgresql://ann:s3cret@db:port/x", "cannot be read"),
        ("postgresql://ann:1@s3cret@db/x", "cannot be read"),
        ("postgresql://ann:1@2:s3cret/4@db/x", "cannot be read"),
        ("postgresql+nosuch://ann:s3cret@db/x", r"no driver for the store postgresql\+nosuch://ann:\*\*\*@db/x"),
        ("nosuch://ann:s3cret@db/x?password=s3cret", r"no driver for the store nosuch://ann:\*\*\*@db/x"),
        ("sqlite://", "another one in each thread"),
        ("sqlite:///:memory:", "another one in each thread"),
    ],
)
def test_url_that_names_no_store_is_bad_input_makes_no_file_and_shows_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, says: str
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=says) as caught:
        SqlStore(url, SetClock())
    shown = [*traceback.format_exception(caught.value, chain=True), str(caught.value.value)]
    assert "s3cret" not in "".join(shown)
    assert caught.value.remedy is not None
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_database_is_unavailable_and_left_as_it_is(tmp_path: Path, url: str):
    text = "a,b\n1,2\n" * 1000
    (tmp_path / "store.db").write_text(text)
    with pytest.raises(Unavailable, match=r"store\.db did not answer: file is not a database"):
        SqlStore(url, SetClock())
    assert (tmp_path / "store.db").read_text() == text


TRIES_TO_LOCK = """
import fcntl, sys

file = open(sys.argv[1], "r+b")
try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
except OSError:
    print("locked")
"""
"""The bytes that SQLite locks for readers."""


def test_store_opened_again_in_the_same_process_leaves_the_locks_of_the_first(tmp_path: Path, url: str):
    """The trap: closing any descriptor of a file drops all POSIX locks that the process has on it."""
    first = SqlStore(url, SetClock())
    SqlStore(url, SetClock())._engine.dispose()
    tried = subprocess.run(
        [sys.executable, "-c", TRIES_TO_LOCK, tmp_path / "store.db"], capture_output=True, text=True, check=True
    )
    assert (tried.stdout, first.is_empty()) == ("locked\n", True)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("path", ["locked/store.db", "locked/new/store.db"])
def test_folder_that_is_not_writable_is_unavailable(tmp_path: Path, path: str):
    (tmp_path / "locked").mkdir(mode=0o500)
    with without_privileges(), pytest.raises(Unavailable, match=rf"{path} cannot be opened: Permission denied"):
        SqlStore(f"sqlite:///{tmp_path}/{path}", SetClock())


@pytest.mark.parametrize("path", ["file/store.db", "folder"])
def test_path_that_is_no_file_is_unavailable(tmp_path: Path, path: str):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unavailable, match=f"{path} did not answer: unable to open database file"):
        SqlStore(f"sqlite:///{tmp_path}/{path}", SetClock())


def test_database_that_fails_later_is_unavailable(tmp_path: Path, url: str):
    store = SqlStore(url, SetClock())
    with sqlite3.connect(tmp_path / "store.db") as other:
        other.execute("DROP TABLE retraining_runs")
    with pytest.raises(Unavailable, match="did not answer: no such table") as caught:
        store.is_empty()
    assert caught.value.remedy == "check that it can be reached, read and written"


def test_store_of_a_newer_program_is_bad_input(tmp_path: Path, url: str):
    SqlStore(url, SetClock())
    with sqlite3.connect(tmp_path / "store.db") as other:
        other.execute("UPDATE retraining_meta SET value = '2' WHERE name = 'schema'")
    with pytest.raises(BadInput, match="has schema 2, this program knows 1") as caught:
        SqlStore(url, SetClock())
    assert caught.value.remedy == "use the newer program that made it"


STOPS_IN_A_TRANSACTION = """
import sys, time
from tests.conformance.test_store import START, SetClock, run
from tools.adapters.store import SqlStore

class Stops(SetClock):
    armed = False

    def __call__(self):
        if self.armed:
            print("in the middle", flush=True)
            time.sleep(60)
        return START

clock = Stops()
store = SqlStore(sys.argv[1], clock)
store.create_run(run())
clock.armed = True
store.update_run("run-1", status="finished")
"""
WRITES_WITHOUT_END = """
import itertools, sys
from tests.conformance.test_store import SetClock, review, run
from tools.adapters.store import SqlStore

store = SqlStore(sys.argv[1], SetClock())
for n in itertools.count(1):
    store.create_run(run(f"run-{n:06}"))
    store.open_review(review("run-1", str(n)))
    print(n, flush=True)
"""


def kill_after(lines: int, code: str, url: str) -> list[str]:
    """Run the code until it has printed so many lines; returns all that it got out before its death."""
    process = subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        printed = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        printed += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [line.strip() for line in printed]


@pytest.mark.slow
def test_process_killed_in_a_transaction_leaves_the_store_as_before_and_unlocked(url: str):
    assert kill_after(1, STOPS_IN_A_TRANSACTION, url) == ["in the middle"]
    store = SqlStore(url, SetClock())
    assert store.get_run("run-1") == run()
    assert store.update_run("run-1", status="failed").status == "failed"


@pytest.mark.slow
def test_process_killed_while_writing_loses_nothing_that_it_was_told_is_kept(url: str):
    kept = [int(line) for line in kill_after(20, WRITES_WITHOUT_END, url)]
    store = SqlStore(url, SetClock())
    runs = [int(r.run_id.removeprefix("run-")) for r in store.list_runs(limit=10**6)]
    reviews = [int(r.digest) for r in store.list_reviews(open_only=False)]
    assert runs[::-1] in (kept, [*kept, kept[-1] + 1])
    assert reviews in (kept, [*kept, kept[-1] + 1])
    assert [int(r.digest) for r in store.list_reviews()] == reviews[-1:]


# --- processes -------------------------------------------------------------------------------------------------------


def test_this_process_is_alive():
    assert is_alive(this_holder()) is True


def test_pid_used_again_by_another_process_is_not_the_holder():
    host, pid, started = this_holder().rsplit(":", 2)
    assert is_alive(f"{host}:{pid}:1{started}") is False
    assert is_alive(f"{host}:{pid}:{psutil.Process().create_time() - 60:.2f}") is False


def test_holder_that_an_earlier_release_recorded_is_alive_though_its_start_time_shifted_a_little():
    host, pid, _ = this_holder().rsplit(":", 2)
    assert is_alive(f"{host}:{pid}:{psutil.Process().create_time() + 1:.2f}") is True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are known by the wall clock here")
def test_clock_that_is_set_by_an_hour_leaves_a_holder_alive(monkeypatch: pytest.MonkeyPatch):
    holder, told = this_holder(), psutil.Process.create_time
    # As psutil tells it from then on: it adds the time of boot, which is the clock's less the uptime.
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + 3600)
    assert (is_alive(holder), this_holder()) == (True, holder)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are known by the wall clock here")
def test_holder_before_a_reboot_is_gone_though_pid_and_ticks_are_the_same():
    holder = this_holder()
    assert is_alive(f"{holder.rpartition('@')[0]}@00000000") is False


def test_holder_on_another_machine_is_out_of_sight():
    assert is_alive(f"another.{this_holder()}") is None


def test_killed_process_is_gone_even_before_it_is_waited_for():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with process:
        holder = f"{socket.gethostname()}:{process.pid}:{psutil.Process(process.pid).create_time():.2f}"
        before = is_alive(holder)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        as_zombie = is_alive(holder)
    assert (before, as_zombie, is_alive(holder)) == (True, False, False)
