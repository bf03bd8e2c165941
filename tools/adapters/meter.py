"""What does looking cost, and when is it too much? Each thread counts for itself."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tools.contracts.evidence import Effort
from tools.errors import TimedOut


class Meter(threading.local):
    """Queries sent and rows brought into memory by one thread, and the budget it was given."""

    def __init__(self) -> None:
        self._queries = self._rows = 0
        self._sampled_from: int | None = None
        self._files: set[str] = set()
        self._most: int | None = None
        self._sent = 0
        self._seconds: int | None = None

    def effort(self) -> Effort:
        """Since it was last asked; asking starts anew."""
        made = Effort(queries=self._queries, rows_in_memory=self._rows, sampled_from=self._sampled_from)
        self._queries = self._rows = 0
        self._sampled_from = None
        self._files = set()
        return made

    def rows(self, count: int) -> None:
        """So many rows came into memory."""
        self._rows += count

    def file(self, path: object, rows: int) -> None:
        """A bounded file that is read into memory; once a report, however often it is opened."""
        if str(path) not in self._files:
            self._files.add(str(path))
            self._rows += rows

    def sampled(self, total: int) -> None:
        """A sample of so many rows was taken; the largest counts."""
        self._sampled_from = max(total, self._sampled_from or 0)

    @contextmanager
    def budget(self, *, queries: int, seconds: int) -> Generator[None]:
        """Within it no more than so many queries are sent, and none runs longer; a budget within another one replaces it."""
        before = (self._most, self._sent, self._seconds)
        self._most, self._sent, self._seconds = queries, 0, seconds
        try:
            yield
        finally:
            self._most, self._sent, self._seconds = before

    @contextmanager
    def query(self, cancel: Callable[[], object]) -> Generator[None]:
        """One query, about to be sent.

        Raises:
            TimedOut: the budget's queries are spent, or this one took too long and was cancelled.
        """
        self._queries += 1
        self._sent += 1
        if self._most is not None and self._sent > self._most:
            raise TimedOut(
                f"the budget of {self._most} queries is spent",
                thing="validation.max_queries",
                value=self._most,
                remedy="raise validation.max_queries, or ask for fewer columns",
            )
        if self._seconds is None:
            yield
            return
        late, done, limit = threading.Event(), threading.Event(), self._seconds

        def watch() -> None:
            if done.wait(limit):
                return
            late.set()
            # Again and again: an engine that was still planning had nothing to cancel the first time.
            while not done.is_set():
                cancel()
                done.wait(0.5)

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        except Exception as error:
            if late.is_set():
                raise TimedOut(
                    f"a query was cancelled after {self._seconds} s",
                    thing="validation.max_seconds",
                    value=self._seconds,
                    remedy="raise validation.max_seconds, or take a shorter window",
                ) from error
            raise
        finally:
            done.set()
