"""Is a request read strictly where it speaks, and leniently where it says more than we know?"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.requests import TRIGGERS, parse_request, request_from_flags
from tools.contracts.request import (
    BaselineModel,
    DeploymentCriteria,
    GuardrailSpec,
    RetrainingConfig,
    RetrainingRequest,
)
from tools.errors import BadInput

FULL: dict[str, Any] = {
    "modelId": "fraud",
    "retrainingConfig": {"trigger": "drift", "dataWindow": "90d", "validationStrategy": "latest:20%"},
    "baselineModel": {"version": "3", "metrics": {"accuracy": 0.8, "rows": 12}},
    "deploymentCriteria": {"minImprovement": 0.01, "guardrailMetrics": ["recall", {"name": "f1", "margin": 0.02}]},
}


def _with(**changes: Any) -> dict[str, Any]:
    return {**FULL, **changes}


def _refused(request: str | dict[str, Any]) -> str:
    with pytest.raises(BadInput) as raised:
        parse_request(request)
    return str(raised.value)


def test_a_full_request_is_read_from_text_and_from_a_mapping_alike() -> None:
    expected = RetrainingRequest(
        model_id="fraud",
        retraining_config=RetrainingConfig(trigger="drift", data_window="90d", validation_strategy="latest:20%"),
        baseline_model=BaselineModel(version="3", metrics={"accuracy": 0.8, "rows": 12.0}),
        deployment_criteria=DeploymentCriteria(
            min_improvement=0.01,
            guardrail_metrics=(GuardrailSpec(name="recall"), GuardrailSpec(name="f1", margin=0.02)),
        ),
    )

    assert parse_request(FULL) == (expected, ())
    assert parse_request("\ufeff" + json.dumps(FULL)) == (expected, ())


def test_unknown_fields_at_any_depth_are_warnings_not_errors() -> None:
    request = _with(
        retrainingConfig={"trigger": "manual", "dataWindw": "90d", "priority": 1},
        deploymentCriteria={"guardrailMetrics": [{"name": "f1", "margn": 1}]},
        labels={"team": "a"},
    )

    _, warnings = parse_request(request)

    assert warnings == (
        "unknown field labels was ignored",
        "unknown field retrainingConfig.dataWindw was ignored; did you mean retrainingConfig.dataWindow?",
        "unknown field retrainingConfig.priority was ignored",
        "unknown field deploymentCriteria.guardrailMetrics[0].margn was ignored; "
        "did you mean deploymentCriteria.guardrailMetrics[0].margin?",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"modelId": "a",\n "retrainingConfig": {,}}', "at line 2, column 23"),
        ("", "the request is empty"),
        ("[1]", "is a JSON list, not an object"),
        ('{"modelId": "a", "modelId": "b"}', "the field 'modelId' stands twice"),
        ("[" * 100_000, "not readable JSON"),
    ],
)
def test_what_is_not_a_json_object_is_refused_with_its_place(text: str, says: str) -> None:
    assert says in _refused(text)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("baselineModel.metrics.accuracy", '"baselineModel": {"metrics": {"accuracy": %s}}'),
        ("deploymentCriteria.minImprovement", '"deploymentCriteria": {"minImprovement": %s}'),
        ("extra[1]", '"extra": [0, %s]'),
    ],
)
def test_a_number_that_is_not_finite_is_refused_by_name_wherever_it_stands(literal: str, field: str, part: str) -> None:
    said = _refused('{"modelId": "a", "retrainingConfig": {}, ' + part % literal + "}")

    assert f"request: {field} = " in said
    assert "is not a finite number" in said


def test_an_unknown_trigger_lists_the_known_ones() -> None:
    said = _refused(_with(retrainingConfig={"trigger": "webhook"}))

    assert said.startswith("request: retrainingConfig.trigger = 'webhook': is not a known value")
    assert all(trigger in said for trigger in TRIGGERS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"deploymentCriteria": {"minImprovement": -0.01}},
            "deploymentCriteria.minImprovement = -0.01: must be at least 0",
        ),
        (
            {"deploymentCriteria": {"minImprovement": "0.01"}},
            "deploymentCriteria.minImprovement = '0.01': must be a number",
        ),
        (
            {"deploymentCriteria": {"minImprovement": True}},
            "deploymentCriteria.minImprovement = True: must be a number",
        ),
        (
            {"deploymentCriteria": {"guardrailMetrics": "f1"}},
            "deploymentCriteria.guardrailMetrics = 'f1': must be a list",
        ),
        (
            {"deploymentCriteria": {"guardrailMetrics": [{"name": "f1", "margin": -1}]}},
            "deploymentCriteria.guardrailMetrics[0].margin = -1: must be at least 0",
        ),
        ({"deploymentCriteria": {"guardrailMetrics": [{"margin": 1}]}}, "guardrailMetrics[0].name: is missing"),
        ({"baselineModel": {"version": 3}}, "baselineModel.version = 3: must be text in quotes"),
        ({"baselineModel": {"metrics": {"f1": "high"}}}, "baselineModel.metrics.f1 = 'high': must be a number"),
        ({"baselineModel": []}, "baselineModel = []: must be a mapping"),
        ({"retrainingConfig": {"dataWindow": 90}}, "retrainingConfig.dataWindow = 90: must be text"),
        (
            {"retrainingConfig": {"asOf": "2013-06-01T00:00:00"}},
            "retrainingConfig.asOf = '2013-06-01T00:00:00': has no time",
        ),
        ({"modelId": ""}, "modelId = '': is empty"),
        ({"modelId": " fraud"}, "modelId = ' fraud': has spaces around it"),
        ({"model_id": "x"}, "modelId = 'fraud': is also given as model_id"),
        ({"tags": {1, 2}}, "holds what JSON cannot"),
    ],
)
def test_a_field_at_fault_is_named_with_value_and_what_is_wanted(changes: dict[str, Any], says: str) -> None:
    assert says in _refused(_with(**changes))


def test_all_missing_fields_are_named_at_once() -> None:
    said = _refused({})

    assert "modelId: is missing" in said
    assert "retrainingConfig: is missing" in said


def test_flags_make_the_request_that_json_would() -> None:
    made = request_from_flags(
        "fraud",
        trigger="drift",
        window="90d",
        strategy="latest:20%",
        as_of="2013-06-01",
        min_improvement=0.01,
        guardrails=["recall", "f1=0.02", "precision=2%"],
    )

    assert made == RetrainingRequest(
        model_id="fraud",
        retraining_config=RetrainingConfig(
            trigger="drift", data_window="90d", validation_strategy="latest:20%", as_of=datetime(2013, 6, 1, tzinfo=UTC)
        ),
        deployment_criteria=DeploymentCriteria(
            min_improvement=0.01,
            guardrail_metrics=(
                GuardrailSpec(name="recall"),
                GuardrailSpec(name="f1", margin=0.02),
                GuardrailSpec(name="precision", margin=0.02, unit="relative"),
            ),
        ),
    )


def test_no_flags_but_a_model_leave_everything_to_the_profile() -> None:
    assert request_from_flags("fraud") == RetrainingRequest(model_id="fraud", retraining_config=RetrainingConfig())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"trigger": "sometimes"}, "retrainingConfig.trigger"),
        ({"as_of": "yesterday"}, "asOf = 'yesterday': is not a time"),
        ({"guardrails": ["f1=lots"]}, "guardrail 'f1=lots' is not readable"),
        ({"guardrails": ["f1=nan"]}, "guardrail 'f1=nan' is not readable"),
        ({"min_improvement": float("nan")}, "deploymentCriteria.minImprovement = nan: is not a finite number"),
    ],
)
def test_a_flag_at_fault_is_refused_like_its_field(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput) as raised:
        request_from_flags("fraud", **flags)

    assert says in str(raised.value)
