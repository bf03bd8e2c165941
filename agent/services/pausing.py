"""Who may stop a model's triggers, and who lets them go on?

Anybody may stop them; they go on by the word of whoever has stopped them, or of an approver.
"""

from collections.abc import Collection

from agent.deps import Deps
from agent.services import holds
from tools.contracts.access import Caller
from tools.contracts.run import Hold
from tools.errors import NotAllowed


def pause(deps: Deps, caller: Caller, model_id: str | None, why: str) -> Hold:
    """Nothing of this profile (of any, where None) starts by itself, nor is looked at, until it is resumed.

    Raises:
        BadInput: no reason.
    """
    return holds.put(deps, _scope(deps, model_id), why, by=caller.name)


def resume(deps: Deps, caller: Caller, model_id: str | None, why: str, *, approvers: Collection[str]) -> Hold:
    """Go on; what had waited is evaluated at once. Whoever has paused may, too.

    Raises:
        BadInput: no reason. NotAllowed: no person, or no approver. NotFound: nothing is paused.
    """
    if caller.kind != "person":
        raise NotAllowed(
            f"{caller.name!r} is an agent: a person lets triggers go on",
            thing="approver",
            value=caller.name,
            remedy="ask one of the approvers",
        )
    scope = _scope(deps, model_id)
    hold = holds.found(deps, scope)
    # Where nothing is paused, that is what is said.
    may = set(approvers) | {caller.name if hold is None else hold.by}
    released = holds.release(deps, scope, why, approvers=may, by=caller.name)
    deps.store.wake_watch(None if model_id is None else deps.load_profile(model_id).id, deps.clock())
    return released


def _scope(deps: Deps, model_id: str | None) -> str:
    return holds.TRIGGERS if model_id is None else holds.of_triggers(deps.load_profile(model_id).id)
