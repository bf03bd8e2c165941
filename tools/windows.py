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
DURATION_GRAMMAR: Final = "14d, 12h, 30min, P14D or PT30M"
STRATEGY_GRAMMAR: Final = "latest:20%, latest:14d, rolling:3x14d or fixed:FILE"
_SHORT = re.compile(r"(\d+(?:\.\d+)?)(w|d|h|min|m|s)", re.ASCII)
_ISO = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?=\d)(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%", re.ASCII)
_ROLLING = re.compile(r"(\d+)x(.+)", re.ASCII)
MOST_FOLDS: Final = 50
_SECONDS: Final = {"w": 604800, "d": 86400, "h": 3600, "min": 60, "m": 60, "s": 1}


@dataclass(frozen=True)
class Span:
    """A duration: calendar months, and a fixed rest. Months are counted first; the 31st becomes a short month's last day."""

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
    """One training window and the holdout behind it: training ends at `holdout_start`.

    With `fixed_path` the holdout is that whole file, and `holdout_end` is only where the window ends.
    """

    train_start: datetime | None
    holdout_start: datetime
    holdout_end: datetime
    fixed_path: str | None = None


def parse_duration(text: str) -> timedelta:
    """A fixed length such as `14d`, `PT30M` or `P2W`.

    Raises:
        BadInput: unreadable, not positive, or in calendar months or years.
    """
    return _fixed_length(text, "duration", text, DURATION_GRAMMAR)


def parse_window(text: str, as_of: datetime) -> Window:
    """The window that `text` means at `as_of` (naive: UTC).

    Raises:
        BadInput: unreadable, empty, or reaching past `as_of`.
    """
    given, now = text.strip(), _utc(as_of)
    if given.lower() == "all":
        return Window(None, now)
    try:
        start, end = _interval(given, text) if "/" in given else (_window_span(given, text).before(now), now)
    except (OverflowError, ValueError):
        raise _bad("dataWindow", text, "it reaches beyond the calendar (years 1 to 9999)") from None
    if start >= end:
        raise _bad("dataWindow", text, "the start must lie before the end")
    if end > now:
        raise _bad("dataWindow", text, f"it ends after as-of ({now:%Y-%m-%d %H:%M} UTC); end it there, or move as-of")
    return Window(start, end)


def parse_strategy(text: str) -> Strategy:
    """The strategy that `text` means.

    Raises:
        BadInput: unreadable, or a share or number of folds that leaves no training set or no holdout.
    """
    name, colon, rest = (part.strip() for part in text.strip().partition(":"))
    if name == "fixed" and rest:
        return Fixed(rest)
    if name == "latest" and rest.endswith("%"):
        found = _SHARE.fullmatch(rest)
        share = float(found[1]) / 100 if found else 0.0
        if not 0 < share < 1:
            raise _bad("validationStrategy", text, "the share must lie between 0% and 100%, e.g. latest:20%")
        return Latest(share=share)
    if name == "latest" and rest:
        return Latest(duration=_fixed_length(rest, "validationStrategy", text, STRATEGY_GRAMMAR))
    found = _ROLLING.fullmatch(rest)
    if name == "rolling" and found:
        if len(found[1]) > 3 or not 1 <= int(found[1]) <= MOST_FOLDS:
            raise _bad("validationStrategy", text, f"take 1 to {MOST_FOLDS} folds, e.g. rolling:3x14d")
        return Rolling(int(found[1]), _fixed_length(found[2], "validationStrategy", text, STRATEGY_GRAMMAR))
    raise _bad("validationStrategy", text, f"write {STRATEGY_GRAMMAR}" + ("" if colon else "; the colon is missing"))


def fold_boundaries(
    strategy: Strategy,
    window: Window,
    share_time: Callable[[float], datetime | None],
    last_labelled: datetime,
    fixed_start: datetime | None = None,
) -> tuple[FoldSpan, ...]:
    """Where the holdouts begin and end; in time order, the latest fold last.

    Args:
        strategy: how the holdout is cut.
        window: the rows that may be used at all.
        share_time: event time behind which the latest share of the labelled rows lies; None without such rows.
        last_labelled: event time of the last row with a mature label; durations count back from it.
        fixed_start: earliest event time of a fixed holdout file: nothing at or after it is trained on.

    Raises:
        BadInput: there is nothing to judge on, or nothing before the holdout to train on.
    """
    end = min(window.end, last_labelled + timedelta(microseconds=1))
    if isinstance(strategy, Fixed):
        if fixed_start is None:
            raise _bad("validationStrategy", f"fixed:{strategy.path}", "the file has no labelled rows up to as-of")
        spans = (FoldSpan(window.start, min(fixed_start, window.end), window.end, strategy.path),)
    elif isinstance(strategy, Rolling):
        starts = [_back(end, strategy.duration * (strategy.folds - fold), strategy) for fold in range(strategy.folds)]
        spans = tuple(FoldSpan(window.start, start, start + strategy.duration) for start in starts)
    elif strategy.share is not None:
        start = share_time(strategy.share)
        if start is None:
            raise _bad("validationStrategy", _written(strategy), "the window has no labelled rows")
        spans = (FoldSpan(window.start, start, end),)
    else:
        spans = (FoldSpan(window.start, _back(end, strategy.duration or timedelta(0), strategy), end),)
    first = spans[0].holdout_start
    if window.start is not None and first <= window.start:
        raise _bad(
            "validationStrategy",
            _written(strategy),
            f"its holdout would start at {first:%Y-%m-%d %H:%M} UTC and the window at {window.start:%Y-%m-%d %H:%M} UTC, "
            "which leaves nothing to train on; take a longer dataWindow or a shorter holdout",
        )
    return spans


def _interval(given: str, text: str) -> tuple[datetime, datetime]:
    left, _, right = given.partition("/")
    from_length, to_length = left.strip().upper().startswith("P"), right.strip().upper().startswith("P")
    if from_length and to_length:
        raise _bad("dataWindow", text, f"one side must be a time; write {WINDOW_GRAMMAR}")
    if from_length:
        end = _time(right, text)
        return _window_span(left, text).before(end), end
    start = _time(left, text)
    return start, _window_span(right, text).after(start) if to_length else _time(right, text)


def _window_span(part: str, text: str) -> Span:
    return _span(part, "dataWindow", text, WINDOW_GRAMMAR)


def _fixed_length(part: str, thing: str, text: str, grammar: str) -> timedelta:
    span = _span(part, thing, text, grammar)
    if span.months:
        raise _bad(thing, text, "months and years have no fixed length; write days, e.g. 90d")
    return span.fixed


def _back(end: datetime, length: timedelta, strategy: Strategy) -> datetime:
    try:
        return end - length
    except OverflowError:
        raise _bad("validationStrategy", _written(strategy), "it reaches beyond the calendar") from None


def _written(strategy: Strategy) -> str:
    """A strategy for messages, near to how it was written."""
    if isinstance(strategy, Fixed):
        return f"fixed:{strategy.path}"
    if isinstance(strategy, Rolling):
        return f"rolling:{strategy.folds}x{_length(strategy.duration)}"
    return f"latest:{strategy.share:.3%}" if strategy.share is not None else f"latest:{_length(strategy.duration)}"


def _length(duration: timedelta | None) -> str:
    seconds = 0.0 if duration is None else duration.total_seconds()
    return f"{seconds / 86400:g}d" if seconds % 3600 == 0 and seconds >= 86400 else f"{seconds:g}s"


def _span(part: str, thing: str, whole: str, grammar: str) -> Span:
    given = part.strip()
    short = _SHORT.fullmatch(given)
    iso = _ISO.fullmatch(given.upper())
    try:
        if short:
            span = Span(0, timedelta(seconds=float(short[1]) * _SECONDS[short[2]]))
        elif iso and any(iso.groups()):
            years, months, weeks, days, hours, minutes, seconds = (float(part or 0) for part in iso.groups())
            fixed = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
            span = Span(int(years) * 12 + int(months), fixed)
        else:
            raise _bad(thing, whole, f"write {grammar}")
    except OverflowError:
        raise _bad(thing, whole, "it is longer than any calendar") from None
    if span.months == 0 and span.fixed <= timedelta(0):
        raise _bad(thing, whole, "it must be longer than nothing")
    return span


def _time(part: str, whole: str) -> datetime:
    try:
        return _utc(datetime.fromisoformat(part.strip()))
    except (ValueError, OverflowError):
        raise _bad("dataWindow", whole, f"{part.strip()!r} is no ISO 8601 time; write {WINDOW_GRAMMAR}") from None


def _utc(time: datetime) -> datetime:
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
