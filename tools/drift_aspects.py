"""By what are times and texts compared, whose values never come twice?

* **Times** by hour of the day, day of the week and distance to the event's time: the time itself always moves on. Hour and
  weekday only where both windows hold several days or weeks of it, else the calendar alone would drift.
* **Texts** by length, words, share of digits, share of what is neither letter nor space, and whether they are blank.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tools.drift_distance import Array, Pair

_HOUR: Final = 3_600.0
_DAY: Final = 24 * _HOUR
DAYS_FOR_HOURS: Final = 3
DAYS_FOR_WEEKDAYS: Final = 21
TEXT_LENGTH: Final = 30
"""Mean length from which a column of many different strings is text."""
TEXT_DISTINCT: Final = 0.5


def times(reference: Array, current: Array, reference_event: Array | None, current_event: Array | None) -> list[Pair]:
    """Aspects of a column of times.

    Args:
        reference: Seconds since 1970 in UTC, NaN for null; one dimension.
        current: The same of the current window.
        reference_event: The rows' event times in the same unit; None where there are none.
        current_event: The current window's.
    """
    sides = (reference, current)
    spans = [float(np.ptp(side[np.isfinite(side)])) / _DAY if np.isfinite(side).any() else 0.0 for side in sides]
    found: list[Pair] = []
    if reference_event is not None and current_event is not None:
        found.append(Pair("distance to the event", reference - reference_event, current - current_event))
    if min(spans) >= DAYS_FOR_HOURS:
        hours = [_codes(np.floor(side % _DAY / _HOUR)) for side in sides]
        found.append(Pair("hour", hours[0], hours[1], [f"{hour:02d}" for hour in range(24)]))
    if min(spans) >= DAYS_FOR_WEEKDAYS:
        # 1 January 1970 was a Thursday.
        days = [_codes((np.floor(side / _DAY) + 3) % 7) for side in sides]
        found.append(Pair("weekday", days[0], days[1], ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]))
    return found


def texts(reference: Sequence[str | None], current: Sequence[str | None]) -> list[Pair]:
    """Aspects of a column of free text; None is null."""
    tables = [_described(side) for side in (reference, current)]
    names = ("length", "words", "share of digits", "share of other signs")
    found = [Pair(name, tables[0][:, i], tables[1][:, i]) for i, name in enumerate(names)]
    blanks = [_codes(table[:, 4]) for table in tables]
    return [*found, Pair("blank", blanks[0], blanks[1], ["no", "yes"])]


def is_text(mean_length: float, distinct: int, values: int) -> bool:
    """Whether strings are free text rather than categories."""
    return values > 0 and mean_length >= TEXT_LENGTH and distinct >= TEXT_DISTINCT * values


def _codes(numbers: Array) -> Array:
    return np.where(np.isfinite(numbers), numbers, -1).astype(np.int64)


def _described(values: Sequence[str | None]) -> Array:
    table = np.full((len(values), 5), np.nan)
    for row, text in enumerate(values):
        if text is not None:
            table[row] = _one(text)
    return table


def _one(text: str) -> tuple[Any, ...]:
    size = max(len(text), 1)
    digits = sum(map(str.isdigit, text))
    plain = sum(map(str.isalpha, text)) + sum(map(str.isspace, text))
    return len(text), len(text.split()), digits / size, (len(text) - digits - plain) / size, float(not text.strip())
