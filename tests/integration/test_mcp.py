"""MCP over its real transports: a subprocess that speaks over its pipes, a server on loopback with keys."""

import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from agent.entrypoints.server.mcp import http_door
from agent.services import reviews
from agent.services.keys import Keys
from tests.graph.test_mcp import answer, body
from tests.graph.world import World, make_world
from tests.integration.shop import COMMAND, NOW, Shop, _environment
from tests.integration.test_server import served

pytestmark = pytest.mark.slow
Scene = Callable[[Client], Awaitable[Any]]


# --- stdio -----------------------------------------------------------------------------------------------------------


def over_stdio(shop: Shop, scene: Scene, **environment: str) -> Any:
    """The scene, with the official client and the command that a user's configuration names."""
    program, *arguments = COMMAND
    parameters = StdioServerParameters(
        command=program, args=[*arguments, "mcp"], cwd=shop.folder, env=_environment() | environment
    )

    async def stage() -> Any:
        async with Client(parameters, read_timeout_seconds=240) as client:
            return await scene(client)

    return anyio.run(stage)


@pytest.mark.reliability
def test_a_run_over_stdio_waits_for_a_person_whom_no_agent_can_replace(shop: Shop) -> None:
    model = shop.with_champion("prices.stdio", mode="recommend")
    request = {"modelId": model, "retrainingConfig": {"trigger": "manual", "asOf": NOW}, "waitSeconds": 240}
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async def agent(client: Client) -> Any:
        run = await client.call_tool("start_retraining", request, progress_callback=hear)
        number = body(run)["deploymentDecision"]["reviewId"]
        return run, await client.call_tool("submit_review", answer(number))

    ran, refused = over_stdio(shop, agent)

    output = body(ran)
    assert ran.content[0].text + "\n" == json.dumps(output, ensure_ascii=False) + "\n"
    assert output == shop.app().deps.store.get_run(output["runId"]).output
    assert (output["status"], output["deploymentDecision"]["decision"]) == ("parked", "deploy")
    assert "train_candidate done" in " ".join(told)
    assert (refused.is_error, body(refused)["error"]) == (True, "NotAllowed")
    assert shop.champion(model) == "1"

    me, number = reviews.os_user(), output["deploymentDecision"]["reviewId"]
    key = Keys(shop.app().deps.store, shop.app().deps.clock).create(me, {"read", "review"}, by=me).token

    async def person(client: Client) -> Any:
        return await client.call_tool("submit_review", answer(number) | {"waitSeconds": 240})

    done = over_stdio(shop, person, RETRAIN_KEY=key)

    assert body(done)["run"]["deploymentDecision"]["decidedBy"] == me
    assert shop.champion(model) == "2"


def test_nothing_but_the_protocol_comes_out_and_the_end_of_input_is_the_end(shop: Shop) -> None:
    model = shop.with_champion("prices.bare")
    asked = [
        message(
            "initialize", 1, protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "t", "version": "1"}
        ),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        message("tools/call", 2, name="assess_staleness", arguments={"modelId": model, "asOf": NOW}),
        {"this": "is no message"},
        message("tools/call", 3, name="get_run", arguments={"runId": "r404"}),
    ]
    process = subprocess.Popen(
        [*COMMAND, "mcp"], cwd=shop.folder, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        answered: dict[Any, Any] = {}
        for each in asked:
            process.stdin.write(json.dumps(each) + "\n")
            process.stdin.flush()
        while not {1, 2, 3} <= set(answered):
            line = json.loads(process.stdout.readline())
            assert line["jsonrpc"] == "2.0"
            answered[line.get("id")] = line
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()

    assert (rest, process.returncode) == ("", 0)
    assert answered[2]["result"]["structuredContent"]["staleness"]["verdict"]
    assert answered[3]["result"]["isError"]


def test_an_unknown_key_in_the_environment_is_refused_before_anything_is_served(shop: Shop) -> None:
    shop.profile("prices.shut")
    ended = subprocess.run(
        [*COMMAND, "mcp"], cwd=shop.folder, env=_environment() | {"RETRAIN_KEY": "rk_made_up"}, input="",
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert (ended.returncode, ended.stdout) == (5, "")
    assert "RETRAIN_KEY" in ended.stderr
    assert "rk_made_up" not in ended.stderr


def message(method: str, number: int, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


# --- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, mode="recommend")


def over_http(port: int, token: str, scene: Scene, mode: str = "auto") -> Any:
    async def stage() -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            create_mcp_http_client(headers=headers) as http,
            Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http), mode=mode) as client,
        ):
            return await scene(client)

    return anyio.run(stage)


