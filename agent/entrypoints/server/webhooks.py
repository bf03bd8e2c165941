"""`POST /webhooks/alertmanager`: an alert of an exported rule takes the rollout back, one that asks for a look gets it.

For who bears the webhook's token.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Collection
from typing import Final

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.entrypoints.server.limits import Rate
from agent.entrypoints.server.problems import problem
from agent.problems import dotted, explain, field_errors
from agent.services.alarms import Alarms, Answered
from agent.services.sources import ACTION, Sources
from tools.contracts.alertmanager import AlertmanagerMessage
from tools.ports import Clock

PATH: Final = "/webhooks/alertmanager"
CALLS_A_MINUTE: Final = 60
CALLER: Final = "alertmanager"
"""Who asked, in records: whoever bears the webhook's token."""


def hashed(token: str) -> str:
    """What a key file holds in place of a token: sha256, as hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def route(alarms: Alarms, sources: Sources, token_hashes: Collection[str], clock: Clock, calls_a_minute: int) -> Route:
    """The webhook. Without a token's hash it is refused, whoever calls."""
    rate = Rate(clock, calls_a_minute)

    async def alertmanager(request: Request) -> Response:
        refused = _unauthorised(request, token_hashes)
        if refused is not None:
            return refused
        if not rate.take():
            return problem(
                429, f"more than {calls_a_minute} calls a minute", title="Too many requests", Retry_After="60"
            )
        message = _read(await request.body())
        if isinstance(message, str):
            return problem(422, message, title="Bad input", remedy="send Alertmanager's webhook message, version 4")
        asking = tuple(alert for alert in message.alerts if alert.labels.get("retraining_action") == ACTION)
        looks = await run_in_threadpool(sources.alerts, asking)
        others = tuple(alert for alert in message.alerts if alert not in asking)
        take: Callable[[AlertmanagerMessage, str], Answered] = alarms.take
        answered = await run_in_threadpool(take, message.model_copy(update={"alerts": others}), CALLER)
        content = answered.to_json_dict()
        if asking:
            content |= {"looks": list(looks.looks), "ignored": [*content["ignored"], *looks.ignored]}
        return JSONResponse(content, 202 if answered.rollbacks or looks.looks else 200)

    return Route(PATH, alertmanager, methods=["POST"])


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
