"""When is a cron expression due in its zone? Times in, times out, all in UTC; no clock is read.

Fixed hours follow the wall clock as Debian's cron does: an hour that is lost is made up right behind it, one that comes twice counts
once. Expressions with `*` in minute or hour follow the time that passes.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from tools.contracts.triggers import QuietHours, Schedule, Weekday

_DAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOST_MISSED = 1000


def next_due(schedule: Schedule, after: datetime) -> datetime:
    """The first hour later than `after`, in UTC, without jitter."""
    after = after.astimezone(UTC)
    for at in CronSim(schedule.cron, after.astimezone(ZoneInfo(schedule.zone))):
        due = at.astimezone(UTC)
        # In an hour that comes twice, the wall clock alone would name one that has passed.
        if due > after:
            return due
    raise AssertionError(f"{schedule.cron!r} was let in and never fires")  # pragma: no cover


def latest_due(schedule: Schedule, first: datetime, now: datetime) -> tuple[datetime, int]:
    """Of the hours from `first` (which is due) to `now`: the latest, and how many there are. More than 1,000 are not counted."""
    due, count = first, 1
    while count < _MOST_MISSED:
        following = next_due(schedule, due)
        if following > now:
            return due, count
        due, count = following, count + 1
    # However long nobody watched, the latest hour is one look away.
    for at in CronSim(schedule.cron, now.astimezone(ZoneInfo(schedule.zone)), reverse=True):
        if at.astimezone(UTC) <= now:
            return max(at.astimezone(UTC), due), count
    return due, count  # pragma: no cover


def delay(schedule: Schedule, model_id: str, due: datetime) -> timedelta:
    """The jitter of one firing: the same in every process, spread evenly over models and hours."""
    if not schedule.jitter:
        return timedelta(0)
    digest = hashlib.sha256(f"{model_id}|{due.astimezone(UTC).isoformat()}".encode()).digest()
    return schedule.jitter * (int.from_bytes(digest[:6], "big") / 2**48)


def quiet_until(quiet: QuietHours, now: datetime) -> datetime | None:
    """The end of the quiet hours that `now` lies in; None where it lies in none."""
    zone = ZoneInfo(quiet.zone)
    here = now.astimezone(zone)
    for back in (0, 1):
        day = here.date() - timedelta(days=back)
        if _DAYS[day.weekday()] not in quiet.days:
            continue
        start = datetime.combine(day, datetime.strptime(quiet.start, "%H:%M").time(), zone)  # noqa: DTZ007 (a time of day)
        over = day if quiet.end > quiet.start else day + timedelta(days=1)
        end = datetime.combine(over, datetime.strptime(quiet.end, "%H:%M").time(), zone)  # noqa: DTZ007
        if start.astimezone(UTC) <= now < end.astimezone(UTC):
            return end.astimezone(UTC)
    return None


def month_start(zone: str, now: datetime) -> datetime:
    """When the calendar month of `now` began in that zone."""
    here = now.astimezone(ZoneInfo(zone))
    return here.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


def next_month(zone: str, now: datetime) -> datetime:
    """When the next one begins."""
    return month_start(zone, month_start(zone, now) + timedelta(days=32, hours=12))
