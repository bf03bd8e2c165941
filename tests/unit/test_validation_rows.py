"""Are leaks, contamination, late knowledge, skew and exact counts told, and what is sound left alone?"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tools.adapters import validation_rows
from tools.contamination import content_check, duplicate_check, overlap_check
from tools.contracts.evidence import Check
from tools.contracts.profile import DataSpec, ValidationSpec
from tools.contracts.profiling import ColumnCounts, Overlap, RuleCount, SchemaRule, WindowSummary
from tools.contracts.training import ColumnSpec, ModelSignature
from tools.label_noise import estimate_noise, noise_check
from tools.leakage import late_feature_checks, leak_checks, strengths
from tools.sampled_rows import SampledRows
from tools.skew import skew_checks
from tools.time_leakage import fold_checks, future_check, later_than_event
from tools.validation_counts import count_checks
from tools.validation_types import type_checks

SPEC = ValidationSpec()
NOW = datetime(2026, 7, 1, tzinfo=UTC)
DATA = DataSpec(source="rows", event_time="at", target="y", features=("price", "demand", "leak"), key=("at",))


def told(checks: Any, subject: str) -> tuple[str, str]:
    (check,) = [check for check in checks if check.subject == subject]
    return check.result, check.severity


# Target leakage


def market(leak: Any = None, rows: int = 2000, seed: int = 0) -> SampledRows:
    """A price that walks decides the label; the demand walks along with it."""
    random = np.random.default_rng(seed)
    price = np.zeros(rows)
    for number in range(1, rows):
        price[number] = 0.95 * price[number - 1] + random.normal() * 0.3
    demand = price + random.normal(size=rows) * 0.2
    y = (price + random.normal(size=rows) * 0.3 > 0).astype(float)
    features = {"price": price, "demand": demand}
    features["leak"] = random.normal(size=rows) if leak is None else leak(y, random)
    return SampledRows(features, frozenset(), y, "classification")


def copied(y: Any, random: np.random.Generator) -> Any:
    return y * 1.2 + random.normal(size=len(y))


def leaks(now: SampledRows, then: SampledRows | None, spec: ValidationSpec = SPEC) -> tuple[Check, ...]:
    found = strengths(now, least=SPEC.leak_auc)
    near = [one.name for one in found.values() if one.own is not None]
    before = None if then is None else strengths(then, least=1.0, also=near)
    return leak_checks(now=found, then=before, rows=len(now), spec=spec)


@pytest.mark.parametrize(
    "then", [market(seed=1), market(copied, seed=1), None], ids=["clean", "in both", "no reference"]
)
def test_noisy_copy_of_the_label_is_accused_and_a_strong_cause_is_not(then: SampledRows | None):
    checks = leaks(market(copied), then)
    assert {check.subject for check in checks if check.result == "fail"} == {"leak"}


def test_strong_causes_alone_are_accused_of_nothing():
    (check,) = leaks(market(), market(seed=1))
    assert (check.result, check.value is not None and check.value > 0.9) == ("pass", True)


def test_copy_that_gives_the_target_away_blocks_unless_it_is_allowed_to():
    given_away = market(lambda y, random: y + random.normal(size=len(y)) * 0.1)
    assert told(leaks(given_away, market(seed=1)), "leak") == ("fail", "block")
    allowed = ValidationSpec(allow_leak=("leak",))
    assert told(leaks(given_away, market(seed=1), allowed), "leak") == ("fail", "warn")


def test_too_few_rows_cannot_tell_a_leak():
    (check,) = leaks(market(copied, rows=200), None)
    assert (check.result, check.severity) == ("could_not_check", "warn")


def test_feature_that_waits_for_the_label_blocks_and_one_that_does_not_passes():
    known, unknown = np.arange(90.0), np.full(40, np.nan)
    waits = late_feature_checks(mature={"x": known}, newest={"x": unknown}, now={}, spec=SPEC)
    steady = late_feature_checks(mature={"x": known}, newest={"x": known[:40]}, now={}, spec=SPEC)
    assert [(check.result, check.severity) for check in (*waits, *steady)] == [("fail", "block"), ("pass", "block")]


# Label noise


def test_wrong_labels_raise_the_estimate_and_right_ones_do_not():
    then, now = market(seed=1), market()
    random = np.random.default_rng(3)
    wrong = random.random(len(now)) < 0.3
    noisy = SampledRows(now.features, now.categorical, np.where(wrong, 1 - now.labels, now.labels), now.task)

    def judged(rows: SampledRows) -> str:
        return noise_check(now=estimate_noise(rows), then=estimate_noise(then), target="y", spec=SPEC).result

    assert (judged(noisy), judged(now)) == ("fail", "pass")


# Contamination


@pytest.mark.parametrize(
    ("overlapping", "expected"),
    [(0, ("pass", "block")), (1, ("fail", "warn")), (50, ("fail", "warn")), (51, ("fail", "block"))],
)
def test_overlap_warns_and_blocks_when_half_of_the_holdout_is_gone(overlapping: int, expected: tuple[str, str]):
    overlap = Overlap(rows=100, trained_on=1000, overlapping=overlapping)
    check = overlap_check(who="champion", fold=1, overlap=overlap, spec=SPEC)
    assert (check.result, check.severity) == expected


def test_unknown_training_rows_are_not_called_clean():
    check = overlap_check(who="champion", fold=1, overlap=None, spec=SPEC, why="they are not on record")
    assert (check.result, check.severity) == ("could_not_check", "warn")


@pytest.mark.parametrize(("repeated", "natural", "result"), [(10, 0, "fail"), (200, 200, "pass"), (0, 0, "pass")])
def test_repeated_content_counts_beyond_its_natural_rate(repeated: int, natural: int, result: str):
    check = content_check(fold=1, rows=1000, repeated=repeated, natural_rows=1000, natural_repeated=natural)
    assert check.result == result


def test_whole_rows_under_other_keys_warn_beyond_what_was_usual():
    many = duplicate_check(rows=100, repeated=20, reference_rows=100, reference_repeated=0, spec=SPEC)
    usual = duplicate_check(rows=100, repeated=20, reference_rows=100, reference_repeated=18, spec=SPEC)
    assert [(one.result, one.severity) for one in (many, usual)] == [("fail", "warn"), ("pass", "warn")]


# Time


def test_training_rows_behind_the_holdouts_start_block():
    bad = list(fold_checks(number=1, rows=10, after_start=2, late_labels=1, start=NOW))
    good = list(fold_checks(number=1, rows=10, after_start=0, late_labels=0, start=NOW))
    assert [one.result for one in (*bad, *good)] == ["fail", "fail", "pass", "pass"]
    assert {one.severity for one in bad} == {"block"}


def test_rows_of_the_future_warn():
    assert [future_check(rows=rows, now=NOW).result for rows in (3, 0)] == ["fail", "pass"]
    assert future_check(rows=3, now=NOW).severity == "warn"


def test_declared_feature_known_after_the_event_blocks_and_a_later_time_warns():
    def count(column: str, failing: int) -> RuleCount:
        return RuleCount(rule=SchemaRule(column=column, check="not_after"), rows=10, failing=failing)

    counts = {"x_at": count("x_at", 4), "due": count("due", 10), "z_at": count("z_at", 0)}
    checks = list(later_than_event(counts, declared={"x": "x_at", "z": "z_at"}))
    assert [told(checks, subject) for subject in ("x", "due", "z")] == [
        ("fail", "block"),
        ("fail", "warn"),
        ("pass", "block"),
    ]


# Whole windows


def counts_of(**changes: Any) -> dict[str, Check]:
    column = ColumnCounts(name="price", type="float64", nulls=0, infinite=changes.pop("infinite", 0))
    summary = WindowSummary(rows=20_000_000, labelled=19_000_000, newest=NOW - timedelta(days=3), columns=(column,))
    summary = summary.model_copy(update=changes)
    lag = timedelta(days=2)
    checks = count_checks(
        summary=summary, reference=None, data=DATA, spec=SPEC, as_of=NOW, max_lag=lag, sampled=200_000
    )
    return {check.name: check for check in checks}


def test_one_infinity_among_twenty_million_rows_blocks():
    check = counts_of(infinite=1)["infinities"]
    assert (check.result, check.severity, check.counts) == ("fail", "block", {"rows": 20_000_000, "failing": 1})
    assert "infinities" not in counts_of()


def test_counted_and_sampled_rows_are_both_told():
    text = counts_of()["counted"].statement
    assert "20,000,000 rows" in text
    assert "200,000" in text


def test_old_data_and_a_few_undated_rows_warn_and_many_block():
    assert (counts_of()["freshness"].result, counts_of()["freshness"].severity) == ("fail", "warn")
    assert counts_of(newest=NOW)["freshness"].result == "pass"
    few, many = counts_of(undated=5)["undated"], counts_of(undated=10_000_000)["undated"]
    assert [(one.result, one.severity) for one in (few, many)] == [("fail", "warn"), ("fail", "block")]


# Types


@pytest.mark.parametrize(
    ("asked", "there", "severity"),
    [
        ("double", "int64", None),
        ("double", "float32", None),
        ("long", "int32", None),
        ("string", "string", None),
        ("tensor", "float64", None),
        ("long", "float64", "warn"),
        ("float", "float64", "warn"),
        ("double", "string", "block"),
        ("string", "int64", "block"),
        ("datetime", "int64", "block"),
    ],
)
def test_types_may_widen_narrowing_warns_and_another_kind_blocks(asked: str, there: str, severity: str | None):
    signature = ModelSignature(inputs=(ColumnSpec(name="x", type=asked),))
    assert [check.severity for check in type_checks(signature, {"x": there})] == ([severity] if severity else [])


# Skew


def pair(tmp_path: Path, changed: int, **spec: Any) -> list[Check]:
    n = 1000
    data = pd.DataFrame(
        {"__row_hash": [f"{i:032x}" for i in range(n)], "at": pd.date_range("2026", periods=n, freq="h")}
    )
    data["price"], data["demand"] = np.linspace(1, 2, n), np.where(np.arange(n) % 3, 1.0, np.nan)
    log = data.drop(columns="demand").assign(price=data["price"] * (1 + 1e-9)).iloc[:800]
    log.loc[: changed - 1, "price"] = 7.0
    log.to_parquet(tmp_path / "log")
    data.to_parquet(tmp_path / "data")
    features = DATA.model_copy(update={"features": ("price", "demand"), **spec})
    counts = validation_rows.skew(tmp_path / "log", tmp_path / "data", features, sampled=False)
    return list(skew_checks(counts, SPEC))


@pytest.mark.parametrize(
    ("changed", "expected"), [(0, ("pass", "block")), (16, ("fail", "warn")), (80, ("fail", "block"))]
)
def test_features_served_otherwise_warn_and_block_by_their_share(
    changed: int, expected: tuple[str, str], tmp_path: Path
):
    checks = pair(tmp_path, changed)
    assert told(checks, "price") == expected
    assert told(checks, "features not logged") == ("could_not_check", "warn")


def test_skew_shows_values_of_public_columns_only(tmp_path: Path):
    hidden, shown = (
        next(one for one in pair(tmp_path, 80, public=public) if one.subject == "price") for public in ((), ("price",))
    )
    assert set(hidden.examples[0]) == {"row_hash", "event_time"}
    assert shown.examples[0]["served"] == "7.0"
