"""Is a request read strictly where it speaks, and leniently where it says more than we know?"""

import json
from datetime import UTC, date, datetime
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
            {"retrainingConfig": {"asOf": "yesterday"}},
            "retrainingConfig.asOf = 'yesterday': must be a time such as 2013-06-01",
        ),
        ({"schemaVersion": "2.0"}, "schemaVersion = '2.0': is no version that this program speaks (1.0)"),
        ({"schema_version": "one"}, "schema_version = 'one': is no version that this program speaks (1.0)"),
        ({"modelId": ""}, "modelId = '': is empty"),
        ({"modelId": " fraud"}, "modelId = ' fraud': has spaces around it"),
        ({"model_id": "x"}, "modelId = 'fraud': is also given as model_id"),
        ({"tags": {1, 2}}, "holds what JSON cannot"),
    ],
)
def test_a_field_at_fault_is_named_with_value_and_what_is_wanted(changes: dict[str, Any], says: str) -> None:
    assert says in _refused(_with(**changes))


def test_all_missing_fields_are_named_at_once_each_with_its_own_remedy() -> None:
    assert _refused({}).splitlines() == [
        "request has 2 problems:",
        "  modelId: is missing (add it)",
        "  retrainingConfig: is missing (add it)",
        "  remedy: mend each as said beside it",
    ]


def test_remedy_of_a_single_fault_is_said_once() -> None:
    said = _refused(_with(modelId="")).splitlines()

    assert said == ["request: modelId = '': is empty", "  remedy: give at least one entry"]


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("2013-06-01", datetime(2013, 6, 1, tzinfo=UTC)),
        ("2013-06-01T12:00:00", datetime(2013, 6, 1, 12, tzinfo=UTC)),
        ("2013-06-01T12:00:00Z", datetime(2013, 6, 1, 12, tzinfo=UTC)),
        ("2013-06-01T12:00:00+02:00", datetime(2013, 6, 1, 10, tzinfo=UTC)),
        (date(2013, 6, 1), datetime(2013, 6, 1, tzinfo=UTC)),
        (datetime(2013, 6, 1, 12), datetime(2013, 6, 1, 12, tzinfo=UTC)),  # noqa: DTZ001
    ],
)
def test_as_of_without_a_zone_is_utc_in_json_and_in_flags_alike(given: Any, means: datetime) -> None:
    in_json = parse_request(_with(retrainingConfig={"asOf": given}))[0].retraining_config.as_of
    in_flags = request_from_flags("fraud", as_of=given).retraining_config.as_of

    assert (in_json, in_flags) == (means, means)


@pytest.mark.parametrize("version", ["1", "1.0", "1.7"])
def test_another_minor_version_is_understood(version: str) -> None:
    assert parse_request(_with(schemaVersion=version))[0].schema_version == version


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
        ({"as_of": "yesterday"}, "retrainingConfig.asOf = 'yesterday': must be a time"),
        ({"guardrails": ["f1=lots"]}, "guardrail 'f1=lots' is not readable"),
        ({"guardrails": ["f1=nan"]}, "guardrail 'f1=nan' is not readable"),
        ({"min_improvement": float("nan")}, "deploymentCriteria.minImprovement = nan: is not a finite number"),
    ],
)
def test_a_flag_at_fault_is_refused_like_its_field(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput) as raised:
        request_from_flags("fraud", **flags)

    assert says in str(raised.value)
