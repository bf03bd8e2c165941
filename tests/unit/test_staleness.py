"""The staleness report: its verdict, its signals and what it recommends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.contracts.evidence import Signal, StalenessReport
from tools.contracts.peers import DriftReply, DriftReport, FeatureDrift, PeerRecommendation
from tools.contracts.profile import DriftTrigger, PerformanceTrigger, TriggersSpec
from tools.drift_signals import DATA_SET, MOST_COLUMNS
from tools.performance_loss import PerformanceEvidence
from tools.staleness import assess

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


def loss(low: float, point: float, high: float, p_value: float = 0.5, n: int = 400) -> PerformanceEvidence:
    return PerformanceEvidence(
        metric="accuracy",
        direction="higher",
        baseline=0.9,
        baseline_n=1_000,
        recent=0.9 - point,
        loss_low=low,
        loss_high=high,
        p_value=p_value,
        n=n,
    )


NO_DRIFT, DRIFTED, UNTOLD_DRIFT = drift("none", "none"), drift("drifted", "drifted"), drift("none", "could_not_tell")
HOLDS, LOST, UNTOLD_LOSS = loss(-0.01, 0.0, 0.01), loss(0.02, 0.05, 0.08, 1e-6), loss(-0.01, 0.03, 0.07)
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
        "target": "late",
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


def test_drift_has_one_signal_for_the_data_set_and_one_a_column_worst_first():
    report = judge(drift=drift("none", "drifted", "could_not_tell", "drifted"))
    drifts = [s for s in report.signals if s.rule == "drift"]
    assert [(s.subject, s.outcome) for s in drifts] == [
        (DATA_SET, "bad"),
        ("x1", "bad"),
        ("x3", "bad"),
        ("x2", "could_not_tell"),
        ("x0", "ok"),
    ]
    whole = drifts[0]
    assert (whole.value, whole.low, whole.high, whole.threshold, whole.n) == (pytest.approx(2 / 3), 0.5, 0.75, 0.5, 100)


def test_wide_data_set_shows_the_drifted_columns_and_counts_all():
    report = judge(drift=drift(*["none"] * 500, "drifted"))
    drifts = [s for s in report.signals if s.rule == "drift"]
    assert len(drifts) == 1 + MOST_COLUMNS
    assert (drifts[1].subject, drifts[1].outcome) == ("x500", "bad")
    assert "1 of 501 columns drifted" in drifts[0].statement


def weighed(*columns: tuple[str, float], overall: float) -> DriftReply:
    features = tuple(
        FeatureDrift(feature=f"x{i}", drift_type="data_drift", severity=severity, weight=weight)
        for i, (severity, weight) in enumerate(columns)
    )
    report = DriftReport(overall_drift_score=overall, feature_drift=features)
    return DriftReply(drift_report=report, alerts=(), recommendations=())


def test_one_column_that_the_model_rests_on_is_enough_and_many_that_it_ignores_are_not():
    heavy = signal(judge(drift=weighed(("drifted", 0.8), ("none", 0.1), ("none", 0.1), overall=0.8)), "drift", DATA_SET)
    light = signal(
        judge(drift=weighed(("none", 0.8), ("drifted", 0.1), ("drifted", 0.1), overall=0.2)), "drift", DATA_SET
    )
    assert (heavy.outcome, heavy.value, heavy.low) == ("bad", 0.8, pytest.approx(0.8))
    assert (light.outcome, light.high) == ("ok", pytest.approx(0.2))
    assert "by importance" in heavy.statement


def test_undecided_column_that_the_model_rests_on_leaves_the_data_set_undecided():
    reply = weighed(("could_not_tell", 0.8), ("none", 0.1), ("none", 0.1), overall=0.0)
    assert signal(judge(drift=reply), "drift", DATA_SET).outcome == "could_not_tell"


def test_a_column_carries_what_the_detective_found_out():
    since = datetime(2026, 5, 20, tzinfo=UTC)
    found = FeatureDrift(
        feature="price",
        drift_score=0.4,
        drift_type="data_drift",
        severity="drifted",
        p_value=1e-7,
        method="jensen-shannon",
        reference_rows=900,
        current_rows=300,
        weight=0.25,
        since=since,
    )
    reply = DriftReply(
        drift_report=DriftReport(overall_drift_score=1.0, feature_drift=(found,)), alerts=(), recommendations=()
    )
    told = signal(judge(drift=reply), "drift", "price")
    assert (told.n, told.n_reference, told.p_value, told.method) == (300, 900, 1e-7, "jensen-shannon")
    assert (told.weight, told.since, told.kind) == (0.25, since, "data_drift")
    assert "since 2026-05-20" in told.statement


# --- predictions, labels, estimates


def sides(prediction: str, label: str = "none") -> DriftReply:
    def side(name: str, severity: str) -> FeatureDrift:
        return FeatureDrift(feature=name, drift_score=0.3, drift_type="data_drift", severity=severity)

    report = NO_DRIFT.drift_report.model_copy(
        update={"prediction_drift": side("prediction", prediction), "label_drift": side("late", label)}
    )
    return NO_DRIFT.model_copy(update={"drift_report": report})


def estimated(outcome: Any, reliable: bool | None = True) -> Signal:
    return Signal(
        rule="estimated_performance", subject="accuracy", outcome=outcome, reliable=reliable, statement="Estimated."
    )


def labels(outcome: Any) -> Signal:
    return Signal(rule="label_delay", subject="labels", outcome=outcome, statement="Labels stopped.")


ACTING = ALL_RULES.model_copy(update={"performance": PerformanceTrigger(max_loss=0.02, act_on_estimate=True)})
COMING = {"label_delay": labels("ok")}
SHOWN = [
    Case("predictions moved, labels coming", {"drift": sides("drifted")} | COMING, "fresh", "wait_for_labels"),
    Case("labels moved", {"drift": sides("none", "drifted")} | COMING, "fresh", "keep_watching"),
    Case("predictions moved, labels unknown", {"drift": sides("drifted")}, "fresh", "keep_watching"),
    Case("estimate fell, labels coming", {"estimated": estimated("bad")} | COMING, "fresh", "wait_for_labels"),
    Case("estimate good", {"estimated": estimated("ok")} | COMING, "fresh", "keep_watching"),
    Case("estimate fell and acts", {"estimated": estimated("bad")} | COMING, "stale", "retrain", ACTING),
    Case(
        "unreliable estimate never acts",
        {"estimated": estimated("bad", reliable=False)},
        "fresh",
        "keep_watching",
        ACTING,
    ),
    Case(
        "estimate of unknown worth never acts", {"estimated": estimated("bad", None)}, "fresh", "keep_watching", ACTING
    ),
    Case(
        "a good estimate is no good news",
        {"estimated": estimated("ok"), "performance": NO_LABELS} | COMING,
        "could_not_measure",
        "wait_for_labels",
        ACTING,
    ),
    Case("labels stopped", {"label_delay": labels("bad")}, "fresh", "fix_data"),
    Case(
        "labels stopped and none there",
        {"label_delay": labels("bad"), "performance": NO_LABELS},
        "could_not_measure",
        "fix_data",
    ),
    Case("lost and estimate fell", {"estimated": estimated("bad"), "performance": LOST} | COMING, "stale", "retrain"),
]


@pytest.mark.parametrize("case", SHOWN, ids=lambda c: c.id)
def test_what_is_shown_only_recommends_and_never_makes_stale_by_itself(case: Case):
    report = judge(case.rules, **case.changes)
    assert (report.verdict, report.recommendation) == (case.verdict, case.recommendation), report.statement


def test_predictions_and_labels_that_were_not_compared_say_why():
    report = judge(sides_failure="no baseline rows are on record")
    for rule in ("prediction_drift", "label_drift"):
        assert signal(report, rule).outcome == "could_not_measure"
        assert "no baseline rows are on record" in signal(report, rule).statement


def test_predictions_are_not_mentioned_where_the_profile_does_not_want_them():
    rules = ALL_RULES.model_copy(update={"drift": DriftTrigger(predictions=False)})
    assert not [s for s in judge(rules).signals if s.rule in ("prediction_drift", "label_drift")]


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


def test_statements_carry_the_reason_of_what_failed():
    report = judge(drift=None, drift_failure="the file is gone", performance=None, performance_failure="it crashed")
    assert "the file is gone" in report.statement
    assert "it crashed" in report.statement
