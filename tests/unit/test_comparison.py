"""The duel: one verdict a metric, from intervals, never from points."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.comparison import compare, measure_all, unmeasured, with_next_look
from tools.contracts.comparison import ComparisonResult, Contamination, Criteria, Criterion, ErrorBudget
from tools.contracts.profile import MetricsSpec, PrimaryMetric, ProfileGuardrail, Task
from tools.contracts.request import DeploymentCriteria
from tools.criteria import resolve_criteria
from tools.errors import BadInput
from tools.metrics import METRICS
from tools.paired_rows import PairedRows
from tools.policy import PolicyInput, decide
from tools.resampling import block_length, paired_change
from tools.verdicts import verdict_of

CLEAN = Contamination(candidate="clean", champion="clean")


def a_spec(primary: str = "accuracy", gain: float = 0.0, **changes) -> MetricsSpec:
    return MetricsSpec(primary=PrimaryMetric(name=primary, min_improvement=gain), **changes)


def criteria(primary: str = "accuracy", gain: float = 0.0, *, task: Task = "classification", **changes) -> Criteria:
    spec = a_spec(primary, gain, **changes)
    return resolve_criteria(metrics=spec, request=None, task=task, positive_label=None)


def classifiers(n: int, champion: float, candidate: float, *, seed: int = 0, positives: float = 0.4, **changes):
    """Two models right on the given shares of rows; where both could be right, they are so together."""
    g = np.random.default_rng(seed)
    y = (g.random(n) < positives).astype(int)
    luck = g.random(n)

    def scores(share: float) -> dict:
        right = luck < share
        said = np.where(right, y, 1 - y)
        sure = 0.5 + 0.4 * g.random(n)
        p = np.where(said == 1, sure, 1 - sure)
        return {"prediction": said, "proba:0": 1 - p, "proba:1": p}

    columns = {"task": "classification", "y": y, "baseline": scores(champion), "candidate": scores(candidate)}
    return PairedRows.from_columns(**(columns | changes))


def duel(rows: PairedRows, wanted: Criteria, contamination: Contamination = CLEAN) -> ComparisonResult:
    return compare(rows=rows, criteria=wanted, contamination=contamination, holdout_digest="d")


def verdicts(result: ComparisonResult) -> dict[str, str]:
    return {item.key: item.verdict for item in result.metrics}


# --- criteria


def test_request_overrides_gain_and_guardrails_of_the_profile():
    spec = a_spec(
        gain=0.02,
        guardrails=(
            ProfileGuardrail(name="f1", margin=0.03, unit="relative"),
            ProfileGuardrail(name="recall", margin=0.1),
        ),
    )
    request = DeploymentCriteria(
        min_improvement=0.01,
        guardrail_metrics=("f1", {"name": "neg_log_loss", "margin": 0.2, "direction": "lower"}, "precision"),  # pyright: ignore
    )
    resolved = resolve_criteria(metrics=spec, request=request, task="classification", positive_label=True)
    assert resolved.primary.min_improvement == 0.01
    assert [(c.metric, c.margin, c.unit, c.direction) for c in resolved.guardrails] == [
        ("f1", 0.03, "relative", "higher"),
        ("log_loss", 0.2, "absolute", "lower"),
        ("precision", 0.0, "absolute", "higher"),
    ]
    assert resolved.positive_label == "1"


def test_request_may_be_stricter_than_what_is_fixed_and_never_looser():
    spec = MetricsSpec(
        primary=PrimaryMetric(name="accuracy", min_improvement=0.02, fixed=True),
        guardrails=(
            ProfileGuardrail(name="f1", margin=0.03, fixed=True),
            ProfileGuardrail(name="recall", margin=0.1, fixed=True),
            ProfileGuardrail(name="precision", margin=0.1),
        ),
    )
    looser = DeploymentCriteria(min_improvement=0.0, guardrail_metrics=({"name": "f1", "margin": 0.5},))  # pyright: ignore
    stricter = DeploymentCriteria(
        min_improvement=0.05,
        guardrail_metrics=({"name": "f1", "margin": 0.01}, {"name": "recall", "margin": 0.1}),  # pyright: ignore
    )
    held, tight = (
        resolve_criteria(metrics=spec, request=request, task="classification", positive_label=1)
        for request in (looser, stricter)
    )
    assert held.primary.min_improvement == 0.02
    assert [(c.metric, c.margin) for c in held.guardrails] == [("f1", 0.03), ("recall", 0.1)]
    assert len(held.overruled) == 3
    assert tight.primary.min_improvement == 0.05
    assert [(c.metric, c.margin) for c in tight.guardrails] == [("f1", 0.01), ("recall", 0.1)]
    assert tight.overruled == ()


def test_fixed_margin_in_another_unit_is_kept():
    spec = MetricsSpec(
        primary=PrimaryMetric(name="accuracy"), guardrails=(ProfileGuardrail(name="f1", margin=0.03, fixed=True),)
    )
    request = DeploymentCriteria(guardrail_metrics=({"name": "f1", "margin": 0.01, "unit": "relative"},))  # pyright: ignore
    (kept,) = resolve_criteria(metrics=spec, request=request, task="classification", positive_label=1).guardrails
    assert (kept.margin, kept.unit) == (0.03, "absolute")


def test_refresh_asks_for_no_gain_unless_the_request_does():
    spec = MetricsSpec(primary=PrimaryMetric(name="accuracy", margin=0.01), promote_on="non_inferior")
    routine, asked = (
        resolve_criteria(metrics=spec, request=request, task="classification", positive_label=1).primary
        for request in (None, DeploymentCriteria(min_improvement=0.02))
    )
    assert (routine.must, routine.bar) == ("not_lose", -0.01)
    assert (asked.must, asked.bar) == ("improve", 0.02)


@pytest.mark.parametrize(
    ("primary", "promote_on", "says"),
    [
        ({}, "non_inferior", "needs primary.margin"),
        ({"margin": 0.1, "min_improvement": 0.1}, "non_inferior", "asks for no gain"),
        ({"margin": 0.1}, "improved", "used with promote_on"),
    ],
)
def test_margins_that_contradict_the_promotion_rule_are_refused(primary: Any, promote_on: Any, says: str):
    with pytest.raises(ValueError, match=says):
        MetricsSpec(primary=PrimaryMetric(name="accuracy", **primary), promote_on=promote_on)


def test_next_look_is_when_the_missing_rows_have_come():
    result = duel(classifiers(400, 0.8, 0.83), criteria(gain=0.02))
    needed = result.primary.rows_needed
    assert needed is not None
    last = datetime(2026, 1, 1, tzinfo=UTC)
    soon = with_next_look(result, 10.0, last).primary
    assert soon.tells_by == last + timedelta(days=(needed - 400) / 10)
    assert "which at 10 a day are there by" in soon.statement
    never = with_next_look(result, (needed - 400) / 1e5, last).primary
    assert never.tells_by is None
    assert "do not come within ten years" in never.statement


def test_without_a_request_the_profile_holds():
    resolved = criteria(gain=0.02, guardrails=(ProfileGuardrail(name="mcc", margin=0.1),))
    assert resolved.primary.min_improvement == 0.02
    assert [c.metric for c in resolved.guardrails] == ["matthews_corrcoef"]


def test_guardrail_named_twice_is_refused_under_any_name():
    with pytest.raises(BadInput, match="'f1' is named twice"):
        criteria(guardrails=(ProfileGuardrail(name="f1"), ProfileGuardrail(name="f1_score")))


def test_guardrail_on_the_primary_is_dropped():
    assert criteria(guardrails=(ProfileGuardrail(name="accuracy_score"),)).guardrails == ()


def test_unknown_guardrail_and_contradicting_primary_are_refused():
    with pytest.raises(BadInput, match="unknown metric 'nonsense'"):
        criteria(guardrails=(ProfileGuardrail(name="nonsense"),))
    spec = MetricsSpec(primary=PrimaryMetric(name="log_loss", direction="higher"))
    with pytest.raises(BadInput, match="better when lower"):
        resolve_criteria(metrics=spec, request=None, task="classification", positive_label=None)


# --- the table of verdicts


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.03, "improved"),
        (0.02, 0.03, "improved"),
        (0.001, 0.03, "inconclusive"),
        (-0.02, 0.03, "inconclusive"),
        (-0.02, 0.009, "non_inferior"),
        (0.0, 0.0, "non_inferior"),
        (-0.03, -0.001, "regressed"),
        (float("nan"), 0.1, "no_data"),
    ],
)
def test_verdict_of_a_primary_with_a_gain_of_one_point(low: float, high: float, verdict: str):
    wanted = Criterion(metric="accuracy", role="primary", direction="higher", min_improvement=0.01)
    assert verdict_of(wanted, low, high) == verdict


def test_primary_without_a_demanded_gain_still_has_to_be_surely_better():
    wanted = Criterion(metric="accuracy", role="primary", direction="higher")
    assert verdict_of(wanted, 0.0, 0.01) == "inconclusive"
    assert verdict_of(wanted, 1e-9, 0.01) == "improved"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.02, "improved"),
        (-0.009, 0.02, "non_inferior"),
        (-0.009, -0.001, "non_inferior"),
        (-0.02, 0.02, "inconclusive"),
        (-0.02, -0.005, "inconclusive"),
        (-0.02, -0.011, "regressed"),
    ],
)
def test_verdict_of_a_guardrail_with_a_margin_of_one_point(low: float, high: float, verdict: str):
    wanted = Criterion(metric="accuracy", role="guardrail", direction="higher", margin=0.01)
    assert verdict_of(wanted, low, high) == verdict


@given(
    low=st.integers(-1000, 1000),
    width=st.integers(0, 1000),
    bar=st.integers(0, 500),
    scale=st.sampled_from([0.5, 2.0, 1024.0]),
    role=st.sampled_from(["primary", "guardrail"]),
)
def test_scaling_a_unit_with_its_bars_changes_no_verdict(low, width, bar, scale, role):
    def wanted(factor: float) -> Criterion:
        return Criterion(
            metric="mean_absolute_error",
            role=role,
            direction="lower",
            min_improvement=bar * factor,
            margin=bar * factor,
        )

    high = low + width
    assert verdict_of(wanted(1), low, high) == verdict_of(wanted(scale), low * scale, high * scale)


# --- the duel


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    scale=st.sampled_from([0.25, 64.0, 4096.0]),
    better=st.floats(0.5, 1.5),
    gain=st.sampled_from([0.0, 0.05]),
)
def test_scaling_a_metrics_unit_with_its_margins_changes_no_decision(seed, scale, better, gain):
    """Hours or seconds: labels, predictions, the gain asked for and the margins in the other unit."""

    def decision(times: float):
        g = np.random.default_rng(seed)
        y = 10 * g.standard_normal(400)
        sides = [{"prediction": times * (y + size * g.standard_normal(400))} for size in (1.0, better)]
        rows = PairedRows.from_columns(
            task="regression",
            y=times * y,
            baseline=sides[0],
            candidate=sides[1],
            slices={"half": np.arange(400) % 2},
            features={"x": times * y},
        )
        spec = MetricsSpec(
            primary=PrimaryMetric(name="mean_absolute_error", min_improvement=gain * times),
            guardrails=(
                ProfileGuardrail(name="median_absolute_error", margin=0.05 * times),
                ProfileGuardrail(name="root_mean_squared_error", margin=0.1, unit="relative"),
                ProfileGuardrail(name="r2", margin=0.01),
            ),
            slices=("half",),
            slice_margin=0.1 * times,
        )
        wanted = resolve_criteria(metrics=spec, request=None, task="regression", positive_label=None)
        result = duel(rows, wanted)
        told = decide(PolicyInput(training_status="given", comparison=result, has_champion=True, can_split=True))
        return (
            told.decision,
            told.certainty,
            [reason.code for reason in told.reasons],
            [item.verdict for item in result.metrics],
        )

    assert decision(1.0) == decision(scale)


def test_clearly_better_candidate_improves_and_the_same_margin_turned_round_regresses():
    wanted = criteria(gain=0.02, guardrails=(ProfileGuardrail(name="f1", margin=0.02),))
    better = duel(classifiers(2000, 0.80, 0.88), wanted)
    worse = duel(classifiers(2000, 0.88, 0.80), wanted)
    assert verdicts(better) == {"comparison/accuracy": "improved", "comparison/f1": "improved"}
    assert verdicts(worse) == {"comparison/accuracy": "regressed", "comparison/f1": "regressed"}


def test_identical_models_hold_every_guardrail_and_gain_nothing():
    rows = classifiers(500, 0.8, 0.8)
    same = replace(rows, candidate_proba=rows.baseline_proba)
    wanted = criteria(
        guardrails=tuple(ProfileGuardrail(name=n) for n in ("f1", "roc_auc", "log_loss", "balanced_accuracy"))
    )
    result = duel(same, wanted)
    assert {item.verdict for item in result.metrics} == {"non_inferior"}
    assert {(item.low, item.high) for item in result.metrics} == {(0.0, 0.0)}


def test_change_is_positive_when_better_whatever_the_direction():
    g = np.random.default_rng(0)
    y = g.standard_normal(400)
    rows = PairedRows.from_columns(
        task="regression",
        y=y,
        baseline={"prediction": y + g.standard_normal(400)},
        candidate={"prediction": y + 0.5 * g.standard_normal(400)},
    )
    wanted = criteria(
        "rmse", task="regression", guardrails=(ProfileGuardrail(name="r2"), ProfileGuardrail(name="medae"))
    )
    result = duel(rows, wanted)
    assert all(item.change is not None and item.change > 0 for item in result.metrics)
    assert {item.verdict for item in result.metrics} == {"improved"}


def test_point_estimate_does_not_decide():
    result = duel(classifiers(200, 0.80, 0.815), criteria(gain=0.005))
    primary = result.primary
    assert primary.change is not None
    assert primary.change >= 0.005
    assert primary.verdict == "inconclusive"
    assert primary.rows_needed is not None
    assert primary.rows_needed > 200
    assert f"about {primary.rows_needed:,} rows would tell" in primary.statement


def mended(rows: PairedRows, count: int) -> PairedRows:
    """The champion against itself with `count` of its errors mended, all over the time."""
    wrong = np.random.default_rng(0).permutation(np.flatnonzero(rows.baseline_prediction != rows.y))[:count]
    candidate = rows.baseline_prediction.copy()
    candidate[wrong] = rows.y[wrong]
    return replace(rows, candidate_prediction=candidate)


def test_a_handful_of_mended_rows_does_not_prove_a_gain_and_many_do():
    rows = classifiers(1000, 0.8, 0.8)
    assert duel(mended(rows, 5), criteria()).primary.verdict == "inconclusive"
    assert duel(mended(rows, 60), criteria()).primary.verdict == "improved"


def test_same_rows_give_the_same_intervals():
    rows, wanted = classifiers(800, 0.8, 0.83), criteria(guardrails=(ProfileGuardrail(name="roc_auc"),))
    assert duel(rows, wanted) == duel(rows, wanted)


def test_dependent_rows_give_longer_blocks_and_wider_intervals_than_shuffled_ones():
    g = np.random.default_rng(1)
    quality = np.repeat(g.standard_normal(100), 30)  # good and bad spells of 30 rows
    y = np.zeros(3000)
    order = g.permutation(3000)
    metric = METRICS["mean_squared_error"]

    def change(rows: np.ndarray):
        pair = PairedRows(task="regression", y=y, baseline_prediction=np.ones(3000), candidate_prediction=quality[rows])
        return paired_change(
            metric=metric,
            baseline=pair.sample("baseline", None),
            candidate=pair.sample("candidate", None),
            relative=False,
            confidence=0.95,
        )

    in_time, shuffled = change(np.arange(3000)), change(order)
    assert in_time.block_length > shuffled.block_length
    assert in_time.high - in_time.low > 3 * (shuffled.high - shuffled.low)


def test_block_length_stays_in_its_bounds():
    g = np.random.default_rng(2)
    walk = np.cumsum(g.standard_normal(900))
    assert block_length(walk)[0] == 900 // 15
    assert block_length(g.standard_normal(1000))[0] == 15
    assert block_length(np.zeros(100)) == (6, 1.0)


# --- no data


def test_too_few_rows_are_no_data():
    result = duel(classifiers(49, 0.8, 0.9), criteria())
    assert result.primary.verdict == "no_data"
    assert result.primary.statement == "accuracy: 49 rows, at least 50 are needed."
    assert duel(classifiers(50, 0.8, 0.9), criteria()).primary.verdict != "no_data"


def test_too_few_positives_are_no_data_for_class_metrics_only():
    rows = classifiers(400, 0.9, 0.95, positives=0.01)
    result = duel(rows, criteria(guardrails=(ProfileGuardrail(name="recall"), ProfileGuardrail(name="roc_auc"))))
    assert verdicts(result)["comparison/recall"] == "no_data"
    assert verdicts(result)["comparison/roc_auc"] == "no_data"
    assert verdicts(result)["comparison/accuracy"] != "no_data"
    assert "rows of class 1, at least 10 are needed" in result.metrics[1].statement


def test_answers_in_another_set_of_classes_are_a_doubt_that_names_them():
    rows = classifiers(300, 0.8, 0.9)
    y, told = rows.y.astype(int), rows.candidate_prediction
    words = {"prediction": np.where(told == 1, "yes", "no")}
    other = PairedRows.from_columns(task="classification", y=y, baseline={"prediction": y}, candidate=words)
    result = duel(other, criteria())
    assert result.doubts == ("classes_differ",)
    assert "The candidate answers 'no', 'yes'" in result.doubt_statements[0]
    # A class that the holdout happens not to hold, and that both models know, is nothing to wonder about.
    rare = {"prediction": y, "proba:0": 1 - y, "proba:1": y, "proba:2": 0 * y}
    both = PairedRows.from_columns(task="classification", y=y, baseline=rare, candidate=rare)
    assert duel(both, criteria()).doubts == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_finite_number_are_no_data(value: float):
    y = np.arange(200.0)
    said = np.where(y == 7, value, y)
    rows = PairedRows.from_columns(
        task="regression", y=y, baseline={"prediction": y + 1}, candidate={"prediction": said}
    )
    item = duel(rows, criteria("mae", task="regression")).primary
    assert (item.verdict, item.candidate) == ("no_data", None)
    assert "1 of the candidate's 200 predictions are missing or not finite" in item.statement


def test_predictions_that_are_all_tied_have_a_verdict():
    y = np.arange(300) % 2
    flat = {"prediction": 0 * y, "proba:0": 0.5 + 0 * y, "proba:1": 0.5 + 0 * y}
    rows = PairedRows.from_columns(task="classification", y=y, baseline=flat, candidate=flat)
    for name in ("roc_auc", "average_precision", "expected_calibration_error", "recall@0.1"):
        item = duel(rows, criteria(name)).primary
        assert item.verdict in ("non_inferior", "inconclusive"), name


def test_missing_predictions_are_counted_and_named():
    rows = classifiers(300, 0.8, 0.9)
    candidate = rows.candidate_prediction.copy()
    candidate[:3] = np.nan
    result = duel(replace(rows, candidate_prediction=candidate), criteria())
    assert result.primary.verdict == "no_data"
    assert result.primary.statement == "accuracy: 3 of the candidate's 300 predictions are missing or not finite."


def test_absent_or_broken_probabilities_are_no_data_for_metrics_that_need_them():
    rows = classifiers(300, 0.8, 0.9)
    assert rows.baseline_proba is not None
    wanted = criteria(guardrails=(ProfileGuardrail(name="log_loss"),))
    none = duel(replace(rows, candidate_proba=None), wanted)
    broken = duel(replace(rows, baseline_proba=rows.baseline_proba * 3), wanted)
    assert none.metrics[1].statement == "log_loss: the candidate gives no probabilities."
    assert broken.metrics[1].verdict == "no_data"
    assert none.primary.verdict == "improved"


def test_zero_baseline_under_a_relative_demand_is_no_data():
    y = np.arange(100.0)
    rows = PairedRows(task="regression", y=y, baseline_prediction=y, candidate_prediction=y + 1)
    spec = MetricsSpec(primary=PrimaryMetric(name="mae", min_improvement=0.1, unit="relative"))
    wanted = resolve_criteria(metrics=spec, request=None, task="regression", positive_label=None)
    result = duel(rows, wanted)
    assert result.primary.verdict == "no_data"
    assert "champion's value of 0 does not exist" in result.primary.statement


def test_relative_change_is_a_share_of_the_champions_value():
    g = np.random.default_rng(0)
    e = np.abs(g.standard_normal(500)) + 0.1
    zero = np.zeros(500)
    rows = PairedRows(task="regression", y=zero, baseline_prediction=e, candidate_prediction=0.8 * e)
    spec = MetricsSpec(primary=PrimaryMetric(name="mae", min_improvement=0.1, unit="relative"))
    wanted = resolve_criteria(metrics=spec, request=None, task="regression", positive_label=None)
    primary = duel(rows, wanted).primary
    assert primary.change == pytest.approx(0.2)
    assert primary.low == pytest.approx(0.2)
    assert primary.verdict == "improved"


def test_unknown_positive_class_of_two_is_no_data_with_the_remedy():
    said = {"prediction": ["yes", "no"] * 100}
    rows = PairedRows.from_columns(task="classification", y=["yes", "no"] * 100, baseline=said, candidate=said)
    result = duel(rows, criteria("f1"))
    assert result.primary.statement.endswith("set data.positive_label.")
    spec = a_spec("f1")
    named = resolve_criteria(metrics=spec, request=None, task="classification", positive_label="yes")
    assert duel(rows, named).primary.baseline == 1.0


def test_single_class_in_the_holdout_is_no_data():
    rows = classifiers(200, 0.8, 0.9, positives=0.0)
    assert duel(rows, criteria("balanced_accuracy")).primary.verdict == "no_data"


def test_unmeasured_duel_has_no_data_for_everything_demanded():
    wanted = criteria(guardrails=(ProfileGuardrail(name="f1"),))
    result = unmeasured(
        criteria=wanted,
        holdout_rows=10,
        contamination=CLEAN,
        holdout_digest="d",
        reason="the candidate could not be scored",
        doubts=[("scoring_failed", "The candidate could not be scored.")],
        failures=["exit code 1"],
    )
    assert verdicts(result) == {"comparison/accuracy": "no_data", "comparison/f1": "no_data"}
    assert result.doubts == ("scoring_failed",)
    assert result.failures == ("exit code 1",)


def test_unchecked_contamination_is_a_doubt_and_a_clean_check_is_none():
    rows = classifiers(200, 0.8, 0.9)
    unchecked = duel(rows, criteria(), Contamination(candidate="clean", champion="could_not_check"))
    assert unchecked.doubts == ("contamination_unchecked",)
    assert "the champion trained" in unchecked.doubt_statements[0]
    assert duel(rows, criteria()).doubts == ()


def test_one_models_values_leave_out_what_cannot_be_measured():
    rows = classifiers(300, 0.8, 0.9)
    without = replace(rows, candidate_proba=None)
    wanted = criteria(guardrails=(ProfileGuardrail(name="log_loss"),))
    assert set(measure_all(rows=without, criteria=wanted)) == {"accuracy"}
    assert set(measure_all(rows=without, criteria=wanted, which="baseline")) == {"accuracy", "log_loss"}


# --- slices


def sliced(broken: float, n: int = 4000, values: int = 4) -> PairedRows:
    """A better candidate everywhere but in slice "0", where it is right on the share `broken`."""
    rows = classifiers(n, 0.8, 0.9)
    where = np.arange(n) % values
    g = np.random.default_rng(9)
    candidate = np.where((where == 0) & (g.random(n) > broken), 1 - rows.y, rows.candidate_prediction)
    return replace(rows, candidate_prediction=candidate, slices={"group": where.astype(str).astype(object)})


def test_broken_slice_regresses_and_stands_first_while_the_whole_improves():
    result = duel(sliced(0.6), criteria(slices=("group",)))
    assert result.primary.verdict == "improved"
    assert result.metrics[1].key == "comparison/accuracy/group=0"
    assert [item.verdict for item in result.metrics[1:]] == ["regressed", "improved", "improved", "improved"]
    assert all(item.criterion.role == "slice" for item in result.metrics[1:])


def test_whole_slices_do_not_regress():
    result = duel(sliced(1.0), criteria(slices=("group",)))
    assert "regressed" not in {item.verdict for item in result.metrics}


def test_many_harmless_slices_raise_no_false_alarm():
    n = 6000
    g = np.random.default_rng(5)
    y = g.integers(0, 2, n)
    said = [np.where(g.random(n) < 0.8, y, 1 - y) for _ in range(2)]
    rows = PairedRows.from_columns(
        task="classification",
        y=y,
        baseline={"prediction": said[0]},
        candidate={"prediction": said[1]},
        slices={"group": g.integers(0, 60, n)},
    )
    result = duel(rows, criteria(slices=("group",), slice_margin=0.0))
    assert len(result.metrics) == 1 + 50
    assert "regressed" not in {item.verdict for item in result.metrics[1:]}


def test_slices_below_the_least_rows_are_not_judged_and_missing_values_are_a_slice():
    rows = classifiers(300, 0.8, 0.9)
    group = np.array(["a"] * 200 + ["b"] * 49 + [None] * 51, dtype=object)
    texts = PairedRows.from_columns(
        task="regression",
        y=rows.y,
        baseline={"prediction": rows.y},
        candidate={"prediction": rows.y},
        slices={"g": group},
    )
    result = duel(texts, criteria("mae", task="regression", slices=("g",)))
    assert {item.criterion.slice_value for item in result.metrics[1:]} == {"a", "(missing)"}


def test_unknown_slice_column_is_refused():
    with pytest.raises(BadInput, match="slice column 'region'"):
        duel(classifiers(100, 0.8, 0.9), criteria(slices=("region",)))


# --- known truth


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accuracy", "f1", "roc_auc"])
def test_interval_covers_the_truth_on_independent_rows(name: str):
    wanted = criteria(name)
    inside = 0
    for seed in range(100):
        g = np.random.default_rng(seed)
        y = g.integers(0, 2, 400)
        scores = [1 / (1 + np.exp(-(2 * y - 1 + 1.2 * g.standard_normal(400)))) for _ in range(2)]
        sides = [{"prediction": (p > 0.5).astype(int), "proba:0": 1 - p, "proba:1": p} for p in scores]
        rows = PairedRows.from_columns(task="classification", y=y, baseline=sides[0], candidate=sides[1])
        primary = duel(rows, wanted).primary
        assert primary.low is not None
        assert primary.high is not None
        inside += primary.low <= 0 <= primary.high
    assert inside >= 89  # 95 expected; 88 or fewer has a chance of 0.4 %


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(2, 80),
    seed=st.integers(0, 10_000),
    name=st.sampled_from(sorted(m for m in METRICS if METRICS[m].task == "classification")),
    unit=st.sampled_from(["absolute", "relative"]),
)
def test_any_small_holdout_ends_in_a_verdict(n, seed, name, unit):
    g = np.random.default_rng(seed)
    p, q = g.random(n), g.random(n)
    rows = PairedRows.from_columns(
        task="classification",
        y=g.integers(0, 2, n),
        baseline={"prediction": (p > 0.5).astype(int), "proba:0": 1 - p, "proba:1": p},
        candidate={"prediction": (q > 0.5).astype(int), "proba:0": 1 - q, "proba:1": q},
    )
    spec = MetricsSpec(primary=PrimaryMetric(name=name, unit=unit), min_rows=2, costs={1: {0: 5.0}})
    wanted = resolve_criteria(metrics=spec, request=None, task="classification", positive_label=None)
    primary = duel(rows, wanted).primary
    assert primary.statement
    if primary.verdict != "no_data":
        assert primary.low is not None
        assert primary.high is not None
        assert primary.low <= primary.high


# --- later looks at a holdout


def a_budget(alpha: float, *, exhausted: bool = False) -> ErrorBudget:
    return ErrorBudget(look=3, most=20, alpha=alpha, spent=0.0, total=0.05, exhausted=exhausted, statement="Look 3.")


def test_later_look_must_be_surer_of_a_gain_and_no_surer_of_harm():
    rows = classifiers(2_000, 0.8, 0.84)
    first = duel(rows, criteria(guardrails=(ProfileGuardrail(name="log_loss", margin=0.05),)))
    later = compare(
        rows=rows,
        criteria=criteria(guardrails=(ProfileGuardrail(name="log_loss", margin=0.05),)),
        contamination=CLEAN,
        holdout_digest="d",
        budget=a_budget(0.0002),
    )
    for once, again in zip(first.metrics, later.metrics, strict=True):
        assert again.low is not None
        assert once.low is not None
        assert again.low < once.low
        assert again.high == once.high
    assert later.budget == a_budget(0.0002)


@pytest.mark.parametrize("primary", ["accuracy", "roc_auc"])
def test_lower_end_falls_steadily_with_the_error_that_is_left(primary: str):
    rows = classifiers(1_500, 0.8, 0.83)
    wanted = replace_positive(criteria(primary))
    ends = [
        compare(rows=rows, criteria=wanted, contamination=CLEAN, holdout_digest="d", budget=a_budget(alpha)).primary.low
        for alpha in (0.025, 0.01, 0.0026, 0.0024, 0.0005, 0.0001)
    ]
    known = [end for end in ends if end is not None]
    assert len(known) == len(ends)
    assert known == sorted(known, reverse=True)
    assert abs(known[2] - known[3]) < 0.1 * (known[0] - known[-1])  # where the resamples end


def replace_positive(wanted: Criteria) -> Criteria:
    return wanted.model_copy(update={"positive_label": "1"})


def test_spent_holdout_is_a_doubt():
    rows = classifiers(2_000, 0.8, 0.9)
    result = compare(
        rows=rows, criteria=criteria(), contamination=CLEAN, holdout_digest="d", budget=a_budget(0.0, exhausted=True)
    )
    assert result.doubts == ("needs_fresh_labels",)
    assert result.primary.verdict == "improved"


def test_duel_at_an_alert_budget_and_of_quantile_models():
    wanted = replace_positive(criteria("recall@10%", guardrails=(ProfileGuardrail(name="precision@0.1", margin=0.1),)))
    result = duel(classifiers(2_000, 0.7, 0.95), wanted)
    assert [item.criterion.metric for item in result.metrics] == ["recall@0.1", "precision@0.1"]
    assert {item.verdict for item in result.metrics} <= {"improved", "non_inferior"}
    g = np.random.default_rng(0)
    y = g.normal(size=1_500)
    rows = PairedRows.from_columns(
        task="regression",
        y=y,
        baseline={"prediction": np.zeros(1_500)},
        candidate={"prediction": np.full(1_500, 1.28)},
    )
    assert duel(rows, criteria("pinball@0.9", task="regression")).primary.verdict == "improved"
    assert duel(rows, criteria("pinball@0.1", task="regression")).primary.verdict == "regressed"
