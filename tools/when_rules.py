"""The known rules for when to retrain, each with one parameter that is tuned on the model's own history.

| strategy | retrains before a block when | parameter |
|---|---|---|
| `periodic` | so many blocks have passed since the last training | blocks |
| `threshold` | the champion's latest loss exceeds its first one by so much | loss |
| `cumulative_loss` | its losses beyond the first one add up to so much (CARA-like: our re-implementation) | loss x blocks |
| `forecast` | the loss that a linear forecast expects to save within so many blocks exceeds the cost (UPF-like: ours too) | blocks |

Tuning replays the rule over the matrix of a history, from several places to begin, and keeps the parameter that costs least; of equals,
the one that trains least. Never to train is always among them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import numpy as np

from tools.when_history import Floats
from tools.when_plan import cost_of

SimpleStrategy = Literal["periodic", "threshold", "cumulative_loss", "forecast"]
NEVER: Final = float("inf")
_QUANTILES: Final = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
_AHEAD: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24)


@dataclass(frozen=True)
class Seen:
    """What a simple rule looks at.

    Attributes:
        losses: The champion's, on blocks with mature labels, in order; without the blocks that it was trained on.
        since: Blocks since the last training.
        saved: What a forecast expects a training to save on each coming block.
        cost: Of a training, in loss x blocks.
    """

    losses: Sequence[float] | Floats
    since: float
    saved: Callable[[], Floats]
    cost: float


def wants(strategy: SimpleStrategy, parameter: float, seen: Seen) -> bool:
    """Whether the rule would train now."""
    if parameter == NEVER:
        return False
    if strategy == "periodic":
        return seen.since >= parameter
    if strategy == "forecast":
        return float(seen.saved()[: int(parameter)].sum()) > seen.cost
    measured = measure_of(strategy, seen)
    return measured is not None and measured > parameter


def measure_of(strategy: SimpleStrategy, seen: Seen) -> float | None:
    """What `threshold` and `cumulative_loss` hold against their parameter; None with fewer than two losses."""
    losses = np.asarray(seen.losses, dtype=np.float64)
    if len(losses) < 2:
        return None
    return float(losses[-1] - losses[0]) if strategy == "threshold" else float((losses - losses[0]).sum())


def linear_saving(s: Floats, t: Floats, loss: Floats) -> Callable[[float, float, float, int], Floats]:
    """A linear forecast of the loss by version, age and block, by ridge regression on measured cells.

    Returns:
        (champion, version that a training would give, coming block, blocks ahead) to what the training saves on each.
    """
    design = np.column_stack([np.ones_like(s), s, t - s])
    weights = np.linalg.solve(design.T @ design + np.diag([1e-9, 1.0, 1.0]), design.T @ loss)

    def saved(current: float, fresh: float, coming: float, ahead: int) -> Floats:
        # By version and by age alike, the forecast is the same on every block ahead.
        return np.full(ahead, (current - fresh) * (weights[1] - weights[2]))

    return saved


def candidates(strategy: SimpleStrategy, matrix: Floats) -> list[float]:
    """Parameters to try; the one that trains least comes first."""
    if strategy == "periodic":
        return [NEVER, *(float(k) for k in range(len(matrix), 0, -1))]
    if strategy == "forecast":
        return [NEVER, *(float(k) for k in _AHEAD)]
    values: list[float] = []
    for s in range(len(matrix) - 2):
        losses = matrix[s, s + 1 :]
        for until in range(2, len(losses) + 1):
            found = measure_of(strategy, Seen(losses[:until], until, lambda: np.zeros(1), 0.0))
            values += [] if found is None or found <= 0 else [found]
    grid: list[float] = np.unique(np.quantile(values, _QUANTILES))[::-1].tolist() if values else []
    return [NEVER, *grid, 0.0]


def tuned(strategy: SimpleStrategy, matrix: Floats, *, lag: int, cost: float) -> float:
    """The parameter that costs least on a whole history.

    Args:
        strategy: The rule.
        matrix: [s, t] of the history; every cell with t > s is there.
        lag: Blocks whose labels are missing at a training.
        cost: Of a training, in loss x blocks.
    """
    totals = [
        (replayed(strategy, parameter, matrix, lag=lag, cost=cost), rank, parameter)
        for rank, parameter in enumerate(candidates(strategy, matrix))
    ]
    return min(totals)[2]


def untuned(strategy: SimpleStrategy, *, cost: float, every: float) -> float:
    """The parameter where the history holds one version only: the profile's schedule, a threshold of 0.02, the cost itself."""
    return {"periodic": every, "threshold": 0.02, "cumulative_loss": cost, "forecast": NEVER}[strategy]


def replayed(strategy: SimpleStrategy, parameter: float, matrix: Floats, *, lag: int, cost: float) -> float:
    """What the rule costs a block, over all places to begin in the first half of a history."""
    blocks = len(matrix)
    s, t = np.triu_indices(blocks, 1)
    saving = linear_saving(s.astype(float), t.astype(float), matrix[s, t]) if strategy == "forecast" else None

    def want(current: int, coming: int) -> bool:
        def saved() -> Floats:
            ahead = int(parameter)
            return np.zeros(1) if saving is None else saving(current, coming - 1 - lag, coming, ahead)

        seen = Seen(matrix[current, current + 1 : coming - lag], coming - (current + 1 + lag), saved, cost)
        return wants(strategy, parameter, seen)

    return cost_a_block(matrix, want, lag=lag, cost=cost)


def cost_a_block(matrix: Floats, wants: Callable[[int, int], bool], *, lag: int, cost: float) -> float:
    """What a policy costs a block, over all places to begin in the first half of a history. `wants`: see `when_plan.cost_of`."""
    total, spent, blocks = 0.0, 0, len(matrix)
    for start in range(lag + 2, max(blocks // 2, lag + 3)):
        if start >= blocks:
            break
        found, _ = cost_of(matrix, wants, current=start - 1 - lag, start=start, end=blocks, lag=lag, cost=cost)
        total, spent = total + found, spent + blocks - start
    return total / max(spent, 1)


def said(strategy: SimpleStrategy, parameter: float, seen: Seen, block: timedelta) -> str:
    """The rule's reading of a history, in words."""
    days = block / timedelta(days=1)
    if parameter == NEVER:
        return f"{strategy.replace('_', ' ')}: on this history no training would have paid"
    if strategy == "periodic":
        return f"{seen.since * days:.0f} days since the last training, the best period is {parameter * days:.0f} days"
    if strategy == "forecast":
        saved = float(seen.saved()[: int(parameter)].sum())
        return f"a training is forecast to save {saved:.3g} loss x blocks within {parameter * days:.0f} days and costs {seen.cost:.3g}"
    measured = measure_of(strategy, seen)
    what = "latest loss beyond the first" if strategy == "threshold" else "loss since training, added up,"
    return (
        f"too few losses of the champion to tell (threshold {parameter:.3g})"
        if measured is None
        else f"the {what} is {measured:.3g}, the threshold {parameter:.3g}"
    )
