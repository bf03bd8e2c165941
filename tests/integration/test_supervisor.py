"""The example supervisor delegates over each door, with the scripted model; over the real transport of each."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agent.entrypoints.embed import retraining_tool
from agent.entrypoints.server.app import application
from agent.entrypoints.server.doors import all_doors
from agent.entrypoints.server.process import listen, url_of, uvicorn_server
from agent.services.keys import Keys
from evals.loopback import running
from examples.supervisor import doors
from examples.supervisor.doors import DoorShut, Where
from examples.supervisor.models import OpenAICompatible, Scripted
from examples.supervisor.supervisor import delegate, main, supervisor
from tests.graph.doors import ADA, app_of, desk_of
from tests.graph.world import World, make_world
from tests.integration.shop import NOW, Shop

REQUEST: dict[str, Any] = {"modelId": "prices", "retrainingConfig": {"trigger": "manual"}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def at(world: World) -> Iterator[Where]:
    """A server over the world, and an agent's key."""
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    token = keys.create("supervisor", {"read", "run"}, by="root", kind="agent").token
    taken = listen("127.0.0.1", 0)
    url = url_of(taken)
    server = uvicorn_server(application(app_of(world), keys=keys, doors=all_doors(url)))
    with running(server, taken):
        yield Where(url=url, key=token)


def check(said: list[Any], world: World) -> None:
    """The supervisor handed over, read the very decision that was recorded, and told it."""
    (record,) = world.store.list_runs()
    assert record.output is not None
    read = [json.loads(str(message.content)) for message in said if isinstance(message, ToolMessage)]
    assert read[-1]["deploymentDecision"] == record.output["deploymentDecision"]
    assert (record.requested_by, record.decision, world.moves) == ("supervisor", "deploy", [("1", "2")])
    assert said[-1].content.startswith("prices: deploy, decided by policy")


@pytest.mark.parametrize(
    "door",
    ["mcp-http", "http", "a2a"],
)
def test_supervisor_delegates_over_a_servers_door(world: World, at: Where, door: str) -> None:
    said = asyncio.run(delegate(door, at, Scripted(REQUEST), "Should prices be retrained?"))

    check(said, world)


def test_supervisor_delegates_to_a_tool_in_its_own_process(world: World) -> None:
    desk = desk_of(world)
    bot = ADA.model_copy(update={"name": "supervisor", "kind": "agent", "door": "embedded"})
    try:
        graph = supervisor(Scripted(REQUEST), [retraining_tool(desk, caller=bot)])
        said = asyncio.run(graph.ainvoke({"messages": [HumanMessage("Should prices be retrained?")]}))["messages"]
    finally:
        desk.close()

    check(said, world)


@pytest.mark.reliability
@pytest.mark.parametrize("door", ["tool", "mcp-stdio"])
def test_command_delegates_in_a_real_workspace(shop: Shop, door: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = shop.with_champion(f"prices.{door}", mode="recommend")

    code = main(["--door", door, "--workspace", str(shop.folder), "--as-of", NOW, model])

    (record,) = shop.app().deps.store.list_runs(model)
    out = capsys.readouterr().out
    assert (code, record.status) == (0, "parked")
    assert f"{model}: deploy, decided by policy" in out
    assert "I cannot answer it." in out
    assert shop.champion(model) == "1"


@pytest.mark.parametrize("door", ["mcp-http", "http", "a2a"])
def test_a_door_that_is_not_there_says_what_to_do(door: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--door", door, "--url", "http://127.0.0.1:9", "prices"])

    assert code == 1
    assert "retrain serve" in capsys.readouterr().err


@pytest.mark.parametrize("door", ["mcp-http", "http"])
def test_a_wrong_key_is_told_with_what_makes_a_right_one(at: Where, door: str) -> None:
    wrong = Where(url=at.url, key="rk_0000000000000000_" + "x" * 43)

    with pytest.raises(DoorShut, match="retrain keys create"):
        asyncio.run(delegate(door, wrong, Scripted(REQUEST), "?"))


def test_any_openai_compatible_endpoint_can_choose_the_tool(world: World) -> None:
    heard: list[dict[str, Any]] = []
    arguments = json.dumps(REQUEST)
    call = SimpleNamespace(id="c1", function=SimpleNamespace(name="retrain_model", arguments=arguments))
    answers = iter(
        [SimpleNamespace(content=None, tool_calls=[call]), SimpleNamespace(content="Done.", tool_calls=None)]
    )

    def create(**asked: Any) -> Any:
        heard.append(asked)
        return SimpleNamespace(choices=[SimpleNamespace(message=next(answers))])

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    desk = desk_of(world)
    try:
        graph = supervisor(OpenAICompatible("m", client), [retraining_tool(desk)])
        said = asyncio.run(graph.ainvoke({"messages": [HumanMessage("Should prices be retrained?")]}))["messages"]
    finally:
        desk.close()

    assert isinstance(said[-1], AIMessage)
    assert (said[-1].content, world.moves) == ("Done.", [("1", "2")])
    assert heard[0]["tools"][0]["function"]["name"] == "retrain_model"
    assert [message["role"] for message in heard[1]["messages"]] == ["system", "user", "assistant", "tool"]


def test_readme_names_every_door() -> None:
    text = Path(doors.__file__).with_name("README.md").read_text(encoding="utf-8")

    assert all(f"--door {name} " in text for name in doors.DOORS)
