"""What the trigger tables of a run store keep, merge and refuse: the pure rules that SQL and memory share."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from tools.adapters.store_rules import IsAlive
from tools.contracts.triggers import Claim, Evaluation, Firing, Watcher, WatchState
from tools.errors import Conflict, NotFound

KEPT_EVALUATIONS: Final = 500
"""Of each model: the newest."""
KEPT_CLAIMS: Final = 20
"""Of each model: more kinds of claim than that are not told apart."""
KEPT_FIRINGS: Final = timedelta(days=400)
"""Budgets count a month; a year's firings can be explained."""
KEPT_WATCHERS: Final = 100
KEPT_ALERTS: Final = timedelta(days=90)
ALIVE: Final = timedelta(seconds=60)
"""A process whose latest beat is older may be replaced."""
_REPEATED: Final = frozenset({"unchanged", "paused", "held", "busy", "quiet_hours", "no_evidence", "cool_down", "budget_runs",
                              "budget_money"})  # fmt: skip
"""Codes of evaluations that are kept once with a count, for as long as nothing else is found."""


def lives(watcher: Watcher, now: datetime, is_alive: IsAlive) -> bool:
    """Whether what it has claimed is still its own."""
    if watcher.ended_at is not None or is_alive(watcher.holder) is False:
        return False
    # A beat that is still to come is of before the clock was set back: who lives beats again.
    return abs(now - watcher.beat_at) <= ALIVE


def require_alone(others: Sequence[Watcher], now: datetime, is_alive: IsAlive) -> None:
    """Of a store on SQLite one process watches.

    Raises:
        Conflict: names who does.
    """
    for each in others:
        if lives(each, now, is_alive):
            host, pid, _ = each.holder.rsplit(":", 2)
            raise Conflict(
                f"this run store is watched by process {pid} on {host} since {each.started_at:%Y-%m-%d %H:%M:%S} UTC",
                thing="watch",
                value=each.holder,
                remedy="let it go on, or end it; several at once take a run store on PostgreSQL",
            )


def merged(claims: Sequence[Claim], claim: Claim) -> tuple[Claim, ...]:
    """The claims with one more: of the same source and kind (and version) the count grows."""
    same = [each for each in claims if _about(each) == _about(claim)]
    if same:
        grown = claim.model_copy(update={"first_at": same[0].first_at, "count": same[0].count + claim.count})
        return tuple(grown if each is same[0] else each for each in claims)
    return (*claims, claim)[-KEPT_CLAIMS:]


def left(claims: Sequence[Claim], taken: Sequence[Claim]) -> tuple[Claim, ...]:
    """What was said since the evaluation began, or has not been looked into."""
    return tuple(each for each in claims if each not in taken)


def _about(claim: Claim) -> tuple[str, str, str | None]:
    return claim.source, claim.kind, claim.version


def woken(state: WatchState, claims: Sequence[Claim], now: datetime, known: Sequence[Claim]) -> datetime | None:
    """When a settled model is evaluated next: at once where somebody has said something meanwhile."""
    return now if any(each not in known for each in claims) else state.next_at


def same_finding(newest: Evaluation | None, found: Evaluation) -> Evaluation | None:
    """The newest evaluation with one more count, where the same was found again and nothing was measured."""
    if newest is None or found.code not in _REPEATED or newest.fires:
        return None
    if (newest.code, newest.trigger, newest.source) != (found.code, found.trigger, found.source):
        return None
    return found.model_copy(update={"at": newest.at, "until": found.at, "count": newest.count + 1})


def taken_over(model_id: str) -> Conflict:
    """The error for an evaluation that ends after another process has taken its model."""
    return Conflict(
        f"the evaluation of {model_id!r} was taken over; nothing of it is recorded",
        thing="watch",
        value=model_id,
        remedy="`retrain triggers list` shows who watches",
    )


def no_firing(key: str) -> NotFound:
    """The error for an unknown firing."""
    return NotFound(f"no firing {key!r}", thing="firing", value=key, remedy="`retrain triggers list`")


def is_ready(firing: Firing, now: datetime) -> bool:
    """Whether its run may be started."""
    return firing.status == "waiting" and (firing.not_before is None or firing.not_before <= now)
