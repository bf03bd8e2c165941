"""Is there a way back, and what is the plan?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import rollout
from agent.state import RunState, findings_of, run_of


def start_rollout(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.rollout.start` found."""
    return rollout.start(runtime.context, run_of(state), findings_of(state))
