"""Numbered facts: stable, unique, bounded, and nothing bad folded away."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tools.contracts.comparison import ComparisonResult, Contamination, Criterion, MetricComparison
from tools.contracts.evidence import Check, Signal, StalenessReport, ValidationReport
from tools.evidence import FOLD_ABOVE, collect, digest

STALE = StalenessReport(
    verdict="stale",
    signals=(
        Signal(rule="age", outcome="bad", value=40.0, threshold=30.0, unit="days", statement="40 days old."),
        Signal(rule="drift", subject="price", outcome="ok", value=0.1, n=500, statement="No drift."),
    ),
    recommendation="retrain",
    statement="Stale by age.",
)


def checks(passing: int, *results: Any) -> ValidationReport:
    good = [Check(name="nulls", subject=f"c{i}", result="pass", statement="No nulls.") for i in range(passing)]
    others = [Check(name="range", subject=f"d{i}", result=r, statement="Out.") for i, r in enumerate(results)]
    return ValidationReport(verdict="fail", checks=(*good, *others), statement="Failed.")


def a_metric(verdict: Any, role: Any = "primary", value: str | None = None) -> MetricComparison:
    where: dict[str, Any] = {} if value is None else {"slice_column": "region", "slice_value": value}
    criterion = Criterion(metric="f1", role=role, direction="higher", min_improvement=0.01, margin=0.02, **where)
    return MetricComparison(
        criterion=criterion,
        verdict=verdict,
        change=0.03,
        low=0.01,
        high=0.05,
        n=900,
        statement="f1 changed.",
    )


def a_comparison(*metrics: MetricComparison, **changes) -> ComparisonResult:
    contamination = Contamination(candidate="overlaps", champion="could_not_check", candidate_rows=1200)
    return ComparisonResult(
        metrics=metrics, holdout_rows=900, holdout_digest="d", contamination=contamination, **changes
    )


def test_items_are_numbered_in_order_and_carry_their_numbers():
    items = collect(staleness=STALE, validation=checks(1), comparison=a_comparison(a_metric("improved")))
    assert [(item.id, item.key, item.outcome) for item in items] == [
        ("E1", "staleness/verdict", "stale"),
        ("E2", "staleness/age/model", "bad"),
        ("E3", "staleness/drift/price", "ok"),
        ("E4", "validation/verdict", "fail"),
        ("E5", "validation/nulls/c0", "pass"),
        ("E6", "comparison/f1", "improved"),
        ("E7", "comparison/contamination", "could_not_check"),
    ]
    assert (items[1].value, items[1].threshold, items[1].unit) == (40.0, 30.0, "days")
    assert (items[5].value, items[5].low, items[5].high, items[5].threshold, items[5].n) == (
        0.03,
        0.01,
        0.05,
        0.01,
        900,
    )
    assert "1,200 rows of the candidate's training" in items[6].statement


def test_nothing_measured_is_no_evidence():
    assert collect() == ()


def test_same_reports_give_the_same_items():
    assert collect(staleness=STALE) == collect(staleness=STALE)


def test_many_passing_checks_are_one_item_and_every_other_stays():
    report = checks(FOLD_ABOVE + 1, "fail", "could_not_check")
    keys = {item.key: item for item in collect(validation=report)}
    assert set(keys) == {"validation/verdict", "validation/range/d0", "validation/range/d1", "validation/passed"}
    assert keys["validation/passed"].value == FOLD_ABOVE + 1
    assert len(collect(validation=checks(FOLD_ABOVE, "fail"))) == FOLD_ABOVE + 2


def test_holding_slices_are_folded_and_harmed_ones_stay():
    slices = [a_metric("non_inferior", "slice", str(i)) for i in range(20)]
    result = a_comparison(a_metric("improved"), a_metric("regressed", "slice", "x"), *slices)
    keys = [item.key for item in collect(comparison=result)]
    assert keys == ["comparison/f1", "comparison/f1/region=x", "comparison/slices", "comparison/contamination"]


def test_doubts_and_failures_are_evidence():
    result = a_comparison(
        a_metric("no_data"), doubts=("scoring_failed",), doubt_statements=("No scores.",), failures=("exit 1", "exit 2")
    )
    found = {item.key: item.statement for item in collect(comparison=result)}
    assert found["comparison/doubt/scoring_failed"] == "No scores."
    assert found["comparison/failure"] == "exit 1"
    assert found["comparison/failure#2"] == "exit 2"


def test_keys_and_ids_are_unique():
    twice = STALE.model_copy(update={"signals": STALE.signals * 2})
    items = collect(staleness=twice)
    assert len({item.key for item in items}) == len({item.id for item in items}) == len(items)


def test_digest_knows_content_not_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest(STALE) == digest(STALE.model_copy())
    assert len(digest({})) == 64


def test_digest_refuses_what_json_does_not_have():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})


def test_item_of_a_signal_says_what_it_was_compared_with_and_since_when():
    since = datetime(2026, 5, 20, tzinfo=UTC)
    moved = Signal(
        rule="prediction_drift",
        subject="predictions",
        outcome="bad",
        value=0.3,
        n=900,
        n_reference=20_000,
        since=since,
        statement="Predictions drifted.",
    )
    (_, item) = collect(staleness=STALE.model_copy(update={"signals": (moved,)}))
    assert (item.key, item.outcome, item.n) == ("staleness/prediction_drift/predictions", "bad", 900)
    assert item.statement == "Predictions drifted (compared with 20,000 rows; since 2026-05-20)."


def test_what_a_sentence_already_says_is_not_said_twice():
    said = Signal(rule="drift", outcome="bad", n_reference=500, statement="price drifted against 500 rows.")
    (_, item) = collect(staleness=STALE.model_copy(update={"signals": (said,)}))
    assert item.statement == said.statement
