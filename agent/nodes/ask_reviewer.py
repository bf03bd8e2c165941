"""What does a person say? This node only asks: LangGraph restarts an interrupted node from its first line."""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from agent.deps import Deps
from agent.services import reviews
from agent.state import RunState, findings_of, run_of


def ask_reviewer(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Parks the run with its question. What is resumed with is not trusted: the answer is read from the store."""
    run, findings = run_of(state), findings_of(state)
    question = reviews.question(run, findings)
    interrupt({"kind": "review", **question.to_state()})
    return reviews.read_answer(runtime.context, run, question)
