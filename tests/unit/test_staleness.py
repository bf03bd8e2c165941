"""The staleness report: its verdict, its signals and what it recommends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tools.contracts.evidence import Signal, StalenessReport
from tools.contracts.peers import DriftReply, DriftReport, FeatureDrift, PeerRecommendation
from tools.contracts.profile import DriftTrigger, PerformanceTrigger, TriggersSpec
from tools.staleness import DATA_SET, PerformanceEvidence, assess, performance_evidence, performance_signal

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ALL_RULES = TriggersSpec(
    drift=DriftTrigger(share_of_columns=0.5),
    performance=PerformanceTrigger(max_loss=0.02),
    max_age=90 * DAY,
    max_data_lag=2 * DAY,
    cool_down=7 * DAY,
)
NO_RULES = TriggersSpec(drift=None, performance=None)


def drift(*severities: str, kind: str = "data_drift", overall: float | None = None) -> DriftReply:
    features = tuple(
        FeatureDrift(feature=f"x{i}", drift_score=0.4, drift_type=kind, severity=s, current_rows=100)
        for i, s in enumerate(severities)
    )
    decided = [s for s in severities if s in ("none", "drifted")]
    share = overall if overall is not None else (decided.count("drifted") / len(decided) if decided else None)
    report = DriftReport(overall_drift_score=share, feature_drift=features)
    return DriftReply(drift_report=report, alerts=(), recommendations=())


def loss(low: float, point: float, high: float, n: int = 400) -> PerformanceEvidence:
    return PerformanceEvidence(
        metric="accuracy",
        direction="higher",
        baseline=0.9,
        baseline_n=1_000,
        recent=0.9 - point,
        loss_low=low,
        loss_high=high,
        n=n,
    )


NO_DRIFT, DRIFTED, UNTOLD_DRIFT = drift("none", "none"), drift("drifted", "drifted"), drift("none", "could_not_tell")
HOLDS, LOST, UNTOLD_LOSS = loss(-0.01, 0.0, 0.01), loss(0.02, 0.05, 0.08), loss(-0.01, 0.03, 0.07)
NO_LABELS = PerformanceEvidence(metric="accuracy", direction="higher", baseline=0.9, n=0)


def judge(rules: TriggersSpec = ALL_RULES, **changes: Any) -> StalenessReport:
    evidence: dict[str, Any] = {
        "trained_until": NOW - 30 * DAY,
        "newest_row": NOW - DAY,
        "as_of": NOW,
        "drift": NO_DRIFT,
        "drift_failure": None,
        "performance": HOLDS,
        "performance_failure": None,
        "primary": "accuracy",
    }
    return assess(profile_triggers=rules, **(evidence | changes))


def signal(report: StalenessReport, rule: str, subject: str | None = None) -> Signal:
    return next(s for s in report.signals if s.rule == rule and subject in (None, s.subject))


@dataclass(frozen=True)
class Case:
    id: str
    changes: dict[str, Any]
    verdict: str
    recommendation: str
    rules: TriggersSpec = ALL_RULES


LATE = {"newest_row": NOW - 5 * DAY}
PROMOTED = {"promoted_at": NOW - 3 * DAY, "last_known_good": "4"}
CASES = [
    Case("everything is good", {}, "fresh", "keep_watching"),
    Case("old", {"trained_until": NOW - 91 * DAY}, "stale", "retrain"),
    Case("just not old", {"trained_until": NOW - 90 * DAY}, "fresh", "keep_watching"),
    Case("drifted", {"drift": DRIFTED}, "stale", "retrain"),
    Case("lost", {"performance": LOST}, "stale", "retrain"),
    Case("age unknown", {"trained_until": None}, "could_not_measure", "keep_watching"),
    Case("trained on the future", {"trained_until": NOW + DAY}, "could_not_measure", "keep_watching"),
    Case("age unknown but drifted", {"trained_until": None, "drift": DRIFTED}, "stale", "retrain"),
    Case("drift failed", {"drift": None, "drift_failure": "no answer"}, "could_not_measure", "keep_watching"),
    Case("drift never asked", {"drift": None}, "could_not_measure", "keep_watching"),
    Case("performance failed", {"performance": None, "performance_failure": "x"}, "could_not_measure", "keep_watching"),
    Case("no labels", {"performance": NO_LABELS}, "could_not_measure", "wait_for_labels"),
    Case(
        "too few labels", {"performance": NO_LABELS.model_copy(update={"n": 9})}, "could_not_measure", "wait_for_labels"
    ),
    Case("no labels but drifted", {"performance": NO_LABELS, "drift": DRIFTED}, "stale", "retrain"),
    Case("one doubt among good rules", {"performance": UNTOLD_LOSS}, "fresh", "keep_watching"),
    Case("one other doubt among good rules", {"drift": UNTOLD_DRIFT}, "fresh", "keep_watching"),
    Case("two doubts", {"drift": UNTOLD_DRIFT, "performance": UNTOLD_LOSS}, "could_not_measure", "keep_watching"),
    Case("late data", LATE, "could_not_measure", "fix_data"),
    Case("late data and lost", LATE | {"performance": LOST}, "stale", "fix_data"),
    Case("no rows", {"newest_row": None}, "could_not_measure", "keep_watching"),
    Case("rows from the future", {"newest_row": NOW + DAY}, "could_not_measure", "keep_watching"),
    Case("lost right after promotion", PROMOTED | {"performance": LOST}, "stale", "roll_back"),
    Case("good right after promotion", PROMOTED, "fresh", "keep_watching"),
    Case("drifted right after promotion", PROMOTED | {"drift": DRIFTED}, "stale", "retrain"),
    Case(
        "lost long after promotion",
        PROMOTED | {"performance": LOST, "promoted_at": NOW - 8 * DAY},
        "stale",
        "retrain",
    ),
    Case("lost with no way back", {"promoted_at": NOW - DAY, "performance": LOST}, "stale", "retrain"),
    Case(
        "lost and broken", PROMOTED | {"performance": LOST, "drift": drift("drifted", kind="unit")}, "stale", "fix_data"
    ),
    Case("no rule at all", {}, "could_not_measure", "keep_watching", NO_RULES),
    Case("drift counts only where configured", {"drift": DRIFTED}, "could_not_measure", "keep_watching", NO_RULES),
    Case(
        "a lone doubt is no good news",
        {"performance": UNTOLD_LOSS},
        "could_not_measure",
        "keep_watching",
        TriggersSpec(drift=None, performance=PerformanceTrigger()),
    ),
    Case(
        "only age, and young",
        {},
        "fresh",
        "keep_watching",
        TriggersSpec(drift=None, performance=None, max_age=90 * DAY),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_evidence_leads_to_verdict_and_recommendation(case: Case):
    report = judge(case.rules, **case.changes)
    assert (report.verdict, report.recommendation) == (case.verdict, case.recommendation), report.statement


@pytest.mark.parametrize("kind", ["vanished", "null_share", "unit", "infinite", "type_change"])
def test_broken_column_asks_for_the_data_to_be_fixed_even_when_few_drifted(kind: str):
    features = (
        FeatureDrift(feature="gone", drift_type=kind, severity="drifted"),
        *(FeatureDrift(feature=f"x{i}", drift_score=0.0, drift_type="data_drift", severity="none") for i in range(9)),
    )
    reply = DriftReply(
        drift_report=DriftReport(overall_drift_score=0.1, feature_drift=features), alerts=(), recommendations=()
    )
    report = judge(drift=reply)
    assert (report.verdict, report.recommendation) == ("fresh", "fix_data")
    assert signal(report, "drift", DATA_SET).outcome == "ok"
    assert signal(report, "drift", "gone").outcome == "bad"


def test_moved_column_does_not_ask_for_the_data_to_be_fixed():
    assert judge(drift=drift("drifted", *["none"] * 9)).recommendation == "keep_watching"


def test_peer_that_says_fix_data_is_heard():
    reply = NO_DRIFT.model_copy(
        update={"recommendations": (PeerRecommendation(action="fix_data", priority="high", rationale="schema"),)}
    )
    assert judge(drift=reply).recommendation == "fix_data"


def test_drift_has_one_signal_for_the_data_set_and_one_a_drifted_column():
    report = judge(drift=drift("drifted", "none", "could_not_tell", "drifted"))
    drifts = [s for s in report.signals if s.rule == "drift"]
    assert [(s.subject, s.outcome) for s in drifts] == [(DATA_SET, "bad"), ("x0", "bad"), ("x3", "bad")]
    whole = drifts[0]
    assert (whole.value, whole.low, whole.high, whole.threshold, whole.n) == (pytest.approx(2 / 3), 0.5, 0.75, 0.5, 100)


@dataclass(frozen=True)
class Share:
    id: str
    reply: DriftReply
    outcome: str


SHARES = [
    Share("drifted share meets the threshold", drift("drifted", "none"), "bad"),
    Share("below it", drift("drifted", "none", "none"), "ok"),
    Share("untold columns could reach it", drift("drifted", "none", "none", "could_not_tell"), "could_not_tell"),
    Share("unmeasured columns could reach it", drift("none", "could_not_measure"), "could_not_tell"),
    Share("untold columns hold it back", drift("drifted", "could_not_tell", "could_not_measure"), "could_not_tell"),
    Share("nothing told", drift("could_not_tell", "could_not_tell"), "could_not_tell"),
    Share("nothing measured", drift("could_not_measure"), "could_not_measure"),
    Share("no features, no score", drift(), "could_not_measure"),
    Share("a peer's score alone, high", drift(overall=0.6), "bad"),
    Share("a peer's score alone, low", drift(overall=0.1), "ok"),
    Share("a peer's score outside 0 to 1", drift("none", overall=7.0), "could_not_measure"),
    Share("a peer's unknown word", drift("none", "weird", overall=0.0), "could_not_tell"),
    Share("a peer that contradicts its columns", drift("none", "none", overall=0.9), "could_not_tell"),
]


@pytest.mark.parametrize("case", SHARES, ids=lambda c: c.id)
def test_share_of_drifted_columns_has_four_outcomes(case: Share):
    assert signal(judge(drift=case.reply), "drift", DATA_SET).outcome == case.outcome


@dataclass(frozen=True)
class Loss:
    id: str
    evidence: PerformanceEvidence
    outcome: str


LOSSES = [
    Loss("wholly above zero and large", loss(0.01, 0.03, 0.05), "bad"),
    Loss("exactly the accepted loss", loss(0.01, 0.02, 0.03), "bad"),
    Loss("above zero but small", loss(0.005, 0.01, 0.015), "ok"),
    Loss("above zero, perhaps large", loss(0.005, 0.01, 0.03), "could_not_tell"),
    Loss("large but perhaps nothing", loss(-0.001, 0.03, 0.06), "could_not_tell"),
    Loss("touches zero", loss(0.0, 0.03, 0.06), "could_not_tell"),
    Loss("better than before", loss(-0.05, -0.03, -0.01), "ok"),
    Loss("upper end on the threshold", loss(-0.01, 0.0, 0.02), "could_not_tell"),
    Loss("no labels", NO_LABELS, "could_not_measure"),
]


@pytest.mark.parametrize("case", LOSSES, ids=lambda c: c.id)
def test_loss_interval_has_four_outcomes(case: Loss):
    assert performance_signal(case.evidence, 0.02).outcome == case.outcome


def test_loss_of_a_lower_is_better_metric_is_its_rise():
    evidence = performance_evidence(
        metric="mae",
        direction="lower",
        baseline=1.0,
        baseline_n=None,
        recent=1.5,
        recent_low=1.4,
        recent_high=1.7,
        n=50,
    )
    assert (evidence.loss, evidence.loss_low, evidence.loss_high) == pytest.approx((0.5, 0.4, 0.7))


def test_loss_interval_is_mirrored_for_higher_and_carries_the_baselines_own_error():
    evidence = performance_evidence(
        metric="accuracy",
        direction="higher",
        baseline=0.9,
        baseline_n=100,
        recent=0.8,
        recent_low=0.78,
        recent_high=0.81,
        n=300,
    )
    # sqrt(1 + 300 / 100) doubles both sides: 0.8 - 0.04 .. 0.8 + 0.02
    assert (evidence.loss, evidence.loss_low, evidence.loss_high) == pytest.approx((0.1, 0.08, 0.14))


@pytest.mark.parametrize(
    "changes",
    [{"recent": 0.8}, {"recent": 0.8, "loss_low": 0.2, "loss_high": 0.1}, {"baseline": float("nan")}],
    ids=["no interval", "upside down", "NaN"],
)
def test_performance_evidence_that_makes_no_sense_is_refused(changes: dict[str, Any]):
    fields: dict[str, Any] = {"metric": "accuracy", "direction": "higher", "baseline": 0.9, "n": 9}
    with pytest.raises(ValidationError):
        PerformanceEvidence(**(fields | changes))


def test_statements_carry_the_reason_of_what_failed():
    report = judge(drift=None, drift_failure="the file is gone", performance=None, performance_failure="it crashed")
    assert "the file is gone" in report.statement
    assert "it crashed" in report.statement
