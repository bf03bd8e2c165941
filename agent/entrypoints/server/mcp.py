"""The Model Context Protocol at the desk: one server for stdio and for streamable HTTP.

Who calls is known before anything is done: over stdio it is the agent that the OS user started, over HTTP whoever the
middleware made sure of. Nothing is elicited: a "yes" in a chat is no person's approval.
"""

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.desk import Desk
from agent.entrypoints.server.app import Door
from agent.entrypoints.server.mcp_contracts import run_json
from agent.entrypoints.server.mcp_resources import TEMPLATES, resource, resources
from agent.entrypoints.server.mcp_tools import Began, Tool, tools
from agent.entrypoints.server.problems import problem
from agent.problems import error_json
from tools.contracts.access import Caller
from tools.errors import NotAllowed, RetrainingError

NAME: Final = "retraining-orchestrator"
PATH: Final = "/mcp"
MAX_BYTES: Final = 1_000_000
LISTED_RUNS: Final = 20
"""Newest runs in the list of resources; any other one's address is made from its id."""
LOOK_EVERY: Final = 0.25
LOOK_CLOSELY: Final = 0.05
SAY_EVERY: Final = 5.0
"""Seconds between two notifications while nothing new is told."""
INSTRUCTIONS: Final = """\
Decides with evidence whether a production model should be retrained, trains and judges the candidate, rolls it out or
refuses it. Begin with assess_staleness or start_retraining; both take a modelId. A run's answer is its public JSON:
deploymentDecision.decision is deploy, canary, reject or manual_review. manual_review waits for a person: tell the people
named in list_reviews; you cannot answer for them. Long runs: start_retraining answers with a runId, get_run with waitSeconds
follows it. explain_decision gives reasons and evidence."""

_log = logging.getLogger(__name__)
CallerOf = Callable[[ServerRequestContext[Any, Any]], Caller]


# --- who calls -------------------------------------------------------------------------------------------------------


def always(caller: Caller) -> CallerOf:
    """The caller of a door that only one can stand at."""
    return lambda _: caller


def from_scope(ctx: ServerRequestContext[Any, Any]) -> Caller:
    """Whom the middleware of the HTTP server made sure of, for this very request.

    Raises:
        NotAllowed: nobody did.
    """
    request = ctx.request
    caller = None if request is None else _caller_in(request.scope)
    if caller is None:
        raise _nobody()
    return caller


def _caller_in(scope: Any) -> Caller | None:
    caller = scope.get("state", {}).get("caller")
    return caller.model_copy(update={"door": "mcp"}) if isinstance(caller, Caller) else None


def _nobody() -> NotAllowed:
    return NotAllowed("the request names no caller", thing="caller", remedy="send a key: `Authorization: Bearer …`")


# --- the server ------------------------------------------------------------------------------------------------------


def server(desk: Desk, caller_of: CallerOf) -> Server[Any]:
    """The server, whatever carries its messages."""
    table = {tool.name: tool for tool in tools()}
    listed = [_listed(tool) for tool in table.values()]

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(
        ctx: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = table.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"no tool {params.name!r}; there are {', '.join(table)}")
        return await _call(desk, caller_of, ctx, tool, params.arguments or {})

    async def list_resources(ctx: ServerRequestContext[Any, Any], _: Any) -> types.ListResourcesResult:
        runs = await _asked(lambda: desk.list_runs(caller_of(ctx), limit=LISTED_RUNS))
        return types.ListResourcesResult(resources=[each for run in runs for each in resources(run)])

    async def list_templates(_: Any, __: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=TEMPLATES)

    async def read_resource(
        ctx: ServerRequestContext[Any, Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        kind, text = await _asked(lambda: resource(desk, caller_of(ctx), uri))
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=kind, text=text)])

    return Server(
        NAME,
        version=_version(),
        title="Retraining orchestrator",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )


def _version() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:  # run from a checkout
        return "0"


def _listed(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.read_only,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.idempotent,
            open_world_hint=tool.open_world,
        ),
    )


async def _call(
    desk: Desk, caller_of: CallerOf, ctx: ServerRequestContext[Any, Any], tool: Tool, arguments: dict[str, Any]
) -> types.CallToolResult:
    """A refusal or a failure is the tool's answer: whoever called can read it and do better."""
    begun: dict[str, Any] = {}
    try:
        caller = caller_of(ctx)
        done = await anyio.to_thread.run_sync(tool.does, desk, caller, arguments)
        if isinstance(done, Began):
            begun = {"runId": done.run_id}
            done = done.around(await _follow(desk, caller, ctx, done))
        return _answer(done)
    except RetrainingError as error:
        return _answer(error_json(error) | begun, failed=True)
    except Exception:  # noqa: BLE001 what it says may hold what is nobody's business; the log is the operator's
        _log.exception("the tool %s failed", tool.name)
        body = {
            "error": "Crash",
            "message": f"{tool.name} failed in a way that was not foreseen",
            "remedy": "see the server's log; list what was begun with `retrain runs list`",
            "retry": False,
        }
        return _answer(body | begun, failed=True)


