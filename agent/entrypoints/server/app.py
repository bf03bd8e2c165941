"""The HTTP door: `POST /webhooks/alertmanager` and `GET /healthz`. On loopback, and for who bears the token."""

import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.deps import Deps
from agent.problems import dotted, explain, field_errors
from agent.services.alarms import Alarms
from agent.services.runs import Runs
from tools.contracts.alertmanager import AlertmanagerMessage
from tools.errors import RetrainingError, outcome_of
from tools.ports import Clock

MAX_BYTES: Final = 1_000_000
CALLS_A_MINUTE: Final = 60
CALLER: Final = "alertmanager"
"""Who asked, in records: whoever bears the webhook's token."""


def hashed(token: str) -> str:
    """What a key file holds in place of a token: sha256, as hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


class _Rate:
    """A bucket that fills again with time."""

    def __init__(self, clock: Clock, calls: int) -> None:
        self._clock, self._calls, self._left = clock, float(calls), float(calls)
        self._at: datetime = clock()

    def take(self) -> bool:
        now = self._clock()
        gained = max(0.0, (now - self._at).total_seconds()) * self._calls / 60
        self._left, self._at = min(self._calls, self._left + gained), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def problem(status: int, detail: str, *, title: str, remedy: str | None = None, **headers: str) -> Response:
    """An error as RFC 9457 has it."""
    content: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if remedy is not None:
        content["remedy"] = remedy
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse(content, status, headers=named, media_type="application/problem+json")


def application(
    deps: Deps, runs: Runs, token_hashes: Collection[str], *, calls_a_minute: int = CALLS_A_MINUTE
) -> Starlette:
    """The app. Without a token's hash the webhook is refused, whoever calls."""
    alarms, rate = Alarms(deps, runs), _Rate(deps.clock, calls_a_minute)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await run_in_threadpool(alarms.close)

    async def healthz(_: Request) -> Response:
        await run_in_threadpool(deps.store.identity)
        return JSONResponse({"status": "ok"})

    async def alertmanager(request: Request) -> Response:
        refused = _unauthorised(request, token_hashes)
        if refused is not None:
            return refused
        if not rate.take():
            return problem(
                429, f"more than {calls_a_minute} calls a minute", title="Too many requests", Retry_After="60"
            )
        body = await _body(request)
        if body is None:
            return problem(413, f"the message has more than {MAX_BYTES} bytes", title="Too large")
        message = _read(body)
        if isinstance(message, str):
            return problem(422, message, title="Bad input", remedy="send Alertmanager's webhook message, version 4")
        answered = await run_in_threadpool(alarms.take, message, CALLER)
        return JSONResponse(answered.to_json_dict(), 202 if answered.rollbacks else 200)

    routes = [Route("/healthz", healthz), Route("/webhooks/alertmanager", alertmanager, methods=["POST"])]
    handlers: Any = {RetrainingError: _refused, HTTPException: _http}
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)


def _unauthorised(request: Request, token_hashes: Collection[str]) -> Response | None:
    if not token_hashes:
        remedy = (
            "set RETRAIN_WEBHOOK_TOKEN, or name a file of hashes with --token-hashes, and start `retrain serve` again"
        )
        return problem(503, "no token is configured: the webhook is closed", title="Unavailable", remedy=remedy)
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    mine = hashed(given.strip())
    # Every hash is compared, each in constant time.
    known = [hmac.compare_digest(mine, each) for each in token_hashes]
    if scheme.lower() == "bearer" and any(known):
        return None
    return problem(401, "the bearer token is missing or unknown", title="Unauthorised", WWW_Authenticate="Bearer")


async def _body(request: Request) -> bytes | None:
    """None where it is too large: no more than that is ever held."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)


def _read(body: bytes) -> AlertmanagerMessage | str:
    """The message, or what is wrong with it."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return "the message is no JSON"
    try:
        return AlertmanagerMessage.model_validate(data)
    except ValidationError as error:
        faults = [f"{dotted(path) or 'the message'} {explain(item)[0]}" for path, item in field_errors(error, data)]
        return "; ".join(faults[:10])


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RetrainingError)
    title = type(error).__name__
    return problem(outcome_of(error).http_status, error.message, title=title, remedy=error.remedy)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, title=error.detail)
