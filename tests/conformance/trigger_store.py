"""What every run store promises about triggers: one suite for memory, SQLite and PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.contracts.triggers import Claim, Evaluation, Firing, TriggerAlert, Watcher, WatchState
from tools.errors import Conflict, NotFound
from tools.ports import Store

START = datetime(2026, 1, 1, tzinfo=UTC)
HERE, THERE = "here:1:0.00", "far:2:0.00"


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def state(model_id: str = "prices", **changes: Any) -> WatchState:
    return WatchState(model_id=model_id, watched_since=START, **{"next_at": START, "stamp": "s1", **changes})


def claim(source: Any = "signed", kind: Any = "drift", at: datetime = START, **changes: Any) -> Claim:
    return Claim(source=source, kind=kind, first_at=at, last_at=at, **changes)


def evaluation(code: str = "fresh", at: datetime = START, model_id: str = "prices", **changes: Any) -> Evaluation:
    given = {"model_id": model_id, "at": at, "trigger": "drift", "source": "check", "code": code, "statement": code}
    return Evaluation.model_validate(given | changes)


def firing(key: str = "trigger/prices/1", model_id: str = "prices", at: datetime = START, **changes: Any) -> Firing:
    given = {"key": key, "model_id": model_id, "kind": "retrain", "trigger": "scheduled", "source": "cron"}
    return Firing.model_validate(given | {"due": at, "at": at, "why": "due"} | changes)


def watch(store: Store, holder: str = HERE, at: datetime = START) -> None:
    store.begin_watching(Watcher(holder=holder, started_at=at, beat_at=at))


class TriggerPromises:
    """Subclassed where the fixture `store` is made."""

    def test_model_that_is_due_is_claimed_once_and_settled_with_all_it_brought(self, store: Store) -> None:
        watch(store)
        store.put_watch(state())
        assert store.claim_watch(HERE, START - timedelta(seconds=1), 10) == []
        ((claimed, claims, version),) = store.claim_watch(HERE, START, 10)
        assert (claimed, claims) == (state(), ())
        assert store.claim_watch(HERE, START, 10) == []
        settled = claimed.model_copy(update={"next_at": after(60), "looks": (True,)})
        fired = store.settle_watch(settled, version, (evaluation("fires"),), firing=firing())
        assert fired == firing()
        assert store.watch_state("prices") == settled
        assert [each.code for each in store.evaluations("prices")] == ["fires"]
        assert list(store.firings("prices")) == [firing()]
        assert len(store.claim_watch(HERE, after(60), 10)) == 1

    def test_hour_that_has_fired_fires_no_second_time(self, store: Store) -> None:
        watch(store)
        store.put_watch(state())
        ((claimed, _, version),) = store.claim_watch(HERE, START, 10)
        assert store.settle_watch(claimed, version, (evaluation(),), firing=firing()) is not None
        ((claimed, _, version),) = store.claim_watch(HERE, START, 10)
        assert store.settle_watch(claimed, version, (evaluation(),), firing=firing(at=after(9))) is None
        assert list(store.firings()) == [firing()]

    def test_evaluation_that_was_overtaken_records_nothing(self, store: Store) -> None:
        watch(store)
        store.put_watch(state())
        ((claimed, _, version),) = store.claim_watch(HERE, START, 10)
        store.put_watch(state(stamp="s2"))  # the profile was edited meanwhile
        with pytest.raises(Conflict, match="taken over"):
            store.settle_watch(claimed, version, (evaluation(),), firing=firing())
        assert (list(store.evaluations("prices")), list(store.firings())) == ([], [])

    def test_claim_of_a_process_that_beats_no_more_is_anybodys(self, store: Store) -> None:
        watch(store, THERE)
        store.put_watch(state())
        store.claim_watch(THERE, START, 10)
        store.beat_watching(THERE, after(50))
        assert store.claim_watch("far:3:0.00", after(100), 10) == []
        assert len(store.claim_watch("far:3:0.00", after(111), 10)) == 1

    def test_claim_of_a_process_that_has_ended_is_anybodys_at_once(self, store: Store) -> None:
        watch(store, THERE)
        store.put_watch(state())
        store.claim_watch(THERE, START, 10)
        store.beat_watching(THERE, after(1), ended=True)
        assert len(store.claim_watch("far:3:0.00", after(1), 10)) == 1

    def test_model_that_is_given_back_is_as_it_was(self, store: Store) -> None:
        watch(store)
        store.put_watch(state())
        ((_, _, version),) = store.claim_watch(HERE, START, 10)
        store.release_watch("prices", version)
        assert [each[0] for each in store.claim_watch(HERE, START, 10)] == [state()]

    def test_higher_priority_comes_first_and_then_what_was_due_first(self, store: Store) -> None:
        watch(store)
        for name, priority, due in (("a", 0, 3), ("b", 5, 9), ("c", 0, 1), ("d", -5, 0)):
            store.put_watch(state(name, priority=priority, next_at=after(due)))
        assert [each[0].model_id for each in store.claim_watch(HERE, after(10), 3)] == ["b", "c", "a"]

    def test_ten_claims_of_one_source_are_one_with_a_count(self, store: Store) -> None:
        store.put_watch(state(next_at=None))
        for second in range(10):
            store.note_claim("prices", claim(at=after(second), told=f"no. {second}"))
        store.note_claim("prices", claim("alertmanager", at=after(20)))
        assert [(each.source, each.count, each.first_at) for each in store.claims("prices")] == [
            ("signed", 10, START),
            ("alertmanager", 1, after(20)),
        ]
        watch(store)
        assert len(store.claim_watch(HERE, after(20), 5)) == 1

    def test_claims_are_bounded(self, store: Store) -> None:
        store.put_watch(state())
        for number in range(500):
            store.note_claim("prices", claim("mlflow", "new_version", version=str(number)))
        kept = [each.version for each in store.claims("prices")]
        assert len(kept) == 20
        assert kept[-1] == "499"

    def test_claim_about_a_model_that_nobody_has_watched_yet_is_kept(self, store: Store) -> None:
        store.note_claim("prices", claim())
        assert len(store.claims("prices")) == 1
        assert store.watched() == {"prices": ""}

    def test_what_is_said_during_an_evaluation_is_not_lost_and_makes_the_model_due_at_once(self, store: Store) -> None:
        watch(store)
        store.put_watch(state())
        store.note_claim("prices", claim())
        ((claimed, known, version),) = store.claim_watch(HERE, START, 10)
        store.note_claim("prices", claim("alertmanager", at=after(1)))
        later = claimed.model_copy(update={"next_at": after(9999)})
        store.settle_watch(later, version, (evaluation(at=after(2)),), known=known, taken=known)
        assert [each.source for each in store.claims("prices")] == ["alertmanager"]
        assert len(store.claim_watch(HERE, after(2), 5)) == 1

    def test_same_claim_said_again_during_an_evaluation_is_looked_into_again(self, store: Store) -> None:
        watch(store)
        store.put_watch(state())
        store.note_claim("prices", claim())
        ((claimed, known, version),) = store.claim_watch(HERE, START, 10)
        store.note_claim("prices", claim(at=after(1)))
        store.settle_watch(claimed, version, (evaluation(at=after(2)),), known=known, taken=known)
        assert [each.count for each in store.claims("prices")] == [2]

    def test_model_that_is_gone_is_forgotten_and_what_it_waited_for_is_refused(self, store: Store) -> None:
        watch(store)
        store.put_watch(state())
        ((claimed, _, version),) = store.claim_watch(HERE, START, 10)
        store.settle_watch(claimed, version, (), firing=firing())
        store.drop_watch("prices", evaluation("profile_gone"))
        assert store.watched() == {}
        assert [(each.status, each.told) for each in store.firings()] == [("refused", "profile_gone")]
        assert store.claim_firings(HERE, after(1), 10) == []
        assert [each.code for each in store.evaluations("prices")] == ["profile_gone"]

    def test_what_repeats_itself_is_kept_once_with_a_count_and_what_was_measured_is_not(self, store: Store) -> None:
        for second, code in enumerate(["unchanged"] * 3 + ["fresh"] * 2 + ["unchanged"]):
            store.add_evaluation(evaluation(code, after(second)))
        assert [(each.code, each.count, each.at, each.until) for each in store.evaluations("prices")] == [
            ("unchanged", 1, after(5), None),
            ("fresh", 1, after(4), None),
            ("fresh", 1, after(3), None),
            ("unchanged", 3, START, after(2)),
        ]

    def test_firing_is_handed_out_once_and_waits_until_it_may(self, store: Store) -> None:
        watch(store)
        self._fire(store, firing("low"), firing("high", priority=3), firing("later", not_before=after(60)))
        assert [each.key for each in store.claim_firings(HERE, START, 10)] == ["high", "low"]
        assert store.claim_firings(HERE, START, 10) == []
        assert store.waiting_firings() == 3
        store.settle_firing(firing("high", priority=3, status="started", run_id="r1"))
        store.settle_firing(firing("low", not_before=after(30)))
        assert [each.key for each in store.claim_firings(HERE, after(60), 10)] == ["low", "later"]
        assert store.waiting_firings() == 2

    def test_firing_of_a_process_that_was_killed_is_handed_out_again(self, store: Store) -> None:
        watch(store, THERE)
        self._fire(store, firing(), holder=THERE)
        assert len(store.claim_firings(THERE, START, 10)) == 1
        assert store.claim_firings(HERE, after(30), 10) == []
        assert [each.key for each in store.claim_firings(HERE, after(61), 10)] == [firing().key]

    def test_unknown_firing_is_refused(self, store: Store) -> None:
        with pytest.raises(NotFound, match="no firing"):
            store.settle_firing(firing("none"))

    def test_firings_are_read_newest_first_since_a_time(self, store: Store) -> None:
        watch(store)
        self._fire(store, firing("a", at=START), firing("b", at=after(60)), firing("c", "other", at=after(90)))
        assert [each.key for each in store.firings("prices")] == ["b", "a"]
        assert [each.key for each in store.firings("prices", after(30))] == ["b"]
        assert [each.key for each in store.firings()] == ["c", "b", "a"]

    @staticmethod
    def _fire(store: Store, *firings: Firing, holder: str = HERE) -> None:
        for each in firings:
            store.put_watch(state(each.model_id, next_at=START - timedelta(seconds=1)))
            ((claimed, _, version),) = store.claim_watch(holder, START - timedelta(seconds=1), 1)
            store.settle_watch(claimed.model_copy(update={"next_at": None}), version, (), firing=each)

    def test_nonce_is_taken_once_until_it_is_over(self, store: Store) -> None:
        assert store.take_nonce("n1", START, after(600))
        assert not store.take_nonce("n1", after(599), after(1200))
        assert store.take_nonce("n2", after(599), after(1200))
        assert store.take_nonce("n1", after(601), after(1200))

    def test_alert_is_raised_once_and_kept_until_it_is_sent(self, store: Store) -> None:
        alert = TriggerAlert(key="prices/page/1", model_id="prices", level="page", at=START, statement="worse")
        assert store.raise_alert(alert)
        assert not store.raise_alert(alert.model_copy(update={"at": after(5)}))
        partly = alert.model_copy(update={"sent_to": ("mail",)})
        store.put_alerts([partly])
        assert list(store.unsent_alerts()) == [partly]
        store.put_alerts([partly.model_copy(update={"sent_at": after(9)})])
        assert list(store.unsent_alerts()) == []
        assert not store.raise_alert(alert)

    def test_who_watches_is_known_and_when_he_ended(self, store: Store) -> None:
        watch(store, THERE)
        store.beat_watching(THERE, after(30))
        store.beat_watching(THERE, after(40), ended=True)
        watch(store, HERE, after(50))
        assert [(each.holder, each.beat_at, each.ended_at) for each in store.watchers()] == [
            (HERE, after(50), None),
            (THERE, after(40), after(40)),
        ]


def promise_of_one(make: Callable[[], Store]) -> None:
    """Of a store that one process alone may watch."""
    store = make()
    assert store.watched_by_one
    watch(store, THERE)
    with pytest.raises(Conflict, match="is watched by process 2 on far since 2026-01-01 00:00:00 UTC"):
        watch(store, HERE, after(30))
    watch(store, THERE, after(40))  # itself, again
    watch(store, HERE, after(200))  # the other has not beaten for a minute
