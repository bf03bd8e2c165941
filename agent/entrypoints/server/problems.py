"""How does a fault look over HTTP? RFC 9457, with what was wrong and what to do about it."""

import json
import math
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agent.problems import dotted, explain
from tools.errors import RetrainingError, outcome_of
from tools.masking import masked

MEDIA_TYPE: Final = "application/problem+json"
LONGEST: Final = 200
AGAIN_SECONDS: Final = 30
_REMEDIES: Final = {
    404: "GET /openapi.json lists what there is",
    405: "GET /openapi.json lists what there is, and by which method",
}


def problem(
    status: int,
    detail: str,
    *,
    title: str,
    remedy: str | None = None,
    thing: str | None = None,
    value: object = None,
    **headers: str,
) -> Response:
    """An error as RFC 9457 has it; `thing`, `value` and `remedy` are its extension members. Absent ones are left out."""
    content: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": masked(detail)}
    if thing is not None:
        content["thing"] = thing
    if value is not None:
        plain = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        content["value"] = value if plain else masked(str(value))[:LONGEST]
    if remedy is not None:
        content["remedy"] = masked(remedy)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    # As ASCII: what a caller sent may hold half a character.
    return Response(json.dumps(content), status, headers=named, media_type=MEDIA_TYPE)


def of_error(error: RetrainingError) -> Response:
    """An error of ours, with the status of the one table."""
    outcome = outcome_of(error)
    again = {"Retry_After": str(AGAIN_SECONDS)} if outcome.retry else {}
    return problem(
        outcome.http_status,
        error.message,
        title=type(error).__name__,
        remedy=error.remedy,
        thing=error.thing,
        value=error.value,
        **again,
    )


def broken(incident: str) -> Response:
    """A fault of the program: what it was stands in the log under that id, and nowhere else."""
    return problem(
        500,
        "this request met a fault of the program",
        title="BrokenInvariant",
        thing="incident",
        value=incident,
        remedy="look for the incident in the server's log, and please report it",
    )


async def refused(_: Request, error: Exception) -> Response:
    """Handler of `RetrainingError`."""
    assert isinstance(error, RetrainingError)
    return of_error(error)


async def http_error(_: Request, error: Exception) -> Response:
    """Handler of paths and methods that do not exist."""
    assert isinstance(error, HTTPException)
    found = problem(error.status_code, error.detail, title=error.detail, remedy=_REMEDIES.get(error.status_code))
    found.headers.update(error.headers or {})
    return found


async def bad_parameter(_: Request, error: Exception) -> Response:
    """Handler of parameters that are not what the description says."""
    assert isinstance(error, RequestValidationError)
    faults = [(_named(item), *explain(item)) for item in error.errors()]
    name, _what, remedy = faults[0]
    return problem(
        422,
        "; ".join(f"{each} {what}" for each, what, _ in faults[:10]),
        title="BadInput",
        thing=name,
        value=error.errors()[0].get("input"),
        remedy=remedy,
    )


def _named(item: Any) -> str:
    """`("query", "limit")` as `limit`."""
    return dotted(item["loc"][1:]) or "the request"
