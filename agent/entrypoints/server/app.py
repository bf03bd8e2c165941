"""One process, all doors: HTTP under `/v1`, webhooks, and whatever else is mounted. The guard stands before each."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from agent.bootstrap import App
from agent.desk import Desk
from agent.entrypoints.chat import chat_over
from agent.entrypoints.server import problems, signed, webhooks
from agent.entrypoints.server.api import Hall, router
from agent.entrypoints.server.chat import add_chat
from agent.entrypoints.server.guard import BodyTooLarge, BodyTooSlow, DoorName, Guard, KeyRing, body_refused
from agent.entrypoints.server.limits import Limits, Slots
from agent.entrypoints.server.openapi import describe
from agent.entrypoints.server.webhooks import hashed
from agent.profiles import profile_files
from agent.services.alarms import Alarms
from agent.services.sources import Sources
from tools.errors import RetrainingError

__all__ = ["MAX_BYTES", "Door", "Server", "application", "hashed"]

MAX_BYTES: Final = Limits().body_bytes
_OPEN: Final = frozenset({"/healthz", "/openapi.json", webhooks.PATH, signed.PATH, signed.MLFLOW_PATH})
"""Paths that need no key: webhooks are authorised by what they bring."""


@dataclass(frozen=True)
class Door:
    """Another way in, mounted beside `/v1`."""

    name: DoorName
    prefix: str
    """Beginning of its paths: whoever comes there is recorded as coming through this door."""
    routes: Sequence[BaseRoute]
    open_paths: frozenset[str] = frozenset()
    """Those of its paths that need no key."""
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None
    """Entered when the server starts, left when it stops."""


class NoKeys:
    """Nobody is known."""

    def authenticate(self, token: str, door: DoorName = "http") -> None:
        """Nobody bears anything."""

    def list(self) -> Sequence[Any]:
        return ()


@dataclass(frozen=True)
class Server:
    """The ASGI application and what ends its streams."""

    app: Guard
    stop: Callable[[], None]
    """Ends streams and waiting calls; called in the event loop's thread."""
    doors: Sequence[str]


def application(
    opened: App,
    token_hashes: Collection[str] = (),
    *,
    keys: KeyRing | None = None,
    doors: Callable[[Desk], Sequence[Door]] = lambda _: (),
    hosts: Collection[str] = (),
    limits: Limits | None = None,
    calls_a_minute: int = webhooks.CALLS_A_MINUTE,
    secret: str | None = None,
    mlflow_secret: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Server:
    """Everything that `retrain serve` answers.

    Args:
        opened: Services and workspace.
        token_hashes: Of the webhook's tokens; without any it is closed.
        keys: Who may come in; without any key every other door is closed.
        doors: Further doors, built over the one desk.
        hosts: Names that the server is called by, beside addresses and `localhost`.
        limits: What a caller may use.
        calls_a_minute: Of the webhook.
        secret: Of `/webhooks/trigger`; without it that is closed.
        mlflow_secret: Of `/webhooks/mlflow`, likewise.
        tell: Hears a line a request.
    """
    bounds, desk, alarms = limits or Limits(), Desk(opened), Alarms(opened.deps, opened.runs)
    more, stopped = tuple(doors(desk)), asyncio.Event()
    deps = opened.deps
    sources = Sources(deps, lambda: [path.stem for path in profile_files(opened.workspace)])

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for door in more:
                if door.lifespan is not None:
                    await stack.enter_async_context(door.lifespan())
            yield
            stopped.set()
        # What was begun ends before the process does.
        await run_in_threadpool(alarms.close)
        await run_in_threadpool(desk.close)

    async def healthz(_: Request) -> Response:
        await run_in_threadpool(opened.deps.store.identity)
        return JSONResponse({"status": "ok"})

    async def description(_: Request) -> Response:
        return JSONResponse(describe(app))

    async def failed(request: Request, error: Exception) -> Response:
        return guard.failed(request.scope, error)

    handlers: Any = {
        RetrainingError: problems.refused,
        HTTPException: problems.http_error,
        RequestValidationError: problems.bad_parameter,
        BodyTooLarge: body_refused,
        BodyTooSlow: body_refused,
        Exception: failed,
    }
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, exception_handlers=handlers, lifespan=lifespan)
    hall = Hall(desk, Slots(bounds.streams, bounds.streams_of_caller), bounds, stopped, chat_over(desk))
    app.include_router(router(hall))
    # The same under the name that people try first.
    short = APIRouter(include_in_schema=False)
    add_chat(short, hall)
    app.include_router(short)
    app.router.routes += [
        Route("/healthz", healthz),
        Route("/openapi.json", description),
        webhooks.route(alarms, sources, token_hashes, deps.clock, calls_a_minute),
        *signed.routes(sources, deps.store, deps.clock, secret=secret, mlflow_secret=mlflow_secret),
        *(route for door in more for route in door.routes),
    ]
    guard = Guard(
        app,
        keys=keys or NoKeys(),
        clock=opened.deps.clock,
        limits=bounds,
        open_paths=_OPEN.union(*(door.open_paths for door in more)),
        doors={door.prefix: door.name for door in more},
        hosts=hosts,
        tell=tell,
    )
    return Server(guard, stopped.set, ("http", *(door.name for door in more)))
