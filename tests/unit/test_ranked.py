"""What the order of a group's rows is worth: against scikit-learn, against every order of ties, and by hand."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from tools.errors import BadInput
from tools.metrics import METRICS, Sample, find_metric, measure, units


def sample(y, score, group) -> Sample:
    return Sample(np.asarray(y, dtype=float), np.asarray(score, dtype=float), query=np.asarray(group))


def drawn(seed: int, *, ties: bool, grades: int = 3) -> Sample:
    """Groups of 1 to 11 rows in shuffled order; some have nothing relevant."""
    g = np.random.default_rng(seed)
    group = g.permutation(np.repeat(np.arange(25), g.integers(1, 12, 25)))
    n = len(group)
    return sample(g.integers(0, grades, n), g.integers(0, 4, n) if ties else g.normal(size=n), group)


def each(given: Sample, value, counts) -> list[float]:
    """`value(y, score)` of the groups in which `counts(y)` holds, one group after the other."""
    assert given.query is not None
    rows = [np.flatnonzero(given.query == code) for code in np.unique(given.query)]
    return [value(given.y[r], given.prediction[r]) for r in rows if counts(given.y[r])]


def differs(y) -> bool:
    return len(set(y.tolist())) > 1


def mixed(y) -> bool:
    return bool(0 < (y > 0).sum() < len(y))


@pytest.mark.parametrize("cut", [None, 1, 3, 10])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_ndcg_is_scikit_learns_mean_over_groups_whose_rows_differ(cut, ties, seed):
    given, metric = drawn(seed, ties=ties), METRICS["ndcg" if cut is None else f"ndcg@{cut}"]
    theirs = each(given, lambda y, s: ndcg_score([y], [s], k=cut), differs)
    assert measure(metric, given) == pytest.approx(np.mean(theirs), abs=1e-12)
    assert units(metric, given) == len(theirs) < 25


@pytest.mark.parametrize("seed", range(5))
def test_mean_average_precision_is_scikit_learns_where_no_scores_tie(seed):
    given = drawn(seed, ties=False)
    theirs = each(given, lambda y, s: average_precision_score(y > 0, s), mixed)
    assert measure(METRICS["mean_average_precision"], given) == pytest.approx(np.mean(theirs), abs=1e-12)


def average_precision_at(hits, cut):
    places = [place for place, hit in enumerate(hits, 1) if hit and place <= cut]
    found = sum(sum(hits[:place]) / place for place in places)
    return found / min(sum(hits), cut)


def reciprocal_rank_at(hits, cut):
    return next((1 / place for place, hit in enumerate(hits, 1) if hit and place <= cut), 0.0)


BY_HAND = {
    "mean_average_precision": average_precision_at,
    "mean_reciprocal_rank": reciprocal_rank_at,
    "precision": lambda hits, cut: sum(hits[:cut]) / cut,
    "recall": lambda hits, cut: sum(hits[:cut]) / sum(hits),
}


@pytest.mark.parametrize(
    ("name", "cut"), [(name, cut) for name in BY_HAND for cut in (1, 2, 4, 99) if cut < 6 or name.startswith("mean")]
)
def test_ties_are_worth_the_mean_over_all_orders_of_the_tied_rows(name, cut):
    g = np.random.default_rng(cut)
    group = np.repeat(np.arange(12), 6)
    y, score = g.integers(0, 2, len(group)), g.integers(0, 3, len(group))
    values = []
    for code in range(12):
        hits, told = y[group == code], score[group == code]
        if 0 < hits.sum() < 6:
            orders = [o for o in permutations(range(6)) if all(told[a] >= told[b] for a, b in pairwise(o))]
            values.append(np.mean([BY_HAND[name]([int(hits[i]) for i in order], cut) for order in orders]))
    metric = METRICS[name if cut == 99 else f"{name}@{cut}"]
    assert measure(metric, sample(y, score, group)) == pytest.approx(np.mean(values), abs=1e-12)


def test_the_order_of_rows_and_the_names_of_groups_do_not_matter():
    given = drawn(1, ties=True)
    assert given.query is not None
    turned = np.random.default_rng(0).permutation(len(given.y))
    other = sample(given.y[turned], given.prediction[turned], 1000 - given.query[turned])
    for name in ("ndcg", "ndcg@3", "mean_average_precision", "mean_reciprocal_rank@2", "precision@2", "recall@2"):
        assert measure(METRICS[name], other) == pytest.approx(measure(METRICS[name], given), abs=1e-12)


def test_scores_may_have_any_scale():
    given = drawn(2, ties=True)
    scaled = sample(given.y, np.exp(given.prediction) * 1e6 - 3, given.query)
    assert measure(METRICS["ndcg"], scaled) == measure(METRICS["ndcg"], given)


@pytest.mark.parametrize(
    ("y", "group"),
    [
        pytest.param([1, 2, 0], [0, 1, 2], id="all groups of one row"),
        pytest.param([0, 0, 0, 0], [0, 0, 1, 1], id="no relevant row"),
        pytest.param([2, 2, 1, 1], [0, 0, 1, 1], id="rows of one relevance"),
    ],
)
@pytest.mark.parametrize("name", ["ndcg", "mean_average_precision", "mean_reciprocal_rank", "precision@1", "recall@1"])
def test_groups_in_which_every_order_is_worth_the_same_do_not_count(name, y, group):
    given = sample(y, range(len(y)), group)
    assert units(METRICS[name], given) == 0
    assert np.isnan(measure(METRICS[name], given))


def test_a_place_behind_every_row_of_a_group_tells_nothing_of_it():
    given = sample([1, 0, 1, 0, 0], [5, 4, 3, 2, 1], [0, 0, 1, 1, 1])
    assert units(METRICS["precision@2"], given) == 1  # the group of three
    assert units(METRICS["ndcg@2"], given) == 2


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("ndcg_score", "ndcg"),
        ("map", "mean_average_precision"),
        ("mrr@10", "mean_reciprocal_rank@10"),
        ("ndcg_score@5.0", "ndcg@5"),
        ("precision@1", "precision@1"),
        ("recall@20", "recall@20"),
    ],
)
def test_names_of_ranking_metrics(name, canonical):
    found = find_metric(name, "ranking")
    assert (found.name, found.direction, found.task) == (canonical, "higher", "ranking")


def test_a_whole_number_is_a_place_and_a_share_an_alert_budget():
    assert find_metric("precision@1").task == "ranking"
    assert find_metric("precision@1%").name == find_metric("precision@0.01", "classification").name == "precision@0.01"


@pytest.mark.parametrize(
    "name", ["ndcg@0", "ndcg@-1", "ndcg@2.5", "ndcg@0.1", "neg_ndcg@3", "ndcg@", "accuracy@3", "map@ten"]
)
def test_a_place_that_is_none_is_refused_with_what_would_be_one(name):
    with pytest.raises(BadInput) as refused:
        find_metric(name, "ranking")
    assert "ndcg@10" in (refused.value.remedy or "")


def test_metrics_of_another_task_are_refused_both_ways():
    with pytest.raises(BadInput, match="is for ranking, the model is for classification"):
        find_metric("precision@10", "classification")
    with pytest.raises(BadInput, match="is for classification, the model is for ranking"):
        find_metric("precision@0.01", "ranking")
