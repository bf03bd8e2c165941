"""A lease tells processes apart, not the threads of one: of those, one drives a run."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tools.errors import Busy


@dataclass
class _Turn:
    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: int = 0


class Turns:
    """A lock a run, forgotten once nobody wants it any more."""

    def __init__(self) -> None:
        self._of: dict[str, _Turn] = {}
        self._mine = threading.Lock()

    def __len__(self) -> int:
        """Runs that somebody drives or waits for."""
        return len(self._of)

    def taken(self, run_id: str) -> bool:
        """Whether a thread drives it, or is about to."""
        return run_id in self._of

    @contextmanager
    def alone(self, run_id: str, *, wait: bool = False) -> Generator[None]:
        """Drive it, for the time of a block.

        Args:
            run_id: Which.
            wait: Until the other thread has ended, rather than to be refused.

        Raises:
            Busy: another thread drives it.
        """
        with self._mine:
            turn = self._of.setdefault(run_id, _Turn())
            turn.wanted += 1
        try:
            if not turn.lock.acquire(blocking=wait):
                raise Busy(
                    f"run {run_id} goes on in this process",
                    thing="run",
                    value=run_id,
                    remedy=f"wait until it ends or parks; `retrain runs show {run_id}`",
                )
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            with self._mine:
                turn.wanted -= 1
                if not turn.wanted:
                    del self._of[run_id]
