"""Do a ranking's intervals hold what they say, and does the gate move only what is better?

Simulated queries of 2 to 12 items whose hidden worth decides the relevance; each model sees the worth with noise of its own.
Queries differ in difficulty, and neighbours in time may resemble each other. Two models of one noise are equal by symmetry;
of a better one the true change is measured on `TRUTH` queries, far more than any holdout has.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from evals.decisions.simulated import FloatArray, series
from evals.report import Row, arguments, at_least, at_most, publish, share
from tools.comparison import compare, measure_all
from tools.contracts.comparison import ComparisonResult, Contamination, Criteria
from tools.contracts.profile import MetricsSpec, PrimaryMetric, ProfileGuardrail
from tools.criteria import resolve_criteria
from tools.paired_rows import PairedRows
from tools.policy import PolicyInput, decide

METRICS: Final = ("ndcg", "ndcg@3", "mean_average_precision", "mean_reciprocal_rank", "precision@2")
TRUTH: Final = 100_000
NOISE: Final = 1.0
BETTER: Final = 0.7
WORSE: Final = 1.4
GAIN: Final = 0.01
CLEAN: Final = Contamination(candidate="clean", champion="clean")


@dataclass(frozen=True)
class World:
    """`rho`: correlation of neighbouring queries' difficulty; `candidate`: the noise of its scores."""

    queries: int
    rho: float = 0.0
    candidate: float = NOISE


def draw(world: World, seed: int) -> PairedRows:
    """One holdout. The rows of a query stand together, queries in time order."""
    g = np.random.default_rng(seed)
    sizes = g.integers(2, 13, world.queries)
    query = np.repeat(np.arange(world.queries), sizes)
    hard = np.exp(0.5 * series(world.queries, world.rho, g))[query]
    worth = g.standard_normal(query.shape[0])

    def scores(noise: float) -> dict[str, FloatArray]:
        told = worth + noise * hard * g.standard_normal(worth.shape[0])
        return {"prediction": np.round(told, 1)}  # rounded, so that some tie

    return PairedRows.from_columns(
        task="ranking",
        y=np.digitize(worth, [0.8, 1.6]),
        baseline=scores(NOISE),
        candidate=scores(world.candidate),
        group=query,
    )


def demands(primary: str, gain: float = 0.0, **margins: float) -> Criteria:
    """Criteria with guardrails by name."""
    guardrails = tuple(ProfileGuardrail(name=name, margin=margin) for name, margin in margins.items())
    spec = MetricsSpec(primary=PrimaryMetric(name=primary, min_improvement=gain), guardrails=guardrails)
    return resolve_criteria(metrics=spec, request=None, task="ranking", positive_label=None)


@cache
def truth(metric: str, candidate: float) -> float:
    """True change; 0 for equal models."""
    if candidate == NOISE:
        return 0.0
    rows, wanted = draw(World(TRUTH, candidate=candidate), 999_999), demands(metric)
    ours, theirs = (measure_all(rows=rows, criteria=wanted, which=which)[metric] for which in ("candidate", "baseline"))
    return ours - theirs


def coverage(repeats: int) -> list[Row]:
    """Share of 95 % intervals that hold the true change."""
    worlds = [World(n, rho, candidate) for n in (150, 600) for rho in (0.0, 0.6) for candidate in (NOISE, BETTER)]
    return [_coverage(metric, world, repeats) for world in worlds for metric in METRICS]


def _coverage(metric: str, world: World, repeats: int) -> Row:
    wanted, true, held = demands(metric), truth(metric, world.candidate), 0
    for seed in range(repeats):
        primary = _compare(world, seed, wanted).primary
        held += primary.low is not None and primary.high is not None and primary.low <= true <= primary.high
    told = f"coverage: {metric}, true change {true:+.3f}, {world.queries} queries, neighbours correlated {world.rho:g}"
    row = share(told, held, repeats)
    # Nominal within two standard errors of the simulation, downwards: too wide is not dishonest.
    least = 0.95 - 2 * (0.95 * 0.05 / repeats) ** 0.5
    return Row(told, row.value, row.low, row.high, repeats, f"at least {least:.3f}", row.value >= least)


def decisions(repeats: int) -> list[Row]:
    """What the whole gate does with rankers of known worth."""
    wanted, rows = demands("ndcg", GAIN, mean_reciprocal_rank=0.03), list[Row]()
    for queries in (300, 2000):
        for name, noise in (("no change", NOISE), ("worse", WORSE), ("better", BETTER)):
            made: Counter[str] = Counter()
            for seed in range(repeats):
                result = _compare(World(queries, 0.3, noise), 50_000 + seed, wanted)
                inputs = PolicyInput(training_status="given", comparison=result, has_champion=True, can_split=True)
                made[decide(inputs).decision] += 1
                made["higher"] += (result.primary.change or 0) > 0
            moved, told = (
                made["deploy"] + made["canary"],
                f"{name} ({truth('ndcg', noise):+.3f} ndcg), {queries} queries",
            )
            rows.append(share(f"{told}: 'metric is higher' would deploy", made["higher"], repeats))
            if name == "better":
                rows.append(at_least(f"{told}: deployed or canary", moved, repeats, 0.8))
            else:
                rows.append(
                    at_most(f"{told}: deployed or canary", moved, repeats, 0.05 if name == "no change" else 0.01)
                )
    return rows


def _compare(world: World, seed: int, criteria: Criteria) -> ComparisonResult:
    return compare(rows=draw(world, seed), criteria=criteria, contamination=CLEAN, holdout_digest="eval")


def _parser() -> argparse.ArgumentParser:
    parser = arguments(__doc__ or "")
    parser.add_argument("--repeats", type=int, default=400, help="holdouts drawn for each row")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all of it; exit code 1 when a target was missed."""
    asked = _parser().parse_args(argv)
    repeats = 10 if asked.quick else asked.repeats
    rows = coverage(repeats) + decisions(repeats)
    publish(rows, asked.json, quick=asked.quick)
    return 0 if asked.quick or all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
