"""When is "since Tuesday", and which rows are "the last 60 days"? People's words for times, resolved against a clock and never by a
language model's arithmetic.

All in UTC. A weekday is the latest one before today; a month's name its first day, this year's or the last one's.
"""

import re
from calendar import day_abbr, day_name, month_abbr, month_name
from datetime import UTC, datetime, timedelta
from typing import Final

from tools.errors import BadInput
from tools.windows import Span, parse_window

GRAMMAR: Final = "Tuesday, yesterday, 3 days ago, last week, 2026-11-20 or 2026-11-20T08:00"
_NUMBERS: Final = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
} | {"a": 1, "an": 1, "fourteen": 14, "thirty": 30, "sixty": 60, "ninety": 90}
_UNITS: Final = {"minute": "min", "min": "min", "hour": "h", "h": "h", "day": "d", "d": "d", "week": "w", "w": "w"}
_COUNTED: Final = re.compile(
    r"(?:the |in the |over the |on the )*(?:last |past |latest |previous )?(?:(\d{1,5}|[a-z]+) ?)?"
    r"(minutes?|mins?|hours?|h|days?|d|weeks?|w|months?|quarters?|years?|y)(?: ago| of data)?"
)
_DAYS: Final = {name.lower(): number for names in (day_name, day_abbr) for number, name in enumerate(names)}
_MONTHS: Final = {
    name.lower(): number for names in (month_name, month_abbr) for number, name in enumerate(names) if name
}
_LEADS: Final = re.compile(r"^(?:since|from|after|as of|on)\s+")


def moment(text: str, now: datetime) -> datetime:
    """The moment that somebody means who says "since …".

    Raises:
        BadInput: no word for a time, or one that lies ahead.
    """
    said = _LEADS.sub("", " ".join(text.lower().split()).strip(" .!?"))
    found = _named(said, now)
    if found is None:
        span = _span(said)
        found = None if span is None else span.before(now)
    if found is None:
        try:
            found = datetime.fromisoformat(text.strip())
        except ValueError:
            raise BadInput(f"{text!r} is no time", thing="since", value=text, remedy=f"say {GRAMMAR}") from None
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if found > now:
        raise BadInput(f"{text!r} lies ahead", thing="since", value=text, remedy=f"it is {now:%Y-%m-%d %H:%M} UTC")
    return found


def data_window(text: str, now: datetime) -> str:
    """`dataWindow` in its own grammar, from that or from words such as "last 60 days" and "since March".

    Raises:
        BadInput: neither.
    """
    given = text.strip()
    said = " ".join(given.lower().split()).strip(" .!?")
    if said == "everything" or re.fullmatch(
        r"all(?: (?:of )?(?:the|our|of the)?\s?(?:data|rows|history)(?: (?:we|you) have)?)?", said
    ):
        return "all"
    span = _span(said)
    if span is not None:
        return f"P{span.months}M" if span.months else _short(span.fixed)
    try:
        parse_window(given, now)
    except BadInput:
        if not _LEADS.match(said):
            raise
        return f"{moment(given, now):%Y-%m-%dT%H:%M}/{now:%Y-%m-%dT%H:%M}"
    return given


def _named(said: str, now: datetime) -> datetime | None:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if said in ("today", "this morning", "midnight"):
        return today
    if said == "yesterday":
        return today - timedelta(days=1)
    if said == "this week":
        return today - timedelta(days=today.weekday())
    if said == "this month":
        return today.replace(day=1)
    word = said.removeprefix("last ").removeprefix("this ")
    if word in _DAYS:
        return today - timedelta(days=(today.weekday() - _DAYS[word] - 1) % 7 + 1)
    if word in _MONTHS:
        first = today.replace(month=_MONTHS[word], day=1)
        return first if first <= now else first.replace(year=first.year - 1)
    return None


def _span(said: str) -> Span | None:
    found = _COUNTED.fullmatch(said)
    if found is None:
        return None
    word = found[1] or "1"
    count = int(word) if word.isdecimal() else _NUMBERS.get(word)
    if not count:
        return None
    unit = found[2].rstrip("s") or "s"
    months = {"month": 1, "quarter": 3, "year": 12, "y": 12}.get(unit)
    if months is not None:
        return Span(count * months, timedelta(0))
    seconds = {"min": 60, "h": 3600, "d": 86400, "w": 604800}[_UNITS[unit]]
    return Span(0, timedelta(seconds=count * seconds))


def _short(length: timedelta) -> str:
    minutes = int(length.total_seconds()) // 60
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}min"
