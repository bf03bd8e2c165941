"""What identifies a row, and a set of rows, whichever engine reads them.

A row's hash is the md5 of the texts of its key columns, joined by `|`. Times are microseconds since 1970 (UTC); numbers and
booleans are millionths, rounded half away from zero to whole ones, so that `5`, `5.0` and `5` in a float column with nulls
are the same; numbers too large for that, and infinities, stand as they print; text stands as it is. `\\` and `|` in text
are escaped and a null is `\\N`, which no text becomes.
"""

import hashlib
import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

ROW_HASH = "__row_hash"
SEPARATOR = "|"
NULL = "\\N"
MILLIONTHS = 1e6
WHOLE = 9e18
"""In millionths: up to here a number fits 64 bits on every engine; above, engines other than DuckDB may keep fewer digits."""
FINITE = 1.7976931348623157e308
"""The largest number that is not infinite."""
LARGEST = 1e37
"""In millionths: from here on a number stands as it prints."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times are compared as naive ones in UTC
_MICROSECOND = timedelta(microseconds=1)


def row_hash(values: Iterable[object]) -> str:
    """The recipe in plain Python; `tools.adapters.ibis_columns.row_hash` is the same as a query."""
    return hashlib.md5(SEPARATOR.join(map(_text, values)).encode(), usedforsecurity=False).hexdigest()


def _text(value: object) -> str:
    if isinstance(value, datetime):
        time = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        return str((time - _EPOCH) // _MICROSECOND)
    if isinstance(value, date):
        return str((value - _EPOCH.date()) // _MICROSECOND)
    if isinstance(value, int):
        return f"{int(value)}000000" if value else "0"
    if isinstance(value, float | Decimal):
        return _number(float(value))
    return NULL if value is None else str(value).replace("\\", "\\\\").replace(SEPARATOR, f"\\{SEPARATOR}")


def _number(number: float) -> str:
    if math.isnan(number):
        return NULL
    scaled = number * MILLIONTHS
    if abs(scaled) >= LARGEST:
        return repr(number)
    whole = math.trunc(scaled)
    away = int(abs(scaled - whole) >= 0.5)
    return str(whole + away if scaled > 0 else whole - away)


def set_digest(hashes: Iterable[str]) -> str:
    """sha256 over sorted row hashes, one a line. They must come sorted; they are not kept."""
    digest = hashlib.sha256()
    for number, one in enumerate(hashes):
        digest.update(f"\n{one}".encode() if number else one.encode())
    return digest.hexdigest()
