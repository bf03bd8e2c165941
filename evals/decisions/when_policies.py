"""What would each policy have cost on a stream? Replays over an error matrix.

A policy decides before every block from what is known then: the whole matrix of the warm-up (every model of it on every later
block of it), and since then the errors of the models that it had in use, on blocks whose labels are mature. Former models go on
being measured, as versions in a registry can be. Nobody sees the future, the end of the stream included. The initial model is the
one of the warm-up's last labelled block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import numpy as np

from evals.decisions.when_matrices import Matrix
from tools import when_rules
from tools.when_decay import Decay, decay
from tools.when_expected import weigh
from tools.when_history import Floats, Known
from tools.when_plan import best_plan, cost_of
from tools.when_rules import NEVER, Seen, SimpleStrategy

COSTS: Final = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Of a retraining, in errors x blocks: .01 is a point of error kept for one block."""
OFFSETS: Final = (0, 1, 2, 3, 4)
LAGS: Final = (0, 1, 4)
SIMPLE: Final[tuple[SimpleStrategy, ...]] = get_args(SimpleStrategy)
DRIFTED: Final = 0.5
OURS: Final = "ours (expected_cost)"
NAMES: Final = {
    "periodic": "periodic, tuned",
    "threshold": "threshold, tuned",
    "cumulative_loss": "cumulative loss (CARA-like), tuned",
    "forecast": "forecast (UPF-like), tuned",
}

Wants = Callable[[int, int], bool]


@dataclass
class Replay:
    """One start on one matrix: where policies are tuned and replayed.

    Attributes:
        matrix: Of the stream.
        start: First block that is decided on.
        lag: Blocks without labels.
        learned: Decay by what was known; the same for every cost.
    """

    matrix: Matrix
    start: int
    lag: int
    learned: dict[Any, tuple[Known, Decay]] = field(default_factory=dict)

    @property
    def error(self) -> Floats:
        return self.matrix.error

    @property
    def first(self) -> int:
        """First block that is not labelled at the start: what lies before is the warm-up."""
        return self.start - self.lag

    @property
    def warm_up(self) -> Floats:
        return self.error[: self.first, : self.first]

    def spent(self, wants: Wants, cost: float) -> tuple[Floats, list[int]]:
        """Error and trainings' cost block by block, and the blocks before which it trained."""
        blocks = self.matrix.blocks
        _, moments = cost_of(
            self.error, wants, current=self.first - 1, start=self.start, end=blocks, lag=self.lag, cost=cost
        )
        return self.by_block(moments, cost), moments

    def by_block(self, moments: Sequence[int], cost: float) -> Floats:
        """What these trainings cost, block by block; 0 before the start."""
        paid, current = np.zeros(self.matrix.blocks), self.first - 1
        for t in range(self.start, self.matrix.blocks):
            if t in moments:
                current = t - 1 - self.lag
                paid[t] += cost
            paid[t] += self.error[current, t]
        return paid

    def oracle(self, cost: float) -> tuple[Floats, list[int]]:
        """The cheapest plan of all, which knows the future."""
        plan = best_plan(
            self.error,
            current=self.first - 1,
            start=self.start,
            end=self.matrix.blocks,
            lag=self.lag,
            cost=cost,
        )
        return self.by_block(plan.trainings, cost), list(plan.trainings)

    def known(self, versions: Sequence[int], coming: int, cost: float) -> Known:
        """What is known before block `coming` to somebody who had these versions in use, the last of them now."""
        s, t = (part.tolist() for part in np.triu_indices(self.first, 1))
        until = coming - self.lag
        for version in versions:
            for block in range(max(version + 1, self.first), until):
                s.append(version)
                t.append(block)
        loss = self.error[s, t]
        return Known(
            s=np.array(s, dtype=float),
            t=np.array(t, dtype=float),
            loss=loss,
            n=np.full(len(loss), float(self.matrix.rows.shape[2])),
            current=float(versions[-1]),
            coming=float(coming),
            fresh=float(until - 1),
            cost=cost,
            horizon=max(until, 1),
        )


def never(replay: Replay, cost: float) -> Wants:
    return lambda version, block: False


def always(replay: Replay, cost: float) -> Wants:
    return lambda version, block: True


def every(blocks: int) -> Callable[[Replay, float], Wants]:
    """So many blocks after the last training."""

    def policy(replay: Replay, cost: float) -> Wants:
        return lambda version, block: block - (version + 1 + replay.lag) >= blocks

    return policy


def drift_only(replay: Replay, cost: float) -> Wants:
    """Half the columns drifted on the latest block, labels or not."""
    return lambda version, block: (
        bool(replay.matrix.drifted[version, block - 1] >= DRIFTED) if version < block - 1 else False
    )


def simple(strategy: SimpleStrategy) -> Callable[[Replay, float], Wants]:
    """One of the product's known rules, tuned on the warm-up."""

    def policy(replay: Replay, cost: float) -> Wants:
        parameter = when_rules.tuned(strategy, replay.warm_up, lag=replay.lag, cost=cost)
        used = [replay.first - 1]

        def wants(version: int, block: int) -> bool:
            if version not in used:
                used.append(version)

            def saved() -> Floats:
                now = replay.known(used, block, cost)
                forecast = when_rules.linear_saving(now.s, now.t, now.loss)
                return forecast(now.current, now.fresh, now.coming, int(parameter))

            losses = replay.error[version, version + 1 : block - replay.lag]
            return when_rules.wants(strategy, parameter, Seen(losses, block - (version + 1 + replay.lag), saved, cost))

        return wants

    return policy


def ours(replay: Replay, cost: float) -> Wants:
    """The product's own rule, on what is known."""
    used = [replay.first - 1]

    def wants(version: int, block: int) -> bool:
        if version not in used:
            used.append(version)
        key = (tuple(used), block)
        if key not in replay.learned:
            now = replay.known(used, block, cost)
            replay.learned[key] = (now, decay(now))
        now, learned = replay.learned[key]
        return weigh(Known(**{**vars(now), "cost": cost}), learned).retrain

    return wants


def fires(replay: Replay, cost: float, first: Floats) -> tuple[float, Wants]:
    """A detector's best setting on the warm-up, and what it does then.

    Args:
        replay: Where it is tuned.
        cost: Of a training.
        first: [setting, version]: the block at which the detector, fed with the version's errors, first fires.
    """

    def rule(setting: Floats, lag: int) -> Wants:
        return lambda version, block: bool(setting[version] <= block - 1 - lag)

    inside, lag = replay.warm_up, replay.lag
    totals: list[tuple[float, int]] = [(when_rules.cost_a_block(inside, lambda v, b: False, lag=lag, cost=cost), -1)]
    totals += [
        (when_rules.cost_a_block(inside, rule(setting, lag), lag=lag, cost=cost), k) for k, setting in enumerate(first)
    ]
    best = min(totals)[1]
    if best < 0:
        return NEVER, never(replay, cost)
    return float(best), rule(first[best], lag)


POLICIES: Final[dict[str, Callable[[Replay, float], Wants]]] = {
    "never": never,
    "every block": always,
    "every 4 blocks": every(4),
    "half the columns drifted": drift_only,
    **{NAMES[strategy]: simple(strategy) for strategy in SIMPLE},
    OURS: ours,
}
