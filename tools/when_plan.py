"""Which plan of retrainings costs least? Dynamic programming over a matrix of losses.

`loss[s, t]` is what version s costs on block t. A training at block t costs `cost` and gives version t - 1 - lag, since the labels
of the last `lag` blocks are not there yet. The same program makes the oracle (measured losses) and our plan (expected ones).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.when_history import Floats


@dataclass(frozen=True)
class Plan:
    """The cheapest plan.

    Attributes:
        total: Its loss and the cost of its trainings.
        trainings: Blocks before which it trains, in order.
        wait: What the best plan costs that does not train before the first block.
        now: What the best plan costs that does.
    """

    total: float
    trainings: tuple[int, ...]
    wait: float
    now: float


def best_plan(loss: Floats, *, current: int, start: int, end: int, lag: int, cost: float) -> Plan:
    """The plan from block `start` up to, not with, `end`, that costs least.

    Args:
        loss: [s, t].
        current: The version in use before `start`.
        start: First block that is decided on.
        end: First block that no longer counts.
        lag: Blocks whose labels are missing at a training.
        cost: Of a training.
    """
    fresh = [t - 1 - lag for t in range(start, end)]
    versions = sorted({current, *(s for s in fresh if s > current)})
    place = {s: k for k, s in enumerate(versions)}
    value = np.zeros(len(versions))
    trains = np.zeros((end - start, len(versions)), dtype=bool)
    keep, renew = value.copy(), np.full(len(versions), np.inf)
    for k in range(end - start - 1, -1, -1):
        column = loss[versions, start + k]
        keep = np.where(np.isfinite(column), column, np.inf) + value
        # A training gives nothing new where its labels are those of the version in use.
        own = place.get(fresh[k])
        renew = np.full(len(versions), np.inf if own is None else cost + keep[own])
        if own is not None:
            renew[own:] = np.inf
        trains[k] = renew < keep
        value = np.minimum(keep, renew)
    here = place[current]
    used, moments = here, list[int]()
    for k in range(end - start):
        if trains[k, used]:
            moments.append(start + k)
            used = place[fresh[k]]
    return Plan(float(value[here]), tuple(moments), float(keep[here]), float(renew[here]))


def cost_of(
    loss: Floats, wants: Callable[[int, int], bool], *, current: int, start: int, end: int, lag: int, cost: float
) -> tuple[float, list[int]]:
    """What a rule costs: `wants(version, block)` is asked before every block. Also the blocks before which it trained."""
    total, moments = 0.0, list[int]()
    for t in range(start, end):
        if t - 1 - lag > current and wants(current, t):
            current = t - 1 - lag
            total += cost
            moments.append(t)
        total += float(loss[current, t])
    return total, moments
