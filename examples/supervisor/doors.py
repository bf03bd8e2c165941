"""One way each to hand the work over: every door as LangChain tools that any supervisor can hold."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool, ToolException

DESCRIPTION = "Have a model's retraining decided, with evidence. Answers with the public JSON of the run."


@dataclass(frozen=True)
class Where:
    """How the doors are reached."""

    workspace: Path = Path()
    """For `tool` and `mcp-stdio`: where retraining.yaml is."""
    url: str = "http://127.0.0.1:8472"
    """For the others: where `retrain serve` listens."""
    key: str | None = None
    """For the others: an agent's key with the scopes `read` and `run`."""

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}


class DoorShut(Exception):
    """It cannot be reached; the text says what to do."""


# --- in this process -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def tool(where: Where) -> AsyncIterator[list[BaseTool]]:
    """The agent as a StructuredTool, in this very process."""
    from agent.bootstrap import bootstrap
    from agent.desk import Desk
    from agent.entrypoints.embed import retraining_tool

    desk = Desk(bootstrap(environ=os.environ, start=where.workspace))
    try:
        yield [retraining_tool(desk)]
    finally:
        await asyncio.to_thread(desk.close)


# --- MCP -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def mcp_stdio(where: Where) -> AsyncIterator[list[BaseTool]]:
    """`retrain mcp` as a subprocess of this one."""
    from mcp import Client, StdioServerParameters

    command = [sys.executable, "-m", "agent.entrypoints.cli.app", "mcp", "--workspace", str(where.workspace.resolve())]
    root = str(Path(__file__).parents[2])
    server = StdioServerParameters(command=command[0], args=command[1:], cwd=root)
    async with Client(server, read_timeout_seconds=600) as client:
        yield await _mcp_tools(client)


@asynccontextmanager
async def mcp_http(where: Where) -> AsyncIterator[list[BaseTool]]:
    """`/mcp` of a server."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    await _require(where, "/mcp", "MCP")
    async with (
        create_mcp_http_client(headers=where.headers) as http,
        Client(streamable_http_client(f"{where.url}/mcp", http_client=http)) as client,
    ):
        yield await _mcp_tools(client)


async def _mcp_tools(client: Any) -> list[BaseTool]:
    def through(name: str) -> Callable[..., Awaitable[Any]]:
        async def call(**arguments: Any) -> Any:
            result = await client.call_tool(name, arguments)
            if result.is_error:
                raise ToolException(result.content[0].text)
            return result.structured_content

        return call

    listed = (await client.list_tools()).tools
    return [_as_tool(each.name, each.description, each.input_schema, through(each.name)) for each in listed]


# --- HTTP ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def http(where: Where) -> AsyncIterator[list[BaseTool]]:
    """`POST /v1/runs` of a server, then its run until it rests."""
    import httpx

    await _require(where, "/v1/runs?limit=1", "HTTP")
    async with httpx.AsyncClient(base_url=where.url, headers=where.headers, timeout=120) as client:

        async def retrain(**request: Any) -> Any:
            answer = await client.post("/v1/runs", json=request, params={"wait": 60})
            while answer.is_success and answer.json()["status"] == "running":
                answer = await client.get(f"/v1/runs/{answer.json()['runId']}", params={"wait": 60})
            if not answer.is_success:
                raise ToolException(answer.text)
            return answer.json().get("output", answer.json())

        yield [_as_tool("retrain_model", DESCRIPTION, _request_schema(), retrain)]


# --- A2A -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def a2a(where: Where) -> AsyncIterator[list[BaseTool]]:
    """A task of the remote agent; its artifact `decision` is what it brought."""
    import httpx
    from a2a.client import ClientConfig, ClientFactory

    await _require(where, "/.well-known/agent-card.json", "A2A")
    async with httpx.AsyncClient(headers=where.headers, timeout=600) as client:
        remote = await ClientFactory(ClientConfig(httpx_client=client, streaming=False)).create_from_url(where.url)

        async def retrain(**request: Any) -> Any:
            return await _task_of(remote, {"skill": "start_retraining", "request": request})

        yield [_as_tool("retrain_model", DESCRIPTION, _request_schema(), retrain)]


async def _task_of(remote: Any, data: dict[str, Any]) -> Any:
    from a2a.helpers.proto_helpers import get_raw_parts, get_text_parts, new_data_message
    from a2a.types import GetTaskRequest, Role, SendMessageRequest, TaskState

    message = new_data_message(data, media_type="application/json", role=Role.ROLE_USER)
    sent = [event async for event in remote.send_message(SendMessageRequest(message=message))]
    task = sent[-1].task
    while task.status.state in (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING):
        await asyncio.sleep(1)
        task = await remote.get_task(GetTaskRequest(id=task.id))
    # The file, not the data part: its numbers are what they were.
    decisions = [part for each in task.artifacts if each.name == "decision" for part in get_raw_parts(each.parts)]
    if not decisions:
        raise ToolException("; ".join(get_text_parts(task.status.message.parts)) or "the task brought no decision")
    return json.loads(decisions[-1])


# --- help ------------------------------------------------------------------------------------------------------------


def _as_tool(name: str, description: str, schema: dict[str, Any], call: Callable[..., Awaitable[Any]]) -> BaseTool:
    return StructuredTool.from_function(
        coroutine=call, name=name, description=description, args_schema=schema, handle_tool_error=True
    )


def _request_schema() -> dict[str, Any]:
    """Of the public request; `retrain schema input` prints it for whoever has no copy of this package."""
    from agent.schemas import json_schema

    return json_schema("input")


async def _require(where: Where, path: str, name: str) -> None:
    import httpx

    start = f"start it with `retrain serve --workspace {where.workspace}`, or name another one with --url"
    try:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.get(where.url + path, headers=where.headers)
    except httpx.HTTPError as error:
        raise DoorShut(f"nothing answers at {where.url} ({type(error).__name__}): {start}") from error
    if answer.status_code == 404:
        raise DoorShut(f"the server at {where.url} has no {name} door: it is of another version")
    if answer.status_code in (401, 403):
        key = "`retrain keys create supervisor --agent --scope read --scope run` makes one; name it with --key"
        raise DoorShut(f"the server at {where.url} does not know this key: {key}")


DOORS = {"tool": tool, "mcp-stdio": mcp_stdio, "mcp-http": mcp_http, "a2a": a2a, "http": http}


def as_json(content: Any) -> dict[str, Any]:
    """What a tool answered, read again from the message that holds it."""
    try:
        found = json.loads(content)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