def test_over_http_each_call_is_the_key_bearers(world: World) -> None:
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    agent = keys.create("supervisor", {"read", "run"}, by="root", kind="agent").token
    ada = keys.create("ada", {"read", "review"}, by="ada").token
    request = {"modelId": "prices", "retrainingConfig": {"trigger": "manual"}, "waitSeconds": 60}
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async def ask(client: Client) -> Any:
        run = body(await client.call_tool("start_retraining", request, progress_callback=hear))
        mine = answer(run["deploymentDecision"]["reviewId"])
        return run, await client.call_tool("submit_review", mine), await client.list_resources()

    with served(world, keys=keys, doors=lambda desk: (http_door(desk),)) as door:
        run, refused, listed = over_http(door._port, agent, ask)
        mine = answer(run["deploymentDecision"]["reviewId"]) | {"waitSeconds": 60}
        done = over_http(door._port, ada, lambda client: client.call_tool("submit_review", mine), mode="legacy")

    assert told
    assert f"retrain://runs/{run['runId']}/report" in {str(each.uri) for each in listed.resources}
    assert (refused.is_error, body(refused)["error"]) == (True, "NotAllowed")
    assert body(done)["run"]["deploymentDecision"]["decidedBy"] == "ada"
    (record,) = world.store.list_runs()
    assert (record.requested_by, world.moves) == ("supervisor", [("1", "2")])


@pytest.mark.parametrize("token", [None, "rk_0000000000000000_" + "x" * 43])
def test_over_http_nobody_is_answered_without_a_known_key(world: World, token: str | None) -> None:
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    keys.create("ada", {"read"}, by="root")
    headers = {"Accept": "application/json, text/event-stream"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"

    with served(world, keys=keys, doors=lambda desk: (http_door(desk),)) as door:
        got = httpx2.post(f"http://127.0.0.1:{door._port}/mcp", json=message("tools/list", 1), headers=headers)

    assert (got.status_code, got.headers["www-authenticate"]) == (401, "Bearer")


def test_no_stream_is_kept_open_that_would_hear_nothing(world: World) -> None:
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    token = keys.create("supervisor", {"read"}, by="root", kind="agent").token
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}

    with served(world, keys=keys, doors=lambda desk: (http_door(desk),)) as door:
        got = httpx2.get(f"http://127.0.0.1:{door._port}/mcp", headers=headers, timeout=60)

    assert got.status_code == 405


def test_a_client_that_goes_away_in_mid_call_stops_neither_the_run_nor_the_server(world: World) -> None:
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    token = keys.create("supervisor", {"read", "run"}, by="root", kind="agent").token
    request = {"modelId": "prices", "retrainingConfig": {"trigger": "manual"}, "waitSeconds": 600}

    async def leave(client: Client) -> None:
        heard = anyio.Event()

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.set()

        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.call_tool("start_retraining", request, progress_callback=hear))
            await heard.wait()
            group.cancel_scope.cancel()

    async def come_back(client: Client) -> Any:
        (run,) = world.store.list_runs()
        return await client.call_tool("get_run", {"runId": run.run_id, "waitSeconds": 60})

    with served(world, keys=keys, doors=lambda desk: (http_door(desk),)) as door:
        over_http(door._port, token, leave)
        assert body(over_http(door._port, token, come_back))["status"] == "parked"
