"""What is left to record when the run ends?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import finish
from agent.state import RunState, findings_of, run_of


def conclude(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.finish.finish` found."""
    return finish.finish(runtime.context, run_of(state), findings_of(state))
