# pyright: basic
"""Runs, leases, effects, reviews and champion history in SQL: SQLite now, PostgreSQL by the same statements.

Every method is one transaction. On SQLite it begins IMMEDIATE, so that of two writers one waits; elsewhere the row that
decides is locked with SELECT … FOR UPDATE.
"""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from tools.adapters import store_rules as rules
from tools.adapters.processes import is_alive as process_is_alive
from tools.adapters.sqlite_files import write_ahead
from tools.adapters.store_keys import SqlKeys
from tools.adapters.store_triggers import SqlTriggers
from tools.contracts.comparison import Look
from tools.contracts.run import ChampionEvent, EffectRecord, Hold, Lease, Review, RunRecord
from tools.errors import BadInput, Unavailable
from tools.ports import Clock

_MAKING = 8472
"""Name of the lock under which tables are made."""


class SqlStore(SqlKeys, SqlTriggers):
    """The run store. See `tools.ports.Store` for what each method promises."""

    def __init__(self, url: str, clock: Clock, is_alive: rules.IsAlive = process_is_alive) -> None:
        import sqlalchemy as sa
        import sqlalchemy.exc

        from tools.adapters import store_tables as tables

        self._errors = sqlalchemy.exc
        self._sa, self._t, self._clock, self._is_alive = sa, tables, clock, is_alive
        try:
            self._open(sa.make_url(url))
        except (self._errors.ArgumentError, ValueError):
            # The cause may quote the password.
            raise BadInput(
                "the store URL cannot be read",
                thing="store",
                remedy="e.g. sqlite:///.retraining/store.db; in a password, write @ as %40, : as %3A and / as %2F",
            ) from None
        self._prepare()

    def _open(self, url: Any) -> None:
        if "@" in (url.host or ""):
            raise ValueError("the end of a password with an @ in it")
        self._shown = url.set(query={}).render_as_string(hide_password=True)
        self._sqlite = url.get_backend_name() == "sqlite"
        if self._sqlite and url.database in (None, "", ":memory:"):
            raise BadInput(
                f"the store {self._shown} would be another one in each thread and gone with the process",
                thing="store",
                value=self._shown,
                remedy="name a file, e.g. sqlite:///.retraining/store.db",
            )
        try:
            self._engine = self._sa.create_engine(
                url, connect_args={"timeout": 30} if self._sqlite else {}, json_serializer=self._t.spelled
            )
        except (ImportError, self._errors.NoSuchModuleError) as error:
            raise BadInput(
                f"no driver for the store {self._shown}",
                thing="store",
                value=self._shown,
                remedy="install its SQLAlchemy driver",
            ) from error
        if self._sqlite:
            _owner_only(url.database)
            self._listen()

    def _listen(self) -> None:
        """sqlite3 must not begin transactions by itself: every one of ours takes the write lock at its start."""
        sa = self._sa

        @sa.event.listens_for(self._engine, "connect")
        def _connect(connection: Any, _: Any) -> None:
            connection.isolation_level = None
            write_ahead(connection)

        @sa.event.listens_for(self._engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _prepare(self) -> None:
        with self._transaction() as c:
            if self._engine.dialect.name == "postgresql":
                # Of several that make the tables at once, one does; SQLite's lock sees to that by itself.
                c.execute(self._sa.select(self._sa.func.pg_advisory_xact_lock(_MAKING)))
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
        except self._errors.DataError as error:
            raise BadInput(
                f"the run store {self._shown} cannot keep a value: {_said(error)}",
                thing="store",
                remedy="keys and names have at most 255 characters, and no NUL among them",
            ) from error
        except (self._errors.DBAPIError, self._errors.TimeoutError, OSError) as error:
            raise Unavailable(
                f"the run store {self._shown} did not answer: {_said(error)}",
                thing="store",
                value=self._shown,
                remedy="check that it can be reached, read and written",
            ) from error

    def _locked(self, query: Any) -> Any:
        return query if self._sqlite else query.with_for_update()

    # --- runs ----------------------------------------------------------------------------------------------------

    def create_run(self, run: RunRecord) -> RunRecord:
        runs = self._t.RUNS
        row = {
            "run_id": run.run_id,
            "model_id": run.model_id,
            "idempotency_key": run.idempotency_key,
            "created_at": run.created_at.isoformat(),
            "record": run.to_state(),
        }
        with self._transaction() as c:
            # Insert first: of two with the same key at once, only the table's constraint knows which came second.
            try:
                with c.begin_nested():
                    c.execute(runs.insert().values(row))
                return run
            except self._errors.IntegrityError as error:
                earlier = self._repeated(c, run)
                if earlier is None:
                    raise rules.run_exists(run) from error
                return earlier

    def repeated(self, run: RunRecord) -> RunRecord | None:
        with self._transaction() as c:
            return self._repeated(c, run)

    def _repeated(self, c: Any, run: RunRecord) -> RunRecord | None:
        runs = self._t.RUNS
        if run.idempotency_key is None:
            return None
        query = self._sa.select(runs.c.record).where(runs.c.idempotency_key == run.idempotency_key)
        earlier = c.execute(query).scalar()
        return None if earlier is None else rules.same_request(RunRecord.model_validate(earlier), run)

    def get_run(self, run_id: str) -> RunRecord:
        with self._transaction() as c:
            return self._run(c, run_id)

    def _run(self, c: Any, run_id: str, *, to_change: bool = False) -> RunRecord:
        query = self._sa.select(self._t.RUNS.c.record).where(self._t.RUNS.c.run_id == run_id)
        found = c.execute(self._locked(query) if to_change else query).scalar()
        if found is None:
            raise rules.no_run(run_id)
        return RunRecord.model_validate(found)

    def update_run(self, run_id: str, **changes: Any) -> RunRecord:
        rules.require_changeable(run_id, changes)
        with self._transaction() as c:
            run = rules.changed_run(self._run(c, run_id, to_change=True), changes, self._clock())
            c.execute(self._t.RUNS.update().where(self._t.RUNS.c.run_id == run_id).values(record=run.to_state()))
        return run

    def list_runs(self, model_id: str | None = None, limit: int = 50) -> Sequence[RunRecord]:
        runs = self._t.RUNS
        query = self._sa.select(runs.c.record).order_by(runs.c.created_at.desc(), runs.c.run_id.desc()).limit(limit)
        if model_id is not None:
            query = query.where(runs.c.model_id == model_id)
        with self._transaction() as c:
            return [RunRecord.model_validate(row) for row in c.execute(query).scalars()]

    def unfinished(self, model_id: str | None = None) -> Sequence[RunRecord]:
        runs = self._t.RUNS
        open_ones = runs.c.record["status"].as_string().in_(rules.UNFINISHED)
        query = self._sa.select(runs.c.record).where(open_ones)
        if model_id is not None:
            query = query.where(runs.c.model_id == model_id)
        query = query.order_by(runs.c.created_at.desc(), runs.c.run_id.desc()).limit(1000)
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
        with self._transaction() as c:
            self._make_lockable(c, model_name)
            held, last_token = self._held(c, model_name)
            now = self._clock()
            lease = rules.next_lease(model_name, run_id, holder, last_token, now, ttl_seconds)
            if not preempt:
                rules.refuse_if_held(held, lease, now, self._is_alive)
            self._write_lease(c, rules.Held(lease, now))
        return lease

    def _make_lockable(self, c: Any, model_name: str) -> None:
        """A row for a model that was never held: of several who want it first, each then reads who has it."""
        leases = self._t.LEASES
        known = self._sa.select(leases.c.model_name).where(leases.c.model_name == model_name)
        if c.execute(known).first() is None:
            with suppress(self._errors.IntegrityError), c.begin_nested():
                c.execute(leases.insert().values(model_name=model_name, token=0))

    def _held(self, c: Any, model_name: str, *, to_change: bool = True) -> tuple[rules.Held | None, int]:
        """Who holds the model, and the last token given out; the row stays locked to the end, unless it is only read."""
        leases = self._t.LEASES
        query = self._sa.select(leases).where(leases.c.model_name == model_name)
        row = c.execute(self._locked(query) if to_change else query).first()
        if row is None:
            return None, 0
        if row.run_id is None:
            return None, row.token
        fields = {name: getattr(row, name) for name in Lease.model_fields}
        return rules.Held(Lease.model_validate(fields), datetime.fromisoformat(row.since)), row.token

    def _mine(self, c: Any, lease: Lease) -> rules.Held | None:
        held, _ = self._held(c, lease.model_name)
        return held if rules.is_newest(held, lease) else None

    def _write_lease(self, c: Any, held: rules.Held) -> None:
        leases = self._t.LEASES
        c.execute(leases.update().where(leases.c.model_name == held.lease.model_name).values(_lease_row(held)))

    def heartbeat(self, lease: Lease, ttl_seconds: float) -> bool:
        with self._transaction() as c:
            held = self._mine(c, lease)
            if held is not None:
                self._write_lease(c, rules.beaten(held, self._clock(), ttl_seconds))
        return held is not None

    def park(self, lease: Lease) -> None:
        with self._transaction() as c:
            held = self._mine(c, lease)
            if held is None:
                raise rules.lost(lease, "it is not parked")
            self._write_lease(c, rules.parked(held))

    def release(self, lease: Lease) -> None:
        leases = self._t.LEASES
        free = dict.fromkeys(("run_id", "holder", "since", "expires_at"))
        with self._transaction() as c:
            if self._mine(c, lease) is not None:
                c.execute(leases.update().where(leases.c.model_name == lease.model_name).values(free))

    def current_lease(self, model_name: str) -> Lease | None:
        with self._transaction() as c:
            held, _ = self._held(c, model_name, to_change=False)
        return None if held is None else held.lease

    # --- effects -------------------------------------------------------------------------------------------------

    def intend(self, lease: Lease, key: str, name: str, intent: Mapping[str, Any]) -> EffectRecord:
        with self._transaction() as c:
            if self._mine(c, lease) is None:
                raise rules.lost(lease, f"{name} is not done")
            found = self._effect(c, key)
            if found is not None:
                return found
            effect = rules.intended(lease, key, name, intent, self._clock())
            c.execute(self._t.EFFECTS.insert().values(key=key, run_id=lease.run_id, record=effect.to_state()))
            return effect

    def _effect(self, c: Any, key: str) -> EffectRecord | None:
        found = c.execute(self._sa.select(self._t.EFFECTS.c.record).where(self._t.EFFECTS.c.key == key)).scalar()
        return None if found is None else EffectRecord.model_validate(found)

    def confirm(self, key: str, result: Mapping[str, Any]) -> EffectRecord:
        with self._transaction() as c:
            done = rules.confirmed(self._effect(c, key), key, result, self._clock())
            c.execute(self._t.EFFECTS.update().where(self._t.EFFECTS.c.key == key).values(record=done.to_state()))
        return done

    def effects(self, run_id: str) -> Sequence[EffectRecord]:
        effects = self._t.EFFECTS
        query = self._sa.select(effects.c.record).where(effects.c.run_id == run_id).order_by(effects.c.number)
        with self._transaction() as c:
            return [EffectRecord.model_validate(row) for row in c.execute(query).scalars()]

    def unconfirmed(self, name_prefix: str) -> Sequence[EffectRecord]:
        record = self._t.EFFECTS.c.record
        query = self._sa.select(record).where(record["status"].as_string() == "intended")
        query = query.where(record["name"].as_string().startswith(name_prefix, autoescape=True))
        with self._transaction() as c:
            found = c.execute(query.order_by(self._t.EFFECTS.c.number)).scalars()
            return [EffectRecord.model_validate(row) for row in found]

    # --- holds ---------------------------------------------------------------------------------------------------

    def set_hold(self, hold: Hold) -> Hold:
        with self._transaction() as c:
            # Insert first, as runs do: only the table's constraint knows which of two came second.
            try:
                with c.begin_nested():
                    c.execute(self._t.HOLDS.insert().values(held_scope=hold.scope, record=hold.to_state()))
                return hold
            except self._errors.IntegrityError:
                known = self._hold(c, hold.scope)
                if known is None:
                    raise
                return known

    def _hold(self, c: Any, scope: str) -> Hold | None:
        holds = self._t.HOLDS
        query = self._sa.select(holds.c.record).where(holds.c.held_scope == scope)
        found = c.execute(self._locked(query)).scalar()
        return None if found is None else Hold.model_validate(found)

    def release_hold(self, scope: str, by: str, why: str, at: datetime) -> Hold:
        holds = self._t.HOLDS
        with self._transaction() as c:
            released = rules.let_go(self._hold(c, scope), scope, by, why, at)
            row = {"held_scope": None, "record": released.to_state()}
            c.execute(holds.update().where(holds.c.held_scope == scope).values(row))
        return released

    def holds(self, *, in_force: bool = True) -> Sequence[Hold]:
        holds = self._t.HOLDS
        query = self._sa.select(holds.c.record).order_by(holds.c.number)
        if in_force:
            query = query.where(holds.c.held_scope.is_not(None))
        with self._transaction() as c:
            return [Hold.model_validate(row) for row in c.execute(query).scalars()]

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
                self._write_review(c, rules.closed(earlier, "void"))
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
            raise rules.no_review(review_id)
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
        self, review_id: int, digest: str, nonce: str, answer: str, by: str, reason: str, at: datetime
    ) -> Review:
        with self._transaction() as c:
            review = rules.answered(self._review(c, review_id), digest, nonce, answer, by, reason, at)
            self._write_review(c, review)
        return review

    def close_review(self, review_id: int, status: str) -> Review:
        with self._transaction() as c:
            review = rules.closed(self._review(c, review_id), status)
            self._write_review(c, review)
        return review

    # --- history -------------------------------------------------------------------------------------------------

    def record_look(self, look: Look) -> Look:
        looks = self._t.LOOKS
        query = self._sa.select(looks.c.record).where(looks.c.run_id == look.run_id)
        with self._transaction() as c:
            # Insert first, as runs do.
            try:
                with c.begin_nested():
                    row = {"run_id": look.run_id, "model_name": look.model_name, "record": look.to_state()}
                    c.execute(looks.insert().values(row))
                return look
            except self._errors.IntegrityError:
                return Look.model_validate(c.execute(query).scalar())

    def looks(self, model_name: str) -> Sequence[Look]:
        looks = self._t.LOOKS
        query = self._sa.select(looks.c.record).where(looks.c.model_name == model_name).order_by(looks.c.number)
        with self._transaction() as c:
            return [Look.model_validate(row) for row in c.execute(query).scalars()]

    def record_champion(self, event: ChampionEvent) -> None:
        champions = self._t.CHAMPIONS
        with self._transaction() as c:
            query = self._sa.select(champions.c.record).where(champions.c.model_name == event.model_name)
            newest = c.execute(self._locked(query.order_by(champions.c.number.desc()).limit(1))).scalar()
            if rules.is_news(None if newest is None else ChampionEvent.model_validate(newest), event):
                c.execute(champions.insert().values(model_name=event.model_name, record=event.to_state()))

    def champions(self, model_name: str) -> Sequence[ChampionEvent]:
        champions = self._t.CHAMPIONS
        query = self._sa.select(champions.c.record).where(champions.c.model_name == model_name)
        with self._transaction() as c:
            found = c.execute(query.order_by(champions.c.number.desc())).scalars()
            return [ChampionEvent.model_validate(row) for row in found]


def _said(error: Exception) -> str:
    return next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)


def _lease_row(held: rules.Held) -> dict[str, Any]:
    return held.lease.to_state() | {"since": held.since.isoformat()}


def _owner_only(path: str) -> None:
    """Reviews hold nonces: the file is its owner's alone."""
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        # Only a new file: closing a descriptor of an open database drops the locks of every connection in this process.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise Unavailable(
            f"the run store {path} cannot be opened: {error.strerror}",
            thing="store",
            value=path,
            remedy="check the folder's permissions",
        ) from error
