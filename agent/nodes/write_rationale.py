"""How is the decision explained, and does a borderline one go to a person?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import explain
from agent.state import RunState, findings_of, run_of


def write_rationale(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.explain.explain` found."""
    return explain.explain(runtime.context, run_of(state), findings_of(state))
