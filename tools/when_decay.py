"""How fast does this model decay, and what has the world done to it since? Learned from its own history of losses.

The loss of version s on block t is taken as

    difficulty of block t  +  decay with age (t - s)  +  what a version lacks that has seen few blocks  +  noise

* **Decay** is a sum of `1 - exp(-age / k)` with weights that are never negative: a model may stay as it is or get worse with age,
  and a short history cannot make us believe that old models are better. The weights are those of least squares within blocks,
  where difficulty cancels, shrunk towards 0 by `RIDGE`: with two versions on a block their difference counts, with one the block
  says nothing.
* **Excess**: how much worse the champion does on its latest blocks than on its first ones, beyond its age. It may be a hard month,
  which a retraining does not help, or a changed world, which it does. The history tells: over all pairs of versions, how much
  of the older one's excess at the time when the younger was trained did the younger one save? That share (between 0 and 1,
  `PRIOR_SHARE` without evidence) of the champion's excess, less two standard deviations of chance, is expected to be saved. What
  exceeds every excess seen so far, and three standard deviations, is counted at `NEW_SHARE` at least.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]

from tools.when_history import Floats, Known

_OPTIMIZE: Any = optimize
SCALES: Final = np.array([1.5, 4.0, 12.0, 40.0])
"""Blocks in which decay of each kind has done most of its work."""
RIDGE: Final = 0.75
HALF_LIFE: Final = 6.0
"""Blocks after which a comparison of two versions counts half."""
ENOUGH_ROWS: Final = 1_000
MOST_FIRST: Final = 6
"""A version's first, and its latest, loss is the mean of as many blocks as hold `ENOUGH_ROWS`, and of no more than so many."""
PRIOR_SHARE: Final = 0.1
PRIOR_PAIRS: Final = 5.0
"""So many pairs of versions with an ordinary excess weigh as much as the prior."""
NEW_SHARE: Final = 0.5
MOST_VERSIONS: Final = 16
"""Latest versions that the share is learned from."""


@dataclass(frozen=True)
class Decay:
    """What was learned.

    Attributes:
        weights: Of decay by age, one a scale; then of `1 / (s + 1)`, one over the blocks that a version has seen.
        excess: The champion's latest losses beyond its first ones and its age; 0 with fewer than two blocks.
        share: Of an excess, what a retraining saves.
        saved: Of the champion's excess, what a retraining is expected to save.
        noise: Standard deviation of a cell beside the block's difficulty and the decay.
        pairs: Pairs of versions that the share was learned from.
    """

    weights: Floats
    excess: float
    share: float
    saved: float
    noise: float
    pairs: int

    def loss(self, s: Floats, t: Floats) -> Floats:
        """Expected loss of versions s on blocks t, without difficulty and excess: only differences mean anything."""
        return _parts(s, t) @ self.weights


def _parts(s: Floats, t: Floats) -> Floats:
    age = np.maximum(t - s, 0.0)
    return np.concatenate([1 - np.exp(-age[..., None] / SCALES), 1 / (np.maximum(s, 0.0) + 1)[..., None]], axis=-1)


def decay(known: Known) -> Decay:
    """What the history says."""
    weights, noise = _weights(known)
    beyond = known.loss - _parts(known.s, known.t) @ weights
    ends = int(np.clip(np.ceil(ENOUGH_ROWS / max(float(known.n.mean()), 1.0)), 1, MOST_FIRST))
    share, largest, pairs = _share(known, beyond, ends)
    own = beyond[_own(known, known.current)]
    excess = _champions(own, ends)
    chance = _chance(known, beyond, len(own), ends)
    ordinary = min(abs(excess), max(largest, 3 * chance))
    beyond_all = abs(excess) - ordinary
    ordinary = max(ordinary - 2 * chance, 0.0)
    saved = np.sign(excess) * (share * ordinary + max(share, NEW_SHARE) * beyond_all)
    return Decay(weights, excess, share, float(saved), noise, pairs)


