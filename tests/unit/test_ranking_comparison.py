"""Rankings are compared group by group: the unit of every count, of every block and of every slice is the group."""

from typing import Any

import numpy as np
import pytest

from tools import comparison
from tools.contracts.comparison import ComparisonResult, Contamination, Criteria
from tools.contracts.profile import MetricsSpec, PrimaryMetric
from tools.criteria import resolve_criteria
from tools.errors import BadInput
from tools.metrics import METRICS
from tools.paired_rows import PairedRows, query_codes
from tools.resampling import paired_change
from tools.scored_rows import ScoredRows
from tools.value_interval import value_interval

CLEAN = Contamination(candidate="clean", champion="clean")


def queries(count: int, seed: int = 0, *, rows: int = 8, better: float = 0.0, noise: float = 1.0) -> dict[str, Any]:
    """Queries of `rows` items; relevance 0 to 2 by a hidden worth that both models see with noise, the candidate with less."""
    g = np.random.default_rng(seed)
    worth = g.normal(size=count * rows)
    return {
        "y": np.digitize(worth, [0.8, 1.6]).astype(float),
        "group": np.repeat([f"q{i}" for i in range(count)], rows),
        "baseline": {"prediction": worth + g.normal(size=worth.size) * noise},
        "candidate": {"prediction": worth + g.normal(size=worth.size) * (noise - better)},
    }


def criteria(primary: str = "ndcg", **spec: Any) -> Criteria:
    made = MetricsSpec.model_validate({"primary": PrimaryMetric(name=primary), **spec})
    return resolve_criteria(metrics=made, request=None, task="ranking", positive_label=None)


def paired(given: dict[str, Any], **changes: Any) -> PairedRows:
    return PairedRows.from_columns(task="ranking", **(given | changes))


def judged(rows: PairedRows, wanted: Criteria) -> ComparisonResult:
    return comparison.compare(rows=rows, criteria=wanted, contamination=CLEAN, holdout_digest="d")


def test_a_better_order_is_an_improvement_and_counts_groups():
    result = judged(paired(queries(400, better=0.5)), criteria())
    primary = result.primary
    assert primary.verdict == "improved"
    assert result.holdout_rows == 3200
    assert primary.n + primary.left_out == 400
    assert primary.left_out > 0
    assert f"on {primary.n} groups ({primary.left_out} more are left out: every order" in primary.statement


def test_a_worse_order_is_a_regression_and_the_same_order_neither():
    given = queries(400, better=0.5)
    swapped = paired(given, baseline=given["candidate"], candidate=given["baseline"])
    assert judged(swapped, criteria()).primary.verdict == "regressed"
    scaled = {"prediction": np.exp(given["baseline"]["prediction"])}
    same = judged(paired(given, candidate=scaled), criteria()).primary
    assert (same.verdict, same.change) == ("non_inferior", 0.0)


def test_what_cannot_be_told_says_how_many_groups_would():
    primary = judged(paired(queries(120, better=0.05)), criteria()).primary
    assert primary.verdict == "inconclusive"
    assert primary.rows_needed is not None
    assert primary.rows_needed > primary.n
    assert f"about {primary.rows_needed:,} groups would tell" in primary.statement


def test_few_groups_of_many_rows_are_no_data():
    primary = judged(paired(queries(20, rows=100, better=0.5)), criteria()).primary
    assert primary.verdict == "no_data"
    assert primary.n == 20
    assert "20 groups, at least 50 are needed" in primary.statement


def test_rows_of_a_group_need_not_stand_together():
    given = queries(200, better=0.3)
    order = np.argsort(np.tile(np.arange(8), 200), kind="stable")  # the first row of every group, then the second, …
    mixed = {
        "y": given["y"][order],
        "group": given["group"][order],
        **{side: {"prediction": given[side]["prediction"][order]} for side in ("baseline", "candidate")},
    }
    assert judged(paired(mixed), criteria()).primary == judged(paired(given), criteria()).primary