def _answer(content: dict[str, Any], *, failed: bool = False) -> types.CallToolResult:
    """The same bytes as `--json` prints, and the same as structured content."""
    said = types.TextContent(type="text", text=_text(content))
    return types.CallToolResult(content=[said], structured_content=content, is_error=failed)


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)


async def _follow(desk: Desk, caller: Caller, ctx: ServerRequestContext[Any, Any], began: Began) -> dict[str, Any]:
    """The run's JSON once it stands still or the time is over; meanwhile progress, for who asked for it."""
    start = anyio.current_time()
    until, number, told, run_id = start + began.seconds, 0, start, began.run_id
    while True:
        going = desk.is_going(run_id)
        record = await anyio.to_thread.run_sync(desk.get_run, caller, run_id)
        now = anyio.current_time()
        if not going and record.status != "running":
            if not began.looked_up:
                desk.wait_for(run_id, 0)  # what ended it says more than the record
            return run_json(record)
        if now >= until:
            return run_json(record, going=going)
        lines = desk.board.since(run_id, number)
        if lines or now - told >= SAY_EVERY:
            number = lines[-1].number if lines else number
            text = "; ".join(line.text for line in lines) or f"run {run_id} goes on"
            await ctx.session.report_progress(now - start, began.seconds, text)
            told = now
        look = min(LOOK_EVERY, until - now)
        if going:
            await _until_ended(desk, run_id, look, quietly=began.looked_up)
        else:
            await anyio.sleep(look)


async def _until_ended(desk: Desk, run_id: str, seconds: float, *, quietly: bool) -> None:
    """A crash of the run is told in any case; a failure that is on record only to who began it."""
    until = anyio.current_time() + seconds
    try:
        # No thread waits with it: many who wait would leave none for anybody else.
        while desk.is_going(run_id) and (left := until - anyio.current_time()) > 0:
            await anyio.sleep(min(LOOK_CLOSELY, left))
        desk.wait_for(run_id, 0)
    except RetrainingError:
        if not quietly:
            raise


async def _asked(ask: Callable[[], Any]) -> Any:
    """In a thread; a refusal is the protocol's error, since a resource has no other."""
    try:
        return await anyio.to_thread.run_sync(ask)
    except RetrainingError as error:
        body = error_json(error)
        code = types.INTERNAL_ERROR if body["retry"] else types.INVALID_PARAMS
        raise MCPError(code, f"{error.message}; {error.remedy}" if error.remedy else error.message, body) from None


# --- what carries the messages ---------------------------------------------------------------------------------------


async def run_stdio(desk: Desk, caller: Caller) -> None:
    """Until the client closes our stdin. Meanwhile what anybody else prints goes to stderr: stdout is the protocol's."""
    served = server(desk, always(caller))
    async with stdio_server() as (read, write):
        await served.run(read, write, served.create_initialization_options())


def http_door(desk: Desk, *, max_bytes: int = MAX_BYTES) -> Door:
    """Streamable HTTP at /mcp, without sessions: each request stands for itself and is somebody's.

    The guard in front of all doors has looked at Host, Origin and key; without its word nothing is answered.
    """
    manager = StreamableHTTPSessionManager(
        server(desk, from_scope),
        stateless=True,
        max_request_body_size=max_bytes,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    # Without sessions a stream that only listens would hear nothing and stay open for ever: there is no GET.
    route = Route(PATH, _Guarded(manager.handle_request), methods=["POST"])
    return Door("mcp", PATH, (route,), lifespan=partial(_running, manager))


@asynccontextmanager
async def _running(manager: StreamableHTTPSessionManager) -> AsyncGenerator[None]:
    async with manager.run():
        yield


class _Guarded:
    """Nothing is answered to nobody, not even the list of tools. A class, so that Starlette takes it as an application."""

    def __init__(self, inner: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _caller_in(scope) is not None:
            await self._inner(scope, receive, send)
            return
        error = _nobody()
        refused = problem(
            401, error.message, title="Unauthorised", remedy=error.remedy, thing=error.thing, WWW_Authenticate="Bearer"
        )
        await refused(scope, receive, send)
