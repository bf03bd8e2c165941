"""Which metric does a name in a profile, a request or a policy file mean, and which way is better?

Three kinds: metrics of predictions by scikit-learn's names, a user's own `FILE.py:FUNCTION`, and operational ones.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tools.contracts.profile import Task
from tools.contracts.request import Direction
from tools.errors import BadInput
from tools.metrics import find_metric
from tools.own_metrics import is_own

LATENCY = "latency_ms"
SIZE = "model_size_mb"
OPERATIONAL = (LATENCY, SIZE)
"""About the model and not about its predictions; lower is better."""


class Named(NamedTuple):
    """A metric as criteria name it."""

    name: str
    direction: Direction


def find_named(
    name: str,
    task: Task | None = None,
    direction: Direction | None = None,
    *,
    primary: bool = False,
    known: Mapping[str, Direction] | None = None,
) -> Named:
    """The metric's canonical name and direction.

    Args:
        name: As written.
        task: Where given, the metric must be for it.
        direction: Where given, must not contradict the metric's own.
        primary: Whether it is to be the primary metric: an operational one is refused.
        known: Directions of users' own metrics as the profile declares them, for where none is given.

    Raises:
        BadInput: Unknown, another task's, a contradicting direction, or none where one is needed.
    """
    if name in OPERATIONAL:
        if primary:
            raise BadInput(
                f"metric {name!r} is a guardrail only",
                thing="metric",
                value=name,
                remedy="name a metric of predictions as primary, and this one under metrics.guardrails",
            )
        if direction == "higher":
            raise BadInput(
                f"metric {name!r} is better when lower, not when higher",
                thing="direction",
                value=direction,
                remedy="write direction: lower, or leave it out",
            )
        return Named(name, "lower")
    if is_own(name) and direction is None:
        direction = (known or {}).get(name)
    found = find_metric(name, task, direction)
    return Named(found.name, found.direction)
