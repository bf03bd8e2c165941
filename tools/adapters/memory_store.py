"""The run store in memory: for tests, demos and rehearsals. Gone with its process."""

import json
import threading
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from tools.adapters import store_rules as rules
from tools.adapters.memory_triggers import MemoryTriggers
from tools.adapters.processes import is_alive as process_is_alive
from tools.contracts.access import ApiKey
from tools.contracts.base import Contract
from tools.contracts.comparison import Look
from tools.contracts.run import ChampionEvent, EffectRecord, Hold, Lease, Review, RunRecord
from tools.ports import Clock

Key = TypeVar("Key")
Record = TypeVar("Record", bound=Contract)


class _Shelf(Generic[Key, Record]):
    """Records as JSON text, as a database keeps them: what a caller does to its objects later changes nothing here."""

    def __init__(self, kind: type[Record]) -> None:
        self._kind = kind
        self._texts: dict[Key, str] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def put(self, key: Key, record: Record) -> Record:
        self._texts[key] = json.dumps(record.to_state())
        return record

    def get(self, key: Key) -> Record | None:
        return self._read(self._texts[key]) if key in self._texts else None

    def all(self) -> list[Record]:
        """In the order in which they were first put."""
        return [self._read(text) for text in self._texts.values()]

    def _read(self, text: str) -> Record:
        return self._kind.model_validate(json.loads(text))


