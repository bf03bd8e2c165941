"""The agent inside another program: as a node of its graph, as a tool of its model. The same desk behind."""

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from agent.desk import Desk
from agent.entrypoints.embed import Reviewer, retraining_tool, subgraph
from tests.graph.doors import ADA, desk_of
from tests.graph.world import World, make_world
from tools.contracts.access import Caller

REQUEST = {"modelId": "prices", "retrainingConfig": {"trigger": "manual", "asOf": "2026-07-01T00:00:00Z"}}
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
BOT = ADA.model_copy(update={"name": "planner", "kind": "agent", "door": "embedded"})
YES = {"decisions": [{"type": "approve"}], "reason": "looked at it"}


class Parent(TypedDict, total=False):
    retraining_request: dict[str, Any]
    retraining_result: dict[str, Any]
    said: str


def parent(desk: Desk, reviewer: Reviewer | None = None) -> CompiledStateGraph[Any]:
    """A parent that hands a request to the subgraph and reads what it decided."""
    child = subgraph(desk, caller=BOT, reviewer=reviewer)
    assert child.checkpointer is None
    made: Any = StateGraph(Parent)
    made.add_node("retraining", child)
    made.add_node("read", lambda state: {"said": state["retraining_result"]["deploymentDecision"]["decision"]})
    made.add_edge(START, "retraining")
    made.add_edge("retraining", "read")
    made.add_edge("read", END)
    return made.compile(checkpointer=InMemorySaver())


def send(graph: CompiledStateGraph[Any], given: Any, way: str = "invoke") -> dict[str, Any]:
    if way == "invoke":
        return graph.invoke(given, THREAD)
    return asyncio.run(graph.ainvoke(given, THREAD))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def asking(tmp_path: Path) -> World:
    """Asks a person before every effect."""
    return make_world(tmp_path, mode="recommend")


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_parent_gets_the_public_json_of_a_recorded_run(world: World, way: str) -> None:
    with closing(desk_of(world)) as desk:
        ended = send(parent(desk), {"retraining_request": REQUEST}, way)

    (record,) = world.store.list_runs()
    assert (ended["said"], ended["retraining_result"]) == ("deploy", record.output)
    assert (record.requested_by, record.status, world.moves) == ("planner", "finished", [("1", "2")])


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_the_question_reaches_the_parent_and_a_persons_yes_goes_down_to_the_run(asking: World, way: str) -> None:
    with closing(desk_of(asking)) as desk:
        graph = parent(desk, reviewer=lambda _: ADA)
        asked = send(graph, {"retraining_request": REQUEST}, way)["__interrupt__"][0].value
        assert asking.moves == []
        ended = send(graph, Command(resume=YES), way)

    assert (asked["kind"], asked["action_requests"][0]["name"]) == ("review", "deploy")
    assert (ended["said"], asking.moves) == ("deploy", [("1", "2")])
    assert ended["retraining_result"]["deploymentDecision"]["decidedBy"] == ADA.name
    assert len(asking.store.list_runs()) == 1


@pytest.mark.parametrize(
    ("reviewer", "error"),
    [(None, "NotAllowed"), (BOT, "NotAllowed"), (ADA.model_copy(update={"name": "eve"}), "NotAllowed")],
)
def test_a_yes_that_is_no_approvers_is_asked_again_and_moves_nothing(
    asking: World, reviewer: Caller | None, error: str
) -> None:
    with closing(desk_of(asking)) as desk:
        graph = parent(desk, reviewer=None if reviewer is None else lambda _: reviewer)
        first = send(graph, {"retraining_request": REQUEST})["__interrupt__"][0].value
        second = send(graph, Command(resume=YES))["__interrupt__"][0].value

    assert second["refused"]["error"] == error
    assert {**second, "refused": None} == {**first, "refused": None}
    assert (asking.store.get_review(first["reviewId"]).status, asking.moves) == ("open", [])


