"""No more models opened at once than this machine has cores: a scoring that shares a core with thirty others runs out of time or
memory, and that would be held against its model."""

import threading
from collections.abc import Callable
from typing import TypeVar

from tools.adapters.capped_trainer import cores
from tools.contracts.measuring import MetricJob, MetricResult, TimingJob, TimingResult
from tools.contracts.training import ScoringJob, ScoringResult
from tools.ports import Scorer

Result = TypeVar("Result")


class CappedScorer:
    """Port `Scorer` around another one. Time limits begin when there is a place, not before.

    Args:
        inner: Who scores.
        most: Models open at once; the machine's cores where None.
    """

    def __init__(self, inner: Scorer, most: int | None = None) -> None:
        self._inner, self._places = inner, threading.BoundedSemaphore(most or cores())

    def score(self, job: ScoringJob) -> ScoringResult:
        """As the inner one does, once there is a place."""
        return self._in_a_place(lambda: self._inner.score(job))

    def digest(self, model_uri: str) -> str | None:
        """At once: no model is opened."""
        return self._inner.digest(model_uri)

    def measure(self, job: MetricJob) -> MetricResult:
        """As the inner one does, once there is a place."""
        return self._in_a_place(lambda: self._inner.measure(job))

    def time(self, job: TimingJob) -> TimingResult:
        """As the inner one does, once there is a place."""
        return self._in_a_place(lambda: self._inner.time(job))

    def _in_a_place(self, act: Callable[[], Result]) -> Result:
        with self._places:
            return act()
