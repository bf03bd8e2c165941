"""What of a rollout can the user's own Prometheus watch?"""

from pathlib import Path

from agent.deps import Deps
from agent.services import active
from tools import alert_rules
from tools.alert_rules import Exported
from tools.errors import BadInput, Conflict


def export(deps: Deps, run_id: str) -> Exported:
    """The rule file of the rollout that a run does.

    Raises:
        NotFound: unknown run. Conflict: it has no rollout under way.
    """
    record, plan = deps.store.get_run(run_id), active.plan_of(deps, run_id)
    if plan is None or record.status in ("finished", "aborted"):
        raise Conflict(
            f"run {run_id} ({record.status}) has no rollout under way",
            thing="rollout",
            value=run_id,
            remedy="`retrain rollout status` shows those that are",
        )
    return alert_rules.export(plan, model_id=record.model_id, run_id=run_id)


def write(exported: Exported, out: Path) -> None:
    """Into a file, whole or not at all: Prometheus may read it at any moment.

    Raises:
        BadInput: it cannot be written.
    """
    part = out.with_name(out.name + ".part")
    try:
        part.write_text(exported.text, encoding="utf-8")
        part.replace(out)
    except OSError as error:
        raise BadInput(
            f"{out} cannot be written: {error.strerror}", thing="--out", value=str(out), remedy="name another file"
        ) from error
