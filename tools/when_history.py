"""A model's history in blocks: what is known when the question 'retrain now?' is asked.

Blocks are counted from the earliest measured one. A version trained until the end of block s has the number s, so that its age on
block t is t - s; ages need not be whole. Costs are in loss x blocks: what a loss of 1.0 costs over one block is 1.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tools.contracts.when import LossHistory, WhenSpec

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """What is known, in blocks.

    Attributes:
        s: Of each cell, the version's number.
        t: Of each cell, the block.
        loss: Of each cell, more is worse.
        n: Rows behind each cell.
        current: The champion's number.
        coming: The block that comes next: the decision is for it and those behind it.
        fresh: The number that a version trained now would have.
        cost: Of one retraining, in loss x blocks.
        horizon: Blocks ahead that count.
    """

    s: Floats
    t: Floats
    loss: Floats
    n: Floats
    current: float
    coming: float
    fresh: float
    cost: float
    horizon: int

    @property
    def blocks(self) -> int:
        """Different blocks with a measured loss."""
        return len(np.unique(self.t))

    @property
    def own(self) -> tuple[Floats, Floats]:
        """Blocks and losses of the champion, in order."""
        mine = np.flatnonzero(np.abs(self.s - self.current) < 1e-6)
        mine = mine[np.argsort(self.t[mine], kind="stable")]
        return self.t[mine], self.loss[mine]


def known(history: LossHistory, spec: WhenSpec, now: datetime) -> Known | None:
    """The history in blocks; None where champion, its training rows or any loss are unknown."""
    if history.trained_until is None or not history.cells:
        return None
    block = history.block
    latest = {(cell.version, cell.start): cell for cell in history.cells}
    cells = sorted(latest.values(), key=lambda cell: (cell.start, cell.trained_until, cell.version))
    origin = cells[0].start

    def number(until: datetime) -> float:
        return (until - origin) / block - 1

    labelled = history.labelled_until or max(cell.end for cell in cells)
    seen = (cells[-1].start - origin) / block + 1
    return Known(
        s=np.array([number(cell.trained_until) for cell in cells]),
        t=np.array([(cell.start - origin) / block for cell in cells]),
        loss=np.array([cell.loss for cell in cells]),
        n=np.array([float(cell.n) for cell in cells]),
        current=number(history.trained_until),
        coming=(now - origin) / block,
        fresh=max(number(min(labelled, now)), number(history.trained_until)),
        cost=cost_in_loss(history, spec),
        horizon=max(int(min(spec.horizon / block, seen)), 1),
    )


def cost_in_loss(history: LossHistory, spec: WhenSpec) -> float:
    """One retraining in loss x blocks: so much loss over one block costs as much."""
    costs = spec.costs
    return costs.of_retraining(history.training_hours) / loss_per_block(history, spec)


def loss_per_block(history: LossHistory, spec: WhenSpec) -> float:
    """What a loss of 1.0 costs over one block, in the costs' unit."""
    scale = 1.0
    if spec.costs.loss_unit == "relative" and history.baseline:
        scale = 1.0 / abs(history.baseline)
    return spec.costs.loss * scale * (history.block / timedelta(days=1))
