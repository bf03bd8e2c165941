"""Which partitions are to be scored, and by which version?

A partition is the rows of [start, start + length); starts are whole multiples of the length since 1970, UTC. Who writes the
output is a list of turns: a version, and the partition from which on it writes. A version's turn begins behind every partition
that has rows, so that no partition is half one version's and half another's. Going back takes the bad version's turns away: what
it wrote is then another's to write, and is due again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field

from tools.contracts.base import Contract, UtcDatetime

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


class Turn(Contract):
    """From this partition on the version writes the output."""

    version: str
    since: UtcDatetime


class Shadow(Contract):
    """A version that scores beside the one that writes the output; nobody reads what it says."""

    version: str
    since: UtcDatetime


class Fault(Contract):
    """Why a version could not score a partition."""

    start: UtcDatetime
    statement: str


class Schedule(Contract):
    """Who scores what; kept by the target."""

    turns: tuple[Turn, ...] = ()
    """Ascending in `since`."""
    shadow: Shadow | None = None
    faults: dict[str, Fault] = Field(default_factory=dict[str, Fault])
    """By version; gone once it scores that partition."""
    rescored: tuple[str, ...] = ()
    """Keys of the calls of the rescoring command that ended well."""


@dataclass(frozen=True)
class Written:
    """A partition as it stands in a table."""

    start: datetime
    version: str
    rows: int


@dataclass(frozen=True)
class Due:
    """A partition to be scored."""

    start: datetime
    version: str
    why: Literal["new", "wrong_version", "late_rows"]
    shadow: bool = False


def floor(at: datetime, length: timedelta) -> datetime:
    """Start of the partition that a moment lies in."""
    return at - (at - _BEGIN) % length


def starts(first: datetime, last: datetime, length: timedelta) -> tuple[datetime, ...]:
    """All starts from `first` to `last`, both of them starts, both counted."""
    return (
        tuple(first + length * number for number in range(round((last - first) / length) + 1)) if last >= first else ()
    )


def last_closed(newest: datetime, now: datetime, length: timedelta) -> datetime:
    """Start of the latest partition that no further row is expected for.

    A partition is closed when it is over and a later row is there, or when it has been over for its own length.

    Args:
        newest: Time of the newest row that is not of the future.
        now: Aware.
    """
    by_rows = min(floor(newest, length), floor(now, length)) - length
    by_clock = floor(now, length) - 2 * length
    return max(by_rows, min(by_clock, floor(newest, length)))


def boundary(newest: datetime | None, written: Sequence[Written], now: datetime, length: timedelta) -> datetime:
    """The first partition that has no row yet and that nobody wrote: a new turn begins there."""
    known = [floor(newest, length)] if newest is not None else []
    latest = max([*known, *(each.start for each in written)], default=floor(now, length))
    return latest + length


def writer_of(schedule: Schedule, start: datetime) -> str | None:
    """The version whose turn a partition is."""
    mine = [turn.version for turn in schedule.turns if turn.since <= start]
    return mine[-1] if mine else None


def writer(schedule: Schedule) -> str | None:
    """The version that writes from now on."""
    return schedule.turns[-1].version if schedule.turns else None


def promoted(schedule: Schedule, version: str, since: datetime) -> Schedule:
    """The version writes from a boundary on; once is enough. It needs no shadow any more."""
    shadow = None if schedule.shadow is not None and schedule.shadow.version == version else schedule.shadow
    if writer(schedule) == version:
        return schedule.model_copy(update={"shadow": shadow})
    # A version whose turn has not begun never wrote: its turn goes, and the boundary stays ascending.
    before = tuple(turn for turn in schedule.turns if turn.since < since)
    begun = since if before else _BEGIN
    if before and before[-1].version == version:
        return schedule.model_copy(update={"turns": before, "shadow": shadow})
    return schedule.model_copy(update={"turns": (*before, Turn(version=version, since=begun)), "shadow": shadow})


def gone_back(schedule: Schedule, version: str) -> Schedule:
    """The version writes again: every turn behind its own is its, and the shadow ends.

    A version that never had a turn takes the latest one: that is what is to be undone.
    """
    kept = list(schedule.turns)
    last_since = kept[-1].since if kept else _BEGIN
    if any(turn.version == version for turn in kept):
        while kept[-1].version != version:
            kept.pop()
    else:
        kept = [*kept[:-1], Turn(version=version, since=last_since)]
    return schedule.model_copy(update={"turns": tuple(kept), "shadow": None})


def shadowed(schedule: Schedule, version: str, since: datetime) -> Schedule:
    """The version scores beside the writer from a partition on; set once, it keeps its start."""
    if schedule.shadow is not None and schedule.shadow.version == version:
        return schedule
    return schedule.model_copy(update={"shadow": Shadow(version=version, since=since)})


def unread(schedule: Schedule, version: str) -> Schedule:
    """The version scores in the shadow no more."""
    if schedule.shadow is None or schedule.shadow.version != version:
        return schedule
    return schedule.model_copy(update={"shadow": None})


def wrong(schedule: Schedule, output: Iterable[Written]) -> tuple[Written, ...]:
    """Partitions of the output that another version wrote than the one whose turn they are."""
    found = [each for each in output if writer_of(schedule, each.start) not in (None, each.version)]
    return tuple(sorted(found, key=lambda each: each.start))


def due(
    schedule: Schedule,
    *,
    output: Sequence[Written],
    shadow: Sequence[Written],
    closed: datetime | None,
    length: timedelta,
    late: Iterable[datetime] = (),
) -> tuple[Due, ...]:
    """What is to be scored now, oldest first, the output before the shadow.

    Where nothing was written yet, it begins with the latest closed partition: nobody asked for all of history.

    Args:
        output: The partitions that stand in the output.
        shadow: The partitions that stand in the shadow, of any version.
        closed: From `last_closed`; None where there are no rows.
        late: Partitions that got rows after they were scored.
    """
    if closed is None or not schedule.turns:
        return ()
    found: list[Due] = []
    there = {each.start: each for each in output}
    first = min(there, default=closed)
    misplaced, grown = {each.start for each in wrong(schedule, output)}, set(late)
    for start in starts(first, closed, length):
        version = writer_of(schedule, start)
        if version is None:
            continue
        if start not in there:
            found.append(Due(start, version, "new"))
        elif start in misplaced:
            found.append(Due(start, version, "wrong_version"))
        elif start in grown:
            found.append(Due(start, version, "late_rows"))
    beside = schedule.shadow
    if beside is not None:
        seen = {each.start for each in shadow if each.version == beside.version}
        for start in starts(beside.since, closed, length):
            if start not in seen or start in grown:
                why = "late_rows" if start in seen else "new"
                found.append(Due(start, beside.version, why, shadow=True))
    return tuple(sorted(found, key=lambda each: (each.start, each.shadow)))


def served(schedule: Schedule, output: Sequence[Written]) -> dict[str, int] | None:
    """What the batch reports: the version that wrote the latest partition of the output, as weights.

    None where the version whose turn it is has not had a partition to write yet: nothing is proved before it has.
    """
    latest = max(output, key=lambda each: each.start, default=None)
    if latest is None:
        return None
    turn = schedule.turns[-1] if schedule.turns else None
    if turn is not None and latest.start < turn.since and latest.version != turn.version:
        return None
    return {latest.version: 100}


def health(
    schedule: Schedule,
    version: str,
    *,
    output: Sequence[Written],
    shadow: Sequence[Written],
    partitions: int,
    now: datetime,
    length: timedelta,
) -> bool | None:
    """Whether a version does its part: False where it could not score, None where it has not scored enough to tell.

    A version in the shadow must have scored `partitions` since it was put there. One whose turn it is must have written the
    latest partition, and lately: a partition is due two lengths after the one before it ended, and where rows stopped coming,
    the last one written says nothing about the version any more.
    """
    if version in schedule.faults:
        return False
    beside = schedule.shadow
    if beside is not None and beside.version == version:
        mine = {each.start for each in shadow if each.version == version and each.start >= beside.since}
        return True if len(mine) >= partitions else None
    latest = max(output, key=lambda each: each.start, default=None)
    if latest is None or latest.version != version:
        return None
    return True if now - (latest.start + length) <= 2 * length else None
