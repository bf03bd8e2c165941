"""What did each version answer, and what turned out to be right? Arrays, a row an answer.

Served and mirrored answers stand in one table: `mirrored` tells them apart, `request_id` joins the two answers that one request
got while it was mirrored.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Observations:
    """Arrays of one length, ordered by `at`; what is unknown is NaN or None."""

    request_id: NDArray[np.object_]
    version: NDArray[np.object_]
    at: NDArray[np.float64]
    """Seconds since 1970 at which the answer was given."""
    mirrored: NDArray[np.bool_]
    """Nobody got this answer."""
    failed: NDArray[np.bool_]
    latency_ms: NDArray[np.float64]
    prediction: NDArray[np.object_]
    """A class or a value."""
    probability: NDArray[np.float64]
    """Of the positive class."""
    label: NDArray[np.object_]
    label_at: NDArray[np.float64]
    """Seconds since 1970 at which the label became known."""
    orphan_labels: int = 0
    """Labels that match no answer of any version."""
    doubled_labels: int = 0
    """Labels that came again; the first counts."""
    cut: bool = False
    """Whether older answers were left out."""

    def __len__(self) -> int:
        return len(self.version)

    def of(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Observations":
        """The rows to be kept, or these rows in this order."""
        arrays = {f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name not in _COUNTS}
        return Observations(**arrays, **{name: getattr(self, name) for name in _COUNTS})


_COUNTS = ("orphan_labels", "doubled_labels", "cut")


def no_observations() -> Observations:
    """An empty log."""
    nothing = np.array([], dtype=object)
    none, false = np.array([], dtype=np.float64), np.array([], dtype=np.bool_)
    return Observations(nothing, nothing, none, false, false, none, nothing, none, nothing, none)
