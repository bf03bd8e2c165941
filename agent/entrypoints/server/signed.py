"""`POST /webhooks/trigger` and `/webhooks/mlflow`: signed messages that ask for a look. A message counts once.

What is signed is the nonce, the time and the body, so neither can be changed; a nonce is remembered for as long as its time is
accepted, in the run store, so that neither a restart nor a second server lets it in again. Only what is signed is remembered: who has
no secret fills nothing.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.entrypoints.server.limits import Rate
from agent.entrypoints.server.problems import problem
from agent.problems import dotted, explain, field_errors
from agent.services.sources import Sources, Taken
from tools.contracts.base import PublicContract
from tools.contracts.webhooks import MlflowEvent, SignedTrigger
from tools.ports import Clock, Store

PATH: Final = "/webhooks/trigger"
MLFLOW_PATH: Final = "/webhooks/mlflow"
CALLS_A_MINUTE: Final = 120
"""That are read at all; each of the two has its own."""
ACCEPTED: Final = timedelta(minutes=5)
"""Between the signed time and ours, either way."""
_NONCE: Final = re.compile(r"[A-Za-z0-9._:-]{8,100}")

Message = TypeVar("Message", bound=PublicContract)


class Signature(NamedTuple):
    """What a message's head says."""

    nonce: str
    timestamp: str
    given: str


def sign(secret: str, nonce: str, timestamp: str, body: bytes) -> str:
    """What the header `X-Retrain-Signature` must hold."""
    return f"sha256={_digest(secret, nonce, timestamp, body).hex()}"


def _digest(secret: str, nonce: str, timestamp: str, body: bytes) -> bytes:
    return hmac.new(secret.encode(), f"{nonce}.{timestamp}.".encode() + body, hashlib.sha256).digest()


def _mlflow_sign(secret: str, nonce: str, timestamp: str, body: bytes) -> str:
    return f"v1,{base64.b64encode(_digest(secret, nonce, timestamp, body)).decode()}"


def routes(
    sources: Sources,
    store: Store,
    clock: Clock,
    *,
    secret: str | None,
    mlflow_secret: str | None,
    calls_a_minute: int = CALLS_A_MINUTE,
) -> list[Route]:
    """Both webhooks. Without its secret each is refused, whoever calls."""
    own = _Door("X-Retrain-", ("Nonce", "Timestamp", "Signature"), secret, sign, "RETRAIN_WEBHOOK_SECRET")
    theirs = _Door(
        "X-MLflow-",
        ("Delivery-Id", "Timestamp", "Signature"),
        mlflow_secret,
        _mlflow_sign,
        "RETRAIN_MLFLOW_WEBHOOK_SECRET",
    )
    return [
        _route(PATH, own, SignedTrigger, sources.signed, store, clock, Rate(clock, calls_a_minute)),
        _route(MLFLOW_PATH, theirs, MlflowEvent, sources.mlflow, store, clock, Rate(clock, calls_a_minute)),
    ]


class _Door(NamedTuple):
    prefix: str
    headers: tuple[str, str, str]
    secret: str | None
    sign: Callable[[str, str, str, bytes], str]
    variable: str

    def read(self, request: Request) -> Signature | None:
        found = [request.headers.get(f"{self.prefix}{name}", "") for name in self.headers]
        return Signature(*found) if all(found) else None


def _route(
    path: str,
    door: _Door,
    kind: type[Message],
    take: Callable[[Message], Taken],
    store: Store,
    clock: Clock,
    rate: Rate,
) -> Route:
    def taken(message: Message, nonce: str, now: datetime) -> Taken | None:
        # Remembered until it would be refused for its age.
        fresh = store.take_nonce(f"{door.prefix}{nonce}", now, now + 2 * ACCEPTED)
        return take(message) if fresh else None

    async def webhook(request: Request) -> Response:
        if door.secret is None:
            remedy = f"set {door.variable} and start `retrain serve` again"
            return problem(503, "no secret is configured: the webhook is closed", title="Unavailable", remedy=remedy)
        if not rate.take():
            return problem(429, "more calls a minute than are read", title="Too many requests", Retry_After="60")
        body, signature, now = await request.body(), door.read(request), clock()
        refused = _refused(door, signature, body, now)
        if refused is not None or signature is None:
            return problem(401, refused or "", title="Unauthorised", remedy="see docs/triggers.md for how to sign")
        message = _message(kind, body)
        if isinstance(message, str):
            return problem(422, message, title="Bad input", remedy="see docs/triggers.md for what is sent")
        found = await run_in_threadpool(taken, message, signature.nonce, now)
        if found is None:
            return problem(409, "this message was taken before", title="Conflict", remedy="sign each with a new nonce")
        return JSONResponse(found.to_json_dict(), 202 if found.looks else 200)

    return Route(path, webhook, methods=["POST"])


def _refused(door: _Door, signature: Signature | None, body: bytes, now: datetime) -> str | None:
    """Why the message is not to be believed; the same words whatever of the signature is wrong."""
    if signature is None:
        return f"the headers {', '.join(door.prefix + name for name in door.headers)} are wanted"
    right = door.sign(door.secret or "", signature.nonce, signature.timestamp, body)
    if not hmac.compare_digest(right.encode(), signature.given.encode()):
        return "the signature does not fit"
    if _NONCE.fullmatch(signature.nonce) is None:
        return "the nonce must be 8 to 100 letters, digits or any of . _ : -"
    at = _time(signature.timestamp)
    if at is None or abs(now - at) > ACCEPTED:
        return "the time of the message is not within five minutes of ours"
    return None


def _time(text: str) -> datetime | None:
    """Seconds since 1970."""
    if re.fullmatch(r"\d{1,11}", text) is None:
        return None
    return datetime.fromtimestamp(int(text), UTC)


def _message(kind: type[Message], body: bytes) -> Message | str:
    """The message, or what is wrong with it."""
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "the message is no JSON"
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        faults = [f"{dotted(path) or 'the message'} {explain(item)[0]}" for path, item in field_errors(error, data)]
        return "; ".join(faults[:10])
