"""Gaps between groups are Fairlearn's, their changes have intervals, and no request waives them."""

from typing import Any

import fairlearn.metrics as fl
import numpy as np
import pytest

from tools.comparison import compare, measure_all
from tools.contracts.comparison import Contamination, Criteria, MetricComparison
from tools.contracts.profile import FairnessSpec, MetricsSpec, PrimaryMetric
from tools.contracts.request import DeploymentCriteria
from tools.criteria import resolve_criteria
from tools.errors import BadInput
from tools.paired_rows import PairedRows

CLEAN = Contamination(candidate="clean", champion="clean")
GAPS = ("demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference")


def wanted(metric: Any = "equalized_odds_difference", margin: float = 0.05, request: Any = None) -> Criteria:
    spec = MetricsSpec(
        primary=PrimaryMetric(name="accuracy"), fairness=(FairnessSpec(column="town", metric=metric, margin=margin),)
    )
    return resolve_criteria(metrics=spec, request=request, task="classification", positive_label=None)


def rows_of(n: int = 4_000, unfair: float = 0.0, seed: int = 0, towns: Any = ("a", "b", "c")) -> PairedRows:
    """The candidate overlooks an extra share `unfair` of town c's positives."""
    g = np.random.default_rng(seed)
    y, town = g.integers(0, 2, n), g.choice(list(towns), n)
    told = [np.where(g.random(n) < 0.8, y, 1 - y) for _ in range(2)]
    told[1] = np.where((town == "c") & (y == 1) & (g.random(n) < unfair), 0, told[1])
    return PairedRows.from_columns(
        task="classification",
        y=y,
        baseline={"prediction": told[0]},
        candidate={"prediction": told[1]},
        slices={"town": town},
    )


def gap(rows: PairedRows, criteria: Criteria) -> MetricComparison:
    result = compare(rows=rows, criteria=criteria, contamination=CLEAN, holdout_digest="d")
    return next(item for item in result.metrics if item.criterion.group is not None)


@pytest.mark.parametrize("name", GAPS)
def test_gaps_are_fairlearns(name: str) -> None:
    rows = rows_of(unfair=0.3)
    found = gap(rows, wanted(name))
    for told, value in ((rows.baseline_prediction, found.baseline), (rows.candidate_prediction, found.candidate)):
        theirs = getattr(fl, name)(rows.y, told, sensitive_features=rows.slices["town"].astype(str))
        assert value == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("name", GAPS)
def test_wider_gap_is_a_regression_and_the_fair_twin_holds(name: str) -> None:
    assert gap(rows_of(unfair=0.4), wanted(name)).verdict == "regressed"
    assert gap(rows_of(20_000), wanted(name)).verdict in ("non_inferior", "improved")


def test_request_cannot_leave_it_out() -> None:
    request = DeploymentCriteria.model_validate({"guardrailMetrics": []})
    assert [one.group for one in wanted(request=request).guardrails] == ["town"]


def test_statement_and_key_name_the_groups_column() -> None:
    found = gap(rows_of(), wanted())
    assert found.key == "comparison/equalized_odds_difference/between town"
    assert found.statement.startswith("equalized_odds_difference between the groups of town: ")
    assert "equalized_odds_difference between the groups of town" in measure_all(rows=rows_of(), criteria=wanted())


def test_groups_too_small_are_left_out_and_a_single_one_is_no_data() -> None:
    small = rows_of(towns=["a"] * 99 + ["c"])
    found = gap(small, wanted())
    assert found.verdict == "no_data"
    assert "1 of its groups have at least 50 rows" in found.statement
    # A group of a few rows, all overlooked, would otherwise be the whole gap.
    three = gap(rows_of(unfair=1.0, towns=["a"] * 60 + ["b"] * 60 + ["c"]), wanted())
    assert three.verdict in ("non_inferior", "inconclusive", "improved")


def test_more_than_two_classes_need_a_positive_one() -> None:
    rows = PairedRows.from_columns(
        task="classification",
        y=np.arange(300) % 3,
        baseline={"prediction": np.arange(300) % 3},
        candidate={"prediction": np.arange(300) % 3},
        slices={"town": np.array(["a", "b"] * 150)},
    )
    assert gap(rows, wanted()).verdict == "no_data"


def test_regression_has_no_such_rates() -> None:
    spec = MetricsSpec(primary=PrimaryMetric(name="mae"), fairness=(FairnessSpec(column="town"),))
    with pytest.raises(BadInput, match="rates of a predicted class"):
        resolve_criteria(metrics=spec, request=None, task="regression", positive_label=None)


def test_interval_of_a_gaps_change_covers_no_change() -> None:
    inside = 0
    for seed in range(100):
        found = gap(rows_of(1_500, seed=seed), wanted())
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0 <= found.high
    assert inside >= 89  # 95 expected; 88 or fewer has a chance of 0.4 %
