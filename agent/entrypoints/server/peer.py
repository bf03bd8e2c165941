# pyright: basic
"""`retrain serve --role ROLE`: one of our own peers as an agent of its own, over Agent2Agent.

A card at `/.well-known/agent-card.json`, JSON-RPC at `/`. A question is a task: the envelope is its data part, rows are file
parts, and the reply is the task's artifact. What is asked again under the same id is answered from memory.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from a2a.helpers.proto_helpers import new_data_part, new_task, new_text_message
from a2a.server.agent_execution.agent_executor import AgentExecutor
from a2a.server.agent_execution.context import RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import EventQueue
from a2a.server.request_handlers.default_request_handler_v2 import DefaultRequestHandlerV2
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks.inmemory_task_store import InMemoryTaskStore
from a2a.server.tasks.task_updater import TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Message, Task, TaskState
from a2a.utils.constants import PROTOCOL_VERSION_CURRENT, TransportProtocol
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from agent.services.peer_work import ACTIONS, Answer
from tools.contracts.peer_settings import Role
from tools.errors import BadInput, RetrainingError

MAX_BYTES: Final = 64_000_000
"""Of one request: 32 MB of rows, as base64."""
TASKS: Final = 100
"""Finished tasks that can still be asked for."""
_FAULTS: Final = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
_SAYS: Final[Mapping[Role, str]] = {
    "drift-detective": "Says which columns, predictions and labels of two windows of rows drifted apart.",
    "model-evaluator": "Measures one model's predictions on rows with labels.",
    "deployment-engineer": "Puts traffic on a model's versions, takes it back, and says what serves.",
}


def application(role: Role, answer: Answer, *, url: str, token_hashes: Collection[str] = ()) -> Starlette:
    """The app.

    Args:
        role: What it is.
        answer: What it does.
        url: Where callers reach it; stands in the card.
        token_hashes: sha256 of the tokens that may call; anybody where empty.
    """
    card = agent_card(role, url, secured=bool(token_hashes))
    handler = DefaultRequestHandlerV2(_Executor(role, answer), _Tasks(), card)
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/")]
    guards = [Middleware(_Bearer, token_hashes=tuple(token_hashes)), Middleware(_Bounded, most=MAX_BYTES)]
    return Starlette(routes=routes, middleware=guards)


def agent_card(role: Role, url: str, *, secured: bool) -> AgentCard:
    """What the agent says of itself."""
    card = AgentCard(
        name=role,
        description=_SAYS[role],
        version="1.0",
        supported_interfaces=[
            AgentInterface(
                url=url, protocol_binding=TransportProtocol.JSONRPC.value, protocol_version=PROTOCOL_VERSION_CURRENT
            )
        ],
        capabilities=AgentCapabilities(streaming=False, push_notifications=False),
        default_input_modes=["application/json", "application/vnd.apache.parquet"],
        default_output_modes=["application/json"],
        skills=[
            AgentSkill(id=action, name=action, description=f"{_SAYS[role]} Metadata: action={action}.", tags=[role])
            for action in ACTIONS[role]
        ],
    )
    if secured:
        card.security_schemes["bearer"].http_auth_security_scheme.scheme = "Bearer"
        card.security_requirements.add().schemes["bearer"].list.extend([])
    return card


class _Executor(AgentExecutor):
    """One question, one task. Our synchronous peers work in threads."""

    def __init__(self, role: Role, answer: Answer) -> None:
        self._role: Role = role
        self._answer = answer

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        task_id, context_id = context.task_id or "", context.context_id or ""
        await event_queue.enqueue_event(new_task(task_id, context_id, TaskState.TASK_STATE_SUBMITTED))
        updater = TaskUpdater(event_queue, task_id, context_id)
        await updater.start_work()
        try:
            action, message, files = _question(self._role, context.message)
            reply = await asyncio.to_thread(self._answer, action, message, files)
        except RetrainingError as failure:
            await updater.reject(new_text_message(failure.message, context_id=context_id, task_id=task_id))
            return
        except _FAULTS as failure:  # what a stranger's rows did to a library: told by its kind alone
            said = f"the {self._role} failed: {type(failure).__name__}"
            await updater.failed(new_text_message(said, context_id=context_id, task_id=task_id))
            return
        await updater.add_artifact([new_data_part(reply, media_type="application/json")], name="reply")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def _question(role: Role, message: Message | None) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    parts = [] if message is None else list(message.parts)
    data = [part.data for part in parts if part.HasField("data")]
    if message is None or len(data) != 1 or data[0].WhichOneof("kind") != "struct_value":
        raise BadInput("the message needs one data part: the envelope", thing="message")
    asked = MessageToDict(message.metadata).get("action", ACTIONS[role][0])
    if asked not in ACTIONS[role]:
        raise BadInput(f"the action is none of {', '.join(ACTIONS[role])}", thing="action")
    files = {part.filename: part.raw for part in parts if part.HasField("raw")}
    return asked, MessageToDict(data[0]), files


class _Tasks(InMemoryTaskStore):
    """The newest tasks, without the rows that came with the question."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[tuple[str, ServerCallContext]] = []

    async def save(self, task: Task, context: ServerCallContext) -> None:
        kept = Task()
        kept.CopyFrom(task)
        del kept.history[:]
        await super().save(kept, context)
        if all(known != task.id for known, _ in self._order):
            self._order.append((task.id, context))
        while len(self._order) > TASKS:
            oldest, asked_in = self._order.pop(0)
            await self.delete(oldest, asked_in)


class _Bounded:
    """Refuses a body of more than `most` bytes, and holds no more of it. It stands behind `_Bearer`: strangers send nothing."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if not told.isdigit() or int(told) > self._most:
            await _refuse(send, 413, "too large")
            return
        body, more = bytearray(), True
        while more:
            event = await receive()
            if event["type"] != "http.request":
                return
            body += event.get("body", b"")
            more = event.get("more_body", False)
            if len(body) > self._most:
                await _refuse(send, 413, "too large")
                return
        whole: list[Event] = [{"type": "http.request", "body": bytes(body), "more_body": False}]
        del body

        async def read() -> Event:
            return whole.pop() if whole else await receive()

        await self._app(scope, read, send)


class _Bearer:
    """Lets in who bears a token, where any is set. The card stays readable: it says how to get in."""

    def __init__(self, app: ASGIApp, token_hashes: Collection[str]) -> None:
        self._app, self._hashes = app, token_hashes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        import hmac

        from agent.entrypoints.server.app import hashed

        if scope["type"] != "http" or not self._hashes or scope["path"].startswith("/.well-known/"):
            await self._app(scope, receive, send)
            return
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
        mine = hashed(given.strip())
        known = [hmac.compare_digest(mine, each) for each in self._hashes]  # each in constant time
        if kind.lower() == "bearer" and any(known):
            await self._app(scope, receive, send)
            return
        await _refuse(send, 401, "the bearer token is missing or unknown")


async def _refuse(send: Send, status: int, why: str) -> None:
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode()})
