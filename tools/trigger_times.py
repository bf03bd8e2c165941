"""When is a model looked at next? Its state and its profile in, times out."""

import hashlib
import json
from datetime import datetime
from typing import NamedTuple

from tools.contracts.profile import TriggersSpec
from tools.contracts.triggers import Schedule, WatchState
from tools.schedules import delay, latest_due, next_due


class Hour(NamedTuple):
    """An hour of a schedule that has come."""

    at: datetime
    """The latest one, before its jitter."""
    missed: int
    """How many have come since the last that was dealt with, this one included."""


def digest_of(spec: TriggersSpec) -> str:
    """Of what the times follow from."""
    parts = [None if each is None else each.to_state() for each in (spec.scheduled, spec.check, spec.new_data)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def rescheduled(state: WatchState, spec: TriggersSpec, now: datetime) -> WatchState:
    """The state with the hours of this profile from now on, where they are not those that it has."""
    digest = digest_of(spec)
    if state.spec == digest:
        return state.model_copy(update={"priority": spec.priority})
    changes = {
        "spec": digest,
        "scheduled_due": None if spec.scheduled is None else next_due(spec.scheduled, now),
        "check_due": None if spec.check is None else next_due(spec.check, now),
        "poll_due": None if spec.new_data is None else now,
        "priority": spec.priority,
        "broken": None,
    }
    return state.model_copy(update=changes)


def come(schedule: Schedule | None, due: datetime | None, model_id: str, now: datetime) -> Hour | None:
    """The hour that is due by now, jitter and all; of several that were missed, the latest."""
    if schedule is None or due is None or due + delay(schedule, model_id, due) > now:
        return None
    # A later hour may still have its jitter before it.
    settled = now - schedule.jitter
    return Hour(due, 1) if due >= settled else Hour(*latest_due(schedule, due, settled))


def next_at(state: WatchState, spec: TriggersSpec, now: datetime) -> datetime | None:
    """The earliest of what is still to come."""
    times = [state.poll_due, state.retry_at]
    for schedule, due in ((spec.scheduled, state.scheduled_due), (spec.check, state.check_due)):
        if schedule is not None and due is not None:
            times.append(due + delay(schedule, state.model_id, due))
    return min((each for each in times if each is not None and each > now), default=None)
