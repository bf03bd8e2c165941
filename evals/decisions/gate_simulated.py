"""Are the intervals honest, and what does the gate do where the truth is known because the rows were made?"""

from collections import Counter

from evals.decisions import gate_looks
from evals.decisions.simulated import World, demands, draw
from evals.report import Row, at_least, at_most, share
from tools.comparison import compare
from tools.contracts.comparison import Contamination, Criteria
from tools.policy import PolicyInput, decide

CLEAN = Contamination(candidate="clean", champion="clean")
COVERAGE = ("accuracy", "f1", "log_loss", "roc_auc")
DEMANDS = {"gain": 0.01, "log_loss": 0.05, "f1": 0.02}
"""Asked in the decision part: one point of accuracy, with two guardrails."""
CASES = {
    "no change": World(n=0),
    "worse by 3 points": World(n=0, candidate=0.77),
    "better by 5 points": World(n=0, candidate=0.85),
}


def rows(repeats: int) -> list[Row]:
    """Intervals, decisions, and repeated looks at one holdout."""
    return coverage(repeats) + decisions(repeats) + gate_looks.rows(max(repeats // 2, 3))


def coverage(repeats: int) -> list[Row]:
    """Share of 95 % intervals that hold the true change (0 by symmetry; for accuracy also a change of 5 points)."""
    rows: list[Row] = []
    for n in (300, 2000):
        for rho in (0.0, 0.6, 0.9):
            for metric in COVERAGE:
                times = max(10, repeats // 3) if metric == "roc_auc" else repeats
                rows.append(_coverage(metric, World(n=n, rho=rho), times))
            rows.append(_coverage("accuracy", World(n=n, rho=rho, candidate=0.85), repeats))
    return rows


def _coverage(metric: str, world: World, repeats: int) -> Row:
    criteria = demands(metric)
    held = 0
    for seed in range(repeats):
        primary = _compare(world, seed, criteria).primary
        held += primary.low is not None and primary.high is not None and primary.low <= world.truth <= primary.high
    told = f"coverage: {metric}, true change {world.truth:+.2f}, {world.n} rows, neighbours correlated {world.rho:g}"
    row = share(told, held, repeats)
    # Nominal within two standard errors of the simulation, downwards: too wide is not dishonest.
    least = 0.95 - 2 * (0.95 * 0.05 / repeats) ** 0.5
    return Row(told, row.value, row.low, row.high, repeats, f"at least {least:.3f}", row.value >= least)


def _compare(world: World, seed: int, criteria: Criteria):
    return compare(rows=draw(world, seed), criteria=criteria, contamination=CLEAN, holdout_digest="eval")


def decisions(repeats: int) -> list[Row]:
    """What the whole gate (intervals, verdicts, policy) does with candidates of known worth."""
    rows: list[Row] = []
    criteria = demands("accuracy", DEMANDS["gain"], log_loss=DEMANDS["log_loss"], f1=DEMANDS["f1"])
    for n in (500, 4000):
        for rho in (0.0, 0.6):
            for name, case in CASES.items():
                world = World(n=n, rho=rho, candidate=case.candidate)
                made: Counter[str] = Counter()
                for seed in range(repeats):
                    result = _compare(world, 10_000 + seed, criteria)
                    inputs = PolicyInput(training_status="given", comparison=result, has_champion=True, can_split=True)
                    made[decide(inputs).decision] += 1
                    made["higher"] += (result.primary.change or 0) > 0
                rows += _judged(f"{name}, {n} rows, correlated {rho:g}", name, n, made, repeats)
    return rows


def _judged(told: str, name: str, n: int, made: Counter[str], repeats: int) -> list[Row]:
    naive = share(f"{told}: 'metric is higher' would deploy", made["higher"], repeats)
    if name == "no change":
        return [
            at_most(f"{told}: deployed", made["deploy"], repeats, 0.05),
            share(f"{told}: sent to a canary", made["canary"], repeats),
            naive,
        ]
    if name.startswith("worse"):
        return [at_most(f"{told}: deployed or canary", made["deploy"] + made["canary"], repeats, 0.01), naive]
    moved = made["deploy"] + made["canary"]
    reached = at_least(f"{told}: deployed or canary", moved, repeats, 0.8)
    if n < 1000:  # few rows may honestly not suffice: shown, not judged
        reached = share(f"{told}: deployed or canary", moved, repeats)
    return [reached, at_most(f"{told}: rejected", made["reject"], repeats, 0.05)]
