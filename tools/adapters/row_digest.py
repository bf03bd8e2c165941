"""What identifies a row, and a set of rows, whichever engine reads them.

A row's hash is the md5 of the texts of its key columns, joined by `|`. Times are microseconds since 1970 (UTC); numbers and
booleans are millionths, rounded half away from zero to whole ones, so that `5`, `5.0` and `5` in a float column with nulls
are the same; numbers too large for that, and infinities, stand as they print; text stands as it is. `\\` and `|` in text
are escaped and a null is `\\N`, which no text becomes.
"""

import hashlib
from collections.abc import Iterable

ROW_HASH = "__row_hash"
SEPARATOR = "|"
NULL = "\\N"
MILLIONTHS = 1e6
LARGEST = 1e37
"""In millionths: from here on a number stands as it prints."""


def set_digest(hashes: Iterable[str]) -> str:
    """sha256 over sorted row hashes, one a line. They must come sorted; they are not kept."""
    digest = hashlib.sha256()
    for number, one in enumerate(hashes):
        digest.update(f"\n{one}".encode() if number else one.encode())
    return digest.hexdigest()
