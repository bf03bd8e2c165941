"""What does a run say while it goes on, and who hears it? The last lines of each run that this process drives."""

import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tools.masking import masked

MOST_LINES: Final = 500
"""Kept of a run; whoever comes later, or is slow, misses the ones before."""
MOST_RUNS: Final = 200
LONGEST: Final = 500


@dataclass(frozen=True)
class Line:
    """One line of a run. Numbers begin at 1 and have no gaps."""

    number: int
    text: str


@dataclass
class _Kept:
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    told: int = 0
    wakes: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])


class Board:
    """Thread-safe. A follower is woken and then reads: one that is slow or gone keeps nobody waiting and costs no memory."""

    def __init__(self) -> None:
        self.born: Final = secrets.token_hex(4)
        """Tells the lines of this process from those of another one: numbers begin anew with each."""
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, _Kept] = OrderedDict()

    def tell(self, run_id: str, text: str) -> None:
        """Keep a line, and wake who follows the run."""
        with self._lock:
            kept = self._kept(run_id)
            kept.told += 1
            kept.lines.append(Line(kept.told, masked(text)[:LONGEST]))
        self.stir(run_id)

    def stir(self, run_id: str) -> None:
        """Wake who follows the run: something about it has changed."""
        with self._lock:
            wakes = list(self._kept(run_id).wakes)
        for wake in wakes:
            wake()

    def since(self, run_id: str, number: int) -> Sequence[Line]:
        """The lines after that one, as far as they are kept."""
        with self._lock:
            kept = self._runs.get(run_id)
            return [] if kept is None else [line for line in kept.lines if line.number > number]

    def follow(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called, in any thread, at each line; what is returned ends that."""
        with self._lock:
            self._kept(run_id).wakes.append(wake)

        def end() -> None:
            with self._lock:
                kept = self._runs.get(run_id)
                if kept is not None and wake in kept.wakes:
                    kept.wakes.remove(wake)

        return end

    def _kept(self, run_id: str) -> _Kept:
        kept = self._runs.setdefault(run_id, _Kept())
        self._runs.move_to_end(run_id)
        if len(self._runs) > MOST_RUNS:
            # The longest silent run that nobody follows.
            quiet = next((name for name, each in self._runs.items() if not each.wakes and name != run_id), None)
            if quiet is not None:
                del self._runs[quiet]
        return kept
