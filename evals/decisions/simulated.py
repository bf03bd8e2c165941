"""Two classifiers whose true accuracies are known, on rows that may resemble their neighbours in time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.stats import norm

from tools.contracts.comparison import Criteria
from tools.contracts.profile import MetricsSpec, PrimaryMetric, ProfileGuardrail
from tools.criteria import resolve_criteria
from tools.paired_rows import PairedRows

FloatArray = npt.NDArray[np.float64]
SHARED = 0.7
"""Weight of a row's difficulty for both models, against each model's own noise."""


@dataclass(frozen=True)
class World:
    """`rho`: correlation of neighbouring rows (of label, difficulty and noise, before thresholds)."""

    n: int
    rho: float = 0.0
    champion: float = 0.80
    candidate: float = 0.80
    positives: float = 0.3

    @property
    def truth(self) -> float:
        """True change of accuracy."""
        return self.candidate - self.champion


def series(n: int, rho: float, g: np.random.Generator) -> FloatArray:
    """Standard normal AR(1), stationary from its first row."""
    noise = g.standard_normal(n)
    start = [rho * g.standard_normal()]
    return np.asarray(lfilter([np.sqrt(1 - rho**2)], [1, -rho], noise, zi=start)[0])


def draw(world: World, seed: int) -> PairedRows:
    """One holdout. A model's score is right with exactly its accuracy; its probability is the score's logistic."""
    return next(retries(world, seed))


def retries(world: World, seed: int) -> Iterator[PairedRows]:
    """Candidate after candidate of the same worth on the same holdout, against the same champion."""
    g = np.random.default_rng(seed)
    n, rho = world.n, world.rho
    y = (series(n, rho, g) > norm.ppf(1 - world.positives)).astype(int)
    side = 2 * y - 1
    difficulty = series(n, rho, g)

    def scores(accuracy: float) -> dict[str, FloatArray]:
        noise = SHARED * difficulty + np.sqrt(1 - SHARED**2) * series(n, rho, g)
        p = 1 / (1 + np.exp(-1.6 * side * (norm.ppf(accuracy) + noise)))
        return {"prediction": (p > 0.5).astype(float), "proba:0": 1 - p, "proba:1": p}

    champion = scores(world.champion)
    while True:
        yield PairedRows.from_columns(task="classification", y=y, baseline=champion, candidate=scores(world.candidate))


def demands(primary: str = "accuracy", gain: float = 0.0, **margins: float) -> Criteria:
    """Criteria with guardrails by name."""
    spec = MetricsSpec(
        primary=PrimaryMetric(name=primary, min_improvement=gain),
        guardrails=tuple(ProfileGuardrail(name=name, margin=margin) for name, margin in margins.items()),
    )
    return resolve_criteria(metrics=spec, request=None, task="classification", positive_label=1)
