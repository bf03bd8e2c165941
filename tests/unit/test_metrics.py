"""Every metric gives scikit-learn's number, and every name says what it is."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tools.errors import BadInput
from tools.metrics import METRICS, Sample, SumMetric, WeightMetric, find_metric, in_our_terms, measure
from tools.paired_rows import PairedRows, coded, label_text

COSTS = np.array([[0.0, 1.0], [5.0, -2.0]])


def _binary(n: int = 400) -> Sample:
    g = np.random.default_rng(3)
    y = (g.random(n) < 0.3).astype(float)
    p = np.round(np.clip(0.35 * y + 0.6 * g.random(n), 0, 1), 2)  # rounded: ties
    return Sample(y=y, prediction=(p > 0.5).astype(float), proba=np.c_[1 - p, p], classes=2, positive=1, costs=COSTS)


def _three(n: int = 400) -> Sample:
    g = np.random.default_rng(4)
    y = g.integers(0, 3, n)
    proba = g.dirichlet([1, 1, 1], n) + 0.5 * np.eye(3)[y]
    proba /= proba.sum(axis=1, keepdims=True)
    return Sample(y=y.astype(float), prediction=proba.argmax(axis=1).astype(float), proba=proba, classes=3)


def _values(n: int = 401) -> Sample:
    g = np.random.default_rng(5)
    y = 100 + g.standard_normal(n)
    return Sample(y=y, prediction=y + 0.3 * g.standard_normal(n))


B, T, V = _binary(), _three(), _values()
assert B.proba is not None
assert T.proba is not None
BP = B.proba[:, 1]


def calibration_error(right: Any, stated: Any) -> float:
    """Ten bins of equally many rows by pandas, weighted by their sizes."""
    table = pd.DataFrame({"right": right, "stated": stated, "bin": pd.qcut(stated, 10, duplicates="drop")})
    bins = table.groupby("bin", observed=True).agg({"right": "mean", "stated": ["mean", "size"]})
    gaps = np.abs(bins["right", "mean"] - bins["stated", "mean"])
    return float((gaps * bins["stated", "size"]).sum() / len(table))


CASES = {
    "accuracy": [(B, sk.accuracy_score(B.y, B.prediction)), (T, sk.accuracy_score(T.y, T.prediction))],
    "balanced_accuracy": [
        (B, sk.balanced_accuracy_score(B.y, B.prediction)),
        (T, sk.balanced_accuracy_score(T.y, T.prediction)),
    ],
    "matthews_corrcoef": [
        (B, sk.matthews_corrcoef(B.y, B.prediction)),
        (T, sk.matthews_corrcoef(T.y, T.prediction)),
    ],
    "precision": [
        (B, sk.precision_score(B.y, B.prediction)),
        (T, sk.precision_score(T.y, T.prediction, average="macro")),
    ],
    "recall": [(B, sk.recall_score(B.y, B.prediction)), (T, sk.recall_score(T.y, T.prediction, average="macro"))],
    "f1": [(B, sk.f1_score(B.y, B.prediction)), (T, sk.f1_score(T.y, T.prediction, average="macro"))],
    "precision_macro": [(B, sk.precision_score(B.y, B.prediction, average="macro"))],
    "recall_macro": [(T, sk.recall_score(T.y, T.prediction, average="macro"))],
    "f1_macro": [(B, sk.f1_score(B.y, B.prediction, average="macro"))],
    "precision_weighted": [(T, sk.precision_score(T.y, T.prediction, average="weighted"))],
    "recall_weighted": [(T, sk.recall_score(T.y, T.prediction, average="weighted"))],
    "f1_weighted": [(T, sk.f1_score(T.y, T.prediction, average="weighted"))],
    "log_loss": [(B, sk.log_loss(B.y, BP)), (T, sk.log_loss(T.y, T.proba))],
    "brier_score_loss": [(B, sk.brier_score_loss(B.y, BP)), (T, sk.brier_score_loss(T.y, T.proba))],
    "mean_cost": [(B, (sk.confusion_matrix(B.y, B.prediction) * COSTS).sum() / 400)],
    "expected_calibration_error": [
        (B, calibration_error(B.y, BP)),
        (T, calibration_error((T.proba.argmax(axis=1) == T.y).astype(float), T.proba.max(axis=1))),
    ],
    "roc_auc": [(B, sk.roc_auc_score(B.y, BP)), (T, sk.roc_auc_score(T.y, T.proba, multi_class="ovr"))],
    "average_precision": [(B, sk.average_precision_score(B.y, BP)), (T, sk.average_precision_score(T.y, T.proba))],
    "mean_absolute_error": [(V, sk.mean_absolute_error(V.y, V.prediction))],
    "mean_squared_error": [(V, sk.mean_squared_error(V.y, V.prediction))],
    "root_mean_squared_error": [(V, sk.root_mean_squared_error(V.y, V.prediction))],
    "mean_absolute_percentage_error": [(V, sk.mean_absolute_percentage_error(V.y, V.prediction))],
    "r2": [(V, sk.r2_score(V.y, V.prediction))],
    "median_absolute_error": [(V, sk.median_absolute_error(V.y, V.prediction))],
}


def test_every_metric_is_checked_against_scikit_learn():
    assert set(CASES) == {
        name for name, metric in METRICS.items() if metric.task != "ranking"
    }  # tests.unit.test_ranked has those


@pytest.mark.parametrize("name", sorted(CASES))
def test_value_is_scikit_learns(name: str):
    for sample, expected in CASES[name]:
        assert measure(METRICS[name], sample) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "sample", "function"),
    [
        ("roc_auc", B, lambda w: sk.roc_auc_score(B.y, BP, sample_weight=w)),
        ("average_precision", B, lambda w: sk.average_precision_score(B.y, BP, sample_weight=w)),
    ],
)
def test_weighted_value_is_scikit_learns(name, sample, function):
    weights = np.random.default_rng(0).integers(0, 4, sample.y.shape[0]).astype(float)
    metric = METRICS[name]
    assert not isinstance(metric, SumMetric)
    assert metric.prepare(sample)(weights) == pytest.approx(function(weights), rel=1e-9)


def test_weighted_median_is_the_median_of_the_repeated_rows():
    weights = np.random.default_rng(0).integers(0, 4, V.y.shape[0])
    repeated = Sample(y=np.repeat(V.y, weights), prediction=np.repeat(V.prediction, weights))
    metric = METRICS["median_absolute_error"]
    assert not isinstance(metric, SumMetric)
    assert metric.prepare(V)(weights.astype(float)) == pytest.approx(measure(metric, repeated))


def test_undefined_value_is_nan_not_zero():
    one_class = Sample(y=np.ones(10), prediction=np.ones(10), proba=np.full((10, 2), 0.5), classes=2, positive=1)
    flat = Sample(y=np.ones(10), prediction=np.ones(10))
    no_positive = Sample(y=np.zeros(10), prediction=np.zeros(10), classes=2, positive=1)
    assert np.isnan(measure(METRICS["roc_auc"], one_class))
    assert np.isnan(measure(METRICS["r2"], flat))
    assert np.isnan(measure(METRICS["recall"], no_positive))


def test_a_model_that_never_finds_the_positive_class_has_precision_zero():
    blind = Sample(y=np.array([1.0, 0.0]), prediction=np.zeros(2), classes=2, positive=1)
    assert measure(METRICS["precision"], blind) == 0.0


def test_unknown_metric_lists_the_known_ones():
    with pytest.raises(BadInput, match="unknown metric 'acuracy'") as caught:
        find_metric("acuracy", "classification")
    assert "accuracy" in str(caught.value.remedy)
    assert "r2" not in str(caught.value.remedy).split(": ")[1].split(", ")


def test_metric_of_another_task_is_refused():
    with pytest.raises(BadInput, match="'r2' is for regression, the model is for classification"):
        find_metric("r2", "classification")


def test_contradicting_direction_is_refused_and_the_own_one_is_not():
    with pytest.raises(BadInput, match="better when lower, not when higher"):
        find_metric("log_loss", "classification", "higher")
    assert find_metric("log_loss", "classification", "lower").name == "log_loss"


def test_scorer_names_map_with_their_sign():
    assert find_metric("neg_log_loss", "classification", "higher").name == "log_loss"
    assert in_our_terms("neg_root_mean_squared_error", -2.0) == ("root_mean_squared_error", 2.0)
    assert in_our_terms("rmse", 2.0) == ("root_mean_squared_error", 2.0)
    with pytest.raises(BadInput):
        find_metric("neg_accuracy")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("f1_score", "f1"), ("mae", "mean_absolute_error"), ("r2_score", "r2"), ("neg_brier_score", "brier_score_loss")],
)
def test_aliases(name: str, canonical: str):
    assert find_metric(name).name == canonical


def test_labels_of_different_types_are_one_label():
    assert [label_text(v) for v in (1, 1.0, True, "1", "True", np.int64(1), np.float32(1))] == ["1"] * 7
    assert [label_text(v) for v in (None, float("nan"), "late", 2.5)] == ["", "", "late", "2.5"]


def test_rows_meet_whatever_the_label_type():
    rows = PairedRows.from_columns(
        task="classification",
        y=np.array([1, 0, 1]),
        baseline={"prediction": [True, False, True]},
        candidate={"prediction": ["1.0", "0.0", None], "proba:True": [0.9, 0.1, 0.8]},
        slices={"airline": ["AA", None, "UA"]},
    )
    assert rows.classes == ("0", "1")
    assert rows.baseline_prediction.tolist() == [1, 0, 1]
    assert np.isnan(rows.candidate_prediction[2])
    assert rows.candidate_proba is not None
    assert rows.candidate_proba[:, 1].tolist() == [0.9, 0.1, 0.8]
    assert rows.slices["airline"].tolist() == ["AA", "(missing)", "UA"]


def test_predictions_of_another_length_are_refused():
    with pytest.raises(BadInput, match="candidate_prediction has 2 rows, the holdout has 3"):
        PairedRows.from_columns(
            task="regression", y=[1, 2, 3], baseline={"prediction": [1, 2, 3]}, candidate={"prediction": [1, 2]}
        )


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(BadInput, match="candidate's prediction is not a number"):
        PairedRows.from_columns(
            task="regression", y=[1, 2], baseline={"prediction": [1, 2]}, candidate={"prediction": ["a", 2]}
        )


def test_influence_on_roc_auc_is_delongs():
    g = np.random.default_rng(4)
    y = g.random(400) < 0.3
    score = np.round(g.normal(size=400) + y, 1)  # with ties
    sample = Sample(y.astype(float), y.astype(float), np.column_stack([1 - score, score]), 2, 1)
    metric = METRICS["roc_auc"]
    assert isinstance(metric, WeightMetric)
    assert metric.influence is not None
    influence = metric.influence(sample)
    pairs = (score[y][:, None] > score[~y][None, :]) + 0.5 * (score[y][:, None] == score[~y][None, :])
    n_pos, n_neg = pairs.shape
    variance = pairs.mean(axis=1).var() / n_pos + pairs.mean(axis=0).var() / n_neg
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    assert (influence**2).sum() / 400**2 == pytest.approx(variance, rel=1e-9)


# --- names with a parameter


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("recall@1%", "recall@0.01"),
        ("precision@0.05", "precision@0.05"),
        ("pinball@0.9", "mean_pinball_loss@0.9"),
        ("neg_mean_pinball_loss@0.90", "mean_pinball_loss@0.9"),
    ],
)
def test_parameter_stands_behind_the_name(name: str, canonical: str):
    assert find_metric(name).name == canonical
    assert METRICS[canonical].name == canonical
    assert name not in METRICS or name == canonical


@pytest.mark.parametrize(
    "name", ["recall@0", "recall@-1", "recall@1.5", "recall@x", "recall@nan", "accuracy@0.1", "recall@"]
)
def test_parameter_that_is_none_is_refused_with_what_may_stand_there(name: str):
    with pytest.raises(BadInput, match="unknown metric") as refused:
        find_metric(name)
    assert "recall@NUMBER" in (refused.value.remedy or "")


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_pinball_is_scikit_learns(quantile: float):
    g = np.random.default_rng(0)
    y, told = g.normal(size=300), g.normal(size=300)
    found = measure(METRICS[f"mean_pinball_loss@{quantile:g}"], Sample(y, told))
    assert found == pytest.approx(sk.mean_pinball_loss(y, told, alpha=quantile), rel=1e-12)


def test_budget_metrics_count_the_positives_among_the_rows_flagged():
    y = np.array([1.0, 0, 1, 0, 0, 1, 0, 0, 0, 0])
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    sample = Sample(y, y, np.column_stack([1 - score, score]), 2, 1)
    assert measure(METRICS["recall@0.3"], sample) == pytest.approx(2 / 3)
    assert measure(METRICS["precision@0.3"], sample) == pytest.approx(2 / 3)
    assert measure(METRICS["precision@0.1"], sample) == 1.0
    tied = Sample(y, y, np.column_stack([np.full(10, 0.5)] * 2), 2, 1)
    assert measure(METRICS["recall@0.3"], tied) == pytest.approx(0.3)
    assert measure(METRICS["precision@0.3"], tied) == pytest.approx(0.3)


@given(seed=st.integers(0, 50), share=st.sampled_from([0.01, 0.1, 0.5]))
def test_budget_metrics_of_weights_are_those_of_repeated_rows(seed: int, share: float):
    g = np.random.default_rng(seed)
    y = (g.random(60) < 0.4).astype(float)
    score = np.round(g.random(60), 1)
    times = g.integers(0, 3, 60)
    proba = np.column_stack([1 - score, score])
    again = Sample(np.repeat(y, times), np.repeat(y, times), np.repeat(proba, times, axis=0), 2, 1)
    for name in (f"recall@{share:g}", f"precision@{share:g}"):
        metric = METRICS[name]
        assert isinstance(metric, WeightMetric)
        weighted = metric.prepare(Sample(y, y, proba, 2, 1))(times.astype(float))
        assert weighted == pytest.approx(measure(metric, again), nan_ok=True)


def test_influence_on_average_precision_is_its_derivative_by_a_rows_weight():
    g = np.random.default_rng(3)
    y = (g.random(60) < 0.4).astype(float)
    score = np.round(g.random(60) * 0.7 + 0.3 * y, 1)  # ties
    sample = Sample(y=y, prediction=y, proba=np.column_stack((1 - score, score)), classes=2, positive=1)
    metric = METRICS["average_precision"]
    assert isinstance(metric, WeightMetric)
    assert metric.influence is not None
    value, step = metric.prepare(sample), 1e-6

    slopes = [(value(1 - step + 60 * step * (np.arange(60) == row)) - value(np.ones(60))) / step for row in range(60)]

    assert metric.influence(sample) == pytest.approx(np.array(slopes), abs=1e-4)


def test_values_with_one_text_are_one_code_and_missing_ones_are_one_too():
    assert coded(np.array([1, "1", True, None, float("nan"), float("nan"), "b"], dtype=object))[0] == ["1", "", "b"]
    assert coded(np.array([1.0, np.nan, np.nan, 0.0]))[1].tolist() == [1, 2, 2, 0]
