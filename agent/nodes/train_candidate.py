"""What does the pipeline make of the window?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import train
from agent.state import RunState, findings_of, run_of


def train_candidate(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.train.train` found."""
    return train.train(runtime.context, run_of(state), findings_of(state))
