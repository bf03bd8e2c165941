"""How fast does this model decay? Learned from its own history of losses, and shrunk to 'not at all'.

The loss of version s on block t is taken as a sum, each part normal with a variance of its own:

| part | stands for |
|---|---|
| level, and difficulty of block t | a hard month is hard for every version; neighbouring blocks are alike |
| age, t - s | decay that comes with time: slow (linear) and fast (1 - exp(-age / 3), / 10) |
| versions that know more | a version trained later has seen more rows, whatever its age |
| what happened in blocks s+1 … t | a change of the world, which every version trained before it pays for and none trained after |
| version s | some trainings come out worse than others |
| noise | the rest |

The variances are those with the largest posterior density (marginal likelihood times a prior that thinks little of every part
but level and noise); given them the parts have a closed form. Without evidence of decay its parts stay near 0.

Block difficulty cancels in every comparison of two versions on the same block, which is what a decision needs.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import linalg, optimize  # pyright: ignore[reportMissingTypeStubs]

from tools.when_history import Floats, Known

PARTS: Final = ("level", "difficulty", "age", "size", "change", "version", "noise")
_PRIOR: Final = np.log([1.0, 0.3, 0.02, 0.05, 0.02, 0.02, 0.05])
"""Mode of each part's variance, as a share of the losses' own variance; of `change`, a block."""
_PRIOR_SD: Final = np.array([2.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5])
_MEMORY: Final = 0.7
"""Correlation of the difficulty of neighbouring blocks."""
MOST_CELLS: Final = 400
"""Later cells are kept where there are more."""


@dataclass(frozen=True)
class Decay:
    """The parts of the loss, given what was measured.

    Attributes:
        shares: Log of each part's variance over the losses' variance.
        scale: Standard deviation of the losses.
        age: Weights of the age's functions.
        size: Weight of `1 / (s + 2)`.
        change: What happened in each block, from block `first` on.
        first: Block of the first change.
        versions: Number of a version to what it is worse by.
        covariance: Of the age's weights.
    """

    shares: Floats
    scale: float
    age: Floats
    size: float
    change: Floats
    first: int
    versions: dict[float, float]
    covariance: Floats

    def loss(self, s: Floats, t: Floats) -> Floats:
        """Expected loss of versions s on blocks t, less the blocks' difficulty and the level: only differences mean anything."""
        total = np.concatenate([[0.0], np.cumsum(self.change)])

        def until(x: Floats) -> Floats:
            return total[np.clip(np.floor(x).astype(int) - self.first + 1, 0, len(self.change))]

        own = np.array([self.versions.get(round(float(one), 6), 0.0) for one in np.ravel(s)]).reshape(np.shape(s))
        return _age(t - s) @ self.age + self.size * _size(s) + until(t) - until(s) + own


def _age(age: Floats) -> Floats:
    return np.stack([age / 20, 1 - np.exp(-age / 3), 1 - np.exp(-age / 10)], axis=-1)


def _size(s: Floats) -> Floats:
    return 1 / (np.maximum(s, 0) + 2)


def fit(known: Known, begin: Floats | None = None, steps: int = 40) -> Floats:
    """Log shares of variance with the largest posterior density.

    Args:
        known: At least two cells.
        begin: Where to begin; the prior's mode where absent.
        steps: Most steps of the search.
    """
    cells = _latest(known)
    y, scale = _standard(cells)
    if scale == 0.0:
        return _PRIOR.copy()
    parts = _covariances(cells)

    def cost(shares: Floats) -> tuple[float, Floats]:
        weights = np.exp(shares)
        total = np.tensordot(weights, parts, axes=1)
        try:
            factor = linalg.cho_factor(total + 1e-8 * np.eye(len(y)), lower=True)
        except linalg.LinAlgError:
            return 1e12, np.zeros_like(shares)
        inverse = linalg.cho_solve(factor, np.eye(len(y)))
        alpha = inverse @ y
        value = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor[0])).sum())
        slopes = 0.5 * weights * (np.einsum("kij,ij->k", parts, inverse) - np.einsum("i,kij,j->k", alpha, parts, alpha))
        away = (shares - _PRIOR) / _PRIOR_SD
        return value + 0.5 * float(away @ away), slopes + away / _PRIOR_SD

    found = optimize.minimize(
        cost,
        _PRIOR if begin is None else begin,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-12.0, 6.0)] * len(PARTS),
        options={"maxiter": steps},
    )
    return np.asarray(found.x, dtype=np.float64)


def decay(known: Known, shares: Floats) -> Decay:
    """The parts of the loss under given shares of variance."""
    cells = _latest(known)
    y, scale = _standard(cells)
    scale = scale or 1e-12
    weights = np.exp(shares)
    total = np.tensordot(weights, _covariances(cells), axes=1) + 1e-8 * np.eye(len(y))
    factor = linalg.cho_factor(total, lower=True)
    alpha = linalg.cho_solve(factor, y)
    ages = _age(cells.t - cells.s)
    first, paid = _paid(cells)
    versions = np.unique(np.round(cells.s, 6))
    same = np.round(cells.s, 6)[:, None] == versions[None, :]
    reach = weights[2] * np.eye(ages.shape[1]) - weights[2] ** 2 * ages.T @ linalg.cho_solve(factor, ages)
    return Decay(
        shares=shares,
        scale=scale,
        age=scale * weights[2] * ages.T @ alpha,
        size=scale * float(weights[3] * _size(cells.s) @ alpha),
        change=scale * weights[4] * paid.T @ alpha,
        first=first,
        versions=dict(zip(versions.tolist(), (scale * weights[5] * same.T @ alpha).tolist(), strict=True)),
        covariance=scale**2 * reach,
    )


@dataclass(frozen=True)
class _Cells:
    s: Floats
    t: Floats
    loss: Floats


def _latest(known: Known) -> _Cells:
    order = np.argsort(known.t, kind="stable")[-MOST_CELLS:]
    return _Cells(known.s[order], known.t[order], known.loss[order])


def _standard(cells: _Cells) -> tuple[Floats, float]:
    scale = float(cells.loss.std())
    if scale == 0.0 or not np.isfinite(scale):
        return np.zeros_like(cells.loss), 0.0
    return (cells.loss - cells.loss.mean()) / scale, scale


def _covariances(cells: _Cells) -> Floats:
    """Of every part with variance 1, in the order of `PARTS`."""
    n = len(cells.t)
    ages, sizes = _age(cells.t - cells.s), _size(cells.s)
    _, paid = _paid(cells)
    same = np.round(cells.s, 6)[:, None] == np.round(cells.s, 6)[None, :]
    return np.stack(
        [
            np.ones((n, n)),
            _MEMORY ** np.abs(cells.t[:, None] - cells.t[None, :]),
            ages @ ages.T,
            np.outer(sizes, sizes),
            paid @ paid.T,
            same.astype(np.float64),
            np.eye(n),
        ]
    )


def _paid(cells: _Cells) -> tuple[int, Floats]:
    """First block, and of every cell which blocks lie behind its version's training, up to its own."""
    first, last = int(np.floor(cells.s.min())) + 1, int(np.floor(cells.t.max()))
    blocks = np.arange(first, last + 1)
    paid = (blocks[None, :] > np.floor(cells.s)[:, None]) & (blocks[None, :] <= np.floor(cells.t)[:, None])
    return first, paid.astype(np.float64)
