"""What is left to record when the run ends?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import conclude
from agent.state import RunState, findings_of, run_of


def conclude(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.conclude.conclude` found."""
    return conclude.conclude(runtime.context, run_of(state), findings_of(state))
