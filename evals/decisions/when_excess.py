"""By how much does each policy cost more than the oracle, stream by stream, and how sure is that?

The excess of one configuration (cost, offset, seed, lag) is its cost over the oracle's, less 1; a stream's is the mean over
configurations. Its interval resamples the stream's blocks (moving blocks of `LENGTH`, 2,000 draws), the same blocks for every policy,
configuration and the oracle: seeds, offsets and costs are no replications and add nothing to n.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np

from evals.decisions import when_detectors, when_policies
from evals.decisions.when_matrices import Matrix
from evals.decisions.when_policies import POLICIES, Replay
from tools.when_history import Floats

LENGTH: Final = 3
DRAWS: Final = 2_000


@dataclass
class Spent:
    """What one configuration cost, block by block.

    Attributes:
        cost: Of a retraining.
        lag: Blocks without labels.
        oracle: The oracle's.
        policies: Each policy's, by name.
        trainings: How often each trained; `oracle` among them.
    """

    cost: float
    lag: int
    oracle: Floats
    policies: dict[str, Floats] = field(default_factory=dict)
    trainings: dict[str, int] = field(default_factory=dict)


def spend(
    matrices: Sequence[Matrix],
    *,
    costs: Sequence[float] = when_policies.COSTS,
    offsets: Sequence[int] = when_policies.OFFSETS,
    lags: Sequence[int] = when_policies.LAGS,
    detectors: bool = True,
) -> list[Spent]:
    """Every configuration of one stream's matrices (one a seed)."""
    found: list[Spent] = []
    for matrix in matrices:
        alarms = (
            {name: when_detectors.first_alarms(matrix, name) for name in when_detectors.SETTINGS} if detectors else {}
        )
        for lag in lags:
            for offset in offsets:
                replay = Replay(matrix, matrix.warm_up + offset, lag)
                found += [_one(replay, cost, alarms) for cost in costs]
    return found


def _one(replay: Replay, cost: float, alarms: dict[str, Floats]) -> Spent:
    oracle, best = replay.oracle(cost)
    made = Spent(cost, replay.lag, oracle, trainings={"oracle": len(best)})
    wanted: dict[str, Any] = {name: policy(replay, cost) for name, policy in POLICIES.items()}
    wanted |= {f"{name}, tuned": when_policies.fires(replay, cost, first)[1] for name, first in alarms.items()}
    for name, wants in wanted.items():
        made.policies[name], moments = replay.spent(wants, cost)
        made.trainings[name] = len(moments)
    return made


def excess(spent: Sequence[Spent], name: str) -> float:
    """Mean over configurations."""
    return float(np.mean([one.policies[name].sum() / one.oracle.sum() - 1 for one in spent]))


def interval(spent: Sequence[Spent], name: str, less: str | None = None, seed: int = 0) -> tuple[float, float]:
    """95 % of the excess, or of the difference to another policy's excess on the same draws."""
    mine = _drawn(spent, name, seed)
    low, high = np.quantile(mine - (1.0 if less is None else _drawn(spent, less, seed)), (0.025, 0.975))
    return float(low), float(high)


def beyond(spent: Sequence[Spent], name: str, other: str, seed: int = 0) -> tuple[float, float, float]:
    """By which share a policy costs more than another, both in units of the oracle; and 95 % of that on the same draws."""
    low, high = np.quantile(_drawn(spent, name, seed) / _drawn(spent, other, seed) - 1, (0.025, 0.975))
    return (1 + excess(spent, name)) / (1 + excess(spent, other)) - 1, float(low), float(high)


def _drawn(spent: Sequence[Spent], name: str, seed: int) -> Floats:
    """Of each draw of blocks: a policy's cost over the oracle's, mean over configurations."""
    weights = _weights(len(spent[0].oracle), _first(spent), seed)
    oracle = np.array([one.oracle for one in spent]) @ weights
    return (np.array([one.policies[name] for one in spent]) @ weights / oracle).mean(axis=0)


def _first(spent: Sequence[Spent]) -> int:
    return min(int(np.flatnonzero(one.oracle)[0]) for one in spent)


@cache
def _weights(blocks: int, first: int, seed: int) -> Floats:
    """[block, draw]: how often a draw holds a block."""
    g = np.random.default_rng(seed)
    n = blocks - first
    starts = g.integers(0, n, (DRAWS, -(-n // LENGTH)))
    drawn = (starts[:, :, None] + np.arange(LENGTH)).reshape(DRAWS, -1)[:, :n] % n
    weights = np.zeros((blocks, DRAWS))
    for k in range(DRAWS):
        weights[first:, k] = np.bincount(drawn[k], minlength=n)
    return weights
