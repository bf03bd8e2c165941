"""Triggers: what a profile says of them, what is kept of each model between two evaluations, and what an evaluation found."""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.request import TriggerKind

_NotNegative = Annotated[timedelta, Field(ge=timedelta(0))]
_Positive = Annotated[timedelta, Field(gt=timedelta(0))]
_SAMPLE = 60
"""Firings that are looked at for the shortest gap between two."""


def refused(what: str, remedy: str) -> PydanticCustomError:
    """A fault with a remedy of its own; `agent.problems` shows both."""
    return PydanticCustomError("refused", "{what}: {remedy}", {"what": what, "remedy": remedy})


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # by how odd the name is
        raise refused(f"{name!r} is no time zone", "write a name such as Europe/Berlin, or UTC") from None
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]
"""IANA name."""


def _that_fires(cron: str) -> str:
    from cronsim import CronSim, CronSimError

    if len(cron.split()) != 5:
        raise refused(
            f"{cron!r} has not five fields", "write minute, hour, day, month and weekday, e.g. `0 3 * * *`: daily at 3"
        )
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    never = refused(f"{cron!r} never fires", "name a day that its months have, e.g. `0 3 28 2 *`")
    try:
        next(CronSim(cron, begin))
    except CronSimError as error:
        part = str(error).removeprefix("Bad ")
        if part == "day-of-month" and _is_read(f"0 0 {cron.split()[2]} * *"):
            raise never from None
        raise refused(
            f"the {part} of {cron!r} cannot be read", "write e.g. `0 3 * * MON-FRI`, or `30 4 1 * *`"
        ) from None
    except (StopIteration, RuntimeError):
        raise never from None
    return cron


def _is_read(cron: str) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


@lru_cache(maxsize=1024)
def _sampled(cron: str) -> tuple[timedelta | None, float]:
    """The shortest time between two of its first firings in 2026, and about how many there are in a year."""
    from cronsim import CronSim

    begin = datetime(2026, 1, 1, tzinfo=UTC)
    times = [begin]
    for at in CronSim(cron, begin):
        if len(times) > _SAMPLE and at - begin > timedelta(days=14):
            break
        times.append(at)
        if len(times) > _SAMPLE * 20 or at - begin > timedelta(days=366):
            break
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]
    span = (times[-1] - times[1]).total_seconds()
    return min(gaps, default=None), len(gaps) * 365 * 86400 / span if span else 0.0


class Schedule(Contract):
    """When something is due."""

    cron: Annotated[str, AfterValidator(_that_fires)]
    """Five fields: minute, hour, day, month, weekday. In an hour that the zone loses it is due once, right after; in one that
    comes twice, the first time."""
    zone: Zone = "UTC"
    """IANA name of the zone that the hours are of."""
    jitter: _NotNegative = timedelta(0)
    """Each firing is put off by up to so much, by a hash of the model and its hour, so that a thousand models do not begin at once."""

    @model_validator(mode="after")
    def _jitter_within_the_period(self) -> "Schedule":
        if self.jitter:
            gap = self.shortest_gap()
            if gap is not None and self.jitter >= gap:
                raise refused(
                    f"jitter {self.jitter} is not shorter than the shortest time between two firings, {gap}",
                    "make it shorter",
                )
        return self

    def shortest_gap(self) -> timedelta | None:
        """Between two firings; None where a year has but one."""
        return _sampled(self.cron)[0]

    def a_year(self) -> float:
        """About how often it is due."""
        return _sampled(self.cron)[1]


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _hour(text: str) -> str:
    try:
        if len(text) != 5:
            raise ValueError
        time.fromisoformat(text)
    except ValueError:
        raise refused(f"{text!r} is no time of day", "write hours and minutes, e.g. 22:00") from None
    return text


class QuietHours(Contract):
    """When no run is started by itself: what would have fired waits until they are over. Pages are sent all the same."""

    start: Annotated[str, AfterValidator(_hour)]
    """`HH:MM`."""
    end: Annotated[str, AfterValidator(_hour)]
    """`HH:MM`; on the next day where it is not later than `start`."""
    zone: Zone = "UTC"
    days: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    """On which they begin."""

    @model_validator(mode="after")
    def _some_time_is_left(self) -> "QuietHours":
        if self.start == self.end:
            raise refused("quiet hours that end as they begin", "name two different hours, or pause the triggers")
        return self


class Violations(Contract):
    """How many of the latest looks must find the model stale before a run is started."""

    needed: Annotated[int, Field(ge=1)] = 1
    of: Annotated[int, Field(ge=1, le=100)] = 1

    @model_validator(mode="after")
    def _can_be_reached(self) -> "Violations":
        if self.needed > self.of:
            raise refused(f"{self.needed} of {self.of} looks cannot be reached", "needed must not be more than of")
        return self


