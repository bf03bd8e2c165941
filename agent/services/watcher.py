"""What goes on by itself: models are evaluated when they are due, what fires becomes a run, and what a crash left is gone on with.

Nothing is kept but the store. A process claims what it works at and beats; who stops beating has its claims taken over. An evaluation
is settled with its firing in one transaction, a firing becomes a run under its own idempotency key: so a kill at any moment loses
nothing and doubles nothing.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final, Protocol

from agent.deps import Deps
from agent.services import trigger_alerts
from agent.services.evaluate import Evaluator, Found
from agent.services.trigger_alerts import Sender
from tools.contracts.run import RunRecord
from tools.contracts.triggers import Claim, Evaluation, Firing, Watcher, WatchState
from tools.errors import BadInput, BrokenInvariant, Conflict, NotFound, RetrainingError

SYNC: Final = timedelta(seconds=10)
"""Between two looks at which profiles there are."""
BEAT_SECONDS: Final = 10.0
BATCH: Final = 50
"""Models that are claimed at a time."""
RETRY: Final = timedelta(minutes=1)
GIVEN_UP: Final = timedelta(days=1)
"""A firing whose run could not be started for so long is refused."""
LEFT_BACK: Final = timedelta(hours=1)
"""A clock that was set back by more than this has its hours reckoned anew."""
BEGUN: Final = timedelta(seconds=5)
"""A run that was recorded so shortly before may not hold its lease yet."""
PREFIX: Final = "trigger/"
"""Of the idempotency keys of the runs that are started here."""


class Starter(Protocol):
    """What drives runs, in threads of its own."""

    def start(self, firing: Firing) -> str:
        """Begin the run, or find it; its id. Raises what a desk raises."""
        ...

    def resume(self, run_id: str) -> None: ...

    def going(self) -> int:
        """How many it drives just now."""
        ...

    def is_driven(self, record: RunRecord) -> bool:
        """Whether any process does."""
        ...


class Hears(Protocol):
    """Counts what happens, for metrics."""

    def evaluated(self, found: Evaluation, seconds: float) -> None: ...

    def fired(self, firing: Firing) -> None: ...

    def resumed(self, run_id: str) -> None: ...


class WatchLoop:
    """One process that watches. `tick` is one round; whoever builds it calls `begin`, `tick` again and again, then `end`."""

    def __init__(
        self,
        deps: Deps,
        *,
        holder: str,
        stamps: Callable[[], Mapping[str, str]],
        evaluator: Evaluator,
        starter: Starter,
        sender: Sender,
        hears: Hears,
        most_runs: int = 2,
        looks: int = 2,
        dry_run: bool = False,
    ) -> None:
        self._deps, self._holder, self._stamps, self._evaluator = deps, holder, stamps, evaluator
        self._starter, self._sender, self._hears = starter, sender, hears
        self._most_runs, self._dry_run = most_runs, dry_run
        self._known: dict[str, str] = {}
        self._synced: datetime | None = None
        self._set_back = False
        self._pool = ThreadPoolExecutor(looks, thread_name_prefix="evaluate")
        self._stop = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True, name="watch-beat")
        self.ticked_at: datetime | None = None
        """When the latest round ended."""
        self._crowded = False
        self._told: set[str] = set()

    # --- beginning and end ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Raises `Conflict` where another process watches, and one alone may."""
        now = self._deps.clock()
        self._deps.store.begin_watching(Watcher(holder=self._holder, started_at=now, beat_at=now))
        self._known = dict(self._deps.store.watched())
        others = self._deps.store.watchers()
        self._set_back = any(each.beat_at > now + LEFT_BACK for each in others)
        self._beats.start()

    def stop(self) -> None:
        """No more evaluations; those under way end."""
        self._stop.set()

    def end(self) -> None:
        """What was claimed and not begun is anybody's at once."""
        self._stop.set()
        self._pool.shutdown(wait=True)
        if self._beats.is_alive():
            self._beats.join(BEAT_SECONDS)
        self._deps.store.beat_watching(self._holder, self._deps.clock(), ended=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self._deps.store.beat_watching(self._holder, self._deps.clock())
            except RetrainingError as failure:
                self._deps.progress(f"no heartbeat: {failure.message}")

    # --- a round -------------------------------------------------------------------------------------------------

    def tick(self) -> int:
        """One round: how many models were evaluated."""
        self._sync()
        count = 0
        while not self._stop.is_set():
            batch = self._deps.store.claim_watch(self._holder, self._deps.clock(), BATCH)
            if not batch:
                break
            begun: list[Future[None]] = [self._pool.submit(self._evaluate, *each) for each in batch]
            for each in begun:
                each.result()
            count += len(batch)
            self._start_runs()
        self._start_runs()
        self._resume()
        self._sender.due()
        self.ticked_at = self._deps.clock()
        return count

    def next_at(self) -> datetime | None:
        """When a model is due next; None where none ever is."""
        store = self._deps.store
        hours = [state.next_at for each in store.watched() if (state := store.watch_state(each)) is not None]
        return min((hour for hour in hours if hour is not None), default=None)

    def waits(self) -> bool:
        """Whether runs are under way here, or had to wait for their turn."""
        return self._starter.going() > 0 or self._crowded

    def _sync(self) -> None:
        """Which profiles have come, changed or gone since."""
        now = self._deps.clock()
        if self._synced is not None and timedelta(0) <= now - self._synced < SYNC:
            return
        anew = self._set_back or (self._synced is not None and now < self._synced - LEFT_BACK)
        if anew:
            self._deps.progress("the clock was set back: hours are reckoned anew, and none that has fired fires again")
            self._known = {}
        self._synced, self._set_back = now, False
        found = self._stamps()
        for model_id, stamp in found.items():
            if self._known.get(model_id) != stamp:
                self._changed(model_id, stamp, now, anew=anew)
        for model_id in set(self._known) - set(found):
            told = "The profile is gone: its model is not watched any more."
            gone = Evaluation(
                model_id=model_id, at=now, trigger="profile", code="profile_gone", statement=told, by=self._holder
            )
            self._deps.store.drop_watch(model_id, gone)
            self._deps.progress(f"{model_id}: {told}")
        self._known = dict(found)

    def _changed(self, model_id: str, stamp: str, now: datetime, *, anew: bool) -> None:
        """Evaluated at once: that sets its hours, and is cheap."""
        state = self._deps.store.watch_state(model_id) or WatchState(model_id=model_id, watched_since=now)
        changes = {"stamp": stamp, "next_at": now} | ({"spec": "", "retry_at": None} if anew else {})
        self._deps.store.put_watch(state.model_copy(update=changes))

    # --- evaluations ---------------------------------------------------------------------------------------------

    def _evaluate(self, state: WatchState, claims: tuple[Claim, ...], version: int) -> None:
        store, begun = self._deps.store, self._deps.clock()
        if self._stop.is_set():
            store.release_watch(state.model_id, version)
            return
        try:
            found = self._evaluator.evaluate(state, claims, dry_run=self._dry_run)
            fired = store.settle_watch(
                found.state, version, found.evaluations, known=claims, taken=found.taken, firing=found.firing
            )
        except Conflict as lost:
            self._deps.progress(lost.message)
            return
        except RetrainingError as failure:
            self._failed(state, version, failure)
            return
        except Exception as error:  # noqa: BLE001 (one model's crash must not end the watch for all)
            told = f"the evaluation crashed: {type(error).__name__}: {error}"
            self._failed(state, version, BrokenInvariant(told, thing="modelId", value=state.model_id))
            return
        self._heard(found, fired, (self._deps.clock() - begun).total_seconds())

    def _heard(self, found: Found, fired: Firing | None, seconds: float) -> None:
        for each in found.evaluations:
            self._hears.evaluated(each, seconds)
            if each.fires and fired is None:
                self._deps.progress(f"{each.model_id}: the run of {each.key} was started before")
            elif each.code not in ("fresh", "unchanged"):
                self._deps.progress(f"{each.model_id}: {each.code}: {each.statement}")
        if fired is not None:
            self._hears.fired(fired)

    def _failed(self, state: WatchState, version: int, failure: RetrainingError) -> None:
        """Tried again later: nothing is lost, and one model holds up no other."""
        now = self._deps.clock()
        told = Evaluation(
            model_id=state.model_id,
            at=now,
            trigger="drift",
            code="no_evidence",
            statement=failure.message,
            by=self._holder,
        )
        try:
            self._deps.store.settle_watch(state.model_copy(update={"next_at": now + RETRY}), version, (told,))
        except RetrainingError as worse:
            self._deps.progress(f"{state.model_id}: {worse.message}")
        self._deps.progress(f"{state.model_id}: {failure.message}")

    # --- runs ----------------------------------------------------------------------------------------------------

    def _start_runs(self) -> None:
        room = self._most_runs - self._starter.going()
        if room <= 0 or self._stop.is_set() or self._dry_run:
            return
        claimed = self._deps.store.claim_firings(self._holder, self._deps.clock(), room)
        self._crowded = len(claimed) == room
        for firing in claimed:
            self._deps.store.settle_firing(self._begun(firing))

    def _begun(self, firing: Firing) -> Firing:
        now = self._deps.clock()
        try:
            run_id = self._starter.start(firing)
        except RetrainingError as failure:
            for_good = isinstance(failure, BadInput) and not isinstance(failure, Conflict)
            if for_good or now - firing.at >= GIVEN_UP:
                refused = firing.model_copy(update={"status": "refused", "told": failure.message})
                trigger_alerts.raise_refused(self._deps, refused, now)
                return refused
            self._deps.progress(f"{firing.model_id}: the run waits: {failure.message}")
            return firing.model_copy(update={"not_before": now + RETRY, "told": failure.message})
        return firing.model_copy(update={"status": "started", "run_id": run_id, "told": None})

    def _tell_failed(self, unfinished: Sequence[RunRecord]) -> None:
        """A run that ended in a fault is not tried again by itself: somebody must hear of it, once."""
        failed = {run.run_id: run for run in unfinished if run.status == "failed" and _is_ours(run)}
        for run_id in failed.keys() - self._told:
            trigger_alerts.raise_failed(self._deps, failed[run_id], self._deps.clock())
        self._told = set(failed)

    def _resume(self) -> None:
        """Runs that were started here, or by another watcher, and whose process is gone."""
        unfinished = self._deps.store.unfinished()
        self._tell_failed(unfinished)
        for record in unfinished:
            room = self._most_runs - self._starter.going()
            if room <= 0 or self._stop.is_set():
                return
            settled = self._deps.clock() - record.updated_at >= BEGUN
            if record.status != "running" or not _is_ours(record) or not settled or self._starter.is_driven(record):
                continue
            self._deps.progress(f"{record.model_id}: going on with run {record.run_id}, whose process is gone")
            try:
                self._starter.resume(record.run_id)
            except (Conflict, NotFound) as failure:
                self._deps.progress(f"{record.model_id}: {failure.message}")
                continue
            self._hears.resumed(record.run_id)


def _is_ours(record: RunRecord) -> bool:
    """Whether a trigger has started it."""
    return (record.idempotency_key or "").startswith(PREFIX)
