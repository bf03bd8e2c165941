"""Does production serve the last known good version again?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import aftermath
from agent.state import RunState, findings_of, run_of


def roll_back(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.aftermath.roll_back` found."""
    return aftermath.roll_back(runtime.context, run_of(state), findings_of(state))
