"""A user's own metric among the rules: its name, its interval, and what is missing of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tools.comparison import compare, measure_all
from tools.contracts.comparison import Contamination, Criteria, Criterion
from tools.contracts.profile import MetricsSpec
from tools.contracts.request import DeploymentCriteria
from tools.criteria import resolve_criteria
from tools.errors import BadInput
from tools.metrics import find_metric
from tools.paired_rows import PairedRows

NAME = "metrics/value.py:profit"
CLEAN = Contamination(candidate="clean", champion="clean")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/etc/value.py:profit", "outside of the workspace"),
        ("../value.py:profit", "outside of the workspace"),
        ("metrics/../../value.py:profit", "outside of the workspace"),
        ("metrics/value.py", "not written FILE.py:FUNCTION"),
        ("metrics/value.py:", "not written FILE.py:FUNCTION"),
        ("metrics/value.py:a.b", "not written FILE.py:FUNCTION"),
        ("metrics\\value.py:profit", "not written FILE.py:FUNCTION"),
        ("c:value.py:profit", "not written FILE.py:FUNCTION"),
    ],
)
def test_name_that_is_no_function_of_the_workspace_is_refused(name: str, says: str):
    with pytest.raises(BadInput, match=says):
        find_metric(name, "classification", "higher")


def test_direction_must_be_said():
    with pytest.raises(BadInput, match="needs a direction") as caught:
        find_metric(NAME, "classification")
    assert caught.value.thing == "direction"
    assert find_metric(NAME, "regression", "lower").direction == "lower"


def spec(**changes: Any) -> MetricsSpec:
    return MetricsSpec.model_validate({"primary": {"name": "accuracy"}} | changes)


def resolved(metrics: MetricsSpec, request: dict[str, Any] | None = None) -> Criteria:
    wanted = None if request is None else DeploymentCriteria.model_validate(request)
    return resolve_criteria(metrics=metrics, request=wanted, task="classification", positive_label=None)


def test_request_names_only_functions_that_the_profile_declares():
    with pytest.raises(BadInput, match="a function that the profile does not declare"):
        resolved(spec(), {"guardrailMetrics": [{"name": NAME, "direction": "higher"}]})
    declared = spec(guardrails=[{"name": NAME, "direction": "lower", "margin": 0.5}])
    assert resolved(declared, {"guardrailMetrics": [NAME]}).guardrails == (
        Criterion(metric=NAME, role="guardrail", direction="lower", margin=0.5),
    )


def test_operational_metrics_are_guardrails_that_are_measured_apart():
    found = resolved(spec(guardrails=[{"name": "latency_ms", "margin": 0.1, "unit": "relative"}], null_margin=0.02))
    assert found.guardrails == ()
    assert found.apart == (
        Criterion(metric="latency_ms", role="guardrail", direction="lower", unit="relative", margin=0.1),
        Criterion(metric="accuracy", role="guardrail", direction="higher", margin=0.02, nulls=True),
    )
    with pytest.raises(BadInput, match="is a guardrail only"):
        resolved(spec(primary={"name": "latency_ms"}))
    with pytest.raises(BadInput, match="better when lower"):
        resolved(spec(guardrails=[{"name": "model_size_mb", "direction": "higher"}]))


def paired(task: Any = "classification", n: int = 600, shift: float = 0.5, **changes: Any) -> PairedRows:
    generator = np.random.default_rng(5)
    y = generator.integers(0, 2, n)
    worth = generator.normal(size=n)
    sides = [{"prediction": generator.integers(0, 2, n), f"own:{NAME}": worth + step} for step in (0.0, shift)]
    rows = PairedRows.from_columns(task=task, y=y, baseline=sides[0], candidate=sides[1])
    return replace(rows, **changes)


def judged(rows: PairedRows, **criterion: Any) -> Any:
    given = {"metric": NAME, "role": "primary", "direction": "higher"} | criterion
    criteria = Criteria(primary=Criterion.model_validate(given))
    return compare(rows=rows, criteria=criteria, contamination=CLEAN, holdout_digest="d", sources={NAME: "s" * 64})


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_mean_of_the_rows_numbers_is_compared_for_any_task(task: Any):
    found = judged(paired(task)).primary
    assert (found.verdict, found.source_digest) == ("improved", "s" * 64)
    assert found.change == pytest.approx(0.5)
    assert found.low <= 0.5 <= found.high


def test_direction_turns_the_verdict():
    assert judged(paired(), direction="lower").primary.verdict == "regressed"


def test_interval_of_an_own_metric_is_that_of_the_same_numbers_as_a_known_one():
    generator = np.random.default_rng(8)
    y = generator.normal(size=500)
    told = [y + generator.normal(size=500), y + 0.5 * generator.normal(size=500)]
    sides = [{"prediction": one, f"own:{NAME}": np.abs(y - one)} for one in told]
    rows = PairedRows.from_columns(task="regression", y=y, baseline=sides[0], candidate=sides[1])
    own = judged(rows, direction="lower").primary
    known = judged(rows, direction="lower", metric="mean_absolute_error").primary
    assert (own.low, own.high, own.change) == pytest.approx((known.low, known.high, known.change))


MISSING = [
    (paired(unmeasured={NAME: "it raised"}), f"{NAME}: it raised."),
    (paired(candidate_own={}), f"{NAME}: it was not measured on the candidate's predictions."),
    (paired(baseline_own={NAME: np.full(600, np.nan)}), f"{NAME}: 600 of its 600 values for the champion are missing"),
]


@pytest.mark.parametrize(("rows", "says"), MISSING)
def test_what_was_not_measured_is_no_data_with_the_reason(rows: PairedRows, says: str):
    found = judged(rows).primary
    assert found.verdict == "no_data"
    assert found.statement.startswith(says)
    criteria = Criteria(primary=Criterion(metric=NAME, role="primary", direction="higher"))
    if "candidate" in says or "raised" in says:
        assert measure_all(rows=rows, criteria=criteria) == {}


def test_slices_are_judged_by_the_own_metric():
    rows = paired(slices={"shop": np.array(["a", "b"] * 300, dtype=object)})
    harmed = {NAME: rows.candidate_own[NAME] - 3.0 * (rows.slices["shop"] == "b")}
    criteria = Criteria(
        primary=Criterion(metric=NAME, role="primary", direction="higher"), slice_columns=("shop",), slice_margin=0.1
    )
    found = compare(
        rows=replace(rows, candidate_own=harmed), criteria=criteria, contamination=CLEAN, holdout_digest="d"
    )
    assert {m.criterion.slice_value: m.verdict for m in found.metrics[1:]} == {"a": "improved", "b": "regressed"}


def test_criterion_that_nobody_measured_apart_is_no_data():
    criteria = resolved(spec(null_margin=0.1))
    found = compare(rows=paired(), criteria=criteria, contamination=CLEAN, holdout_digest="d")
    assert [(m.verdict, m.statement) for m in found.metrics[1:]] == [
        ("no_data", "accuracy with nulls: it was not measured.")
    ]
