"""Triggers in memory: the part of `MemoryStore` that knows what is due. Any number of watchers, all of one process."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tools.adapters import store_trigger_rules as rules
from tools.adapters.store_rules import IsAlive
from tools.contracts.triggers import Claim, Evaluation, Firing, TriggerAlert, Watcher, WatchState


@dataclass(frozen=True)
class _Row:
    state: WatchState
    version: int = 1
    claimed_by: str | None = None
    claims: tuple[Claim, ...] = ()


class MemoryTriggers:
    """Port `TriggerStore`, in dictionaries under the store's lock. Contracts are frozen: what is kept cannot be changed outside."""

    _lock: threading.RLock
    _is_alive: IsAlive
    watched_by_one = False

    def _begin_triggers(self) -> None:
        self._watched: dict[str, _Row] = {}
        self._evaluations: dict[str, list[Evaluation]] = {}
        self._firings: dict[str, Firing] = {}
        self._firing_claims: dict[str, str | None] = {}
        self._watchers: dict[str, Watcher] = {}
        self._nonces: dict[str, datetime] = {}
        self._alerts: dict[str, TriggerAlert] = {}

    # --- models that are watched ---------------------------------------------------------------------------------

    def watched(self) -> dict[str, str]:
        with self._lock:
            return {name: row.state.stamp for name, row in self._watched.items()}

    def watch_state(self, model_id: str) -> WatchState | None:
        with self._lock:
            row = self._watched.get(model_id)
        return None if row is None else row.state

    def claims(self, model_id: str) -> Sequence[Claim]:
        with self._lock:
            row = self._watched.get(model_id)
        return () if row is None else row.claims

    def put_watch(self, state: WatchState, evaluation: Evaluation | None = None) -> None:
        with self._lock:
            row = self._watched.get(state.model_id)
            self._watched[state.model_id] = (
                _Row(state) if row is None else _Row(state, row.version + 1, None, row.claims)
            )
            if evaluation is not None:
                self.add_evaluation(evaluation)

    def note_claim(self, model_id: str, claim: Claim) -> None:
        with self._lock:
            row = self._watched.get(model_id)
            if row is None:
                row = _Row(WatchState(model_id=model_id, watched_since=claim.last_at))
            state = row.state.model_copy(update={"next_at": claim.last_at})
            self._watched[model_id] = replace(row, state=state, claims=rules.merged(row.claims, claim))

    def wake_watch(self, model_id: str | None, at: datetime) -> None:
        with self._lock:
            for name, row in self._watched.items():
                if name == model_id or (model_id is None and row.state.next_at is not None):
                    self._watched[name] = replace(row, state=row.state.model_copy(update={"next_at": at}))

    def drop_watch(self, model_id: str, evaluation: Evaluation) -> None:
        with self._lock:
            self._watched.pop(model_id, None)
            for key, firing in self._firings.items():
                if (firing.model_id, firing.status) == (model_id, "waiting"):
                    changes = {"status": "refused", "told": evaluation.statement}
                    self._firings[key] = firing.model_copy(update=changes)
            self.add_evaluation(evaluation)

    def claim_watch(
        self, holder: str, now: datetime, limit: int
    ) -> Sequence[tuple[WatchState, tuple[Claim, ...], int]]:
        with self._lock:
            due = [
                row
                for row in self._watched.values()
                if row.state.next_at is not None
                and row.state.next_at <= now
                and not self._is_claimed(row.claimed_by, now)
            ]
            due.sort(key=lambda row: (-row.state.priority, row.state.next_at, row.state.model_id))
            taken = [replace(row, claimed_by=holder, version=row.version + 1) for row in due[:limit]]
            self._watched.update({row.state.model_id: row for row in taken})
            return [(row.state, row.claims, row.version) for row in taken]

    def _is_claimed(self, by: str | None, now: datetime) -> bool:
        watcher = None if by is None else self._watchers.get(by)
        return watcher is not None and rules.lives(watcher, now, self._is_alive)

    def settle_watch(
        self,
        state: WatchState,
        version: int,
        evaluations: Sequence[Evaluation],
        *,
        known: Sequence[Claim] = (),
        taken: Sequence[Claim] = (),
        firing: Firing | None = None,
    ) -> Firing | None:
        with self._lock:
            row = self._watched.get(state.model_id)
            if row is None or row.version != version:
                raise rules.taken_over(state.model_id)
            at = evaluations[-1].at if evaluations else state.next_at
            claims = rules.left(row.claims, taken)
            next_at = state.next_at if at is None else rules.woken(state, claims, at, known)
            self._watched[state.model_id] = _Row(
                state.model_copy(update={"next_at": next_at}), version + 1, None, claims
            )
            for each in evaluations:
                self.add_evaluation(each)
            if firing is None or firing.key in self._firings:
                return None
            self._firings[firing.key] = firing
            return firing

    def release_watch(self, model_id: str, version: int) -> None:
        with self._lock:
            row = self._watched.get(model_id)
            if row is not None and row.version == version:
                self._watched[model_id] = replace(row, claimed_by=None)

    # --- evaluations ---------------------------------------------------------------------------------------------

    def add_evaluation(self, found: Evaluation) -> None:
        with self._lock:
            kept = self._evaluations.setdefault(found.model_id, [])
            again = rules.same_finding(kept[-1] if kept else None, found)
            if again is not None:
                kept[-1] = again
            else:
                kept.append(found)
                del kept[: -rules.KEPT_EVALUATIONS]

    def evaluations(self, model_id: str, limit: int = 100) -> Sequence[Evaluation]:
        with self._lock:
            return list(reversed(self._evaluations.get(model_id, [])))[:limit]

    # --- firings -------------------------------------------------------------------------------------------------

    def claim_firings(self, holder: str, now: datetime, limit: int) -> Sequence[Firing]:
        with self._lock:
            ready = [
                each
                for each in self._firings.values()
                if rules.is_ready(each, now) and not self._is_claimed(self._firing_claims.get(each.key), now)
            ]
            ready.sort(key=lambda each: -each.priority)
            self._firing_claims.update({each.key: holder for each in ready[:limit]})
            return ready[:limit]

    def settle_firing(self, firing: Firing) -> None:
        with self._lock:
            if firing.key not in self._firings:
                raise rules.no_firing(firing.key)
            self._firings[firing.key] = firing
            self._firing_claims[firing.key] = None

    def firings(
        self, model_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[Firing]:
        with self._lock:
            found = reversed(self._firings.values())
            wanted = [f for f in found if model_id in (None, f.model_id) and (since is None or f.at >= since)]
            return wanted[:limit]

    def waiting_firings(self) -> int:
        with self._lock:
            return sum(each.status == "waiting" for each in self._firings.values())

    # --- processes that watch ------------------------------------------------------------------------------------

    def begin_watching(self, watcher: Watcher) -> None:
        with self._lock:
            if self.watched_by_one:
                others = [each for each in self._watchers.values() if each.holder != watcher.holder]
                rules.require_alone(others, watcher.started_at, self._is_alive)
            self._watchers[watcher.holder] = watcher

    def beat_watching(self, holder: str, now: datetime, *, ended: bool = False) -> None:
        with self._lock:
            if holder in self._watchers:
                changes = {"beat_at": now, "ended_at": now if ended else None}
                self._watchers[holder] = self._watchers[holder].model_copy(update=changes)

    def watchers(self) -> Sequence[Watcher]:
        with self._lock:
            found = sorted(self._watchers.values(), key=lambda each: each.beat_at, reverse=True)
            return found[: rules.KEPT_WATCHERS]

    # --- webhooks and alerts -------------------------------------------------------------------------------------

    def take_nonce(self, nonce: str, now: datetime, until: datetime) -> bool:
        with self._lock:
            self._nonces = {name: end for name, end in self._nonces.items() if end >= now}
            if nonce in self._nonces:
                return False
            self._nonces[nonce] = until
            return True

    def raise_alert(self, alert: TriggerAlert) -> bool:
        with self._lock:
            return self._alerts.setdefault(alert.key, alert) is alert

    def unsent_alerts(self) -> Sequence[TriggerAlert]:
        with self._lock:
            return [each for each in self._alerts.values() if each.sent_at is None][:1000]

    def put_alerts(self, alerts: Sequence[TriggerAlert]) -> None:
        with self._lock:
            for each in alerts:
                self._alerts[each.key] = each
                old = each.at - rules.KEPT_ALERTS
                self._alerts = {k: a for k, a in self._alerts.items() if a.sent_at is None or a.at >= old}
