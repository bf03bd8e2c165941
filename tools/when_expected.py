"""Is retraining now worth its cost? What keeping the model is expected to lose, against what a retraining costs.

The decay of the model is learned from its history (`when_decay`). From it follows what the champion, and every version that could be
trained within the horizon, is expected to lose on every coming block. Of all plans of retrainings the cheapest is found
(`when_plan`): what the best plan with a training now costs is held against the best plan without. So a training that pays a little now and more in
three blocks is put off, and one that never pays back is not made.
"""

from dataclasses import dataclass

import numpy as np

from tools.when_decay import Decay, decay, fit
from tools.when_history import Floats, Known
from tools.when_plan import Plan, best_plan


@dataclass(frozen=True)
class Weighed:
    """What keeping and retraining are expected to cost, in loss x blocks.

    Attributes:
        retrain: Whether the best plan trains now.
        saved: Expected to be saved within the horizon by a training now and none later, against none at all.
        saved_sd: Its standard deviation, as far as it comes from the decay's rate.
        each: What it saves on each coming block.
        plan: The cheapest plan; its trainings count from 0, the coming block.
    """

    retrain: bool
    saved: float
    saved_sd: float
    each: Floats
    plan: Plan
    learned: Decay


def weigh(known: Known, shares: Floats | None = None) -> Weighed:
    """Weighs the question; `shares` are the variances of `when_decay.fit`, found anew where absent."""
    learned = decay(known, fit(known) if shares is None else shares)
    ahead = np.arange(known.horizon, dtype=np.float64)
    loss = expected(learned, known)
    each = loss[0, 2:] - loss[1, 2:]
    from tools.when_decay import _age  # pyright: ignore[reportPrivateUsage]

    slope = (_age(known.coming + ahead - known.current) - _age(known.coming + ahead - known.fresh)).sum(axis=0)
    spread = float(np.sqrt(max(slope @ learned.covariance @ slope, 0.0)))
    if known.fresh <= known.current:
        never = Plan(0.0, (), 0.0, float("inf"))
        return Weighed(False, 0.0, 0.0, np.zeros(known.horizon), never, learned)
    plan = best_plan(loss, current=0, start=2, end=2 + known.horizon, lag=0, cost=known.cost)
    return Weighed(plan.now < plan.wait, float(each.sum()), spread, each, plan, learned)


def expected(learned: Decay, known: Known) -> Floats:
    """[version, block]: row 0 is the champion, row k a training before the k-th coming block; the first two columns are empty."""
    ahead = np.arange(known.horizon, dtype=np.float64)
    blocks = known.coming + ahead
    numbers = np.concatenate([[known.current], known.fresh + ahead])
    s, t = np.meshgrid(numbers, blocks, indexing="ij")
    loss = np.full((len(numbers), known.horizon + 2), np.inf)
    loss[:, 2:] = np.where(s < t, learned.loss(s, np.maximum(t, s)), np.inf)
    return loss
