"""What does a person mean by "yesterday 02:00"? Text, zone and the present time in; a span of time in UTC out."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tools.errors import BadInput

_DAYS = {"today": 0, "yesterday": 1}
_REMEDY = (
    "write `yesterday 02:00`, `today 14:30`, `last night`, `2026-03-01 02:00`, or a span back such as `12h` or `3d`"
)


def spoken(text: str, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """The first and last moment that are meant: one and the same for a time of day, a whole day for a date.

    Raises:
        BadInput: it cannot be read.
    """
    words = " ".join(text.lower().split())
    here = now.astimezone(ZoneInfo(zone))
    if words in ("last night", "tonight", "this night"):
        return _at(here.date() - timedelta(days=1), time(18), zone), _at(here.date(), time(8), zone)
    span = re.fullmatch(r"(\d{1,4})\s*(m|h|d)", words)
    if span:
        unit = {"m": "minutes", "h": "hours", "d": "days"}[span[2]]
        return now - timedelta(**{unit: int(span[1])}), now
    day, _, hour = words.partition(" ")
    try:
        if day in _DAYS:
            on = here.date() - timedelta(days=_DAYS[day])
            return _moment_or_day(on, hour, zone)
        if ":" in day and not hour and "-" not in day:
            return _moment_or_day(here.date(), day, zone)
        if len(words) == 10:
            return _moment_or_day(date.fromisoformat(words), "", zone)
        at = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise BadInput(f"{text!r} is no time", thing="time", value=text, remedy=_REMEDY) from None
    at = at.replace(tzinfo=ZoneInfo(zone)) if at.tzinfo is None else at
    return at.astimezone(UTC), at.astimezone(UTC)


def _moment_or_day(day: date, hour: str, zone: str) -> tuple[datetime, datetime]:
    if hour:
        at = _at(day, time.fromisoformat(hour), zone)
        return at, at
    return _at(day, time(), zone), _at(day + timedelta(days=1), time(), zone)


def _at(day: date, hour: time, zone: str) -> datetime:
    return datetime.combine(day, hour, ZoneInfo(zone)).astimezone(UTC)
