"""What any model-evaluator must do, in process or scripted; and that ours agrees with the comparison it checks."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tools.adapters.evaluator_local import LocalModelEvaluator
from tools.adapters.memory_peers import ScriptedModelEvaluator
from tools.comparison import measure_all
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.peers import Envelope, EvaluationConfig, EvaluationReply, EvaluationRequest, SliceSpec
from tools.contracts.profile import MetricsSpec, PrimaryMetric, ProfileGuardrail, Task
from tools.criteria import resolve_criteria
from tools.metrics import METRICS
from tools.paired_rows import PairedRows
from tools.ports import ModelEvaluator

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LABELS = ("accuracy", "f1", "roc_auc", "log_loss")


def binary(n: int = 300) -> pd.DataFrame:
    g = np.random.default_rng(0)
    y = g.integers(0, 2, n)
    p = np.round(1 / (1 + np.exp(-(2 * y - 1 + 1.5 * g.standard_normal(n)))), 3)
    return pd.DataFrame(
        {
            "late": y,
            "prediction": (p > 0.5).astype(int),
            "proba:0": 1 - p,
            "proba:1": p,
            "origin": ["EWR", "LGA", None] * 100,
        }
    )


def three(n: int = 300) -> pd.DataFrame:
    g = np.random.default_rng(1)
    y = g.integers(0, 3, n)
    p = g.dirichlet([1, 1, 1], n) / 2 + np.eye(3)[y] / 2
    names = np.array(["a", "b", "c"])
    table = pd.DataFrame({"late": names[y], "prediction": names[g.dirichlet([1, 1, 1], n).argmax(axis=1)]})
    return table.assign(**{f"proba:{name}": p[:, i] for i, name in enumerate(names)})


def values(n: int = 300) -> pd.DataFrame:
    g = np.random.default_rng(2)
    y = 50 + g.standard_normal(n)
    return pd.DataFrame({"late": y, "prediction": y + g.standard_normal(n)})


def a_request(path: Path | str, task: Task = "classification", **config) -> Envelope[EvaluationRequest]:
    return Envelope[EvaluationRequest](
        schema_version=SCHEMA_VERSION,
        run_id="run-1",
        model_id="flights",
        model_version="7",
        data_window_digest="abc",
        sent_at=NOON,
        sender="retraining-orchestrator",
        payload=EvaluationRequest(
            model_path="models:/flights/7",
            test_data_path=str(path),
            target_column="late",
            prediction_column="prediction",
            task_type=task,
            evaluation_config=EvaluationConfig.model_validate({"metrics": LABELS} | config),
        ),
    )


def local() -> ModelEvaluator:
    return LocalModelEvaluator(lambda: NOON)


def scripted() -> ModelEvaluator:
    return ScriptedModelEvaluator(EvaluationReply(success=True, overall_metrics={"accuracy": 0.9}))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    def to_file(table: pd.DataFrame) -> Path:
        path = tmp_path / "scored.parquet"
        table.to_parquet(path)
        return path

    return to_file


@pytest.mark.parametrize("make", [local, scripted])
def test_reply_stands_in_an_envelope_that_matches_the_request(make, write):
    request = a_request(write(binary()))
    reply = make().evaluate(request)
    assert reply.payload.success
    assert reply.payload.overall_metrics
    assert (reply.schema_version, reply.run_id, reply.model_id) == (SCHEMA_VERSION, "run-1", "flights")
    assert (reply.model_version, reply.data_window_digest) == ("7", "abc")
    assert reply.sender.startswith("model-evaluator")
    assert Envelope[EvaluationReply].model_validate(reply.to_json_dict()) == reply


@pytest.mark.parametrize(
    ("table", "task"), [(binary(), "classification"), (three(), "classification"), (values(), "regression")]
)
def test_every_metric_agrees_with_the_comparisons_own_arithmetic(table: pd.DataFrame, task: Task, write):
    names = [name for name, metric in METRICS.items() if metric.task == task]
    columns = {str(name): table[name].to_numpy() for name in table.columns}
    rows = PairedRows.from_columns(task=task, y=columns["late"], baseline=columns, candidate=columns)
    labels: list = table["late"].tolist()
    prices = {} if task == "regression" else {labels[0]: {labels[1]: 3.0, labels[2]: 2.0}}
    spec = MetricsSpec(
        primary=PrimaryMetric(name=names[0]),
        guardrails=tuple(ProfileGuardrail(name=name) for name in names[1:]),
        costs=prices,
    )
    ours = measure_all(rows=rows, criteria=resolve_criteria(metrics=spec, request=None, task=task, positive_label=None))
    request = a_request(write(table), task, metrics=tuple(names))
    payload = request.payload.model_copy(update={"business_context": {"costs": spec.model_dump()["costs"]}})
    theirs = local().evaluate(request.model_copy(update={"payload": payload})).payload
    assert set(ours) == set(theirs.overall_metrics) == set(names)
    assert theirs.overall_metrics == pytest.approx(ours, rel=1e-9)


def test_slices_are_measured_with_their_counts_and_nulls_are_one(write):
    reply = local().evaluate(a_request(write(binary()), slices=(SliceSpec(column="origin"),))).payload
    assert {value: part["count"] for value, part in reply.slice_metrics["origin"].items()} == {
        "EWR": 100,
        "LGA": 100,
        "(missing)": 100,
    }
    part = binary().query("origin == 'EWR'")
    assert reply.slice_metrics["origin"]["EWR"]["accuracy"] == pytest.approx((part.late == part.prediction).mean())


def test_named_slice_values_without_rows_and_unknown_columns_are_told(write):
    slices = (SliceSpec(column="origin", values=("EWR", "JFK")), SliceSpec(column="region"))
    reply = local().evaluate(a_request(write(binary()), slices=slices)).payload
    assert list(reply.slice_metrics["origin"]) == ["EWR"]
    assert "slice origin=JFK has no rows" in reply.recommendations
    assert "slice column 'region' is not in the test data" in reply.recommendations


def test_confusion_matrix_adds_up(write):
    errors = local().evaluate(a_request(write(binary()))).payload.error_analysis
    assert errors is not None
    assert errors["labels"] == ["0", "1"]
    assert np.sum(errors["confusionMatrix"]) == 300


def test_thresholds_know_their_direction_and_what_was_not_measured(write):
    table = binary().drop(columns=["proba:0", "proba:1"])
    bars = {"accuracy": 0.5, "f1": 0.99, "log_loss": 0.5}
    reply = local().evaluate(a_request(write(table), thresholds=bars)).payload
    assert reply.threshold_analysis is not None
    assert {name: found["met"] for name, found in reply.threshold_analysis.items()} == {
        "accuracy": True,
        "f1": False,
        "log_loss": "could_not_measure",
    }


def test_metric_that_cannot_be_measured_is_left_out_and_named(write):
    table = binary().drop(columns=["proba:0", "proba:1"])
    reply = local().evaluate(a_request(write(table), metrics=("accuracy", "roc_auc", "r2", "nonsense"))).payload
    assert set(reply.overall_metrics) == {"accuracy"}
    assert reply.success
    for name in ("roc_auc", "r2", "nonsense"):
        assert any(note.startswith(f"{name} was not measured") for note in reply.recommendations)


def test_missing_predictions_measure_nothing_and_missing_labels_are_left_out(write):
    gaps = binary()
    gaps["prediction"] = gaps["prediction"].astype("Int64")
    gaps.loc[0, "prediction"] = pd.NA
    reply = local().evaluate(a_request(write(gaps))).payload
    assert (reply.success, reply.overall_metrics) == (False, {})
    assert "1 of 300 predictions are missing: nothing was measured" in reply.recommendations
    unlabelled = binary()
    unlabelled["late"] = unlabelled["late"].astype("Int64")
    unlabelled.loc[0, "late"] = pd.NA
    told = local().evaluate(a_request(write(unlabelled))).payload
    assert told.success
    assert "1 rows without a label were left out" in told.recommendations


def test_one_class_has_no_roc_auc_and_still_an_accuracy(write):
    reply = local().evaluate(a_request(write(binary().query("late == 1")), metrics=("accuracy", "roc_auc"))).payload
    assert set(reply.overall_metrics) == {"accuracy"}
    assert "roc_auc was not measured: the rows hold one class only" in reply.recommendations


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_unreadable_data_are_a_failure_not_a_crash(content: bytes | None, tmp_path: Path):
    path = tmp_path / "scored.parquet"
    if content is not None:
        path.write_bytes(content)
    reply = local().evaluate(a_request(path)).payload
    assert not reply.success
    assert reply.overall_metrics == {}
    assert reply.recommendations[0].startswith("testDataPath cannot be read")


def test_absent_column_is_a_failure_that_names_what_there_is(write):
    reply = local().evaluate(a_request(write(binary().rename(columns={"prediction": "score"})))).payload
    assert not reply.success
    assert "column 'prediction' is not in the test data; there are: late, score" in reply.recommendations[0]


def business(table: pd.DataFrame, write, context: dict, **config) -> EvaluationReply:
    request = a_request(write(table), **config)
    payload = request.payload.model_copy(update={"business_context": context})
    return local().evaluate(request.model_copy(update={"payload": payload})).payload


def test_costs_are_told_under_either_name_and_held_against_todays(write):
    table = binary()
    wrong = [int(((table.late == t) & (table.prediction == 1 - t)).sum()) for t in (0, 1)]
    for context in (
        {"falsePositiveCost": 10, "falseNegativeCost": 100},
        {"costs": {"0": {"1": 10}, "1": {"0": 100}}, "positiveLabel": "1"},
    ):
        reply = business(table, write, {**context, "currentCost": 10_000}, metrics=("mean_cost",))
        total = 10 * wrong[0] + 100 * wrong[1]
        assert reply.business_impact == pytest.approx({"expectedCost": total, "costReduction": 1 - total / 10_000})
        assert reply.overall_metrics["mean_cost"] == pytest.approx(total / len(table))


def test_best_threshold_is_the_cheapest_one(write):
    table = binary()
    dear = business(table, write, {"falsePositiveCost": 1, "falseNegativeCost": 50}).threshold_analysis
    cheap = business(table, write, {"falsePositiveCost": 50, "falseNegativeCost": 1}).threshold_analysis
    assert dear is not None
    assert cheap is not None
    assert dear["optimalThreshold"] < 0.5 < cheap["optimalThreshold"]
    flagged = table["proba:1"] >= 0.5
    assert dear["thresholdMetrics"]["0.5"] == pytest.approx(
        {"precision": table.late[flagged].mean(), "recall": flagged[table.late == 1].mean()}
    )


def test_gaps_between_groups_are_measured_and_small_groups_left_out(write):
    table = binary().assign(town=["a"] * 140 + ["b"] * 140 + ["c"] * 20)
    checks = [{"column": "town", "metric": "demographic_parity_difference", "min_rows": 50}]
    reply = business(table, write, {}, fairness=checks)
    rates = table[table.town != "c"].groupby("town").prediction.mean()
    assert reply.fairness_metrics == {
        "town": {"demographic_parity_difference": pytest.approx(rates.max() - rates.min())}
    }
    alone = business(table, write, {}, fairness=[{**checks[0], "min_rows": 150}])
    assert alone.fairness_metrics == {}
    assert any("fewer than two groups" in note for note in alone.recommendations)


def test_worst_slices_are_named_as_patterns_of_error(write):
    table = binary()
    table.loc[table.origin == "LGA", "prediction"] = 1 - table.late[table.origin == "LGA"]
    errors = business(table, write, {}, slices=(SliceSpec(column="origin"),)).error_analysis
    assert errors is not None
    assert errors["errorPatterns"][0] == {"pattern": "origin = LGA", "errorRate": 1.0, "count": 100}


def test_costs_that_make_no_sense_are_noted(write):
    reply = business(binary(), write, {"costs": {"1": {"0": "much"}}}, metrics=("accuracy",))
    assert reply.success
    assert any("neither gaps nor costs" in note for note in reply.recommendations)