class MonthlyBudget(Contract):
    """How much may be started by itself in a calendar month. What people start is not counted, and never refused for it."""

    runs: Annotated[int, Field(ge=0)] | None = None
    """Retrainings; 0 allows none."""
    money: Annotated[float, Field(ge=0)] | None = None
    cost_a_run: Annotated[float, Field(ge=0)] = 0.0
    """What one retraining costs, in the unit of `money`."""
    zone: Zone = "UTC"
    """In which months begin."""

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> "MonthlyBudget":
        if self.money and not self.cost_a_run:
            raise refused("budget.money without budget.cost_a_run", "say what a retraining costs")
        return self


class NewDataTrigger(Contract):
    """New rows bring the next look forward."""

    min_rows: Annotated[int, Field(ge=1)] = 1000
    """So many rows more than at the latest look."""
    poll: _Positive = timedelta(minutes=5)
    """How often is asked. Files whose size and time have not changed are not opened."""


Source = Literal["cron", "check", "new_data", "new_version", "alertmanager", "mlflow", "signed"]
"""Where a trigger came from."""
FromOutside = Literal["alertmanager", "mlflow", "signed"]
ClaimKind = Literal["drift", "performance", "new_version"]


class Claim(Contract):
    """What somebody outside said, until it has been looked into. Of a source and kind one is kept, however often it was said."""

    source: Source
    kind: ClaimKind
    first_at: UtcDatetime
    last_at: UtcDatetime
    count: Annotated[int, Field(ge=1)] = 1
    told: Annotated[str, Field(max_length=500)] = ""
    """In the sender's words: shown, never obeyed."""
    version: str | None = None
    """`new_version` only."""


class WatchState(Contract):
    """What is known of a model between two evaluations."""

    model_id: str
    watched_since: UtcDatetime
    stamp: str = ""
    """Of the profile's files, as last read."""
    spec: str = ""
    """Digest of the schedules, as last read: another one begins anew."""
    scheduled_due: UtcDatetime | None = None
    """The next hour of `triggers.scheduled`, before its jitter."""
    check_due: UtcDatetime | None = None
    """As `scheduled_due`, of `triggers.check`."""
    poll_due: UtcDatetime | None = None
    retry_at: UtcDatetime | None = None
    """What could not be decided, or had to wait, is tried again then."""
    next_at: UtcDatetime | None = None
    """When the model is evaluated next; absent: not before its profile changes or somebody outside says something."""
    priority: int = 0
    looks: tuple[bool, ...] = ()
    """Of the latest looks that could tell, oldest first: whether the model was stale."""
    armed: bool = True
    """False from a firing until the finding has gone, the champion has changed, or `rearm_after` has passed."""
    fired_at: UtcDatetime | None = None
    clean: int = 0
    """Looks in a row that found nothing."""
    champion: str | None = None
    """Version at the latest look."""
    newest_version: str | None = None
    """In the registry when it was last asked, where new versions count."""
    fingerprint: str = ""
    """Of what the latest look looked at."""
    looked_at: UtcDatetime | None = None
    rows: int | None = None
    """In the source at the latest look, where new rows count."""
    unmeasured_since: UtcDatetime | None = None
    told_level: str = "none"
    """The level of alert that people know of."""
    broken: str | None = None
    """Why the profile cannot be used."""


class Evaluation(Contract):
    """One decision whether to start a run now, and what it rests on."""

    model_id: str
    at: UtcDatetime
    until: UtcDatetime | None = None
    """Where the same was found again: the latest time."""
    count: int = 1
    trigger: TriggerKind | Literal["new_version", "profile"]
    source: Source | None = None
    due: UtcDatetime | None = None
    """The hour it was for."""
    fires: bool = False
    code: str
    """See docs/triggers.md."""
    statement: str
    evidence: dict[str, Any] = {}
    """What was measured, and the state it was held against."""
    key: str | None = None
    """Of the firing."""
    by: str = ""
    """The process."""


class Firing(Contract):
    """A run that is to be started, once. `key` is the run's idempotency key."""

    key: str
    model_id: str
    kind: Literal["retrain", "judge"]
    trigger: TriggerKind
    source: Source
    due: UtcDatetime
    at: UtcDatetime
    priority: int = 0
    version: str | None = None
    """`judge` only."""
    cost: float = 0.0
    why: str
    status: Literal["waiting", "started", "refused"] = "waiting"
    run_id: str | None = None
    not_before: UtcDatetime | None = None
    told: str | None = None
    """Why it waits, or was refused."""


class Watcher(Contract):
    """A process that watches."""

    holder: str
    """`HOST:PID:START_TIME`."""
    started_at: UtcDatetime
    beat_at: UtcDatetime
    ended_at: UtcDatetime | None = None


class TriggerAlert(Contract):
    """What somebody must hear of. A page is sent at once, everything else once a day."""

    key: str
    """The same alert has the same one: it is raised once."""
    model_id: str
    level: Literal["page", "ticket", "digest"]
    at: UtcDatetime
    statement: str
    sent_to: tuple[str, ...] = ()
    """Channels that it has left by."""
    sent_at: UtcDatetime | None = None
    """By all of them."""
