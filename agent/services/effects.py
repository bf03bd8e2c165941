"""How does a side effect happen once? Intent before, confirmation after, and a look for the traces of a killed attempt."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.deps import Deps
from tools.errors import BrokenInvariant

Result = Mapping[str, Any]


def once(
    deps: Deps,
    run_id: str,
    name: str,
    intent: Result,
    act: Callable[[], Result],
    found: Callable[[], Result | None],
) -> Result:
    """Do `act` unless it is recorded, or `found` sees that a killed attempt already did it.

    Args:
        name: unique within the run; with the run id it is the idempotency key.
        intent: JSON recorded before the act.
        act: does it and returns JSON to record. It must be safe to look for its traces afterwards.
        found: the result if the outside world already bears the effect, else None.

    Raises:
        Conflict: the lease went to somebody else; nothing is done.
    """
    if deps.lease is None:
        raise BrokenInvariant(f"effect {name!r} was asked for without a lease", thing="effect", value=name)
    key = f"{run_id}/{name}"
    record = deps.store.intend(deps.lease.current, key, name, intent)
    if record.status == "done":
        return record.result or {}
    result = found()
    if result is None:
        result = act()
    deps.store.confirm(key, result)
    return result
