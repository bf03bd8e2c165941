"""Do our documents keep to the published schemas, and do ours stay as they were?"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.schemas import SCHEMAS, json_schema, validate_output
from tools.contracts.decision import Reason
from tools.contracts.evidence import EvidenceItem
from tools.contracts.output import (
    Comparison,
    DeploymentDecision,
    Monitoring,
    Regression,
    RetrainingOutcome,
    RetrainingResponse,
    Rollout,
)
from tools.contracts.peers import EvaluationReply, EvaluationRequest
from tools.errors import BrokenInvariant, NotFound

GOLDEN = Path(__file__).parent / "golden"
PUBLISHED = Path(__file__).parents[3] / "shared" / "contracts"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="../shared/contracts is not beside this checkout")

OURS = {
    "retraining-orchestrator.input": "input",
    "retraining-orchestrator.output": "output",
    "drift-detective.input": "drift-detective.input",
    "drift-detective.output": "drift-detective.output",
    "deployment-engineer.input": "deployment-engineer.input",
    "deployment-engineer.output": "deployment-engineer.output",
    "seldon-model-deployer.input": "seldon-model-deployer.input",
    "seldon-model-deployer.output": "seldon-model-deployer.output",
}


def _published(name: str) -> dict[str, Any]:
    return json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))


SMALLEST = RetrainingResponse(
    retraining_result=RetrainingOutcome(status="skipped"),
    deployment_decision=DeploymentDecision(decision="reject", rationale="The champion is fresh."),
    run_id="r1",
    model_id="fraud",
    status="finished",
)
FULL = RetrainingResponse(
    retraining_result=RetrainingOutcome(
        status="trained",
        new_model_version="4",
        training_metrics={"accuracy": 0.9},
        validation_metrics={"accuracy": 0.82},
        model_uri="models:/m-1",
    ),
    comparison=Comparison(
        baseline_metrics={"accuracy": 0.8},
        new_model_metrics={"accuracy": 0.82},
        improvement={"accuracy": 0.02},
        regressions=(Regression(metric="recall", slice="day=7", change=-0.1, low=-0.2, high=-0.05, margin=0.02),),
        intervals={"accuracy": (0.01, 0.03)},
        verdicts={"accuracy": "improved"},
        holdout_rows=1000,
    ),
    deployment_decision=DeploymentDecision(
        decision="canary",
        rationale="Canary.",
        rollout_plan={"steps": [{"kind": "set_weight", "weight": 10}], "note": None},
        certainty="borderline",
        reasons=(Reason(code="slice_regressed", sentence="A slice lost.", evidence=("comparison/recall",)),),
        rationale_source={"writtenBy": "template"},
        review_id=1,
    ),
    monitoring=Monitoring(post_deployment_checks=({"metric": "f1"},), rollback_triggers=({"metric": "f1"},)),
    rollout=Rollout(phase="waiting", weight=10, wake_at=datetime(2026, 1, 1, tzinfo=UTC)),
    run_id="r1",
    model_id="fraud",
    status="parked",
    staleness={"verdict": "stale"},
    validation={"verdict": "pass"},
    evidence=(EvidenceItem(id="E1", key="comparison/accuracy", outcome="improved", value=0.02, statement="Up."),),
    warnings=("a",),
)


@needs_published
@pytest.mark.parametrize("response", [SMALLEST, FULL], ids=["smallest", "full"])
def test_our_output_validates_against_the_published_schema_and_our_own(response: RetrainingResponse) -> None:
    document = validate_output(response)

    jsonschema.validate(document, _published("retraining-orchestrator.output.schema"))
    jsonschema.validate(document, json_schema("output"))


@needs_published
def test_a_document_that_breaks_the_published_schema_is_seen() -> None:
    document = validate_output(SMALLEST)
    document["deploymentDecision"]["decision"] = "promote"

    with pytest.raises(jsonschema.ValidationError, match="promote"):
        jsonschema.validate(document, _published("retraining-orchestrator.output.schema"))


def test_absent_fields_are_omitted_never_null() -> None:
    assert "null" not in json.dumps(validate_output(SMALLEST))
    assert validate_output(FULL)["deploymentDecision"]["rolloutPlan"] == {
        "steps": [{"kind": "set_weight", "weight": 10}]
    }


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_an_output_that_is_no_json_does_not_leave(damage: object) -> None:
    response = SMALLEST.model_copy(update={"staleness": {"value": damage}})

    with pytest.raises(BrokenInvariant, match="output of run r1"):
        validate_output(response)


def test_an_output_that_breaks_its_contract_does_not_leave() -> None:
    broken = SMALLEST.deployment_decision.model_copy(update={"decision": "promote"})

    with pytest.raises(BrokenInvariant, match=r"deploymentDecision\.decision"):
        validate_output(SMALLEST.model_copy(update={"deployment_decision": broken}))


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _assert_covers(ours: dict[str, Any], theirs: dict[str, Any], root: dict[str, Any], path: str) -> None:
    ours = _resolve(ours, root)
    branches = [_resolve(branch, root) for branch in ours.get("anyOf", ours.get("oneOf", [ours]))]
    types = {branch.get("type") for branch in branches}
    assert theirs["type"] in types or not types - {None}, f"{path}: published {theirs['type']}, ours {types}"
    ours = next((branch for branch in branches if branch.get("type") == theirs["type"]), ours)
    assert set(theirs.get("required", ())) <= set(theirs["properties"]) if "properties" in theirs else True
    if "enum" in theirs:
        assert set(theirs["enum"]) == set(ours["enum"]), path
    # A free-form object of ours (`additionalProperties: true`) takes whatever the published one lists.
    for name, schema in theirs.get("properties", {}).items():
        if "properties" in ours or not ours.get("additionalProperties"):
            assert name in ours["properties"], f"{path}.{name} is published and missing"
            _assert_covers(ours["properties"][name], schema, root, f"{path}.{name}")
    if "items" in theirs:
        _assert_covers(ours["items"], theirs["items"], root, f"{path}[]")


@needs_published
@pytest.mark.parametrize("published", OURS)
def test_every_published_property_exists_in_ours_with_a_compatible_type(published: str) -> None:
    ours = json_schema(OURS[published])

    _assert_covers(ours, _published(f"{published}.schema"), ours, published)


@needs_published
@pytest.mark.parametrize(
    "published", ["retraining-orchestrator.input", "drift-detective.input", "retraining-orchestrator.output"]
)
def test_what_is_published_as_required_is_required(published: str) -> None:
    ours = json_schema(OURS[published])

    assert set(_published(f"{published}.schema")["required"]) <= set(ours["required"])


@needs_published
def test_an_input_with_only_what_is_published_as_required_is_accepted() -> None:
    # Ours may add fields, but may not ask for more than was published.
    assert set(json_schema("input")["required"]) == set(_published("retraining-orchestrator.input.schema")["required"])


@needs_published
@pytest.mark.parametrize(
    ("name", "model"), [("input", EvaluationRequest), ("output", EvaluationReply)], ids=["input", "output"]
)
def test_the_published_model_evaluator_example_comes_back_unchanged(name: str, model: Any) -> None:
    example = _published(f"model-evaluator.{name}.example")

    assert model.model_validate(example).model_dump(mode="json", by_alias=True, exclude_unset=True) == example
    assert "null" not in json.dumps(model.model_validate(example).to_json_dict())
    jsonschema.validate(example, json_schema(f"model-evaluator.{name}"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_exported_schema_is_as_it_was(name: str) -> None:
    file = GOLDEN / f"{name}.schema.json"
    wanted = f"retrain schema {name} > tests/contracts/golden/{name}.schema.json"

    assert file.is_file(), f"no golden file; if the schema is new, make it with: {wanted}"
    assert json_schema(name) == json.loads(file.read_text(encoding="utf-8")), (
        f"the schema changed; if that is meant, say so in the changelog and run: {wanted}"
    )


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_exported_schema_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(name))


def test_profile_schema_speaks_the_files_names_and_the_messages_the_outside_ones() -> None:
    assert "registered_model" in json_schema("profile")["properties"]
    assert "retrainingConfig" in json_schema("input")["properties"]


def test_an_unknown_schema_names_the_nearest() -> None:
    with pytest.raises(NotFound) as raised:
        json_schema("drift-detectiv.input")

    assert raised.value.remedy == "did you mean 'drift-detective.input'?"
