"""Whom do we leave alone for a while? One rule for peers and for the language model's endpoint."""

import threading
import time
from collections.abc import Callable
from typing import Final

from tools.errors import Unavailable

OPENS_AFTER: Final = 3
"""Failed questions in a row after which the other side is left alone."""
OPEN_SECONDS: Final = 60.0


class Breaker:
    """Whether the other side may be asked at all. One question is let through after the pause; its outcome decides."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now, self._lock = monotonic, threading.Lock()
        self._failures, self._closed_from = 0, 0.0

    def require(self, who: str) -> None:
        """Raises `Unavailable` while it is left alone."""
        with self._lock:
            left = self._closed_from - self._now()
            if self._failures < OPENS_AFTER:
                return
            if left > 0:
                raise Unavailable(
                    f"the {who} failed {self._failures} times in a row and is not asked for another {left:.0f} s",
                    thing=who,
                    remedy="see that it runs, then try again",
                )
            self._closed_from = self._now() + OPEN_SECONDS  # one goes through, the others wait for its outcome

    def told(self, answered: bool) -> None:
        """What became of a question."""
        with self._lock:
            self._failures = 0 if answered else self._failures + 1
            self._closed_from = self._now() + OPEN_SECONDS