def test_groups_are_numbered_as_they_come_whatever_their_names():
    assert query_codes(["b", "a", None, "b", "c", float("nan")]).tolist() == [0, 1, -1, 0, 2, -1]
    assert query_codes(np.array([7, 3, 7, 9])).tolist() == [0, 1, 0, 2]
    assert query_codes([1, 1.0, "1", True]).tolist() == [0, 0, 0, 0]


def test_a_slice_of_queries_is_made_of_whole_groups():
    given = queries(600, seed=3)
    harmed = np.repeat(np.arange(600) % 3 == 0, 8)
    worse = given["baseline"]["prediction"] + np.where(harmed, np.random.default_rng(9).normal(size=harmed.size) * 8, 0)
    rows = paired(given, candidate={"prediction": worse}, slices={"market": np.where(harmed, "north", "south")})
    found = {
        m.criterion.slice_value: m
        for m in judged(rows, criteria(slices=["market"])).metrics
        if m.criterion.role == "slice"
    }
    assert found["north"].verdict == "regressed"
    assert found["north"].n + found["north"].left_out == 200
    assert (found["south"].verdict, found["south"].change) == ("non_inferior", 0.0)


def test_a_slice_of_items_is_judged_by_the_order_among_them():
    given = queries(300, seed=4)
    brand = np.tile(["own"] * 4 + ["other"] * 4, 300)
    # Within each half the order is the champion's; only the halves were moved against each other.
    moved = given["baseline"]["prediction"] + np.where(brand == "own", 5.0, 0.0)
    rows = paired(given, candidate={"prediction": moved}, slices={"brand": brand})
    result = judged(rows, criteria(slices=["brand"]))
    assert result.primary.change is not None
    assert result.primary.change < 0
    assert [m.change for m in result.metrics if m.criterion.role == "slice"] == [0.0, 0.0]


@pytest.mark.parametrize(
    "name", ["ndcg@3", "mean_average_precision", "mean_reciprocal_rank", "precision@2", "recall@2"]
)
def test_every_metric_finds_a_better_order(name):
    assert judged(paired(queries(500, better=0.6)), criteria(name)).primary.verdict == "improved"


def test_a_harmed_group_of_queries_is_found_and_features_of_items_are_not_searched():
    given = queries(1500, seed=5)
    harmed = np.repeat(np.arange(1500) % 5 == 0, 8)
    worse = given["baseline"]["prediction"] + np.where(harmed, np.random.default_rng(9).normal(size=harmed.size) * 8, 0)
    features = {
        "device": np.where(harmed, "phone", "desk"),
        "hour": np.repeat(np.where(np.arange(1500) % 7 == 0, np.nan, np.arange(1500) % 24.0), 8),
        "price": np.random.default_rng(1).normal(size=harmed.size),
    }
    result = judged(paired(given, candidate={"prediction": worse}, features=features), criteria())
    found = [m for m in result.metrics if m.criterion.role == "found_slice"]
    assert [(m.criterion.slice_column, m.criterion.slice_value) for m in found] == [("device", "phone")]
    assert found[0].n <= 300
    assert f"on {found[0].n} groups" in found[0].statement
    assert result.groups_searched is not None
    assert result.groups_searched < 50


def test_two_rankers_agree_where_they_put_the_same_row_first():
    given = queries(300, seed=6)
    same = judged(paired(given, candidate={"prediction": given["baseline"]["prediction"] * 2}), criteria()).agreement
    assert same is not None
    assert (same.differing, same.n) == (0.0, 300)
    other = judged(paired(given), criteria()).agreement
    assert other is not None
    best = [np.argmax(given[side]["prediction"].reshape(300, 8), axis=1) for side in ("baseline", "candidate")]
    assert other.differing == pytest.approx((best[0] != best[1]).mean())
    assert f"in {round(other.differing * 300)} of 300 groups" in other.statement
    # Rows that share the first place are as good as each other.
    tied = paired(given, baseline={"prediction": np.zeros(2400)})
    shared = judged(tied, criteria()).agreement
    assert shared is not None
    assert shared.differing == 0.0


