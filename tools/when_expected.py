"""Is retraining now worth its cost? What keeping the model is expected to lose, against what a retraining costs.

The decay of the model is learned from its history (`when_decay`). From it follows what the champion, and every version that
could be trained within the horizon, is expected to lose on every coming block. Of all plans of retrainings the cheapest is
found (`when_plan`): what the best plan with a training now costs is held against the best plan without. So a training that
pays a little now and more in three blocks is put off, and one that never pays back is not made.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from tools.when_decay import Decay, decay
from tools.when_history import Floats, Known
from tools.when_plan import Plan, best_plan

_STATS: Any = stats


@dataclass(frozen=True)
class Weighed:
    """What keeping and retraining are expected to cost, in loss x blocks.

    Attributes:
        retrain: Whether the best plan trains now.
        saved: Expected to be saved within the horizon by a training now and none later, against none at all.
        each: What it saves on each coming block.
        plan: The cheapest plan; its trainings count from 0, the coming block.
    """

    retrain: bool
    saved: float
    each: Floats
    plan: Plan
    learned: Decay


def weigh(known: Known, learned: Decay | None = None) -> Weighed:
    """Weighs the question; `learned` is what `decay` says of this history, where that is known already."""
    learned = decay(known) if learned is None else learned
    loss = expected(learned, known)
    each = loss[0, 2:] - loss[1, 2:]
    if known.fresh <= known.current:
        return Weighed(False, 0.0, np.zeros(known.horizon), Plan(0.0, (), 0.0, float("inf")), learned)
    plan = best_plan(loss, current=0, start=2, end=2 + known.horizon, lag=0, cost=known.cost)
    return Weighed(plan.now < plan.wait, float(each.sum()), each, plan, learned)


def expected(learned: Decay, known: Known) -> Floats:
    """[version, block]: row 0 is the champion, row k a training before the k-th coming block; the first two columns are empty."""
    ahead = np.arange(known.horizon, dtype=np.float64)
    blocks = known.coming + ahead
    numbers = np.concatenate([[known.current], known.fresh + ahead])
    s, t = np.meshgrid(numbers, blocks, indexing="ij")
    loss = np.full((len(numbers), known.horizon + 2), np.inf)
    loss[:, 2:] = np.where(s < t, learned.loss(s, np.maximum(t, s)), np.inf)
    loss[0] += learned.saved
    return loss


def spread(known: Known) -> float:
    """Half of the 95 % interval of `saved`, by leaving out one block after the other (jackknife); 0 with fewer than three."""
    blocks = np.unique(known.t)
    if len(blocks) < 3:
        return 0.0
    without = [_saved(replace(known, **_kept(known, known.t != block))) for block in blocks]
    n = len(without)
    return float(
        _STATS.t.ppf(0.975, n - 1) * np.sqrt((n - 1) / n * np.square(np.array(without) - np.mean(without)).sum())
    )


def _kept(known: Known, rows: NDArray[np.bool_]) -> dict[str, Floats]:
    return {"s": known.s[rows], "t": known.t[rows], "loss": known.loss[rows], "n": known.n[rows]}


def _saved(known: Known) -> float:
    loss = expected(decay(known), known)
    return float((loss[0, 2:] - loss[1, 2:]).sum())
