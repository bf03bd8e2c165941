"""How much better is a candidate really? Paired changes on the rows the gate never saw, with intervals of their own.

Written apart from the gate's arithmetic, so that a fault there cannot hide itself here. Changes are positive when the candidate is
better, in the unit in which the eval's profile asks for them.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import stats
from scipy.stats import rankdata

TINY: Final = 1e-15


@dataclass(frozen=True)
class Truth:
    """A change with its 95 % interval; all NaN where it is not defined."""

    change: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


UNDEFINED: Final = Truth(np.nan, np.nan, np.nan)


def truth(metric: str, y: Any, champion: Any, candidate: Any, stretch: Any, weight: Any = None) -> Truth:
    """The paired change and its interval.

    Args:
        metric: `roc_auc` (mean over classes against the rest), `log_loss` (relative), `mean_absolute_error`
            (relative) or `root_mean_squared_error` (relative).
        y: (n,) class codes or values.
        champion: (n, k) probabilities, or (n,) values.
        candidate: The candidate's.
        stretch: (n,) which stretch of the period a row lies in: the unit that is resampled, in thought.
        weight: (n,) rows that each row stands for; 1 each where absent.
    """
    w = np.ones(len(y)) if weight is None else weight
    found = _auc(y, champion, candidate) if metric == "roc_auc" else _mean(metric, y, champion, candidate, w)
    if found is None:
        return UNDEFINED
    change, influence = found
    groups = np.unique(stretch, return_inverse=True)[1]
    count = int(groups.max()) + 1
    if count < 3:
        return UNDEFINED
    sums = np.bincount(groups, weights=influence * (1 if metric == "roc_auc" else w), minlength=count)
    total = float(len(y)) if metric == "roc_auc" else float(w.sum())
    error = float(np.sqrt(count * sums.var(ddof=1))) / total
    half = float(stats.t.ppf(0.975, count - 1)) * error
    return Truth(change, change - half, change + half)


def _mean(metric: str, y: Any, champion: Any, candidate: Any, w: Any) -> tuple[float, Any] | None:
    theirs, ours = _losses(metric, y, champion), _losses(metric, y, candidate)
    before, after = float(np.average(theirs, weights=w)), float(np.average(ours, weights=w))
    if before <= 0:
        return None
    if metric == "root_mean_squared_error":
        ratio = float(np.sqrt(after / before))
        influence = ratio * ((theirs - before) / (2 * before) - (ours - after) / (2 * max(after, TINY)))
        return 1 - ratio, influence
    influence = (theirs - before) * after / before**2 - (ours - after) / before
    return (before - after) / before, influence


def _losses(metric: str, y: Any, outputs: Any) -> Any:
    if metric == "log_loss":
        p = np.clip(outputs, 1e-15, None)
        return -np.log((p / p.sum(axis=1, keepdims=True))[np.arange(len(y)), y])
    return np.abs(outputs - y) if metric == "mean_absolute_error" else (outputs - y) ** 2


def _auc(y: Any, champion: Any, candidate: Any) -> tuple[float, Any] | None:
    """DeLong's components, so that each row has an influence on the difference."""
    classes = [1] if champion.shape[1] == 2 else list(range(champion.shape[1]))
    changes: list[float] = []
    influence = np.zeros(len(y))
    for code in classes:
        positive = y == code
        n, many = len(y), int(positive.sum())
        if many < 2 or n - many < 2:
            return None
        part = _placements(candidate[:, code], positive) - _placements(champion[:, code], positive)
        change = float(part[positive].mean())
        share = np.where(positive, n / many, n / (n - many))
        influence += share * (part - change) / len(classes)
        changes.append(change)
    return float(np.mean(changes)), influence


def _placements(score: Any, positive: Any) -> Any:
    """Of a positive row the share of negatives below it, of a negative row the share of positives above it."""
    ranks = rankdata(score)
    out = np.empty(len(score))
    many = int(positive.sum())
    out[positive] = (ranks[positive] - rankdata(score[positive])) / (len(score) - many)
    out[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / many
    return out