class MemoryStore(MemoryTriggers):
    """Port `Store`, in dictionaries under one lock."""

    def __init__(self, clock: Clock, is_alive: rules.IsAlive = process_is_alive) -> None:
        self._clock, self._is_alive = clock, is_alive
        self._lock = threading.RLock()
        self._begin_triggers()
        self._identity = uuid.uuid4().hex
        self._runs = _Shelf[str, RunRecord](RunRecord)
        self._tokens: dict[str, int] = {}
        self._held: dict[str, rules.Held] = {}
        self._effects = _Shelf[str, EffectRecord](EffectRecord)
        self._reviews = _Shelf[int, Review](Review)
        self._holds = _Shelf[int, Hold](Hold)
        self._keys = _Shelf[str, ApiKey](ApiKey)
        self._looks = _Shelf[str, Look](Look)
        self._champions = _Shelf[int, ChampionEvent](ChampionEvent)

    # --- runs ----------------------------------------------------------------------------------------------------

    def create_run(self, run: RunRecord) -> RunRecord:
        with self._lock:
            earlier = self._repeated(run)
            if earlier is not None:
                return earlier
            if self._runs.get(run.run_id) is not None:
                raise rules.run_exists(run)
            return self._runs.put(run.run_id, run)

    def repeated(self, run: RunRecord) -> RunRecord | None:
        with self._lock:
            return self._repeated(run)

    def _repeated(self, run: RunRecord) -> RunRecord | None:
        if run.idempotency_key is None:
            return None
        earlier = next((each for each in self._runs.all() if each.idempotency_key == run.idempotency_key), None)
        return None if earlier is None else rules.same_request(earlier, run)

    def get_run(self, run_id: str) -> RunRecord:
        with self._lock:
            return self._run(run_id)

    def _run(self, run_id: str) -> RunRecord:
        run = self._runs.get(run_id)
        if run is None:
            raise rules.no_run(run_id)
        return run

    def update_run(self, run_id: str, **changes: Any) -> RunRecord:
        rules.require_changeable(run_id, changes)
        with self._lock:
            return self._runs.put(run_id, rules.changed_run(self._run(run_id), changes, self._clock()))

    def list_runs(self, model_id: str | None = None, limit: int = 50) -> Sequence[RunRecord]:
        with self._lock:
            found = [run for run in self._runs.all() if model_id in (None, run.model_id)]
        return sorted(found, key=lambda run: (run.created_at, run.run_id), reverse=True)[:limit]

    def unfinished(self, model_id: str | None = None) -> Sequence[RunRecord]:
        return [run for run in self.list_runs(model_id, limit=1000) if run.status in rules.UNFINISHED]

    def is_empty(self) -> bool:
        with self._lock:
            return len(self._runs) == 0

    def identity(self) -> str:
        return self._identity

    # --- leases --------------------------------------------------------------------------------------------------

    def acquire(self, model_name: str, run_id: str, holder: str, ttl_seconds: float, *, preempt: bool = False) -> Lease:
        with self._lock:
            now = self._clock()
            lease = rules.next_lease(model_name, run_id, holder, self._tokens.get(model_name, 0), now, ttl_seconds)
            if not preempt:
                rules.refuse_if_held(self._held.get(model_name), lease, now, self._is_alive)
            self._held[model_name], self._tokens[model_name] = rules.Held(lease, now), lease.token
            return lease

    def heartbeat(self, lease: Lease, ttl_seconds: float) -> bool:
        with self._lock:
            held = self._mine(lease)
            if held is not None:
                self._held[lease.model_name] = rules.beaten(held, self._clock(), ttl_seconds)
            return held is not None

    def park(self, lease: Lease) -> None:
        with self._lock:
            held = self._mine(lease)
            if held is None:
                raise rules.lost(lease, "it is not parked")
            self._held[lease.model_name] = rules.parked(held)

    def release(self, lease: Lease) -> None:
        with self._lock:
            if self._mine(lease) is not None:
                del self._held[lease.model_name]

    def _mine(self, lease: Lease) -> rules.Held | None:
        held = self._held.get(lease.model_name)
        return held if rules.is_newest(held, lease) else None

    def current_lease(self, model_name: str) -> Lease | None:
        with self._lock:
            held = self._held.get(model_name)
        return None if held is None else held.lease

    # --- effects -------------------------------------------------------------------------------------------------

    def intend(self, lease: Lease, key: str, name: str, intent: Mapping[str, Any]) -> EffectRecord:
        with self._lock:
            if self._mine(lease) is None:
                raise rules.lost(lease, f"{name} is not done")
            earlier = self._effects.get(key)
            if earlier is not None:
                return earlier
            return self._effects.put(key, rules.intended(lease, key, name, intent, self._clock()))

    def confirm(self, key: str, result: Mapping[str, Any]) -> EffectRecord:
        with self._lock:
            return self._effects.put(key, rules.confirmed(self._effects.get(key), key, result, self._clock()))

    def effects(self, run_id: str) -> Sequence[EffectRecord]:
        with self._lock:
            return [effect for effect in self._effects.all() if effect.run_id == run_id]

    def unconfirmed(self, name_prefix: str) -> Sequence[EffectRecord]:
        with self._lock:
            return [e for e in self._effects.all() if e.status == "intended" and e.name.startswith(name_prefix)]

    # --- holds ---------------------------------------------------------------------------------------------------

    def set_hold(self, hold: Hold) -> Hold:
        with self._lock:
            number = self._held_under(hold.scope)
            known = None if number is None else self._holds.get(number)
            return known or self._holds.put(len(self._holds), hold)

    def _held_under(self, scope: str) -> int | None:
        found = enumerate(self._holds.all())
        return next((n for n, hold in found if hold.scope == scope and hold.released_at is None), None)

    def release_hold(self, scope: str, by: str, why: str, at: datetime) -> Hold:
        with self._lock:
            number = self._held_under(scope)
            released = rules.let_go(None if number is None else self._holds.get(number), scope, by, why, at)
            return released if number is None else self._holds.put(number, released)

    def holds(self, *, in_force: bool = True) -> Sequence[Hold]:
        with self._lock:
            return [hold for hold in self._holds.all() if hold.released_at is None or not in_force]

    # --- reviews -------------------------------------------------------------------------------------------------

    def open_review(self, review: Review) -> Review:
        with self._lock:
            for earlier in self._reviews.all():
                if (earlier.run_id, earlier.status) != (review.run_id, "open"):
                    continue
                if earlier.digest == review.digest:
                    return earlier
                self._reviews.put(earlier.id, rules.closed(earlier, "void"))
            opened = review.model_copy(update={"id": len(self._reviews) + 1, "status": "open"})
            return self._reviews.put(opened.id, opened)

    def get_review(self, review_id: int) -> Review:
        with self._lock:
            return self._review(review_id)

    def _review(self, review_id: int) -> Review:
        review = self._reviews.get(review_id)
        if review is None:
            raise rules.no_review(review_id)
        return review

    def list_reviews(self, *, open_only: bool = True, model_id: str | None = None) -> Sequence[Review]:
        with self._lock:
            found = self._reviews.all()
        return [r for r in found if model_id in (None, r.model_id) and (r.status == "open" or not open_only)]

    def answer_review(
        self, review_id: int, digest: str, nonce: str, answer: str, by: str, reason: str, at: datetime
    ) -> Review:
        with self._lock:
            review = rules.answered(self._review(review_id), digest, nonce, answer, by, reason, at)
            return self._reviews.put(review_id, review)

    def close_review(self, review_id: int, status: str) -> Review:
        with self._lock:
            return self._reviews.put(review_id, rules.closed(self._review(review_id), status))

    # --- keys ----------------------------------------------------------------------------------------------------

    def add_key(self, key: ApiKey) -> ApiKey:
        with self._lock:
            rules.require_new_name(self._keys_named(key.name), key)
            return self._keys.put(key.id, key)

    def _keys_named(self, name: str) -> list[ApiKey]:
        return [key for key in self._keys.all() if rules.folded(key.name) == rules.folded(name)]

    def get_key(self, key_id: str) -> ApiKey | None:
        with self._lock:
            return self._keys.get(key_id)

    def list_keys(self) -> Sequence[ApiKey]:
        with self._lock:
            return self._keys.all()

    def revoke_key(self, name: str, by: str, at: datetime) -> ApiKey:
        with self._lock:
            good = next((key for key in self._keys_named(name) if key.revoked_at is None), None)
            ended = rules.revoked(good, name, by, at)
            return self._keys.put(ended.id, ended)

    def use_key(self, key_id: str, at: datetime) -> None:
        with self._lock:
            key = self._keys.get(key_id)
            if key is not None:
                self._keys.put(key_id, rules.used(key, at))

    # --- history -------------------------------------------------------------------------------------------------

    def record_look(self, look: Look) -> Look:
        with self._lock:
            return self._looks.get(look.run_id) or self._looks.put(look.run_id, look)

    def looks(self, model_name: str) -> Sequence[Look]:
        with self._lock:
            return [look for look in self._looks.all() if look.model_name == model_name]

    def record_champion(self, event: ChampionEvent) -> None:
        with self._lock:
            if rules.is_news(next(iter(self._events(event.model_name)), None), event):
                self._champions.put(len(self._champions), event)

    def champions(self, model_name: str) -> Sequence[ChampionEvent]:
        with self._lock:
            return self._events(model_name)

    def _events(self, model_name: str) -> list[ChampionEvent]:
        return [event for event in reversed(self._champions.all()) if event.model_name == model_name]
