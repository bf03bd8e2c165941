"""Which documents does the agent publish a JSON Schema for, and does an answer keep to its own?"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from agent.problems import dotted, nearest, numbers_in
from agent.workspace import WorkspaceFile
from tools.contracts.output import RetrainingResponse
from tools.contracts.peers import (
    DeploymentReply,
    DeploymentRequest,
    DriftReply,
    DriftRequest,
    Envelope,
    EvaluationReply,
    EvaluationRequest,
)
from tools.contracts.profile import Profile
from tools.contracts.record import DecisionRecord
from tools.contracts.request import RetrainingRequest
from tools.contracts.run import Review, RunRecord
from tools.contracts.seldon import SeldonCall, SeldonReply
from tools.errors import BrokenInvariant, NotFound

SCHEMAS: Final[Mapping[str, type[BaseModel]]] = {
    "input": RetrainingRequest,
    "output": RetrainingResponse,
    "drift-detective.input": DriftRequest,
    "drift-detective.output": DriftReply,
    "model-evaluator.input": EvaluationRequest,
    "model-evaluator.output": EvaluationReply,
    "deployment-engineer.input": DeploymentRequest,
    "deployment-engineer.output": DeploymentReply,
    "seldon-model-deployer.input": SeldonCall,
    "seldon-model-deployer.output": SeldonReply,
    "envelope": Envelope,
    "review": Review,
    "run": RunRecord,
    "decision-record": DecisionRecord,
    "profile": Profile,
    "workspace": WorkspaceFile,
}
"""By the name that `retrain schema NAME` takes."""

_WRITTEN_BY_US: Final = frozenset({"output", "review", "run", "decision-record"})
_FILES: Final = frozenset({"profile", "workspace"})


class NeverNull(GenerateJsonSchema):
    """Absent fields of our JSON are omitted, never null; the schema says so."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_is_required(self, field: Any, total: bool) -> bool:
        # What may be None is left out then, also where the contract makes us say so.
        return super().field_is_required(field, total) and not (
            self.mode == "serialization" and field["schema"]["type"] == "nullable"
        )

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        if "default" in found and found["default"] is None:
            del found["default"]
        return found


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one document. YAML files are in snake_case, everything else in the outside names.

    Raises:
        NotFound: No schema by that name.
    """
    model = SCHEMAS.get(name)
    if model is None:
        meant = nearest(name, SCHEMAS)
        raise NotFound(
            f"no schema {name!r}",
            thing="schema",
            value=name,
            remedy=f"did you mean {meant!r}?" if meant else f"one of {', '.join(SCHEMAS)}",
        )
    mode: Literal["serialization", "validation"] = (
        "serialization" if name in _WRITTEN_BY_US or name.endswith(".output") else "validation"
    )
    if name in _FILES:
        schema = model.model_json_schema(by_alias=False, mode=mode)
        return {"$schema": GenerateJsonSchema.schema_dialect, **schema}
    return schema_of(model, mode)


def schema_of(model: type[BaseModel], mode: Literal["serialization", "validation"]) -> dict[str, Any]:
    """The JSON Schema of one of our documents, in the outside names; absent fields are omitted, never null."""
    schema = model.model_json_schema(by_alias=True, mode=mode, schema_generator=NeverNull)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def validate_output(response: RetrainingResponse) -> dict[str, Any]:
    """The public JSON, read back before it leaves.

    Raises:
        BrokenInvariant: It is not JSON (NaN in it), or does not say what the response says.
    """
    # Dumped as JSON, a NaN in a free-form part would quietly become null: look before.
    lost = [dotted(path) for path, value in numbers_in(response.model_dump(by_alias=True)) if not math.isfinite(value)]
    if lost:
        raise _broken(response, f"{', '.join(lost)} is not a finite number")
    document = cast("dict[str, Any]", _without_null(response.to_json_dict()))
    try:
        text = json.dumps(document, allow_nan=False)
        again = RetrainingResponse.model_validate_json(text)
    except (TypeError, ValueError) as error:
        raise _broken(response, _first_fault(error)) from error
    if _without_null(again.to_json_dict()) != document:
        raise _broken(response, "it reads back differently")
    return document


def _without_null(value: object) -> object:
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {name: _without_null(item) for name, item in items if item is not None}
    if isinstance(value, list):
        return [_without_null(item) for item in cast("list[object]", value)]
    return value


def _first_fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _broken(response: RetrainingResponse, why: str) -> BrokenInvariant:
    return BrokenInvariant(
        f"the output of run {response.run_id} breaks its own schema: {why}",
        thing="output",
        value=response.run_id,
        remedy="nothing was sent; please report this with `retrain runs show`",
    )
