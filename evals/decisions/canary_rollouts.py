"""Whole rollouts as the product judges them: 5, 25, 50, then 100 % of traffic, five critical signals, harm early, late or never."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from evals.report import Row, share
from tools.canary import judge
from tools.contracts.rollout import RolloutMetric, SignalName
from tools.observations import Observations

ALPHA: Final = 0.05
WEIGHTS: Final = (0.05, 0.25, 0.5, 1.0)
STEP: Final = 8_000
"""Requests of all versions at each weight."""
LABELS_LATE: Final = 1_000.0
PRECISION: Final = 20
"""Requests to which the first look that finds harm is sought."""
SIGNALS: Final[tuple[SignalName, ...]] = (
    "errors",
    "latency_ms",
    "missing_values",
    "prediction_distribution",
    "quality",
)


class Harm(NamedTuple):
    """Errors of the candidate from a request on, beside the one per cent that both versions always have."""

    name: str
    begins: int
    failing: float


HARMS: Final = (
    Harm("every answer fails from the start", 0, 1.0),
    Harm("a fifth fails from the start", 0, 0.2),
    Harm("every answer fails in the middle of 50 %", int(2.5 * STEP), 1.0),
    Harm("a fifth fails in the middle of 50 %", int(2.5 * STEP), 0.2),
    Harm("every answer fails from the start of 100 %", 3 * STEP, 1.0),
    Harm("every answer fails in the middle of 100 %", int(3.5 * STEP), 1.0),
    Harm("a fifth fails from the start of 100 %", 3 * STEP, 0.2),
)


def whole_rollouts(repeats: int, harms: Sequence[Harm] = HARMS, margin: float = 0.0) -> Iterator[Row]:
    """False alarms of any signal at any of the looks, and how many requests of all versions pass until harm is found."""
    alarms = 0
    for seed in range(repeats):
        rows = rollout(None, np.random.default_rng((seed, 5)))
        # What an earlier look found a later one still finds; but who is alone begins anew.
        alarms += any(_harmful(rows, at, margin) for at in (3 * STEP, 4 * STEP))
    most = ALPHA + 2 * (ALPHA * (1 - ALPHA) / repeats) ** 0.5
    row = share("false alarms, whole rollouts, five critical signals", alarms, repeats)
    yield Row(row.name, row.value, row.low, row.high, repeats, f"at most {most:.3f}", row.value <= most)
    for harm in harms:
        found = [_requests_until_found(harm, seed, margin=0.02) for seed in range(max(2, repeats // 10))]
        known = np.array([STEP * 4 - harm.begins if n is None else n for n in found], dtype=float)
        told = f"whole rollouts, margin 0.02, {harm.name}"
        yield share(f"harm found, {told}", sum(n is not None for n in found), len(found))
        yield Row(
            f"requests until found, {told}", float(np.median(known)), float(known.min()), float(known.max()), len(found)
        )


def rollout(harm: Harm | None, g: np.random.Generator) -> Observations:
    """A second a request; labels come `LABELS_LATE` requests later."""
    n = STEP * len(WEIGHTS)
    at = np.arange(n, dtype=float)
    ours = g.random(n) < np.repeat(WEIGHTS, STEP)
    failed = g.random(n) < 0.01
    if harm is not None:
        failed |= ours & (at >= harm.begins) & (g.random(n) < harm.failing)
    label = np.where(g.random(n) < 0.3, 1, 0)
    prediction = np.where(g.random(n) < 0.1, 1 - label, label).astype(object)
    prediction[failed | (g.random(n) < 0.005)] = None
    return Observations(
        request_id=np.arange(n).astype(object),
        version=np.where(ours, "2", "1").astype(object),
        at=at,
        mirrored=np.zeros(n, dtype=bool),
        failed=failed,
        latency_ms=np.exp(g.normal(2, 0.5, n)),
        prediction=prediction,
        probability=np.full(n, np.nan),
        label=label.astype(object),
        label_at=at + LABELS_LATE,
    )


def _requests_until_found(harm: Harm, seed: int, margin: float) -> int | None:
    rows = rollout(harm, np.random.default_rng((seed, 6)))
    low, high = harm.begins, len(rows)
    if not _harmful(rows, high, margin):
        return None
    while high - low > PRECISION:
        middle = (low + high) // 2
        low, high = (low, middle) if _harmful(rows, middle, margin) else (middle, high)
    return high - harm.begins


def _harmful(rows: Observations, requests: int, margin: float) -> bool:
    """What the look after so many requests says; labels of later are hidden, as a log hides them."""
    seen = rows.of(rows.at < requests)
    late = seen.label_at >= requests
    seen.label[late], seen.label_at[late] = None, np.nan
    verdicts = judge(
        metrics=tuple(RolloutMetric(name=name, margin=margin) for name in SIGNALS),
        observations=seen,
        champion="1",
        candidate="2",
        alpha=ALPHA,
        task="classification",
    )
    return any(verdict.outcome == "harmful" for verdict in verdicts)
