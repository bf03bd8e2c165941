"""The search for harmed groups finds what is broken, and names nobody else."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tools.comparison import compare
from tools.contracts.comparison import ComparisonResult, Contamination
from tools.contracts.profile import MetricsSpec, PrimaryMetric, Task
from tools.criteria import resolve_criteria
from tools.metrics import Sample
from tools.paired_rows import PairedRows
from tools.policy import PolicyInput, decide
from tools.rank_gains import gains_within

CLEAN = Contamination(candidate="clean", champion="clean")


def judged(rows: PairedRows, metric: str = "accuracy", **changes: Any) -> ComparisonResult:
    spec = MetricsSpec(primary=PrimaryMetric(name=metric), **changes)
    wanted = resolve_criteria(metrics=spec, request=None, task=rows.task, positive_label=None)
    return compare(rows=rows, criteria=wanted, contamination=CLEAN, holdout_digest="d")


def rows_of(
    n: int = 4_000,
    *,
    broken: str | None = None,
    both: bool = False,
    task: Task = "classification",
    seed: int = 0,
    skill: float = 0.8,
    **more: Any,
) -> PairedRows:
    """Two models as good as each other; the candidate fails where `shop` is `broken` (and, with `both`, `size` is high)."""
    g = np.random.default_rng(seed)
    shop = g.choice(["north", "south", "east", "west", "far"], n)
    size = np.where(g.random(n) < 0.03, np.nan, g.standard_normal(n))
    bad = np.zeros(n, dtype=bool) if broken is None else (shop == broken) & ((size > 0.85) | (not both))
    if task == "regression":
        y = g.standard_normal(n)
        noise = [g.standard_normal(n) for _ in range(2)]
        sides = [{"prediction": y + noise[0]}, {"prediction": y + noise[1] * np.where(bad, 3.0, 0.9)}]
    else:
        y = g.integers(0, 2, n)
        right = [g.random(n) < 0.8, g.random(n) < np.where(bad, 0.5, skill)]
        sides = [{"prediction": np.where(r, y, 1 - y)} for r in right]
    features = {"shop": shop, "size": size, "noise": g.standard_normal(n)}
    return PairedRows.from_columns(task=task, y=y, baseline=sides[0], candidate=sides[1], features=features, **more)


def found(result: ComparisonResult) -> list[tuple[str | None, str | None]]:
    return [
        (item.criterion.slice_column, item.criterion.slice_value)
        for item in result.metrics
        if item.criterion.role == "found_slice"
    ]


def test_broken_value_is_found_and_nothing_else() -> None:
    assert found(judged(rows_of(broken="west"))) == [("shop", "west")]


def test_broken_pair_is_found_where_neither_value_is_broken_alone() -> None:
    assert found(judged(rows_of(20_000, broken="west", both=True))) == [("shop & size", "west & 0.8413 or more")]


@pytest.mark.parametrize("metric", ["mean_absolute_error", "root_mean_squared_error", "r2", "median_absolute_error"])
def test_broken_value_is_found_in_a_regression_too(metric: str) -> None:
    assert ("shop", "east") in found(judged(rows_of(broken="east", task="regression"), metric))


def test_unbroken_candidates_are_not_accused() -> None:
    accused = sum(bool(found(judged(rows_of(1_000, seed=seed)))) for seed in range(100))
    assert accused <= 7  # 2.5 expected at most; 8 or more has a chance of 0.4 %


def test_harmed_group_goes_to_a_person_and_the_twin_without_it_is_deployed() -> None:
    def decision(rows: PairedRows, **changes: Any) -> tuple[str, str]:
        result = judged(rows, **changes)
        told = decide(PolicyInput(training_status="given", comparison=result, has_champion=True, can_split=True))
        return told.decision, told.reasons[0].code

    broken = rows_of(broken="far", seed=1, skill=0.92)
    assert decision(broken) == ("manual_review", "found_slice_regressed")
    assert decision(rows_of(seed=1, skill=0.92)) == ("deploy", "primary_improved")
    assert decision(broken, search_slices=False)[1] != "found_slice_regressed"


def test_values_of_columns_that_are_not_public_are_not_shown() -> None:
    result = judged(rows_of(broken="west", unnamed=("shop",)))
    assert "west" not in result.model_dump_json()
    ((column, value),) = found(result)
    assert column == "shop"
    assert value is not None
    assert "data.public" in value


def test_search_says_how_many_it_counted_and_leaves_small_groups_alone() -> None:
    result = judged(rows_of())
    assert result.groups_searched == 5 + 6 + 5 + 5 * 6 + 5 * 5 + 6 * 5
    assert judged(rows_of(90)).groups_searched == 5 + 6 + 5 + 5 * 6 + 5 * 5 + 6 * 5
    assert found(judged(rows_of(90, broken="west"))) == []


def test_rows_without_features_are_not_searched() -> None:
    bare = PairedRows.from_columns(
        task="regression",
        y=np.zeros(200),
        baseline={"prediction": np.ones(200)},
        candidate={"prediction": np.zeros(200)},
    )
    assert judged(bare, "mean_absolute_error").groups_searched is None


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "recall@0.1"])
def test_ranking_lost_in_a_group_is_found_where_one_class_is_rare(metric: str) -> None:
    """The share of right labels does not move: nearly every row is negative, and is called so."""
    g = np.random.default_rng(3)
    n = 8_000
    y, shop = (g.random(n) < 0.04).astype(int), g.choice(["north", "south", "east", "west"], n)
    scores = [2.5 * y + g.standard_normal(n) for _ in range(2)]
    scores[1] = np.where(shop == "west", g.standard_normal(n), scores[1])
    sides = []
    for score in scores:
        p = 1 / (1 + np.exp(4.5 - score))
        sides.append({"prediction": (p > 0.9).astype(int), "proba:0": 1 - p, "proba:1": p})
    rows = PairedRows.from_columns(
        task="classification", y=y, baseline=sides[0], candidate=sides[1], features={"shop": shop}
    )
    assert found(judged(rows, metric)) == [("shop", "west")]
    assert found(judged(rows, "accuracy")) == []


def test_gain_within_a_group_is_the_change_of_its_own_roc_auc() -> None:
    g = np.random.default_rng(4)
    n = 3_000
    y, codes = (g.random(n) < 0.3).astype(float), g.integers(0, 3, n)
    # Rounded scores: ties count half.
    sides = [Sample(y, y, np.column_stack([1 - s, s]), 2, 1) for s in np.round(0.2 * y + 0.8 * g.random((2, n)), 2)]
    gains = gains_within(sides[0], sides[1], codes, 3)
    for code in range(3):
        mine = codes == code
        before, after = (roc_auc_score(y[mine], side.proba[mine, 1]) for side in sides if side.proba is not None)
        assert gains[mine].mean() == pytest.approx(after - before, abs=1e-12)
    few = np.where(np.arange(n) < 20, 3, codes)
    assert np.isnan(gains_within(sides[0], sides[1], few, 4)[:20]).all()
