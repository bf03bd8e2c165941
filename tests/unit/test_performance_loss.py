"""The loss on mature labels: its interval, its four outcomes, and when it began."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tools.contracts.comparison import Criteria
from tools.contracts.profile import MetricsSpec, PrimaryMetric
from tools.criteria import resolve_criteria
from tools.performance_loss import PerformanceEvidence, performance_evidence, performance_signal
from tools.scored_rows import ScoredRows

START = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = 3600.0


def criteria(name: str = "accuracy", task: Any = "classification") -> Criteria:
    return resolve_criteria(
        metrics=MetricsSpec(primary=PrimaryMetric(name=name)), request=None, task=task, positive_label=None
    )


def right(share: Any, n: int = 1200, seed: int = 0) -> ScoredRows:
    """Predictions that are right with the chance given, one an hour."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, n)
    hit = generator.random(n) < share
    time = START.timestamp() + HOUR * np.arange(n, dtype=np.float64)
    return ScoredRows.from_columns(
        task="classification", y=y, outputs={"prediction": np.where(hit, y, 1 - y)}, time=time
    )


def found(recent: ScoredRows, baseline: float = 0.9, **changes: Any) -> PerformanceEvidence:
    given: dict[str, Any] = {"baseline_n": 2000, "baseline_rows": None} | changes
    evidence = performance_evidence(criteria=criteria(), baseline=baseline, recent=recent, **given)
    assert evidence is not None
    return evidence


def loss(low: float, point: float, high: float, p_value: float) -> PerformanceEvidence:
    return PerformanceEvidence(
        metric="accuracy",
        direction="higher",
        baseline=0.9,
        baseline_n=1_000,
        recent=0.9 - point,
        loss_low=low,
        loss_high=high,
        p_value=p_value,
        n=400,
    )


NO_LABELS = PerformanceEvidence(metric="accuracy", direction="higher", baseline=0.9, n=0)


@dataclass(frozen=True)
class Loss:
    id: str
    evidence: PerformanceEvidence
    outcome: str


LOSSES = [
    Loss("significant and large", loss(0.01, 0.03, 0.05, 1e-5), "bad"),
    Loss("exactly the accepted loss", loss(0.01, 0.02, 0.03, 1e-5), "bad"),
    Loss("significant but small", loss(0.005, 0.01, 0.015, 1e-5), "ok"),
    Loss("significant, perhaps large", loss(0.005, 0.01, 0.03, 1e-5), "could_not_tell"),
    Loss("would do for one check, not for a year of them", loss(0.002, 0.03, 0.06, 0.01), "could_not_tell"),
    Loss("large but perhaps nothing", loss(-0.001, 0.03, 0.06, 0.03), "could_not_tell"),
    Loss("better than before", loss(-0.05, -0.03, -0.01, 0.99), "ok"),
    Loss("upper end on the threshold", loss(-0.01, 0.0, 0.02, 0.5), "could_not_tell"),
    Loss("no labels", NO_LABELS, "could_not_measure"),
]


@pytest.mark.parametrize("case", LOSSES, ids=lambda c: c.id)
def test_loss_has_four_outcomes(case: Loss):
    assert performance_signal(case.evidence, 0.02, 365).outcome == case.outcome


def test_what_a_nightly_check_doubts_a_single_one_believes():
    evidence = loss(0.002, 0.03, 0.06, 0.01)
    assert performance_signal(evidence, 0.02, 1).outcome == "bad"


def test_model_that_lost_ten_points_is_found_and_its_twin_is_not():
    assert performance_signal(found(right(0.8)), 0.02, 365).outcome == "bad"
    assert performance_signal(found(right(0.9, n=6000)), 0.02, 365).outcome == "ok"


def test_undrifted_model_checked_every_night_of_a_year_raises_no_false_finding():
    outcomes = [performance_signal(found(right(0.9, 400, seed)), 0.02, 365).outcome for seed in range(365)]
    assert outcomes.count("bad") == 0


def test_loss_of_a_lower_is_better_metric_is_its_rise():
    y = np.arange(600.0)
    rows = ScoredRows.from_columns(task="regression", y=y, outputs={"prediction": y + 1.5}, time=y)
    evidence = performance_evidence(
        criteria=criteria("mean_absolute_error", "regression"),
        baseline=1.0,
        baseline_n=None,
        baseline_rows=None,
        recent=rows,
    )
    assert evidence is not None
    assert evidence.loss == pytest.approx(0.5)


def test_baseline_on_record_widens_by_its_own_error_and_a_short_one_by_more():
    recent = right(0.8)
    exact = found(recent, baseline_n=None)
    short = found(recent, baseline_n=300, baseline_rows=right(0.9, 300, 1))
    long_ = found(recent, baseline_n=20_000, baseline_rows=right(0.9, 20_000, 1))

    def width(evidence: PerformanceEvidence) -> float:
        assert evidence.loss_high is not None
        assert evidence.loss_low is not None
        return evidence.loss_high - evidence.loss_low

    assert width(exact) < width(long_) < width(short)


def test_sample_of_a_long_holdout_errs_no_more_than_the_holdout():
    sample = right(0.9, 500, 1)
    narrow, wide = (
        found(right(0.8), baseline_n=50_000, baseline_rows=sample),
        found(right(0.8), baseline_n=500, baseline_rows=sample),
    )
    assert (narrow.loss_low or 0) > (wide.loss_low or 0)


def test_loss_is_dated_to_the_block_from_which_it_stays():
    hours = np.arange(1200)
    began = right(np.where(hours < 600, 0.9, 0.7))
    since = found(began).since
    assert since is not None
    assert abs((since - START).total_seconds() / HOUR - 600) <= 100
    assert found(right(0.7)).since == START


def test_rows_that_were_trained_on_are_said_to_be_left_out():
    evidence = NO_LABELS.model_copy(update={"left_out": 1234})
    assert "1,234 others were trained on" in performance_signal(evidence, 0.02, 365).statement


def test_too_few_rows_or_a_missing_prediction_give_no_evidence():
    assert (
        performance_evidence(
            criteria=criteria(), baseline=0.9, baseline_n=None, baseline_rows=None, recent=right(0.9, 40)
        )
        is None
    )
    rows = right(0.9)
    rows.sample.prediction[3] = np.nan
    assert (
        performance_evidence(criteria=criteria(), baseline=0.9, baseline_n=None, baseline_rows=None, recent=rows)
        is None
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"recent": 0.8},
        {"recent": 0.8, "loss_low": 0.2, "loss_high": 0.1, "p_value": 0.5},
        {"baseline": float("nan")},
    ],
    ids=["no interval", "upside down", "NaN"],
)
def test_performance_evidence_that_makes_no_sense_is_refused(changes: dict[str, Any]):
    fields: dict[str, Any] = {"metric": "accuracy", "direction": "higher", "baseline": 0.9, "n": 9}
    with pytest.raises(ValidationError):
        PerformanceEvidence(**(fields | changes))
