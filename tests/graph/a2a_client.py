"""The official SDK's client before the A2A door, in process or over a real server on loopback."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from a2a.client import Client, ClientConfig, ClientFactory
from a2a.helpers.proto_helpers import get_data_parts, get_raw_parts, get_text_parts, new_data_part, new_text_part
from a2a.types import Message, Role, SendMessageConfiguration, SendMessageRequest, StreamResponse, Task, TaskState
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.desk import Desk
from agent.entrypoints.server.a2a import routes
from tests.graph.doors import ADA
from tests.graph.world import NAME, World
from tools.contracts.access import Caller
from tools.contracts.run import RunRecord, RunStatus

BOT = Caller(name="supervisor", kind="agent", scopes=ADA.scopes, door="http")
REQUEST: dict[str, Any] = {"modelId": "prices", "retrainingConfig": {"trigger": "manual"}}
START: dict[str, Any] = {"skill": "start_retraining", "request": REQUEST}
URL = "http://agent.test"


def recorded(
    world: World, run_id: str, status: RunStatus, *, context: str | None = None, key: str | None = None
) -> None:
    """A run of the store that nobody drives."""
    order = world.order(request=REQUEST if key is None else {**REQUEST, "idempotencyKey": key}, context=context)
    world.store.create_run(
        RunRecord(
            run_id=run_id,
            model_id="prices",
            model_name=NAME,
            kind="retrain",
            status=status,
            requested_by=ADA.name,
            idempotency_key=key,
            order=order.to_state(),
            created_at=world.now[0],
            updated_at=world.now[0],
        )
    )


class Door:
    """The middleware that a server has, cut down to a table of keys."""

    def __init__(self, app: ASGIApp, keys: Mapping[str, Caller]) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            key = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
            if key in self._keys:
                scope.setdefault("state", {})["caller"] = self._keys[key]
        await self._app(scope, receive, send)


def application(desk: Desk, *callers: Caller, url: str = URL, **options: Any) -> ASGIApp:
    """Each caller's key is his name."""
    known = {caller.name: caller for caller in (ADA, BOT, *callers)}
    return Door(Starlette(routes=routes(desk, url, **options)), known)


@asynccontextmanager
async def http_client(app: ASGIApp | None = None, *, key: str | None = ADA.name, url: str = URL) -> AsyncIterator[Any]:
    transport = None if app is None else httpx.ASGITransport(app=app)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers, timeout=60) as http:
        yield http


@asynccontextmanager
async def client(
    app: ASGIApp | None = None, *, key: str = ADA.name, streaming: bool = False, url: str = URL
) -> AsyncIterator[Client]:
    """A client that has found the agent by its card."""
    async with http_client(app, key=key, url=url) as http:
        config = ClientConfig(streaming=streaming, httpx_client=http)
        yield await ClientFactory(config).create_from_url(url)


def message(content: Any, **fields: Any) -> Message:
    """Data, or words."""
    part = new_text_part(content) if isinstance(content, str) else new_data_part(content, media_type="application/json")
    named = {"message_id": uuid.uuid4().hex, "role": Role.ROLE_USER, "parts": [part], **fields}
    return Message(**named)


async def events(asked: Client, sent: Message, **configuration: Any) -> list[StreamResponse]:
    request = SendMessageRequest(message=sent, configuration=SendMessageConfiguration(**configuration))
    return [event async for event in asked.send_message(request)]


async def send(asked: Client, content: Any, **fields: Any) -> Task | Message:
    """What one message brings, without streaming."""
    sent = content if isinstance(content, Message) else message(content, **fields)
    (answer,) = await events(asked, sent)
    return answer.task if answer.HasField("task") else answer.message


async def begin(asked: Client, content: Any = START, **fields: Any) -> Task:
    task = await send(asked, content, **fields)
    assert isinstance(task, Task)
    return task


def state(task: Task) -> str:
    return TaskState.Name(task.status.state).removeprefix("TASK_STATE_")


def words(found: Task | Message) -> str:
    told = found.status.message if isinstance(found, Task) else found
    return "\n".join(get_text_parts(told.parts))


def data(found: Task | Message) -> Any:
    told = found.status.message if isinstance(found, Task) else found
    (one,) = get_data_parts(told.parts)
    return one


def decision_bytes(task: Task) -> bytes:
    (artifact,) = task.artifacts
    (raw,) = get_raw_parts(artifact.parts)
    return raw
