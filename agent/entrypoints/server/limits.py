"""How much may one caller ask of this process? Calls a minute, bytes, seconds and streams, each with a bound."""

from collections import Counter, OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tools.ports import Clock

MOST_NAMES: Final = 4096
"""Callers and addresses that are remembered; the one that was silent longest is forgotten first."""


@dataclass(frozen=True)
class Limits:
    """The defaults serve a small team's agents; none of them is a target."""

    calls_a_minute: int = 600
    """By one key."""
    calls_of_address: int = 1200
    """By one address, whatever it bears."""
    failures_of_address: int = 30
    """Calls with a wrong key, or none, by one address in a minute; the next ones are told to wait."""
    body_bytes: int = 1_000_000
    body_seconds: float = 20.0
    """In which a body must have come whole."""
    at_once_of_caller: int = 128
    """Calls under way by one key, at whichever door; the streams of A2A and MCP among them."""
    streams: int = 64
    """Streams and waiting calls of `/v1` at a time, of all callers."""
    streams_of_caller: int = 16
    stream_seconds: float = 3600.0
    """Then a stream ends; its client comes again with `Last-Event-ID`."""
    known_seconds: float = 15.0
    """An answer that takes longer is ended once its bearer's key is revoked or has run out; looked at so often."""
    wait_seconds: float = 60.0
    """Most of `?wait=`."""


class Rate:
    """A bucket that fills again with time."""

    def __init__(self, clock: Clock, calls: int) -> None:
        self._clock, self._calls, self._left = clock, float(calls), float(calls)
        self._at: datetime = clock()

    def take(self) -> bool:
        """False where it is empty."""
        now = self._clock()
        gained = max(0.0, (now - self._at).total_seconds()) * self._calls / 60
        self._left, self._at = min(self._calls, self._left + gained), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Rates:
    """A bucket a name."""

    def __init__(self, clock: Clock, calls: int) -> None:
        self._clock, self._calls = clock, calls
        self._of: OrderedDict[str, Rate] = OrderedDict()

    def take(self, name: str) -> bool:
        """False where that name's is empty."""
        rate = self._of.setdefault(name, Rate(self._clock, self._calls))
        self._of.move_to_end(name)
        if len(self._of) > MOST_NAMES:
            self._of.popitem(last=False)
        return rate.take()


class Slots:
    """Places for what lasts: used in the event loop's thread alone."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Places in use."""
        return self._taken.total()

    def take(self, name: str) -> bool:
        """False where there is none left for that name."""
        if self.taken >= self._most or self._taken[name] >= self._most_of_one:
            return False
        self._taken[name] += 1
        return True

    def free(self, name: str) -> None:
        """Give one back."""
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]

    @contextmanager
    def held(self, name: str) -> Generator[bool]:
        """One for the time of a block, if there was one."""
        given = self.take(name)
        try:
            yield given
        finally:
            if given:
                self.free(name)