def test_a_yes_to_something_else_than_stands_in_the_question_by_now_moves_nothing_and_the_next_one_does(
    asking: World,
) -> None:
    """The parent keeps what it was shown; meanwhile the question became another one."""
    with closing(desk_of(asking)) as desk:
        graph = parent(desk, reviewer=lambda _: ADA)
        first = send(graph, {"retraining_request": REQUEST})["__interrupt__"][0].value
        question = asking.store.get_review(first["reviewId"])
        other = question.model_copy(update={"digest": "0" * 64})
        asking.store._reviews.put(other.id, other)
        again = send(graph, Command(resume=YES))["__interrupt__"][0].value
        assert (again["refused"]["error"], asking.moves) == ("Conflict", [])
        asking.store._reviews.put(question.id, question)
        shown = send(graph, Command(resume=YES))["__interrupt__"][0].value
        assert (shown["refused"]["error"], shown["digest"], asking.moves) == ("Conflict", question.digest, [])
        send(graph, Command(resume=YES))

    assert asking.moves == [("1", "2")]


@pytest.mark.parametrize(
    "given", ["yes", {"decisions": [{"type": "respond"}]}, {"decisions": "approve"}, {"decisions": []}]
)
def test_what_says_neither_yes_nor_no_is_asked_again(asking: World, given: Any) -> None:
    with closing(desk_of(asking)) as desk:
        graph = parent(desk, reviewer=lambda _: ADA)
        send(graph, {"retraining_request": REQUEST})
        again = send(graph, Command(resume=given))["__interrupt__"][0].value

    assert again["refused"]["thing"] == "decisions"
    assert asking.moves == []


def test_an_answer_given_at_another_door_is_found_when_the_parent_is_resumed(asking: World) -> None:
    with closing(desk_of(asking)) as desk:
        graph = parent(desk)
        asked = send(graph, {"retraining_request": REQUEST})["__interrupt__"][0].value
        desk.submit_review(ADA, asked["reviewId"], "reject", "not before the holidays")
        ended = send(graph, Command(resume="look again"))

    assert (ended["said"], asking.moves) == ("reject", [])


def test_a_parent_that_asks_twice_gets_two_runs(world: World) -> None:
    with closing(desk_of(world)) as desk:
        graph = parent(desk)
        first, second = (send(graph, {"retraining_request": REQUEST})["retraining_result"]["runId"] for _ in range(2))

    assert first != second


# --- the tool --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_the_tool_returns_the_public_json_and_a_model_reads_the_bytes_of_the_command(world: World, way: str) -> None:
    call = ToolCall(name="retrain_model", args=REQUEST, id="c1", type="tool_call")
    with closing(desk_of(world)) as desk:
        tool = retraining_tool(desk, caller=BOT)
        said = tool.invoke(call) if way == "invoke" else asyncio.run(tool.ainvoke(call))

    (record,) = world.store.list_runs()
    assert isinstance(said, ToolMessage)
    assert (said.content, said.status) == (json.dumps(record.output, ensure_ascii=False), "success")
    assert (record.requested_by, world.moves) == ("planner", [("1", "2")])


def test_the_tool_without_a_call_returns_the_public_json_itself(world: World) -> None:
    with closing(desk_of(world)) as desk:
        returned = retraining_tool(desk, caller=BOT).invoke(REQUEST)

    assert returned == world.store.list_runs()[0].output


def test_the_tools_arguments_are_the_public_request(world: World) -> None:
    with closing(desk_of(world)) as desk:
        described = convert_to_openai_tool(retraining_tool(desk))["function"]

    assert described["name"] == "retrain_model"
    assert {"modelId", "retrainingConfig", "deploymentCriteria", "idempotencyKey"} <= set(
        described["parameters"]["properties"]
    )
    assert described["parameters"]["required"] == ["modelId", "retrainingConfig"]


def test_a_refused_request_is_the_tools_answer_with_thing_and_remedy(world: World) -> None:
    call = ToolCall(name="retrain_model", args={"modelId": "nobody", "retrainingConfig": {}}, id="c1", type="tool_call")
    with closing(desk_of(world)) as desk:
        said = retraining_tool(desk, caller=BOT).invoke(call)

    told = json.loads(said.content)
    assert (said.status, told["error"], told["thing"]) == ("error", "NotFound", "modelId")
    assert told["remedy"]


def test_the_tool_of_an_agent_that_may_only_read_begins_nothing(world: World) -> None:
    reader = BOT.model_copy(update={"scopes": frozenset({"read"})})
    call = ToolCall(name="retrain_model", args=REQUEST, id="c1", type="tool_call")
    with closing(desk_of(world)) as desk:
        said = retraining_tool(desk, caller=reader).invoke(call)

    assert (said.status, json.loads(said.content)["error"], world.store.list_runs()) == ("error", "NotAllowed", [])
