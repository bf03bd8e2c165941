"""Decisions as the product makes them, from random measurements: its own rules word all the evidence."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from scipy import stats

from evals.decisions.simulated import World, demands, draw
from tools.comparison import compare
from tools.contracts.comparison import ComparisonResult, Contamination
from tools.contracts.decision import PolicyResult
from tools.contracts.evidence import EvidenceItem, StalenessReport, ValidationReport
from tools.contracts.peers import DriftReply, DriftReport, FeatureDrift
from tools.contracts.profile import DataSpec, PerformanceTrigger, TriggersSpec, ValidationSpec
from tools.contracts.profiling import ColumnProfile, DataProfile
from tools.evidence import collect
from tools.performance_loss import PerformanceEvidence
from tools.policy import PolicyInput, decide
from tools.staleness import assess
from tools.validation import validate

NOW: Final = datetime(2026, 11, 25, tzinfo=UTC)
COLUMNS: Final = ("price", "col 9", "a.b", "Größe", "7", "deploy", "x [E7] 12", "it's 0.5", "lag_24h")
"""Names as people choose them, some of them hard to tell from prose."""
MODELS: Final = ("electricity", "fraud-2", "main.fraud.detector7", "3")


@dataclass(frozen=True)
class Case:
    """One decision and everything that may be said about it."""

    model_id: str
    policy: PolicyResult
    evidence: tuple[EvidenceItem, ...]


def cases(n: int, seed: int) -> Iterator[Case]:
    """`n` decisions; the same ones for the same seed."""
    for number in range(n):
        yield _case(random.Random(f"{seed}/{number}"))


def _case(g: random.Random) -> Case:
    columns = tuple(g.sample(COLUMNS, g.randint(2, 6)))
    staleness = _staleness(g, columns)
    validation = _validation(g, columns)
    has_champion = g.random() > 0.05
    status = g.choices(("trained", "failed"), (0.9, 0.1))[0]
    goes_on = validation.verdict == "pass" and status == "trained" and has_champion
    comparison = _comparison(g, columns) if goes_on else None
    policy = decide(
        PolicyInput(
            training_status=status if validation.verdict == "pass" else "invalid_data",
            validation=validation,
            comparison=comparison,
            has_champion=has_champion,
            allow_first_model=g.random() < 0.5,
            can_split=g.random() < 0.5,
            risk=g.choices(("low", "high"), (0.8, 0.2))[0],
        )
    )
    evidence = collect(staleness=staleness, validation=validation, comparison=comparison)
    return Case(g.choice(MODELS), policy, evidence)


def _staleness(g: random.Random, columns: tuple[str, ...]) -> StalenessReport:
    severities = g.choices(("none", "drifted", "could_not_tell", "could_not_measure"), (6, 2, 1, 1), k=len(columns))
    features = tuple(
        FeatureDrift(
            feature=name,
            drift_score=None if severity == "could_not_measure" else g.random(),
            drift_type="data_drift",
            severity=severity,
            current_rows=g.randint(100, 100_000),
        )
        for name, severity in zip(columns, severities, strict=True)
    )
    overall = severities.count("drifted") / len(severities)
    drift = DriftReply(
        drift_report=DriftReport(overall_drift_score=overall, feature_drift=features), alerts=(), recommendations=()
    )
    baseline, recent, spread = g.uniform(0.6, 0.95), g.uniform(0.5, 0.95), g.uniform(0.002, 0.05)
    lost, reach = baseline - recent, 1.2 * spread
    loss = PerformanceEvidence(
        metric="accuracy",
        direction="higher",
        baseline=baseline,
        baseline_n=g.randint(500, 20_000),
        recent=recent,
        loss_low=lost - reach,
        loss_high=lost + reach,
        p_value=float(stats.norm.sf(1.96 * lost / reach)),  # pyright: ignore[reportUnknownMemberType]
        n=g.randint(300, 20_000),
    )
    measured = g.random() < 0.8
    return assess(
        profile_triggers=TriggersSpec(
            max_age=timedelta(days=g.choice((30, 90, 365))),
            max_data_lag=timedelta(days=g.choice((1, 7))),
            performance=PerformanceTrigger(max_loss=g.choice((0.01, 0.02, 0.05))),
        ),
        trained_until=NOW - timedelta(hours=g.randint(24, 10_000)),
        newest_row=NOW - timedelta(hours=g.randint(1, 200)),
        as_of=NOW,
        drift=drift if g.random() < 0.8 else None,
        drift_failure="the detective timed out after 60 s",
        performance=loss if measured else None,
        performance_failure="scoring ended with exit code 137",
        primary="accuracy",
        target="y",
    )


def _validation(g: random.Random, columns: tuple[str, ...]) -> ValidationReport:
    data = DataSpec(source="rows.parquet", event_time="at", target="y", features=columns)
    there = {name: "double" for name in (*columns, "at", "y") if g.random() > 0.01}
    reference, window, holdout = (_profile(g, columns, rows) for rows in (40_000, 20_000, 5_000))
    return validate(
        reference=reference if g.random() > 0.1 else None,
        window=window,
        holdout=holdout,
        spec=ValidationSpec(max_null_increase=0.2, max_outside_range=0.4),
        data=data,
        task="classification",
        labelled_rows=g.randint(450, 40_000),
        columns=there,
    )


def _profile(g: random.Random, columns: tuple[str, ...], most: int) -> DataProfile:
    def column(name: str) -> ColumnProfile:
        width = 100 * g.uniform(0.8, 1.4) * (20 if g.random() < 0.02 else 1)
        quantiles = tuple(float(q) for q in np.linspace(10, 10 + width, 101))
        nulls = g.uniform(0, 0.15) if g.random() > 0.02 else 0.6
        return ColumnProfile(name=name, family="numeric", null_share=nulls, distinct=500, quantiles=quantiles)

    positive = g.uniform(0.25, 0.35)
    label = ColumnProfile(
        name="y", family="numeric", null_share=0, distinct=2, categories={"0": 1 - positive, "1": positive}
    )
    return DataProfile(rows=g.randint(300, most), duplicate_share=0.0, columns=(*map(column, columns), label))


def _comparison(g: random.Random, columns: tuple[str, ...]) -> ComparisonResult:
    champion = g.uniform(0.7, 0.85)
    world = World(n=g.choice((60, 200, 600, 2000)), champion=champion, candidate=champion + g.uniform(-0.06, 0.12))
    rows = draw(world, g.randrange(2**31))
    criteria = demands("accuracy", g.choice((0.0, 0.01, 0.03)), log_loss=g.choice((0.02, 0.1)), f1=0.03)
    clean = Contamination(candidate="clean", champion="clean", candidate_rows=0, champion_rows=0)
    unknown = Contamination(candidate="clean", champion="could_not_check", candidate_rows=g.randint(0, 50))
    found = compare(
        rows=rows, criteria=criteria, contamination=clean if g.random() < 0.8 else unknown, holdout_digest="eval"
    )
    if g.random() > 0.1:
        return found
    doubt: dict[str, Any] = {
        "doubts": (*found.doubts, "baseline_metrics_mismatch"),
        "doubt_statements": (*found.doubt_statements, f"accuracy was recorded as {g.uniform(0.5, 0.9):.3f}."),
    }
    return found.model_copy(update=doubt)
