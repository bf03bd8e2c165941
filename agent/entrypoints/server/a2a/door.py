"""Where do A2A clients come in? The card at its well-known address, and JSON-RPC with server-sent events."""

import json
from typing import Final

from a2a.server.context import ServerCallContext
from a2a.server.jsonrpc_models import JSONParseError
from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.common import DefaultServerCallContextBuilder, ServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import InvalidRequestError
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.desk import Desk
from agent.entrypoints.server.a2a.card import agent_card
from agent.entrypoints.server.a2a.follow import MOST_WAIT
from agent.entrypoints.server.a2a.handler import Tasks
from agent.entrypoints.server.app import Door
from agent.entrypoints.server.limits import Limits
from tools.contracts.access import Caller

PATH: Final = "/a2a"
OPEN_PATHS: Final = (AGENT_CARD_WELL_KNOWN_PATH,)
"""Answered without a key: the card says how to get in, and nothing else."""


def routes(desk: Desk, url: str, *, most_wait: float = MOST_WAIT, limits: Limits | None = None) -> list[Route]:
    """The door's routes. Who asks is read from the request's state, where the server's authentication has put it.

    Args:
        desk: What is behind all doors.
        url: The server as clients reach it, for the card, e.g. `http://127.0.0.1:8472`.
        most_wait: Seconds that a message without streaming waits for its run.
        limits: How many streams may be open, and for how long.
    """
    dispatcher = JsonRpcDispatcher(Tasks(desk, most_wait=most_wait, limits=limits), context_builder=_Contexts())

    async def endpoint(request: Request) -> Response:
        if _caller(request) is None:
            refused = InvalidRequestError("who asks is not known\n  remedy: send a bearer key of this server")
            return JSONResponse(build_error_response(None, refused), 401, headers={"WWW-Authenticate": "Bearer"})
        try:
            # The dispatcher reads it again, from memory; here it is only asked whether it can be read at all.
            json.loads(await request.body())
        except (ValueError, RecursionError):
            unreadable = JSONParseError(message="the body is no JSON\n  remedy: send one JSON-RPC 2.0 request")
            return JSONResponse(build_error_response(None, unreadable))
        return await dispatcher.handle_requests(request)

    return [*create_agent_card_routes(agent_card(url.rstrip("/") + PATH)), Route(PATH, endpoint, methods=["POST"])]


def a2a_door(desk: Desk, url: str) -> Door:
    """The door as the one server mounts it beside the others.

    Args:
        desk: What is behind all doors.
        url: The server as clients reach it, for the card.
    """
    return Door("a2a", PATH, routes(desk, url), frozenset(OPEN_PATHS))


class _Contexts(ServerCallContextBuilder):
    """Hands on who asks, as the server has made sure of."""

    def build(self, request: Request) -> ServerCallContext:
        context = DefaultServerCallContextBuilder().build(request)
        context.state["caller"] = _caller(request)
        return context


def _caller(request: Request) -> Caller | None:
    found = request.scope.get("state", {}).get("caller")
    return found.model_copy(update={"door": "a2a"}) if isinstance(found, Caller) else None