def _weights(known: Known) -> tuple[Floats, float]:
    """Weights of the parts, and the noise of a cell."""
    parts = _parts(known.s, known.t)
    _, block = np.unique(np.round(known.t, 6), return_inverse=True)
    count = np.bincount(block)
    kept = count[block] > 1
    none: Floats = np.zeros(len(SCALES) + 1)
    if not kept.any():
        return none, 0.0
    design = parts - np.stack([np.bincount(block, column) / count for column in parts.T], axis=1)[block]
    rest = known.loss - (np.bincount(block, known.loss) / count)[block]
    trust = 0.5 ** ((known.t[kept].max() - known.t[kept]) / (2 * HALF_LIFE))
    whole = np.vstack([design[kept] * trust[:, None], np.sqrt(RIDGE) * np.eye(parts.shape[1])])
    wanted = np.concatenate([rest[kept] * trust, np.zeros(parts.shape[1])])
    weights: Floats = np.asarray(_OPTIMIZE.nnls(whole, wanted)[0], dtype=np.float64)
    freedom = max(int(kept.sum()) - len(np.unique(block[kept])), 1)
    noise = float(np.sqrt(((rest[kept] - design[kept] @ weights) ** 2).sum() / freedom))
    return weights, noise


def _own(known: Known, version: float) -> NDArray[np.int64]:
    """Places of a version's cells, in order of blocks."""
    mine = np.flatnonzero(np.abs(known.s - version) < 1e-6)
    return mine[np.argsort(known.t[mine], kind="stable")]


def _excess(sums: Floats, row: NDArray[np.int64], count: NDArray[np.int64], ends: int) -> Floats:
    """Latest less first of the first `count` losses of a row; `sums` are running sums that begin with 0."""
    last = np.minimum(ends, count // 2)
    first = np.minimum(ends, count - last)
    return (sums[row, count] - sums[row, count - last]) / last - sums[row, first] / first


def _chance(known: Known, beyond: Floats, count: int, ends: int) -> float:
    """Standard deviation of an excess where there is none, by how much neighbouring blocks of a version differ."""
    steps = [np.diff(beyond[_own(known, s)]) for s in np.unique(np.round(known.s, 6))]
    differing = np.abs(np.concatenate(steps)) if steps else np.zeros(0)
    if count < 2 or not len(differing):
        return 0.0
    last = min(ends, count // 2)
    first = min(ends, count - last)
    one = float(np.median(differing)) / 0.6745 / np.sqrt(2)
    return float(one * np.sqrt(1 / first + 1 / last))


def _champions(beyond: Floats, ends: int) -> float:
    if len(beyond) < 2:
        return 0.0
    sums = np.concatenate([[0.0], np.cumsum(beyond)])[None, :]
    return float(_excess(sums, np.array([0]), np.array([len(beyond)]), ends)[0])


def _share(known: Known, beyond: Floats, ends: int) -> tuple[float, float, int]:
    """What of an excess a younger version saved, the largest excess seen, and the pairs of versions behind it."""
    versions = np.unique(np.round(known.s, 6))[-MOST_VERSIONS:]
    blocks = np.unique(np.round(known.t, 6))
    row = np.searchsorted(versions, np.round(known.s, 6))
    kept = known.s > versions[0] - 1e-6
    losses = np.full((len(versions), len(blocks)), np.nan)
    losses[row[kept], np.searchsorted(blocks, np.round(known.t[kept], 6))] = beyond[kept]
    there = np.isfinite(losses)
    filled, ones = np.where(there, losses, 0.0), there.astype(np.float64)
    both = ones @ ones.T
    # Each row's own losses pushed to the left, as running sums.
    order = np.argsort(~there, axis=1, kind="stable")
    sums = np.concatenate(
        [np.zeros((len(versions), 1)), np.cumsum(np.take_along_axis(filled, order, axis=1), axis=1)], axis=1
    )
    before = (there[:, None, :] & (blocks[None, None, :] <= versions[None, :, None] + 1e-6)).sum(axis=2)
    old, young = np.nonzero((before >= 2) & (both > 0) & (versions[:, None] < versions[None, :]))
    if not len(old):
        return PRIOR_SHARE, 0.0, 0
    x = _excess(sums, old, before[old, young], ends)
    y = ((filled @ ones.T - ones @ filled.T)[old, young]) / both[old, young]
    # Pairs share versions and blocks: of n versions' pairs, no more than about n are told apart.
    worth = min(1.0, len(versions) / len(x))
    size = float((x**2).mean())
    if size <= 0:
        return PRIOR_SHARE, 0.0, len(x)
    share = (worth * float(x @ y) + PRIOR_PAIRS * size * PRIOR_SHARE) / (worth * float(x @ x) + PRIOR_PAIRS * size)
    return float(np.clip(share, 0.0, 1.0)), float(np.abs(x).max()), len(x)
