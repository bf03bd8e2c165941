"""Does a holdout that is judged on again and again promote noise in the end?

Candidates no better than the champion come one after the other to the same rows, to the loosest gate there is: it asks for any
gain at all, and has no guardrails. With the budget a thousand attempts are its `max_looks` judged ones, since behind them a
person is asked; beside it the same gate without a budget, after as many attempts. The twin is a better candidate that comes after
nine that were not.
"""

from datetime import UTC, datetime
from itertools import islice
from typing import Final

from evals.decisions.simulated import World, demands, retries
from evals.report import Row, at_most, share
from tools.comparison import compare
from tools.contracts.comparison import ComparisonResult, Contamination, ErrorBudget, Look
from tools.contracts.profile import MetricsSpec, PrimaryMetric
from tools.error_budget import budget
from tools.paired_rows import PairedRows
from tools.policy import PolicyInput, decide

METRICS: Final = MetricsSpec(primary=PrimaryMetric(name="accuracy"))
CRITERIA: Final = demands("accuracy")
CLEAN: Final = Contamination(candidate="clean", champion="clean")
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE: Final = 9


def rows(repeats: int) -> list[Row]:
    """Both gates, for each size and correlation."""
    most = 1 - METRICS.confidence
    found: list[Row] = []
    for n, rho in ((500, 0.0), (500, 0.6), (2_000, 0.0), (2_000, 0.6)):
        what = f"{n} rows, correlated {rho:g}"
        attempts = METRICS.max_looks
        with_budget, without = 0, 0
        for seed in range(repeats):
            drawn = list(islice(retries(World(n=n, rho=rho), 20_000 + seed), attempts))
            with_budget += any(_moves(one, spent) for one, spent in zip(drawn, _budgets(attempts), strict=True))
            without += any(_moves(one, None) for one in drawn)
        found.append(
            at_most(f"no change, 1,000 attempts on one holdout, {what}: any moved", with_budget, repeats, most)
        )
        found.append(share(f"the same without a budget, {attempts} attempts, {what}: any moved", without, repeats))
    better = sum(_better_after(seed) for seed in range(repeats))
    found.append(share(f"better by 5 points, after {BEFORE} attempts on the same 4,000 rows: moved", better, repeats))
    return found


def _budgets(attempts: int) -> list[ErrorBudget]:
    """What each look at the same rows may spend."""
    looks: list[Look] = []
    found: list[ErrorBudget] = []
    for number in range(attempts):
        look = Look(model_name="m", run_id=str(number), digest="d", spans=(), at=START)
        found.append(budget(look, looks, confidence=METRICS.confidence, most=METRICS.max_looks))
        looks.append(look.model_copy(update={"alpha": found[-1].alpha}))
    return found


def _moves(rows: PairedRows, spent: ErrorBudget | None) -> bool:
    result: ComparisonResult = compare(
        rows=rows, criteria=CRITERIA, contamination=CLEAN, holdout_digest="eval", budget=spent
    )
    inputs = PolicyInput(training_status="given", comparison=result, has_champion=True, can_split=True)
    return decide(inputs).decision in ("deploy", "canary")


def _better_after(seed: int) -> bool:
    return _moves(next(retries(World(n=4_000, candidate=0.85), 30_000 + seed)), _budgets(BEFORE + 1)[-1])
