"""Are the intervals of counted metrics honest where the two models differ on a handful of rows?

`python -m evals.decisions.gate_counts`: shares of 95 % intervals that hold the true change, on independent rows with
known shares of "only the candidate is right" and "only the champion is right", and on rows where neighbours share both.
Recall and precision look at fewer rows still: the positive ones, or those called positive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from evals.decisions.simulated import demands, series
from evals.report import Row, arguments, publish, share
from tools.comparison import compare
from tools.contracts.comparison import Contamination
from tools.paired_rows import PairedRows

CLEAN = Contamination(candidate="clean", champion="clean")
POSITIVES = 0.4
BOTH_RIGHT = 0.8
"""Of the rows on which the models agree."""


@dataclass(frozen=True)
class Few:
    """A world in which `differing` of `n` rows are expected to tell the models apart, `wins` of them for the candidate."""

    metric: str
    n: int
    differing: float
    wins: float = 0.5
    rho: float = 0.0

    @property
    def only_candidate(self) -> float:
        """Share of rows that only the candidate has right."""
        return self.wins * self.differing / self.n

    @property
    def only_champion(self) -> float:
        """Share of rows that only the champion has right."""
        return (1 - self.wins) * self.differing / self.n

    @property
    def truth(self) -> float:
        """True change of the metric: what is right is so for positive and negative rows alike."""
        agreed = BOTH_RIGHT * (1 - self.only_candidate - self.only_champion)
        right = (agreed + self.only_champion, agreed + self.only_candidate)
        if self.metric == "precision":
            found = [POSITIVES * share / (POSITIVES * share + (1 - POSITIVES) * (1 - share)) for share in right]
            return found[1] - found[0]
        return right[1] - right[0]


WORLDS = (
    *(
        Few("accuracy", n, differing, wins)
        for n in (100, 300, 1000)
        for differing in (3, 6, 10, 20, 30)
        for wins in (0.5, 0.9)
    ),
    *(
        Few(metric, n, differing, wins)
        for metric in ("recall", "precision")
        for n in (300, 1000)
        for differing in (10, 30)
        for wins in (0.5, 0.9)
    ),
    *(Few("accuracy", n, differing, 0.5, rho) for n in (300, 1000) for differing in (10, 30) for rho in (0.6, 0.9)),
)


def draw(world: Few, seed: int) -> PairedRows:
    """One holdout."""
    g = np.random.default_rng(seed)

    def uniform() -> np.ndarray:
        return g.random(world.n) if world.rho == 0 else norm.cdf(series(world.n, world.rho, g))

    y = (uniform() < POSITIVES).astype(np.float64)
    which, agreed = uniform(), uniform() < BOTH_RIGHT
    ours, theirs = which < world.only_candidate, which >= 1 - world.only_champion
    right = {"champion": theirs | (~ours & agreed), "candidate": ours | (~theirs & agreed)}
    told = {who: np.where(hit, y, 1 - y) for who, hit in right.items()}
    # Two different models never give the same probabilities, even where they say the same.
    proba = {who: 0.5 + (label - 0.5) * (0.2 + 0.7 * g.random(world.n)) for who, label in told.items()}
    return PairedRows(
        task="classification",
        y=y,
        baseline_prediction=told["champion"],
        candidate_prediction=told["candidate"],
        baseline_proba=np.column_stack((1 - proba["champion"], proba["champion"])),
        candidate_proba=np.column_stack((1 - proba["candidate"], proba["candidate"])),
        classes=("0", "1"),
    )


def rows(repeats: int, worlds: Sequence[Few] = WORLDS) -> list[Row]:
    """Coverage of every world, and the mean width of its intervals."""
    return [row for world in worlds for row in _judged(world, repeats)]


def _judged(world: Few, repeats: int) -> Iterator[Row]:
    criteria = demands(world.metric)
    held, measured, widths = 0, 0, 0.0
    for seed in range(repeats):
        found = compare(rows=draw(world, seed), criteria=criteria, contamination=CLEAN, holdout_digest="eval").primary
        if found.low is None or found.high is None:
            continue
        measured += 1
        held += found.low - 1e-9 <= world.truth <= found.high + 1e-9
        widths += found.high - found.low
    told = (
        f"{world.metric}, {world.n} rows, {world.differing:g} expected to differ, true change {world.truth:+.4f}"
        f"{f', neighbours correlated {world.rho:g}' if world.rho else ''}"
    )
    least = 0.95 - 2 * (0.95 * 0.05 / max(measured, 1)) ** 0.5
    row = share(f"coverage: {told}", held, measured)
    yield Row(row.name, row.value, row.low, row.high, measured, f"at least {least:.3f}", row.value >= least)
    yield Row(f"mean width: {told}", widths / max(measured, 1), n=measured)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 when an interval holds less than it says."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--repeats", type=int, default=2000, help="holdouts drawn for each world")
    asked = parser.parse_args(argv)
    found = rows(20, WORLDS[::7]) if asked.quick else rows(asked.repeats)
    publish(found, asked.json, quick=asked.quick)
    return 0 if asked.quick or all(row.met is not False for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
