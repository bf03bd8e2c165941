"""How is the rollout doing? One look, then the run parks until the next one is due."""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from agent.deps import Deps
from agent.services import rollout
from agent.state import RunState, findings_of, run_of


def watch_rollout(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """A rollout that waits parks first and is looked at when it is woken."""
    run, findings = run_of(state), findings_of(state)
    if findings.rollout is not None and findings.rollout.phase == "waiting":
        interrupt({"kind": "wait", "wake_at": state["rollout"]["wake_at"]})  # type: ignore[typeddict-item]
    return rollout.look(runtime.context, run, findings)
