"""A supervisor agent: a model node and a tool node in a loop. It delegates; it decides nothing.

python -m examples.supervisor.supervisor --door tool --workspace examples/electricity electricity
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from examples.supervisor.doors import DOORS, DoorShut, Where
from examples.supervisor.models import OpenAICompatible, Scripted

Model = Callable[[Sequence[BaseMessage], Sequence[BaseTool]], AIMessage]
MOST_STEPS = 40


class Talk(TypedDict):
    """All that is said."""

    messages: Annotated[list[BaseMessage], add_messages]


def supervisor(model: Model, tools: Sequence[BaseTool]) -> Any:
    """The compiled graph."""
    by_name = {tool.name: tool for tool in tools}

    async def think(talk: Talk) -> dict[str, Any]:
        return {"messages": [await asyncio.to_thread(model, talk["messages"], tools)]}

    async def act(talk: Talk) -> dict[str, Any]:
        asked = talk["messages"][-1]
        assert isinstance(asked, AIMessage)
        return {"messages": [await by_name[call["name"]].ainvoke(call) for call in asked.tool_calls]}

    def wants_tool(talk: Talk) -> str:
        last = talk["messages"][-1]
        return "act" if isinstance(last, AIMessage) and last.tool_calls else END

    graph = StateGraph(Talk)
    graph.add_node("think", think)
    graph.add_node("act", act)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", wants_tool, ["act", END])
    graph.add_edge("act", "think")
    return graph.compile()


async def delegate(door: str, where: Where, model: Model, question: str) -> list[BaseMessage]:
    """Everything that was said, from the question to the last answer.

    Raises:
        DoorShut: it cannot be reached.
    """
    async with DOORS[door](where) as tools:
        talk = {"messages": [HumanMessage(question)]}
        ended = await supervisor(model, tools).ainvoke(talk, {"recursion_limit": MOST_STEPS})
        return ended["messages"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Delegates a model's retraining over the door named.")
    parser.add_argument("model", help="profile id or registered model name")
    parser.add_argument("--door", choices=sorted(DOORS), default="tool")
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--url", default=Where.url)
    parser.add_argument("--key", help="an agent's key, with the scopes read and run")
    parser.add_argument("--as-of", help="the 'now' of the data")
    parser.add_argument("--llm", help="model of an OpenAI-compatible endpoint; without it a script plays the model")
    given = parser.parse_args(arguments)
    config = {"trigger": "manual"} | ({} if given.as_of is None else {"asOf": given.as_of})
    request = {"modelId": given.model, "retrainingConfig": config}
    model: Model = Scripted(request) if given.llm is None else OpenAICompatible(given.llm)
    question = f"Should {given.model} be retrained? Send this request to the retraining agent: {request}"
    where = Where(given.workspace, given.url, given.key)
    try:
        said = asyncio.run(delegate(given.door, where, model, question))
    except DoorShut as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for message in said:
        called = ", ".join(call["name"] for call in getattr(message, "tool_calls", ()))
        shown = str(message.content)
        sys.stdout.write(f"[{message.type}] {called or (shown if len(shown) < 1500 else shown[:300] + ' …')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
