"""What can be asked over HTTP? The OpenAPI description, its schemas made from the contracts."""

from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent.entrypoints.server import views
from agent.entrypoints.server.problems import MEDIA_TYPE
from agent.schemas import NeverNull
from agent.services.check import Checked
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.request import RetrainingRequest

_ASKED: Final = (RetrainingRequest, views.JudgeRequest, views.RollbackRequest, views.AnswerRequest, views.ChatRequest)
_ANSWERED: Final = (
    views.RunView,
    views.RunList,
    views.ReviewView,
    views.ReviewList,
    views.ChampionHistory,
    views.ProblemView,
    Checked,
)
_FAULTS: Final = {
    401: "No key, or an unknown one",
    403: "The key may not do that",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "Somebody else holds it, it is already done, or the idempotency key was used for something else",
    413: "The body is too large",
    421: "Another host is meant",
    422: "Bad input: `thing` names the field, `remedy` what to do",
    429: "Too many calls, or too many streams",
    500: "A fault of the program; nothing was moved",
    503: "A dependency did not answer; try again",
    504: "A dependency did not answer in time; try again",
}
FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": what, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}}}}
    for status, what in _FAULTS.items()
}
"""Of every endpoint."""


def given(contract: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of an endpoint that reads its body itself, as the command line reads a file."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{contract.__name__}"}}}
    return {"requestBody": {"required": True, "content": content}}


def answers(contract: type[BaseModel], what: str, *, located: bool = False) -> dict[str, Any]:
    """One of an endpoint's `responses`."""
    found: dict[str, Any] = {
        "description": what,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{contract.__name__}"}}},
    }
    if located:
        found["headers"] = {"Location": {"description": "Where the run is", "schema": {"type": "string"}}}
    return found


def describe(app: FastAPI) -> dict[str, Any]:
    """The description, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="Retraining orchestrator",
            version=SCHEMA_VERSION,
            summary="Decides with evidence whether a production model should be retrained; rolls out, watches, goes back.",
            routes=app.routes,
        )
        parts = cast("dict[str, Any]", made.setdefault("components", {}))
        parts["schemas"] = _schemas()
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "`retrain keys create`"}}
        made["security"] = [{"key": []}]
        app.openapi_schema = made
    return app.openapi_schema


def _schemas() -> dict[str, Any]:
    _, made = models_json_schema(
        [*((each, "validation") for each in _ASKED), *((each, "serialization") for each in _ANSWERED)],
        ref_template="#/components/schemas/{model}",
        schema_generator=NeverNull,
    )
    return cast("dict[str, Any]", made["$defs"])
