# pyright: basic
"""Triggers in SQL: the part of `SqlStore` that knows what is due, what was found, and which runs are still to be started.

Two queues, each a table: models that are due, and firings that wait for their run. A process claims a row by writing its name on it;
`SELECT … FOR UPDATE SKIP LOCKED` hands of two at once each its own rows (on SQLite the transaction is alone). A claim holds for as long
as its process beats.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tools.adapters import store_trigger_rules as rules
from tools.contracts.triggers import Claim, Evaluation, Firing, TriggerAlert, Watcher, WatchState


class SqlTriggers:
    """See `tools.ports.TriggerStore` for what each method promises."""

    _sa: Any
    _t: Any
    _errors: Any
    _sqlite: Any
    _transaction: Any
    _locked: Any
    _is_alive: Any

    # --- models that are watched ---------------------------------------------------------------------------------

    def watched(self) -> dict[str, str]:
        table = self._t.WATCHED
        with self._transaction() as c:
            return dict(c.execute(self._sa.select(table.c.model_id, table.c.stamp)).all())

    def watch_state(self, model_id: str) -> WatchState | None:
        row = self._watched_row(model_id)
        return None if row is None else WatchState.model_validate(row.record)

    def claims(self, model_id: str) -> Sequence[Claim]:
        row = self._watched_row(model_id)
        return () if row is None else _claims(row.claims)

    def _watched_row(self, model_id: str) -> Any:
        table = self._t.WATCHED
        with self._transaction() as c:
            return c.execute(self._sa.select(table).where(table.c.model_id == model_id)).first()

    def put_watch(self, state: WatchState, evaluation: Evaluation | None = None) -> None:
        table, row = self._t.WATCHED, _watch_row(state)
        with self._transaction() as c:
            grown = table.update().where(table.c.model_id == state.model_id)
            # Whoever evaluates it just now has an outdated state: he is refused.
            done = c.execute(grown.values(row | {"version": table.c.version + 1, "claimed_by": None}))
            if not done.rowcount:
                self._insert_watch(c, row, ())
            if evaluation is not None:
                self._add_evaluation(c, evaluation)

    def _insert_watch(self, c: Any, row: dict[str, Any], claims: Sequence[Claim]) -> None:
        new = row | {"version": 1, "claims": [each.to_state() for each in claims]}
        with self._suppressed(c):
            c.execute(self._t.WATCHED.insert().values(new))

    def _suppressed(self, c: Any) -> Any:
        """Of two processes that add the same at once, the second one's is there already."""
        from contextlib import contextmanager

        @contextmanager
        def block() -> Any:
            try:
                with c.begin_nested():
                    yield
            except self._errors.IntegrityError:
                return

        return block()

    def note_claim(self, model_id: str, claim: Claim) -> None:
        table = self._t.WATCHED
        query = self._locked(self._sa.select(table).where(table.c.model_id == model_id))
        with self._transaction() as c:
            row = c.execute(query).first()
            if row is None:
                state = WatchState(model_id=model_id, watched_since=claim.last_at, next_at=claim.last_at)
                self._insert_watch(c, _watch_row(state), (claim,))
                return
            claims = [each.to_state() for each in rules.merged(_claims(row.claims), claim)]
            values = {"claims": claims, "next_at": claim.last_at.isoformat()}
            c.execute(table.update().where(table.c.model_id == model_id).values(values))

    def wake_watch(self, model_id: str | None, at: datetime) -> None:
        table = self._t.WATCHED
        update = table.update().where(table.c.next_at.is_not(None))
        if model_id is not None:
            update = table.update().where(table.c.model_id == model_id)
        with self._transaction() as c:
            c.execute(update.values(next_at=at.isoformat()))

    def drop_watch(self, model_id: str, evaluation: Evaluation) -> None:
        table, firings = self._t.WATCHED, self._t.FIRINGS
        waiting = (firings.c.model_id == model_id) & (firings.c.status == "waiting")
        with self._transaction() as c:
            c.execute(table.delete().where(table.c.model_id == model_id))
            for record in c.execute(self._locked(self._sa.select(firings.c.record).where(waiting))).scalars().all():
                firing = Firing.model_validate(record)
                self._write_firing(
                    c, firing.model_copy(update={"status": "refused", "told": evaluation.statement}), None
                )
            self._add_evaluation(c, evaluation)

    def claim_watch(
        self, holder: str, now: datetime, limit: int
    ) -> Sequence[tuple[WatchState, tuple[Claim, ...], int]]:
        table = self._t.WATCHED
        with self._transaction() as c:
            free = table.c.claimed_by.is_(None) | table.c.claimed_by.not_in(self._living(c, now))
            query = self._sa.select(table).where((table.c.next_at <= now.isoformat()) & free)
            query = query.order_by(table.c.priority.desc(), table.c.next_at, table.c.model_id).limit(limit)
            rows = c.execute(self._skipping(query)).all()
            if rows:
                mine = table.c.model_id.in_([row.model_id for row in rows])
                c.execute(table.update().where(mine).values(claimed_by=holder, version=table.c.version + 1))
        return [(WatchState.model_validate(row.record), _claims(row.claims), row.version + 1) for row in rows]

    def _skipping(self, query: Any) -> Any:
        return query if self._sqlite else query.with_for_update(skip_locked=True)

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
        table = self._t.WATCHED
        query = self._locked(self._sa.select(table).where(table.c.model_id == state.model_id))
        with self._transaction() as c:
            row = c.execute(query).first()
            if row is None or row.version != version:
                raise rules.taken_over(state.model_id)
            at = evaluations[-1].at if evaluations else state.next_at
            claims = rules.left(_claims(row.claims), taken)
            next_at = state.next_at if at is None else rules.woken(state, claims, at, known)
            values = _watch_row(state) | {
                "version": version + 1,
                "claimed_by": None,
                "next_at": None if next_at is None else next_at.isoformat(),
                "claims": [each.to_state() for each in claims],
            }
            c.execute(table.update().where(table.c.model_id == state.model_id).values(values))
            for each in evaluations:
                self._add_evaluation(c, each)
            return None if firing is None else self._add_firing(c, firing)

    def release_watch(self, model_id: str, version: int) -> None:
        table = self._t.WATCHED
        mine = (table.c.model_id == model_id) & (table.c.version == version)
        with self._transaction() as c:
            c.execute(table.update().where(mine).values(claimed_by=None))

    # --- evaluations ---------------------------------------------------------------------------------------------

    def _add_evaluation(self, c: Any, found: Evaluation) -> None:
        table = self._t.EVALUATIONS
        mine = table.c.model_id == found.model_id
        newest = c.execute(
            self._sa.select(table.c.number, table.c.record).where(mine).order_by(table.c.number.desc()).limit(1)
        ).first()
        again = rules.same_finding(None if newest is None else Evaluation.model_validate(newest.record), found)
        if again is not None and newest is not None:
            c.execute(table.update().where(table.c.number == newest.number).values(record=again.to_state()))
            return
        c.execute(table.insert().values(model_id=found.model_id, record=found.to_state()))
        oldest = self._sa.select(table.c.number).where(mine).order_by(table.c.number.desc())
        oldest = oldest.offset(rules.KEPT_EVALUATIONS).limit(1)
        last = c.execute(oldest).scalar()
        if last is not None:
            c.execute(table.delete().where(mine & (table.c.number <= last)))

    def add_evaluation(self, found: Evaluation) -> None:
        with self._transaction() as c:
            self._add_evaluation(c, found)

    def evaluations(self, model_id: str, limit: int = 100) -> Sequence[Evaluation]:
        table = self._t.EVALUATIONS
        query = self._sa.select(table.c.record).where(table.c.model_id == model_id)
        with self._transaction() as c:
            found = c.execute(query.order_by(table.c.number.desc()).limit(limit)).scalars()
            return [Evaluation.model_validate(row) for row in found]

    # --- firings -------------------------------------------------------------------------------------------------

    def _add_firing(self, c: Any, firing: Firing) -> Firing | None:
        table = self._t.FIRINGS
        known = c.execute(self._sa.select(table.c.number).where(table.c.key == firing.key)).scalar()
        if known is not None:
            return None
        old = (firing.at - rules.KEPT_FIRINGS).isoformat()
        c.execute(table.delete().where((table.c.model_id == firing.model_id) & (table.c.at < old)))
        c.execute(table.insert().values(_firing_row(firing) | {"key": firing.key, "model_id": firing.model_id}))
        return firing

    def claim_firings(self, holder: str, now: datetime, limit: int) -> Sequence[Firing]:
        table = self._t.FIRINGS
        with self._transaction() as c:
            free = table.c.claimed_by.is_(None) | table.c.claimed_by.not_in(self._living(c, now))
            ready = table.c.not_before.is_(None) | (table.c.not_before <= now.isoformat())
            query = self._sa.select(table.c.record).where((table.c.status == "waiting") & free & ready)
            query = query.order_by(table.c.priority.desc(), table.c.number).limit(limit)
            found = [Firing.model_validate(row) for row in c.execute(self._skipping(query)).scalars().all()]
            if found:
                mine = table.c.key.in_([each.key for each in found])
                c.execute(table.update().where(mine).values(claimed_by=holder))
        return found

    def settle_firing(self, firing: Firing) -> None:
        with self._transaction() as c:
            if not self._write_firing(c, firing, None):
                raise rules.no_firing(firing.key)

    def _write_firing(self, c: Any, firing: Firing, claimed_by: str | None) -> bool:
        table = self._t.FIRINGS
        values = _firing_row(firing) | {"claimed_by": claimed_by}
        return bool(c.execute(table.update().where(table.c.key == firing.key).values(values)).rowcount)

    def firings(
        self, model_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[Firing]:
        table = self._t.FIRINGS
        query = self._sa.select(table.c.record)
        if model_id is not None:
            query = query.where(table.c.model_id == model_id)
        if since is not None:
            query = query.where(table.c.at >= since.isoformat())
        with self._transaction() as c:
            found = c.execute(query.order_by(table.c.number.desc()).limit(limit)).scalars()
            return [Firing.model_validate(row) for row in found]

    def waiting_firings(self) -> int:
        table = self._t.FIRINGS
        query = self._sa.select(self._sa.func.count()).select_from(table).where(table.c.status == "waiting")
        with self._transaction() as c:
            return int(c.execute(query).scalar() or 0)

    # --- processes that watch ------------------------------------------------------------------------------------

    def _living(self, c: Any, now: datetime) -> list[str]:
        table = self._t.WATCHERS
        query = self._sa.select(table.c.record).where(
            (table.c.ended == 0) & (table.c.beat_at >= (now - rules.ALIVE).isoformat())
        )
        found = [Watcher.model_validate(row) for row in c.execute(query).scalars()]
        return [each.holder for each in found if rules.lives(each, now, self._is_alive)]

    def begin_watching(self, watcher: Watcher) -> None:
        table = self._t.WATCHERS
        with self._transaction() as c:
            query = self._sa.select(table.c.record).order_by(table.c.beat_at.desc())
            others = [Watcher.model_validate(row) for row in c.execute(query).scalars()]
            others = [each for each in others if each.holder != watcher.holder]
            if self._sqlite:
                rules.require_alone(others, watcher.started_at, self._is_alive)
            for each in others[rules.KEPT_WATCHERS - 1 :]:
                c.execute(table.delete().where(table.c.holder == each.holder))
            c.execute(table.delete().where(table.c.holder == watcher.holder))
            c.execute(table.insert().values(_watcher_row(watcher) | {"holder": watcher.holder}))

    def beat_watching(self, holder: str, now: datetime, *, ended: bool = False) -> None:
        table = self._t.WATCHERS
        query = self._locked(self._sa.select(table.c.record).where(table.c.holder == holder))
        with self._transaction() as c:
            found = c.execute(query).scalar()
            if found is not None:
                beaten = Watcher.model_validate(found).model_copy(
                    update={"beat_at": now, "ended_at": now if ended else None}
                )
                c.execute(table.update().where(table.c.holder == holder).values(_watcher_row(beaten)))

    def watchers(self) -> Sequence[Watcher]:
        table = self._t.WATCHERS
        with self._transaction() as c:
            found = c.execute(self._sa.select(table.c.record).order_by(table.c.beat_at.desc())).scalars()
            return [Watcher.model_validate(row) for row in found]

    @property
    def watched_by_one(self) -> bool:
        return bool(self._sqlite)

    # --- webhooks and alerts -------------------------------------------------------------------------------------

    def take_nonce(self, nonce: str, now: datetime, until: datetime) -> bool:
        table = self._t.NONCES
        with self._transaction() as c:
            c.execute(table.delete().where(table.c.until < now.isoformat()))
            try:
                with c.begin_nested():
                    c.execute(table.insert().values(nonce=nonce, until=until.isoformat()))
            except self._errors.IntegrityError:
                return False
        return True

    def raise_alert(self, alert: TriggerAlert) -> bool:
        table = self._t.ALERTS
        with self._transaction() as c:
            try:
                with c.begin_nested():
                    c.execute(table.insert().values(key=alert.key, sent=0, record=alert.to_state()))
            except self._errors.IntegrityError:
                return False
        return True

    def unsent_alerts(self) -> Sequence[TriggerAlert]:
        table = self._t.ALERTS
        query = self._sa.select(table.c.record).where(table.c.sent == 0).order_by(table.c.number).limit(1000)
        with self._transaction() as c:
            return [TriggerAlert.model_validate(row) for row in c.execute(query).scalars()]

    def put_alerts(self, alerts: Sequence[TriggerAlert]) -> None:
        table = self._t.ALERTS
        with self._transaction() as c:
            for each in alerts:
                sent = int(each.sent_at is not None)
                c.execute(table.update().where(table.c.key == each.key).values(sent=sent, record=each.to_state()))
                old = (each.at - rules.KEPT_ALERTS).isoformat()
                c.execute(table.delete().where((table.c.sent == 1) & (table.c.record["at"].as_string() < old)))


def _claims(rows: Any) -> tuple[Claim, ...]:
    return tuple(Claim.model_validate(each) for each in rows)


def _watch_row(state: WatchState) -> dict[str, Any]:
    return {
        "model_id": state.model_id,
        "next_at": None if state.next_at is None else state.next_at.isoformat(),
        "priority": state.priority,
        "stamp": state.stamp,
        "record": state.to_state(),
    }


def _firing_row(firing: Firing) -> dict[str, Any]:
    return {
        "status": firing.status,
        "priority": firing.priority,
        "at": firing.at.isoformat(),
        "not_before": None if firing.not_before is None else firing.not_before.isoformat(),
        "record": firing.to_state(),
    }


def _watcher_row(watcher: Watcher) -> dict[str, Any]:
    return {
        "beat_at": watcher.beat_at.isoformat(),
        "ended": int(watcher.ended_at is not None),
        "record": watcher.to_state(),
    }
