"""Did a rollback take the model while this process was at work outside? What it has just done then is of yesterday.

The lease is asked before each effect, and a target or a registry knows no tokens: an act that was begun under the lease may end
after a rollback has come and gone, and would put back what that took away. So whoever has moved traffic or the alias asks once more,
and does again what the rollback did.
"""

from typing import Final

from agent.deps import Deps
from tools.contracts.run import RunRecord
from tools.errors import Conflict

WAY_BACK: Final = "way-back-"
"""Begins the name of the effect in which a run keeps the version that it goes back to."""


def way_back(deps: Deps, run_id: str) -> str | None:
    """The version that a run has chosen to go back to; None where it has not."""
    chosen = [each for each in deps.store.effects(run_id) if each.name.startswith(WAY_BACK) and each.status == "done"]
    return None if not chosen else (chosen[-1].result or {}).get("to")


def by_rollback(deps: Deps, model_id: str, run_id: str) -> tuple[RunRecord, str] | None:
    """The newest rollback that took the model from this run, and where it goes back to; None where there is none."""
    if deps.lease is None or _is_ours(deps):
        return None
    since = deps.store.get_run(run_id).created_at
    for each in deps.store.list_runs(model_id):
        if each.kind == "rollback" and each.run_id != run_id and each.created_at >= since:
            to = way_back(deps, each.run_id)
            if to is not None:
                return each, to
    return None


def stop(rollback: RunRecord, what: str) -> Conflict:
    """What this run ends with, once it has taken back what it did too late."""
    return Conflict(
        f"rollback {rollback.run_id} took the model while this run {what}; that was taken back",
        thing="lease",
        value=rollback.run_id,
        remedy=f"`retrain runs show {rollback.run_id}`",
    )


def _is_ours(deps: Deps) -> bool:
    assert deps.lease is not None
    try:
        mine = deps.lease.current
    except Conflict:
        return False
    now = deps.store.current_lease(mine.model_name)
    return now is not None and now.token == mine.token
