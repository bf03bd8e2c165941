"""No more trainings at once than this machine has cores, however many runs go on in this process."""

import os
import threading
from collections.abc import Callable

from tools.contracts.training import TrainingOrder, TrainingResult
from tools.ports import Trainer


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


class CappedTrainer:
    """Port `Trainer` around another one. Who comes when all places are taken waits, says so, and is let in as one becomes free.

    The run that waits keeps its lease: its heartbeat has a thread of its own.

    Args:
        inner: Who trains.
        most: Trainings at once; the machine's cores where None.
    """

    def __init__(self, inner: Trainer, most: int | None = None) -> None:
        self._inner, self._most = inner, most or cores()
        self._places = threading.BoundedSemaphore(self._most)

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        """As the inner one does, once there is a place."""
        if not self._places.acquire(blocking=False):
            progress(f"waiting to train: {self._most} trainings go on, as many as this machine has cores for")
            self._places.acquire()
        try:
            return self._inner.train(order, progress)
        finally:
            self._places.release()
