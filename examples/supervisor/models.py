"""Who chooses the tool? A scripted model that needs no key and no network, or any OpenAI-compatible endpoint."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage, convert_to_openai_messages
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from examples.supervisor.doors import as_json

STARTERS = ("retrain_model", "start_retraining")
PROMPT = (
    "You supervise models in production. You have a retraining agent as a tool; it decides with evidence, you do not. "
    "Hand over the model that the user names, wait for the result, and tell the decision, who made it, the rationale and, where "
    "a person is asked, the number of the review. You cannot answer a review."
)


@dataclass
class Scripted:
    """Plays a model that does as it should: hands over, waits while the run goes on, tells what came of it."""

    request: dict[str, Any]
    """The public request."""

    def __call__(self, messages: Sequence[BaseMessage], tools: Sequence[BaseTool]) -> AIMessage:
        names = {tool.name for tool in tools}
        last = messages[-1]
        if not isinstance(last, ToolMessage):
            starter = next(name for name in STARTERS if name in names)
            waits = {"waitSeconds": 60} if starter == "start_retraining" else {}
            return _calls(starter, self.request | waits)
        result = as_json(last.content)
        if result.get("status") == "running" and "get_run" in names:
            return _calls("get_run", {"runId": result["runId"], "waitSeconds": 60})
        return AIMessage(_told(result) if "deploymentDecision" in result else f"It did not work: {last.content}")


def _calls(name: str, arguments: dict[str, Any]) -> AIMessage:
    return AIMessage("", tool_calls=[ToolCall(name=name, args=arguments, id=uuid.uuid4().hex, type="tool_call")])


def _told(result: dict[str, Any]) -> str:
    decision = result["deploymentDecision"]
    lines = [
        f"{result['modelId']}: {decision['decision']}, decided by {decision['decidedBy']} (run {result['runId']}).",
        decision["rationale"].splitlines()[0],
    ]
    if "reviewId" in decision and result["status"] == "parked":
        lines.append(f"A person is asked: review {decision['reviewId']}. I cannot answer it.")
    return "\n".join(lines)


@dataclass
class OpenAICompatible:
    """A real model behind OPENAI_BASE_URL and OPENAI_API_KEY."""

    model: str
    client: Any = field(default=None)

    def __call__(self, messages: Sequence[BaseMessage], tools: Sequence[BaseTool]) -> AIMessage:
        if self.client is None:
            from openai import OpenAI

            self.client = OpenAI()
        answer = self.client.chat.completions.create(
            model=self.model,
            messages=[{"role": "system", "content": PROMPT}, *convert_to_openai_messages(list(messages))],
            tools=[convert_to_openai_tool(tool) for tool in tools],
        )
        said = answer.choices[0].message
        calls = [
            ToolCall(name=each.function.name, args=json.loads(each.function.arguments), id=each.id, type="tool_call")
            for each in said.tool_calls or ()
        ]
        return AIMessage(said.content or "", tool_calls=calls)
