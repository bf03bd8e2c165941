"""Is the candidate better than the champion on the same rows?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import compare
from agent.state import RunState, findings_of, run_of


def compare_candidate(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.compare.compare` found."""
    return compare.compare(runtime.context, run_of(state), findings_of(state))
