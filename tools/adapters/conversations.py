# pyright: basic
"""Where is it kept whose conversation is whose, and what was asked to be confirmed? SQLite, beside the checkpoints of the same file.

`:memory:` in place of a path is the in-memory twin.
"""

import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from tools.adapters import file_locks
from tools.adapters.sqlite_files import LOCK_SECONDS, write_ahead
from tools.confirmation import Action, Standing
from tools.contracts.base import Contract, UtcDatetime
from tools.errors import NotFound, Unavailable

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS conversations (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, model TEXT, title TEXT NOT NULL, turns INTEGER NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS conversations_of ON conversations (owner, updated_at);
CREATE TABLE IF NOT EXISTS actions (id TEXT PRIMARY KEY, conversation TEXT NOT NULL, standing TEXT NOT NULL, action TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS actions_of ON actions (conversation, standing);
"""
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}")


class Conversation(Contract):
    """What is known of a conversation without its words."""

    id: str
    owner: str
    """`person NAME` or `agent NAME`."""
    model: str | None
    """Profile that it is about where nothing else is said."""
    title: str
    """The beginning of its first message."""
    turns: int
    created_at: UtcDatetime
    updated_at: UtcDatetime


class Conversations:
    """Every method is one transaction.

    Args:
        file: The database; `:memory:` for one that is gone with this object.
        locks: Folder for a file a conversation, whose lock says that a message of it is being answered.
    """

    def __init__(self, file: Path | str, locks: Path) -> None:
        self._guard, self._locks = threading.Lock(), locks
        locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        if isinstance(file, Path):
            file.touch(mode=0o600, exist_ok=True)
        self._database = sqlite3.connect(str(file), check_same_thread=False, timeout=LOCK_SECONDS, isolation_level=None)
        if isinstance(file, Path):
            write_ahead(self._database)
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Nothing can be asked any more."""
        self._database.close()

    def begin(self, found: Conversation) -> Conversation:
        """Keep a new one; the one that is there where the id is taken."""
        self._run(
            "INSERT OR IGNORE INTO conversations VALUES (?, ?, ?, ?, ?, ?, ?)",
            (found.id, found.owner, found.model, found.title, found.turns, *_times(found)),
        )
        return self.get(found.id, found.owner)

    def get(self, id_: str, owner: str) -> Conversation:
        """One of the owner's.

        Raises:
            NotFound: no such one; another's is not told of either.
        """
        rows = self._run("SELECT * FROM conversations WHERE id = ? AND owner = ?", (id_, owner))
        if not rows:
            raise NotFound(
                f"no conversation {id_[:80]!r}",
                thing="conversation",
                value=id_[:80],
                remedy="leave it out to begin a new one; `retrain chat --list` shows yours",
            )
        return _read(rows[0])

    def of(self, owner: str, limit: int = 20) -> list[Conversation]:
        """The owner's, the latest first."""
        rows = self._run(
            "SELECT * FROM conversations WHERE owner = ? ORDER BY updated_at DESC, id DESC LIMIT ?", (owner, limit)
        )
        return [_read(row) for row in rows]

    def turned(self, id_: str, title: str, at: datetime) -> None:
        """Count a message of it; its first one gives the title."""
        self._run(
            "UPDATE conversations SET turns = turns + 1, updated_at = ?, title = CASE title WHEN '' THEN ? ELSE title END "
            "WHERE id = ?",
            (at.isoformat(), title, id_),
        )

    # --- what is asked to be confirmed ---------------------------------------------------------------------------------

    def offer(self, action: Action) -> None:
        """From now on a yes of this conversation means this, and none before it."""
        self.cancel(action.conversation)
        self._run(
            "INSERT INTO actions VALUES (?, ?, 'open', ?)", (action.id, action.conversation, action.model_dump_json())
        )

    def offered(self, conversation: str) -> Action | None:
        """What a yes would mean; None where nothing is asked."""
        rows = self._run("SELECT action FROM actions WHERE conversation = ? AND standing = 'open'", (conversation,))
        return Action.model_validate_json(rows[0][0]) if rows else None

    def action(self, id_: str, conversation: str) -> tuple[Action, Standing]:
        """One that was asked, and what became of it.

        Raises:
            NotFound: no such one in this conversation.
        """
        rows = self._run("SELECT action, standing FROM actions WHERE id = ? AND conversation = ?", (id_, conversation))
        if not rows:
            raise NotFound(
                f"nothing {id_[:80]!r} was asked in this conversation",
                thing="confirm.actionId",
                value=id_[:80],
                remedy="send the id of the confirmation that was shown last",
            )
        return Action.model_validate_json(rows[0][0]), rows[0][1]

    def claim(self, id_: str) -> bool:
        """Whether this call is the one that may do it: of any number, in any process, one is."""
        return bool(
            self._run("UPDATE actions SET standing = 'used' WHERE id = ? AND standing = 'open' RETURNING id", (id_,))
        )

    def cancel(self, conversation: str) -> None:
        """Whatever is asked is asked no more."""
        self._run(
            "UPDATE actions SET standing = 'cancelled' WHERE conversation = ? AND standing = 'open'", (conversation,)
        )

    # --- one message at a time -----------------------------------------------------------------------------------------

    @contextmanager
    def held(self, id_: str) -> Iterator[bool]:
        """Whether no other message of it is being answered, here or in another process; it is held for the block."""
        if not _ID.fullmatch(id_):
            yield False
            return
        with (self._locks / f"{id_}.lock").open("a") as file:
            yield file_locks.take(file, wait=False)

    def prune(self, thread: str) -> None:
        """Of LangGraph's checkpoints in this file, only the newest of a conversation is ever gone on from."""
        with self._guard:
            names = {row[0] for row in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in names & {"checkpoints", "writes"}:
                self._database.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id < "
                    "(SELECT MAX(checkpoint_id) FROM checkpoints WHERE thread_id = ?)",
                    (thread, thread),
                )

    def _run(self, statement: str, given: tuple) -> Sequence[tuple]:
        try:
            with self._guard:
                return self._database.execute(statement, given).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(
                f"the conversations cannot be read or written ({type(error).__name__})",
                thing="conversations",
                remedy="look after the disk that holds the workspace's work_dir",
            ) from error


def _times(found: Conversation) -> tuple[str, str]:
    return found.created_at.isoformat(), found.updated_at.isoformat()


def _read(row: tuple) -> Conversation:
    names = ("id", "owner", "model", "title", "turns", "created_at", "updated_at")
    return Conversation.model_validate(dict(zip(names, row, strict=True)))
