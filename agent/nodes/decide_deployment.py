"""What follows from the evidence? Code decides."""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import decide
from agent.state import RunState, findings_of, run_of


def decide_deployment(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.decide.decide` found."""
    return decide.decide(runtime.context, run_of(state), findings_of(state))
