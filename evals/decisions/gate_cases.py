"""Which candidates come to the gate? Kinds of bad, good and no-change candidates, each with a severity drawn at random.

Half of the candidates with a broken slice or broken probabilities are better than the champion in everything else: that is how
such a candidate looks when somebody made it. No-change pairs are exchangeable (two seeds, two bootstraps of the same rows, two
samples of the same months), so the expected difference is 0, and what single pairs differ by is reported as the spread.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from evals.decisions.gate_models import ITERATIONS, Recipe, predictions
from evals.decisions.gate_worlds import World

BAD: Final = (
    "a declared slice broken",
    "an undeclared slice broken",
    "label noise",
    "calibration broken",
    "stale training window",
    "plain worse",
)
GOOD: Final = ("fresher window", "more rows", "cleaner labels", "better model")
SAME: Final = ("another seed", "another bootstrap", "other rows of the same months")
APART: Final = ("leaky feature", "training-serving skew")
"""Both models' holdout predictions are what they are; only production shows the harm."""
SMALLEST_SLICE, LARGEST_SLICE = 0.05, 0.4
CHAMPIONS: Final = 6


@dataclass(frozen=True)
class Case:
    """One candidate against one champion on one holdout.

    Attributes:
        family: `bad`, `good`, `same` or `apart`.
        kind: Which of the kinds.
        champion: Its outputs on the period.
        candidate: The candidate's, as a holdout shows them.
        production: The candidate's, as production shows them.
        holdout: Places of the holdout in the period.
        rest: Places of the truth.
        harmed: Mask of the rows that were broken, where a slice was.
        size: 0, 1 or 2: which of the three holdouts.
    """

    family: str
    kind: str
    champion: Any
    candidate: Any
    production: Any
    holdout: Any
    rest: Any
    harmed: Any
    size: int


@dataclass(frozen=True)
class Job:
    """What a case is made from; small enough to be sent to a worker."""

    world: int
    family: str
    kind: str
    size: int
    number: int


def jobs(worlds: int, each: dict[str, int], tasks: list[str], sizes: tuple[int, ...]) -> Iterator[Job]:
    """All cases: `each` cases of a kind of a family, at every stream and holdout size."""
    for world in range(worlds):
        for size in sizes:
            for family, kinds in (("bad", BAD), ("good", GOOD), ("same", SAME), ("apart", APART)):
                for kind in kinds:
                    if kind == "calibration broken" and tasks[world] == "regression":
                        continue
                    yield from (Job(world, family, kind, size, number) for number in range(each[family]))


def case(world: World, job: Job, cache: Path) -> Case:
    """Trains (or finds) both models and breaks what the kind says is broken."""
    kinds = (*BAD, *GOOD, *SAME, *APART)
    number = kinds.index(job.kind) * 10_000 + job.size * 1_000 + job.number
    g = np.random.default_rng([7, number])
    champion, candidate = _recipes(job, number, g)
    theirs, _ = predictions(world, champion, cache)
    ours, production = predictions(world, candidate, cache)
    harmed = np.zeros(world.period, dtype=bool)
    if job.kind == BAD[0]:
        harmed = _declared(world, g)
    elif job.kind == BAD[1]:
        harmed = _undeclared(world, g)
    if harmed.any():
        ours = _mixed_up(ours, harmed, float(g.uniform(0.5, 1.0)), g)
        production = ours
    if job.kind == BAD[3]:
        power = float(g.uniform(2, 5) if g.random() < 0.5 else g.uniform(0.2, 0.5))
        ours = np.clip(ours, 1e-7, 1) ** power
        ours /= ours.sum(axis=1, keepdims=True)
        production = ours
    holdout, rest = world.split(world.holdouts[job.size], g)
    return Case(job.family, job.kind, theirs, ours, production, holdout, rest, harmed, job.size)


def _recipes(job: Job, number: int, g: np.random.Generator) -> tuple[Recipe, Recipe]:
    """(champion's, candidate's)."""
    usual = Recipe(rows_seed=job.number % CHAMPIONS, seed=job.number % CHAMPIONS)
    # A retrained model of the same recipe, on other rows of the same months.
    fresh = Recipe(rows_seed=100 + number, seed=100 + number)
    noise, fewer = float(g.uniform(0.1, 0.4)), float(np.exp(g.uniform(np.log(0.05), np.log(0.35))))
    smaller = {"columns": float(g.uniform(0.3, 0.8))} if g.random() < 0.5 else {"iterations": int(g.integers(3, 16))}
    weak: Any = {
        "label noise": {"noise": noise},
        "stale training window": {"window": "old"},
        "plain worse": smaller,
        "fresher window": {"window": "old"},
        "more rows": {"size": fewer},
        "cleaner labels": {"noise": noise},
        "better model": smaller,
    }.get(job.kind)
    if weak is not None:
        worse = replace(fresh, **weak)
        return (usual, worse) if job.family == "bad" else (worse, usual)
    if job.kind == SAME[0]:
        return fresh, replace(fresh, seed=fresh.seed + 500_000)
    if job.kind == SAME[1]:
        return replace(fresh, bootstrap=number), replace(fresh, bootstrap=number + 500_000)
    if job.kind == SAME[2]:
        return fresh, replace(fresh, rows_seed=fresh.rows_seed + 500_000, seed=fresh.seed + 500_000)
    if job.kind == APART[0]:
        return usual, replace(fresh, leak=True)
    if job.kind == APART[1]:
        return usual, replace(fresh, skew=float(g.uniform(0.1, 0.4)))
    if job.number % 2:  # a broken candidate that is better elsewhere
        return replace(usual, size=fewer, iterations=ITERATIONS), fresh
    return usual, fresh


def _declared(world: World, g: np.random.Generator) -> Any:
    """Rows of one value of the declared column, not too few and not nearly all."""
    values, counts = np.unique(world.slice_values.astype(str), return_counts=True)
    shares = counts / world.period
    fit = np.flatnonzero((shares >= SMALLEST_SLICE) & (shares <= LARGEST_SLICE))
    if not len(fit):
        fit = np.array([int(np.argmin(np.abs(shares - SMALLEST_SLICE)))])
    return world.slice_values.astype(str) == values[g.choice(fit)]


def _undeclared(world: World, g: np.random.Generator) -> Any:
    """A range of a number (a tenth to a quarter of the rows) or a value of a category that nobody declared."""
    names = [name for name in world.names if name != world.slice_source] or list(world.names)
    for name in g.permutation(names):
        column = world.shown[str(name)]
        if column.dtype.kind == "f":
            share = float(g.uniform(0.10, 0.25))
            start = float(g.uniform(0, 1 - share))
            known = column[np.isfinite(column)]
            low, high = np.quantile(known, [start, start + share]) if len(known) else (np.nan, np.nan)
            mask = (column >= low) & (column <= high)
        else:
            mask = column == g.choice(column)
        if SMALLEST_SLICE <= mask.mean() <= LARGEST_SLICE:
            return mask
    return np.arange(world.period) % 10 == 0


def _mixed_up(outputs: Any, mask: Any, share: float, g: np.random.Generator) -> Any:
    """Outputs of a share of the masked rows, given to the wrong ones among them."""
    outputs = outputs.copy()
    places = np.flatnonzero(mask)
    places = places[g.random(len(places)) < share]
    outputs[places] = outputs[g.permutation(places)]
    return outputs
