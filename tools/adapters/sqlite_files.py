# pyright: basic
"""What every SQLite file of ours needs when several processes open it at once."""

import sqlite3
import time
from typing import Any

LOCK_SECONDS = 30.0
"""How long one process waits for another's lock."""


def write_ahead(connection: Any) -> None:
    """Readers beside a writer. SQLite does not wait for a lock when it changes the journal, so we do.

    Raises:
        sqlite3.OperationalError: Still locked after `LOCK_SECONDS`, or no database.
    """
    until = time.monotonic() + LOCK_SECONDS
    connection.execute(f"PRAGMA busy_timeout={int(LOCK_SECONDS * 1000)}")
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
