"""Is the champion stale, and may this run go on?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import assess_staleness
from agent.state import RunState, run_of


def check_staleness(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.assess_staleness.assess` found."""
    return assess_staleness.assess(runtime.context, run_of(state))
