"""What did each version answer, and what turned out to be right? Arrays, a row an answer.

Served and mirrored answers stand in one table: `mirrored` tells them apart, `request_id` joins the two answers that one request
got while it was mirrored.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

HALVINGS: Final = 24
"""How often the share that is read can halve."""


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
    """Whether answers were left out: see `thinned`."""

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


def thinned(names: Sequence[str], limit: int) -> NDArray[np.bool_]:
    """Which of one version's answers are read where there may be many.

    The first `limit` are, of the next `limit` one in two, of the next 2 * `limit` one in four, and so on: never more than
    `limit` * (1 + log2(n / `limit`) / 2 + 1/2) or so. Which ones follows from the name alone, so each look reads what the look
    before did and then some, and of a request that two versions answered both read the answer or neither, where as many came.

    Args:
        names: Request ids, in the order in which the answers were given.
        limit: How many are read whole; at least 1.
    """
    keep = np.ones(len(names), dtype=np.bool_)
    for halvings in range(1, HALVINGS + 1):
        start, end = limit << (halvings - 1), limit << halvings if halvings < HALVINGS else len(names)
        bound = highest(halvings)
        keep[start:end] = [
            hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8] <= bound for name in names[start:end]
        ]
    return keep


def highest(halvings: int) -> str:
    """The first eight digits of a name's md5 are at most these, where it is read. Every engine has md5, and orders texts."""
    return f"{(1 << 32 - halvings) - 1:08x}"
