"""Which rows does `dataWindow` mean, and how does `validationStrategy` cut the holdout from them? See docs/windows.md.

Windows are half-open [start, end) and never reach past as-of. Naive times are UTC. Every training set ends where its holdout
starts.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tools.errors import BadInput

WINDOW_GRAMMAR: Final = "90d, 12h, P90D, P3M, 2013-01-01/2013-06-01, 2013-01-01/P90D, P90D/2013-06-01 or all"
STRATEGY_GRAMMAR: Final = "latest:20%, latest:14d, rolling:3x14d or fixed:FILE"
_SHORT = re.compile(r"(\d+(?:\.\d+)?)(w|d|h|min|m|s)", re.ASCII)
_ISO = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_SECONDS: Final = {"w": 604800, "d": 86400, "h": 3600, "min": 60, "m": 60, "s": 1}


@dataclass(frozen=True)
class Span:
    """A duration; calendar months have no fixed length."""

    months: int
    fixed: timedelta

    def before(self, end: datetime) -> datetime:
        return _add_months(end, -self.months) - self.fixed

    def after(self, start: datetime) -> datetime:
        return _add_months(start, self.months) + self.fixed


@dataclass(frozen=True)
class Window:
    """[start, end); no start means from the beginning."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True)
class Latest:
    """The holdout is the latest part: a share of the labelled rows, or a duration."""

    share: float | None = None
    duration: timedelta | None = None


@dataclass(frozen=True)
class Rolling:
    """`folds` consecutive holdouts of `duration`, each with a training set of its own that ends where it starts."""

    folds: int
    duration: timedelta


@dataclass(frozen=True)
class Fixed:
    """The holdout is a file of its own."""

    path: str


Strategy = Latest | Rolling | Fixed


@dataclass(frozen=True)
class FoldSpan:
    """One training window and the holdout behind it: training ends at `holdout_start`."""

    train_start: datetime | None
    holdout_start: datetime
    holdout_end: datetime


def parse_duration(text: str) -> timedelta:
    """A fixed length such as `14d`, `PT30M` or `P2W`.

    Raises:
        BadInput: unreadable, not positive, or in calendar months or years.
    """
    span = _span(text, "duration", "14d, 12h, 30min, P14D or PT30M")
    if span.months:
        raise _bad("duration", text, "months and years have no fixed length; write days, e.g. 90d")
    return span.fixed


def parse_window(text: str, as_of: datetime) -> Window:
    """The window that `text` means at `as_of`.

    Raises:
        BadInput: unreadable, empty, or reaching past `as_of`.
    """
    given = text.strip()
    if given.lower() == "all":
        return Window(None, as_of)
    if "/" not in given:
        return Window(_span(given, "dataWindow", WINDOW_GRAMMAR).before(as_of), as_of)
    left, _, right = given.partition("/")
    from_length, to_length = left.upper().startswith("P"), right.upper().startswith("P")
    if from_length and to_length:
        raise _bad("dataWindow", text, f"one side must be a time; write {WINDOW_GRAMMAR}")
    if from_length:
        end = _time(right, text)
        start = _span(left, "dataWindow", WINDOW_GRAMMAR).before(end)
    else:
        start = _time(left, text)
        end = _span(right, "dataWindow", WINDOW_GRAMMAR).after(start) if to_length else _time(right, text)
    if start >= end:
        raise _bad("dataWindow", text, "the start must lie before the end")
    if end > as_of:
        raise _bad("dataWindow", text, f"it ends after as-of ({as_of:%Y-%m-%d %H:%M} UTC); end it there, or move as-of")
    return Window(start, end)


def parse_strategy(text: str) -> Strategy:
    """The strategy that `text` means.

    Raises:
        BadInput: unreadable, or a share or number of folds that leaves no training set or no holdout.
    """
    name, colon, rest = text.strip().partition(":")
    if name == "fixed" and rest:
        return Fixed(rest)
    if name == "latest" and rest.endswith("%"):
        try:
            share = float(rest[:-1]) / 100
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            raise _bad("validationStrategy", text, "the share must lie between 0% and 100%, e.g. latest:20%")
        return Latest(share=share)
    if name == "latest" and rest:
        return Latest(duration=parse_duration(rest))
    found = re.fullmatch(r"(\d+)x(.+)", rest, re.ASCII)
    if name == "rolling" and found and 1 <= int(found[1]) <= 50:
        return Rolling(int(found[1]), parse_duration(found[2]))
    raise _bad("validationStrategy", text, f"write {STRATEGY_GRAMMAR}" + ("" if colon else "; the colon is missing"))


def fold_boundaries(
    strategy: Strategy,
    window: Window,
    share_time: Callable[[float], datetime | None],
    last_labelled: datetime,
    fixed_start: datetime | None = None,
) -> tuple[FoldSpan, ...]:
    """Where the holdouts begin and end.

    Args:
        share_time: event time behind which the latest share of the labelled rows lies.
        last_labelled: event time of the last row with a mature label; durations count back from it.
        fixed_start: earliest event time of a fixed holdout file.
    """
    end = min(window.end, last_labelled + timedelta(microseconds=1))
    if isinstance(strategy, Fixed):
        if fixed_start is None:
            raise _bad("validationStrategy", f"fixed:{strategy.path}", "the file has no labelled rows up to as-of")
        return (FoldSpan(window.start, min(fixed_start, window.end), end),)
    if isinstance(strategy, Rolling):
        starts = [end - strategy.duration * (strategy.folds - fold) for fold in range(strategy.folds)]
        return tuple(FoldSpan(window.start, start, start + strategy.duration) for start in starts)
    if strategy.share is not None:
        start = share_time(strategy.share)
        if start is None:
            raise _bad("validationStrategy", f"latest:{strategy.share:.0%}", "the window has no labelled rows")
    else:
        start = end - (strategy.duration or timedelta(0))
    return (FoldSpan(window.start, start, end),)


def _span(text: str, thing: str, grammar: str) -> Span:
    given = text.strip()
    short = _SHORT.fullmatch(given)
    iso = _ISO.fullmatch(given.upper()) if given[:1] in "Pp" else None
    try:
        if short:
            span = Span(0, timedelta(seconds=float(short[1]) * _SECONDS[short[2]]))
        elif iso and any(iso.groups()):
            years, months, weeks, days, hours, minutes, seconds = (float(part or 0) for part in iso.groups())
            fixed = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
            span = Span(int(years) * 12 + int(months), fixed)
        else:
            raise _bad(thing, text, f"write {grammar}")
    except OverflowError:
        raise _bad(thing, text, "it is longer than any calendar") from None
    if span.months == 0 and span.fixed <= timedelta(0):
        raise _bad(thing, text, "it must be longer than nothing")
    return span


def _time(text: str, whole: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _bad("dataWindow", whole, f"{text!r} is no ISO 8601 time; write {WINDOW_GRAMMAR}") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _add_months(time: datetime, months: int) -> datetime:
    if months == 0:
        return time
    years, month = divmod(time.year * 12 + time.month - 1 + months, 12)
    if not 1 <= years <= 9999:
        raise OverflowError
    return time.replace(year=years, month=month + 1, day=min(time.day, monthrange(years, month + 1)[1]))


def _bad(thing: str, text: str, remedy: str) -> BadInput:
    return BadInput(f"{thing} {text!r} cannot be used", thing=thing, value=text, remedy=remedy)
