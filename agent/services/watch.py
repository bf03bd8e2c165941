"""Which runs are due, and what does one look at each bring? One process for many rollouts; nothing is kept but the store.

A rollout that waits is parked with the hour of its next look. A look drives its run until it parks again, which takes seconds, so a
killed watcher loses nothing: whoever comes next finds the same hours in the store. Two watchers share the work by the leases.
Whatever a look raises is told and tried again later: one rollout's fault ends the watch of no other.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from agent.deps import Deps
from agent.services import active, aftermath, asked, reviews
from agent.services.notices import Retries
from agent.services.review_notices import Reminders
from agent.services.runs import Runs
from tools import rollout
from tools.contracts.run import RunRecord
from tools.errors import BrokenInvariant, Busy, Conflict, RetrainingError, Unavailable

FIRST_RETRY: Final = timedelta(seconds=2)
LAST_RETRY: Final = timedelta(minutes=5)
"""Between tries of a run that fails, doubled each time."""
LEFT_AFTER: Final = timedelta(minutes=1)
"""Whoever answers goes on with the run himself, unless he was killed."""
SET_BACK: Final = timedelta(hours=1)
"""A look that lies further ahead than its plan would have it, by more than this, is due: clocks of two machines may differ by less."""


class Look(NamedTuple):
    """What one look at one run brought. Either `output` or `error` is there."""

    record: RunRecord
    output: dict[str, Any] | None = None
    error: RetrainingError | None = None


class Watch:
    """Looks at what is due. Keeps only when a failing run is tried again, and what was seen beside an open question."""

    def __init__(self, deps: Deps, runs: Runs) -> None:
        self._deps, self._runs = deps, runs
        self._retry: dict[str, tuple[datetime, timedelta]] = {}
        self._notices, self._reminders = Retries(deps, runs.holder), Reminders(deps, runs.holder)
        self._seen: dict[str, asked.Seen] = {}
        self.looked_at: datetime | None = None
        """When the latest look or round ended; at first, when the first one began."""

    def looks(self, model_id: str | None = None, stop: Callable[[], bool] = lambda: False) -> Iterator[Look]:
        """One look at each run that is due, as they come; ends early, between two looks, once `stop` says so."""
        self.looked_at = self.looked_at or self._deps.clock()
        for tell in (self._notices.due, self._reminders.due):
            self._tell(tell)
        for record in self.due(model_id):
            if stop():
                return
            found = self._look(record)
            self.looked_at = self._deps.clock()
            if found is not None:
                yield found
        self.looked_at = self._deps.clock()

    def due(self, model_id: str | None = None) -> list[RunRecord]:
        """Parked runs whose hour has come, and rollouts that a killed or failed process left behind; oldest first."""
        now = self._deps.clock()
        unfinished = self._deps.store.unfinished(model_id)
        questions = {review.run_id for review in self._deps.store.list_reviews()}
        return [each for each in reversed(unfinished) if self._seems_due(each, now, waits=each.run_id in questions)]

    def next_look(self, model_id: str | None = None) -> datetime | None:
        """When the next parked run is due; None while nothing waits for an hour."""
        hours = [r.wake_at for r in self._deps.store.unfinished(model_id) if r.status == "parked" and r.wake_at]
        return min(hours, default=None)

    def _tell(self, tell: Callable[[], object]) -> None:
        """What cannot be told holds up no look."""
        try:
            tell()
        except Exception as error:  # noqa: BLE001 (a look may find harm, so it is taken whatever else is at fault)
            self._deps.progress(f"messages wait: {_as_ours(error, 'messages').message}")

    def _seems_due(self, record: RunRecord, now: datetime, *, waits: bool) -> bool:
        """A run whose records cannot be read is due as well: the look then tells why."""
        retry = self._retry.get(record.run_id)
        if retry is not None and now < retry[0] <= now + LAST_RETRY:
            return False
        try:
            return self._is_due(record, now, waits=waits)
        except Exception:  # noqa: BLE001 (one run's broken records must not hide all others)
            return True

    def _is_due(self, record: RunRecord, now: datetime, *, waits: bool) -> bool:
        if record.status == "parked" and record.parked_for == "review":
            return self._is_asked_in_vain(record, now) if waits else self._is_left_answered(record, now)
        if record.status == "parked":
            return record.wake_at is not None and (record.wake_at <= now or self._is_too_far_ahead(record, now))
        return self._is_rollback_left_behind(record) or active.plan_of(self._deps, record.run_id) is not None

    def _is_asked_in_vain(self, record: RunRecord, now: datetime) -> bool:
        """The question has run out, or is about a candidate that may do harm meanwhile and was not looked at for a while."""
        if record.wake_at is not None and record.wake_at <= now:
            return True
        seen = self._seen.get(record.run_id)
        looked = seen is not None and seen.at <= now < seen.again
        return not looked and asked.may_be_exposed(record)

    def _is_left_answered(self, record: RunRecord, now: datetime) -> bool:
        """The question is closed and the run still parked: whoever answered was killed, or the answer is void."""
        closed = reviews.latest_of(self._deps, record.run_id)
        if closed is None or closed.answered_at is None:
            return True
        return not timedelta(0) <= now - closed.answered_at < LEFT_AFTER

    def _is_too_far_ahead(self, record: RunRecord, now: datetime) -> bool:
        """The clock was set back since the run parked: nobody would look for as long as that."""
        if record.parked_for != "rollout" or record.wake_at is None or record.wake_at <= now + SET_BACK:
            return False
        plan = active.plan_of(self._deps, record.run_id)
        return plan is not None and record.wake_at > now + rollout.longest_wait(plan) + SET_BACK

    def _is_rollback_left_behind(self, record: RunRecord) -> bool:
        """Killed in the middle, or its target could not be told: it is told again until it can."""
        if record.kind != "rollback":
            return False
        return record.status == "running" or aftermath.undo_is_open(self._deps, record.run_id)

    def _look(self, record: RunRecord) -> Look | None:
        """None where somebody else has the run: it is in good hands."""
        try:
            output = self._while_asked(record) or self._runs.resume(record.run_id)
        except Exception as error:  # noqa: BLE001 (one run's crash must not end the watch for all)
            if isinstance(error, Conflict) and self._is_in_good_hands(record, error):
                return None
            return Look(record, error=self._failed(record, error))
        self._retry.pop(record.run_id, None)
        return Look(record, output)

    def _while_asked(self, record: RunRecord) -> dict[str, Any] | None:
        """What a look beside an open question showed; None where the run is to go on: it asks nothing, or harm has answered."""
        review = reviews.latest_of(self._deps, record.run_id) if record.parked_for == "review" else None
        if review is None or review.status != "open" or review.expires_at <= self._deps.clock():
            return None
        seen = asked.look(self._deps, record, self._seen.get(record.run_id))
        if seen is None:
            return None
        if seen.status.phase == "unhealthy" and reviews.refuse_for_harm(self._deps, review, seen.status.statement):
            self._deps.progress(f"{record.model_id}: harm while review {review.id} was open: {seen.status.statement}")
            self._seen.pop(record.run_id, None)
            return None
        self._seen[record.run_id] = seen
        return asked.shown(record, seen)

    def _is_in_good_hands(self, record: RunRecord, conflict: Conflict) -> bool:
        """Driven by another process or thread, gone on with by one meanwhile, or over. Any other conflict is told."""
        if isinstance(conflict, Busy):
            return True
        stands, lease = self._deps.store.get_run(record.run_id), self._deps.store.current_lease(record.model_name)
        if stands.status not in ("running", "failed") and stands.updated_at != record.updated_at:
            return True
        if lease is None or lease.run_id != record.run_id:
            return lease is not None
        # A parked run's own lease names the process that parked it, which may be gone: only one that beats is at work.
        beats = lease.expires_at is not None and lease.expires_at > self._deps.clock()
        return beats and lease.holder != self._runs.holder

    def _failed(self, record: RunRecord, error: Exception) -> RetrainingError:
        """Tried again later: soon where it may pass, whatever is no error of ours (a full disk, a locked file) included."""
        wait = self._retry[record.run_id][1] * 2 if record.run_id in self._retry else FIRST_RETRY
        passes = isinstance(error, Unavailable) or not isinstance(error, RetrainingError)
        wait = min(wait, LAST_RETRY) if passes else LAST_RETRY
        self._retry[record.run_id] = (self._deps.clock() + wait, wait)
        return _as_ours(error, record.run_id)


def _as_ours(error: Exception, about: str) -> RetrainingError:
    if isinstance(error, RetrainingError):
        return error
    kind = Unavailable if isinstance(error, OSError) else BrokenInvariant
    return kind(f"the look crashed: {type(error).__name__}: {error}", thing="run", value=about)
