"""May these rows train and judge a model?"""

from typing import Any

from langgraph.runtime import Runtime

from agent.deps import Deps
from agent.services import validate
from agent.state import RunState, run_of


def validate_data(state: RunState, runtime: Runtime[Deps]) -> dict[str, Any]:
    """Returns the keys that `services.validate.validate` found."""
    return validate.validate(runtime.context, run_of(state))
