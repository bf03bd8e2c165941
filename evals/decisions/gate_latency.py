"""Does a clear winner that answers too slowly get in?

Holdout predictions cannot show it; the guardrail `latency_ms` can. The predictions are simulated ones of a candidate that is better by
five points; the times are real: single rows, champion and candidate in turn, for the product's rule. The product times short processes
of their own; here both are timed in this one, which is faster and shares more noise. The twin is as fast as the champion.
"""

from time import perf_counter
from typing import Any, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from evals.decisions.simulated import World, draw
from evals.report import Row, at_least, at_most, share
from tools.comparison import compare
from tools.contracts.comparison import Contamination
from tools.contracts.measuring import TimingResult
from tools.contracts.profile import MetricsSpec, PrimaryMetric, ProfileGuardrail
from tools.criteria import resolve_criteria
from tools.operational import MIN_CALLS, MORE_PAIRS, judge_latency, pairs_needed
from tools.policy import PolicyInput, decide

MARGIN: Final = 0.5
"""A candidate may take half as long again."""
TREES, SLOWER = 20, 30
BETTER: Final = World(n=4_000, candidate=0.85)


def rows(repeats: int) -> list[Row]:
    """Slow winners and their twins, with the guardrail and without."""
    g = np.random.default_rng(0)
    x = g.standard_normal((2_000, 8))
    y = (x[:, 0] + 0.5 * g.standard_normal(2_000) > 0).astype(int)
    with threadpool_limits(1):
        fast, same, slow = (
            HistGradientBoostingClassifier(max_iter=trees, random_state=seed).fit(x, y)
            for trees, seed in ((TREES, 0), (TREES, 1), (TREES * SLOWER, 2))
        )
        with_slow = [_decision(seed, _timed(fast, slow, x)) for seed in range(repeats)]
        with_same = [_decision(seed, _timed(fast, same, x)) for seed in range(repeats)]
    without = [_decision(seed, None) for seed in range(repeats)]
    told = f"better by 5 points with {SLOWER} times the trees"
    return [
        at_most(f"apart, {told}: deployed with a latency guardrail", with_slow.count("deploy"), repeats, 0.01),
        share(f"apart, {told}: deployed on holdout predictions alone", without.count("deploy"), repeats),
        at_least("apart, its twin, as fast as the champion: deployed", with_same.count("deploy"), repeats, 0.8),
    ]


def _timed(champion: Any, candidate: Any, x: Any) -> TimingResult:
    pairs = [(_calls(champion, x), _calls(candidate, x)) for _ in range(pairs_needed(0.95) + MORE_PAIRS)]
    return TimingResult(champion_ms=tuple(a for a, _ in pairs), candidate_ms=tuple(b for _, b in pairs))


def _calls(model: Any, x: Any) -> tuple[float, ...]:
    found: list[float] = []
    for row in range(MIN_CALLS):
        start = perf_counter()
        model.predict_proba(x[row : row + 1])
        found.append((perf_counter() - start) * 1_000)
    return tuple(found)


def _decision(seed: int, timing: TimingResult | None) -> str:
    guardrails = () if timing is None else (ProfileGuardrail(name="latency_ms", margin=MARGIN, unit="relative"),)
    spec = MetricsSpec(primary=PrimaryMetric(name="accuracy", min_improvement=0.005), guardrails=guardrails)
    criteria = resolve_criteria(metrics=spec, request=None, task="classification", positive_label=1)
    result = compare(
        rows=draw(BETTER, 60_000 + seed),
        criteria=criteria,
        contamination=Contamination(candidate="clean", champion="clean"),
        holdout_digest="eval",
        apart=[] if timing is None else [judge_latency(c, timing, criteria.confidence) for c in criteria.apart],
    )
    inputs = PolicyInput(training_status="given", comparison=result, has_champion=True, can_split=True)
    return decide(inputs).decision