# --- bad input -----------------------------------------------------------------------------------------------------------


def changed(given: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return given | columns


BASE = queries(100)
BAD = {
    "all groups of one row": (changed(BASE, group=np.arange(800)), "0 groups (800 more are left out: every order"),
    "no relevant row": (changed(BASE, y=np.zeros(800)), "0 groups (100 more are left out"),
    "a relevance below 0": (
        changed(BASE, y=np.where(np.arange(800) == 5, -1.0, BASE["y"])),
        "1 of 800 relevances are below 0",
    ),
    "a missing relevance": (
        changed(BASE, y=np.where(np.arange(800) == 5, np.nan, BASE["y"])),
        "1 of 800 labels are missing",
    ),
    "a row of no group": (
        changed(BASE, group=np.where(np.arange(800) == 5, None, BASE["group"])),
        "1 of 800 rows belong to no group",
    ),
    "a score that is no number": (
        changed(BASE, candidate={"prediction": np.where(np.arange(800) == 5, np.inf, 0.0)}),
        "1 of the candidate's 800 predictions are missing or not finite",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_no_data_with_its_reason(case):
    given, reason = BAD[case]
    primary = judged(paired(given), criteria()).primary
    assert primary.verdict == "no_data"
    assert reason in primary.statement


def test_relevances_that_are_words_and_rankings_without_groups_are_refused():
    with pytest.raises(BadInput, match="relevance is not a number everywhere"):
        paired(changed(BASE, y=np.array(["good"] * 800)))
    with pytest.raises(BadInput, match="a ranking's rows need groups"):
        paired(changed(BASE, group=None))
    with pytest.raises(BadInput, match="group has 3 rows, the holdout has 800"):
        paired(changed(BASE, group=["a", "b", "c"]))


# --- intervals -----------------------------------------------------------------------------------------------------------


def test_intervals_cover_the_known_change_of_equal_models():
    """Two models of one quality: the true change is 0. 200 holdouts of 150 queries; 95 % ± 2 standard errors is 0.919 … 0.981."""
    hits = 0
    for seed in range(200):
        rows = paired(queries(150, seed))
        change = paired_change(
            metric=METRICS["ndcg@5"],
            baseline=rows.sample("baseline", None),
            candidate=rows.sample("candidate", None),
            relative=False,
            confidence=0.95,
        )
        hits += change.low <= 0 <= change.high
    assert 0.919 <= hits / 200 <= 0.981


def test_an_interval_rests_on_groups_and_not_on_their_rows():
    """Every row eight times over is not eight times the evidence."""
    few = queries(200, better=0.1)
    many = {
        "y": np.repeat(few["y"], 8),
        "group": np.repeat(few["group"], 8),
        **{side: {"prediction": np.repeat(few[side]["prediction"], 8)} for side in ("baseline", "candidate")},
    }
    one, eight = (judged(paired(given), criteria("mean_average_precision")).primary for given in (few, many))
    assert one.high is not None
    assert one.low is not None
    assert eight.high is not None
    assert eight.low is not None
    assert one.n == eight.n
    assert eight.high - eight.low > 0.5 * (one.high - one.low)


def test_one_models_interval_is_cut_between_groups():
    given = queries(150, seed=2)
    rows = ScoredRows.from_columns(
        task="ranking", y=given["y"], outputs=given["baseline"], time=np.arange(1200.0), group=given["group"]
    )
    assert rows.units.max() == 149
    found = value_interval(rows=rows, criteria=criteria())
    assert found is not None
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(
        comparison.measure_all(rows=paired(given), criteria=criteria(), which="baseline")["ndcg"]
    )
    # A part keeps its groups, and only whole ones are asked for.
    part = rows.at(rows.whole(np.arange(1200) >= 5))
    assert part.n == 1192
