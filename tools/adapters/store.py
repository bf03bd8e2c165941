# pyright: basic
"""Runs, leases, effects, reviews and champion history in SQL: SQLite now, PostgreSQL by the same statements.

Every method is one transaction. On SQLite it begins IMMEDIATE, so that of two writers one waits; elsewhere the row that
decides is locked with SELECT … FOR UPDATE.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from tools.adapters.processes import is_alive as process_is_alive
from tools.contracts.run import ChampionEvent, EffectRecord, Lease, Review, RunRecord
from tools.errors import BadInput, BrokenInvariant, Conflict, NotFound, Unavailable
from tools.ports import Clock


class SqlStore:
    """The run store. See `tools.ports.Store` for what each method promises."""

    def __init__(self, url: str, clock: Clock, is_alive: Callable[[str], bool | None] = process_is_alive) -> None:
        import sqlalchemy as sa
        import sqlalchemy.exc

        from tools.adapters import store_tables as tables

        self._errors = sqlalchemy.exc
        self._sa, self._t, self._clock, self._is_alive = sa, tables, clock, is_alive
        try:
            parsed = sa.make_url(url)
        except self._errors.ArgumentError as error:
            raise BadInput(
                "the store URL cannot be read", thing="store", remedy="e.g. sqlite:///.retraining/store.db"
            ) from error
        self._shown = parsed.render_as_string(hide_password=True)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        if self._sqlite and parsed.database and parsed.database != ":memory:":
            _owner_only(parsed.database)
        try:
            self._engine = sa.create_engine(parsed, connect_args={"timeout": 30} if self._sqlite else {})
        except (ImportError, self._errors.NoSuchModuleError) as error:
            raise BadInput(
                f"no driver for the store {self._shown}",
                thing="store",
                value=self._shown,
                remedy="install its SQLAlchemy driver",
            ) from error
        if self._sqlite:
            self._listen()
        self._prepare()

    def _listen(self) -> None:
        """sqlite3 must not begin transactions by itself: every one of ours takes the write lock at its start."""
        sa = self._sa

        @sa.event.listens_for(self._engine, "connect")
        def _connect(connection: Any, _: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA busy_timeout=30000")

        @sa.event.listens_for(self._engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _prepare(self) -> None:
        with self._transaction() as c:
            self._t.METADATA.create_all(c)
            known = dict(c.execute(self._sa.select(self._t.META.c.name, self._t.META.c.value)).all())
            if "schema" not in known:
                rows = [
                    {"name": "schema", "value": str(self._t.SCHEMA)},
                    {"name": "identity", "value": uuid.uuid4().hex},
                ]
                c.execute(self._t.META.insert(), rows)
            elif int(known["schema"]) > self._t.SCHEMA:
                raise BadInput(
                    f"the store {self._shown} has schema {known['schema']}, this program knows {self._t.SCHEMA}",
                    thing="store",
                    value=known["schema"],
                    remedy="use the newer program that made it",
                )

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except (self._errors.DBAPIError, OSError) as error:
            why = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise Unavailable(
                f"the run store {self._shown} did not answer: {why}",
                thing="store",
                value=self._shown,
                remedy="check that it can be reached, read and written",
            ) from error

    def _now(self) -> str:
        return self._clock().isoformat()

    def _locked(self, query: Any) -> Any:
        return query if self._sqlite else query.with_for_update()

    # --- runs ----------------------------------------------------------------------------------------------------

    def create_run(self, run: RunRecord) -> RunRecord:
        runs = self._t.RUNS
        with self._transaction() as c:
            if run.idempotency_key is not None:
                found = c.execute(
                    self._sa.select(runs.c.record).where(runs.c.idempotency_key == run.idempotency_key)
                ).scalar()
                if found is not None:
                    earlier = RunRecord.model_validate(found)
                    if earlier.model_id != run.model_id:
                        raise Conflict(
                            f"idempotency key {run.idempotency_key!r} was used for {earlier.model_id!r} (run {earlier.run_id})",
                            thing="idempotencyKey",
                            value=run.idempotency_key,
                            remedy="take a new key for another model",
                        )
                    return earlier
            c.execute(
                runs.insert().values(
                    run_id=run.run_id,
                    model_id=run.model_id,
                    idempotency_key=run.idempotency_key,
                    created_at=run.created_at.isoformat(),
                    record=run.to_state(),
                )
            )
        return run

    def get_run(self, run_id: str) -> RunRecord:
        with self._transaction() as c:
            return self._run(c, run_id)

    def _run(self, c: Any, run_id: str) -> RunRecord:
        query = self._sa.select(self._t.RUNS.c.record).where(self._t.RUNS.c.run_id == run_id)
        found = c.execute(self._locked(query)).scalar()
        if found is None:
            raise NotFound(
                f"no run {run_id!r}", thing="run", value=run_id, remedy="`retrain runs list` shows what there is"
            )
        return RunRecord.model_validate(found)

    def update_run(self, run_id: str, **changes: Any) -> RunRecord:
        unknown = set(changes) - set(RunRecord.model_fields)
        if unknown:
            raise BrokenInvariant(f"a run has no field {sorted(unknown)}", thing="run", value=run_id)
        with self._transaction() as c:
            run = RunRecord.model_validate(self._run(c, run_id).model_dump() | {"updated_at": self._clock()} | changes)
            c.execute(self._t.RUNS.update().where(self._t.RUNS.c.run_id == run_id).values(record=run.to_state()))
        return run

    def list_runs(self, model_id: str | None = None, limit: int = 50) -> Sequence[RunRecord]:
        runs = self._t.RUNS
        query = self._sa.select(runs.c.record).order_by(runs.c.created_at.desc(), runs.c.run_id.desc()).limit(limit)
        if model_id is not None:
            query = query.where(runs.c.model_id == model_id)
        with self._transaction() as c:
            return [RunRecord.model_validate(row) for row in c.execute(query).scalars()]

    def is_empty(self) -> bool:
        with self._transaction() as c:
            return c.execute(self._sa.select(self._sa.func.count()).select_from(self._t.RUNS)).scalar() == 0

    def identity(self) -> str:
        meta = self._t.META
        with self._transaction() as c:
            return str(c.execute(self._sa.select(meta.c.value).where(meta.c.name == "identity")).scalar())

    # --- leases --------------------------------------------------------------------------------------------------

    def acquire(self, model_name: str, run_id: str, holder: str, ttl_seconds: float, *, preempt: bool = False) -> Lease:
        leases, now = self._t.LEASES, self._clock()
        with self._transaction() as c:
            row = self._lease_row(c, model_name)
            if row is not None and row.run_id is not None and not preempt:
                self._refuse_if_held(row, run_id, holder)
            lease = Lease(
                model_name=model_name,
                run_id=run_id,
                holder=holder,
                token=1 if row is None else row.token + 1,
                expires_at=now + timedelta(seconds=ttl_seconds),
            )
            values = {
                "token": lease.token,
                "run_id": run_id,
                "holder": holder,
                "since": now.isoformat(),
                "expires_at": (now + timedelta(seconds=ttl_seconds)).isoformat(),
            }
            if row is None:
                try:
                    c.execute(leases.insert().values(model_name=model_name, **values))
                except self._errors.IntegrityError as error:
                    raise Conflict(
                        f"{model_name!r} was taken this very moment", thing="model", value=model_name
                    ) from error
            else:
                c.execute(leases.update().where(leases.c.model_name == model_name).values(**values))
        return lease

    def _lease_row(self, c: Any, model_name: str) -> Any:
        leases = self._t.LEASES
        return c.execute(self._locked(self._sa.select(leases).where(leases.c.model_name == model_name))).first()

    def _refuse_if_held(self, row: Any, run_id: str, holder: str) -> None:
        parked = row.expires_at is None
        expired = not parked and row.expires_at < self._now()
        gone = not parked and self._is_alive(row.holder) is False
        own = row.run_id == run_id
        if expired or gone or (own and (parked or row.holder == holder)):
            return
        state = "parked: it waits for a person or a rollout" if parked else f"running in process {row.holder}"
        remedy = (
            f"`retrain runs show {row.run_id}`; answer its review, resume it, or roll back, which pre-empts it"
            if parked
            else f"wait until run {row.run_id} is done; `retrain runs show {row.run_id}`"
        )
        raise Conflict(
            f"{row.model_name!r} is held by run {row.run_id} since {row.since[:19]} UTC ({state})",
            thing="model",
            value=row.model_name,
            remedy=remedy,
        )

    def heartbeat(self, lease: Lease, ttl_seconds: float) -> bool:
        until = (self._clock() + timedelta(seconds=ttl_seconds)).isoformat()
        return self._change_lease(lease, expires_at=until)

    def park(self, lease: Lease) -> None:
        if not self._change_lease(lease, expires_at=None):
            raise Conflict(f"the lease on {lease.model_name!r} was taken over", thing="lease", value=lease.run_id)

    def release(self, lease: Lease) -> None:
        self._change_lease(lease, run_id=None, holder=None, since=None, expires_at=None)

    def _change_lease(self, lease: Lease, **values: Any) -> bool:
        leases = self._t.LEASES
        mine = (
            (leases.c.model_name == lease.model_name)
            & (leases.c.token == lease.token)
            & (leases.c.run_id == lease.run_id)
        )
        with self._transaction() as c:
            return c.execute(leases.update().where(mine).values(**values)).rowcount == 1

    def current_lease(self, model_name: str) -> Lease | None:
        with self._transaction() as c:
            row = self._lease_row(c, model_name)
        if row is None or row.run_id is None:
            return None
        return Lease.model_validate(
            {k: getattr(row, k) for k in ("model_name", "run_id", "holder", "token", "expires_at")}
        )

    # --- effects -------------------------------------------------------------------------------------------------

    def intend(self, lease: Lease, key: str, name: str, intent: Mapping[str, Any]) -> EffectRecord:
        with self._transaction() as c:
            row = self._lease_row(c, lease.model_name)
            if row is None or row.token != lease.token or row.run_id != lease.run_id:
                raise Conflict(
                    f"the lease on {lease.model_name!r} was taken over; {name} is not done",
                    thing="lease",
                    value=lease.run_id,
                    remedy="`retrain runs list` shows who took it",
                )
            found = self._effect(c, key)
            if found is not None:
                return found
            effect = EffectRecord(
                key=key,
                run_id=lease.run_id,
                name=name,
                status="intended",
                token=lease.token,
                intent=dict(intent),
                intended_at=self._clock(),
            )
            c.execute(self._t.EFFECTS.insert().values(key=key, run_id=lease.run_id, record=effect.to_state()))
            return effect

    def _effect(self, c: Any, key: str) -> EffectRecord | None:
        found = c.execute(self._sa.select(self._t.EFFECTS.c.record).where(self._t.EFFECTS.c.key == key)).scalar()
        return None if found is None else EffectRecord.model_validate(found)

    def confirm(self, key: str, result: Mapping[str, Any]) -> EffectRecord:
        with self._transaction() as c:
            effect = self._effect(c, key)
            if effect is None:
                raise BrokenInvariant(f"effect {key!r} was confirmed before it was intended", thing="effect", value=key)
            done = effect.model_copy(update={"status": "done", "result": dict(result), "done_at": self._clock()})
            c.execute(self._t.EFFECTS.update().where(self._t.EFFECTS.c.key == key).values(record=done.to_state()))
        return done

    def effects(self, run_id: str) -> Sequence[EffectRecord]:
        effects = self._t.EFFECTS
        query = self._sa.select(effects.c.record).where(effects.c.run_id == run_id).order_by(effects.c.number)
        with self._transaction() as c:
            return [EffectRecord.model_validate(row) for row in c.execute(query).scalars()]

    # --- reviews -------------------------------------------------------------------------------------------------

    def open_review(self, review: Review) -> Review:
        reviews = self._t.REVIEWS
        with self._transaction() as c:
            query = self._sa.select(reviews.c.record).where(
                (reviews.c.run_id == review.run_id) & (reviews.c.status == "open")
            )
            for row in c.execute(self._locked(query)).scalars().all():
                earlier = Review.model_validate(row)
                if earlier.digest == review.digest:
                    return earlier
                self._write_review(c, earlier.model_copy(update={"status": "void"}))
            made = c.execute(
                reviews.insert().values(run_id=review.run_id, model_id=review.model_id, status="open", record={})
            ).inserted_primary_key[0]
            opened = review.model_copy(update={"id": int(made), "status": "open"})
            self._write_review(c, opened)
        return opened

    def _write_review(self, c: Any, review: Review) -> None:
        reviews = self._t.REVIEWS
        c.execute(
            reviews.update().where(reviews.c.id == review.id).values(status=review.status, record=review.to_state())
        )

    def _review(self, c: Any, review_id: int) -> Review:
        query = self._sa.select(self._t.REVIEWS.c.record).where(self._t.REVIEWS.c.id == review_id)
        found = c.execute(self._locked(query)).scalar()
        if found is None:
            raise NotFound(
                f"no review {review_id}", thing="review", value=review_id, remedy="`retrain review list --all`"
            )
        return Review.model_validate(found)

    def get_review(self, review_id: int) -> Review:
        with self._transaction() as c:
            return self._review(c, review_id)

    def list_reviews(self, *, open_only: bool = True, model_id: str | None = None) -> Sequence[Review]:
        reviews = self._t.REVIEWS
        query = self._sa.select(reviews.c.record).order_by(reviews.c.id)
        if open_only:
            query = query.where(reviews.c.status == "open")
        if model_id is not None:
            query = query.where(reviews.c.model_id == model_id)
        with self._transaction() as c:
            return [Review.model_validate(row) for row in c.execute(query).scalars()]

    def answer_review(
        self, review_id: int, digest: str, nonce: str, answer: str, by: str, reason: str, at: Any
    ) -> Review:
        with self._transaction() as c:
            review = self._review(c, review_id)
            why = None
            if review.status != "open":
                why = f"is {review.status}"
            elif review.expires_at <= at:
                why = f"expired at {review.expires_at:%Y-%m-%d %H:%M} UTC"
            elif (review.digest, review.nonce) != (digest, nonce):
                why = "is about something else than this answer"
            if why is not None:
                raise Conflict(
                    f"review {review_id} {why}",
                    thing="review",
                    value=review_id,
                    remedy=f"`retrain run --resume {review.run_id}` goes on with the run; nothing is deployed by this answer",
                )
            changes = {"status": "answered", "answer": answer, "answered_by": by, "answered_at": at, "reason": reason}
            answered = Review.model_validate(review.model_dump() | changes)
            self._write_review(c, answered)
        return answered

    def close_review(self, review_id: int, status: str) -> Review:
        with self._transaction() as c:
            review = self._review(c, review_id)
            if review.status == "open":
                review = Review.model_validate(review.model_dump() | {"status": status})
                self._write_review(c, review)
        return review

    # --- history -------------------------------------------------------------------------------------------------

    def record_champion(self, event: ChampionEvent) -> None:
        champions = self._t.CHAMPIONS
        with self._transaction() as c:
            query = self._sa.select(champions.c.record).where(champions.c.model_name == event.model_name)
            newest = c.execute(query.order_by(champions.c.number.desc()).limit(1)).scalar()
            if newest is None or newest["version"] != event.version:
                c.execute(champions.insert().values(model_name=event.model_name, record=event.to_state()))

    def champions(self, model_name: str) -> Sequence[ChampionEvent]:
        champions = self._t.CHAMPIONS
        query = self._sa.select(champions.c.record).where(champions.c.model_name == model_name)
        with self._transaction() as c:
            found = c.execute(query.order_by(champions.c.number.desc())).scalars()
            return [ChampionEvent.model_validate(row) for row in found]


def _owner_only(path: str) -> None:
    """Reviews hold nonces: the file is its owner's alone."""
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Unavailable(
            f"the run store {path} cannot be opened: {error.strerror}",
            thing="store",
            value=path,
            remedy="check the folder's permissions",
        ) from error
