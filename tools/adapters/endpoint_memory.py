# pyright: basic
"""What was found out about endpoints, and what they answered before: one small SQLite file of the workspace.

Nothing here may end a run: a file that cannot be read or written is a file that remembers nothing.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tools.adapters.sqlite_files import write_ahead
from tools.contracts.language import Abilities, Completion
from tools.ports import Clock

_ANSWERS_DAYS: Final = 30
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS abilities (endpoint TEXT, model TEXT, found TEXT, PRIMARY KEY (endpoint, model))",
    "CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer TEXT, at TEXT)",
)


class EndpointMemory:
    """Abilities by (base URL, model), and answers by the question's hash; both grow old.

    Args:
        path: Of the file; in memory where None.
        clock: For ages.
        probe_days: Age beyond which abilities are forgotten.
    """

    def __init__(self, path: Path | None, clock: Clock, probe_days: float) -> None:
        self._path, self._clock, self._age = path, clock, timedelta(days=probe_days)
        self._abilities: dict[tuple[str, str], Abilities] = {}
        self._answers: dict[str, Completion] = {}

    def abilities(self, endpoint: str, model: str) -> Abilities | None:
        """None where it was never tried, or too long ago."""
        found = self._abilities.get((endpoint, model))
        if found is None:
            row = self._row("SELECT found FROM abilities WHERE endpoint = ? AND model = ?", endpoint, model)
            found = None if row is None else _read(Abilities, row[0])
        if found is None or not timedelta(0) <= self._clock() - found.found_at <= self._age:
            return None
        return found

    def found(self, endpoint: str, model: str, abilities: Abilities) -> None:
        """Remembered in place of what was known."""
        self._abilities[endpoint, model] = abilities
        self._write("INSERT OR REPLACE INTO abilities VALUES (?, ?, ?)", endpoint, model, abilities.model_dump_json())

    def answer(self, question: str) -> Completion | None:
        """The answer to a question of this hash, without what it was parsed into."""
        if question in self._answers:
            return self._answers[question]
        row = self._row("SELECT answer FROM answers WHERE question = ? AND at >= ?", question, self._oldest())
        return None if row is None else _read(Completion, row[0])

    def answered(self, question: str, answer: Completion) -> None:
        """Remembered; old answers are let go."""
        kept = answer.model_copy(update={"parsed": None})
        self._answers[question] = kept
        self._write("DELETE FROM answers WHERE at < ?", self._oldest())
        self._write(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", question, kept.model_dump_json(), _text(self._clock())
        )

    def _oldest(self) -> str:
        return _text(self._clock() - timedelta(days=_ANSWERS_DAYS))

    def _row(self, query: str, *values: str) -> Any:
        try:
            with self._open() as connection:
                return None if connection is None else connection.execute(query, values).fetchone()
        except (sqlite3.Error, OSError):
            return None

    def _write(self, query: str, *values: str) -> None:
        try:
            with self._open() as connection:
                if connection is not None:
                    connection.execute(query, values)
                    connection.commit()
        except (sqlite3.Error, OSError):
            return

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        if self._path is None:
            yield None
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.touch(mode=0o600, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=5)) as connection:
            write_ahead(connection)
            for table in _TABLES:
                connection.execute(table)
            yield connection


def _read(kind: Any, text: str) -> Any:
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        return None  # written by another version of ours


def _text(at: datetime) -> str:
    return at.isoformat()
