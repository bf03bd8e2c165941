"""What is left behind a rollback: a hold, a record of the incident, and people who know.

Nothing of it can stop the rollback or take it back: what fails is told, and what did not reach people is tried again by the next
watch.
"""

from typing import Any, Literal

from agent.deps import Deps
from agent.services import active, holds, notices, rollback
from agent.services.effects import Result, once
from agent.services.overtaken import WAY_BACK
from agent.services.spared import spared
from agent.state import Findings, Run
from tools import incident as rules
from tools.contracts.incident import Incident, TimelineEntry
from tools.contracts.rollout import RollbackReport, RolloutStatus, SignalVerdict
from tools.contracts.run import EffectRecord
from tools.errors import Unavailable


def roll_back(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """The rollback, and what is left behind it. Of the outside world only the registry is needed.

    Raises:
        Unavailable: the target could not be told. The alias is back and the model held all the same; resuming the run, as a
            watch does, tells the target again.
    """
    deps = spared(deps)
    changes = rollback.roll_back(deps, run, findings)
    aftermath(deps, run, findings, changes)
    told = RolloutStatus.model_validate(changes["rollout"])
    if undo_is_open(deps, run.run_id):
        reason = RollbackReport.model_validate(changes["rollback"]).reason
        raise Unavailable(
            f"the target could not be told to go back ({reason}): {told.statement}",
            thing="target",
            value=run.profile.target.kind,
            remedy=f"bring it up; `retrain watch` or `retrain run --resume {run.run_id}` then moves its traffic",
        )
    return changes


def aftermath(deps: Deps, run: Run, findings: Findings, changes: dict[str, Any]) -> None:
    """Hold the model where something was moved, write the incident, tell people."""
    report = RollbackReport.model_validate(changes["rollback"])
    status = RolloutStatus.model_validate(changes["rollout"])
    effects = deps.store.effects(run.run_id)
    moved = any(effect.name == "undo" for effect in effects)
    outcome: Literal["rolled_back", "not_proved", "refused"] = "refused"
    if moved:
        back = status.phase == "rolled_back" and not undo_is_open(deps, run.run_id)
        outcome = "rolled_back" if back else "not_proved"
    scope = _hold(deps, run, report) if moved else None
    written = _incident(deps, run, findings, report, outcome, scope)
    # People first: a disk that is full must not keep it from them.
    notices.send(deps, run, rules.notice(written))
    _keep(deps, run, written)


def _keep(deps: Deps, run: Run, incident: Incident) -> None:
    """The incident as files and at the tracking server, as far as these take it."""
    deps.tracking.log_json(run.tracking_run_id, "incident.json", incident.to_json_dict())
    content = incident.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n"
    try:
        folder = deps.run_dir(run.run_id)
        page = folder / "incident.md"
        page.write_text(rules.page(incident), encoding="utf-8")
        (folder / "incident.json").write_text(content, encoding="utf-8")
        deps.tracking.log_file(run.tracking_run_id, page, "incident")
    except (OSError, Unavailable) as failure:
        deps.progress(f"the incident could not be written down: {failure}")


def _hold(deps: Deps, run: Run, report: RollbackReport) -> str:
    scope = holds.of_model(run.profile.registered_model)
    why = f"rolled back from version {report.from_version or 'unknown'}: {report.reason}"

    def act() -> Result:
        return {"by": holds.put(deps, scope, why, by=_by(run), run_id=run.run_id).by}

    def found() -> Result | None:
        # Also one that a person has released meanwhile: a rollback that is resumed must not hold its model anew.
        known = deps.store.holds(in_force=False)
        mine = next((hold for hold in known if (hold.scope, hold.run_id) == (scope, run.run_id)), None)
        return None if mine is None else {"by": mine.by}

    once(deps, run.run_id, "hold", {"scope": scope}, act, found)
    return scope


def _by(run: Run) -> str:
    """A rollback run has somebody who asked for it; in mid-rollout it is a trigger of the plan."""
    return run.order.requested_by if run.order.kind == "rollback" else "policy"


def undo_is_open(deps: Deps, run_id: str) -> bool:
    """Whether the target is still to be told."""
    return any(effect.name == "undo" and effect.status != "done" for effect in deps.store.effects(run_id))


def _incident(
    deps: Deps,
    run: Run,
    findings: Findings,
    report: RollbackReport,
    outcome: Literal["rolled_back", "not_proved", "refused"],
    scope: str | None,
) -> Incident:
    own, overtaken = deps.store.effects(run.run_id), findings.overtaken
    before = [] if overtaken is None else list(deps.store.effects(overtaken))
    chosen = next((effect.intended_at for effect in own if effect.name.startswith(WAY_BACK)), deps.clock())
    signals = () if findings.rollout is None else findings.rollout.signals
    plan = findings.plan
    if run.order.kind == "rollback" and overtaken is not None:
        told: dict[str, Any] = (deps.store.get_run(overtaken).output or {}).get("rollout", {})
        signals = tuple(SignalVerdict.model_validate(signal) for signal in told.get("signals", ()))
        plan = active.plan_of(deps, overtaken)
    return Incident(
        run_id=run.run_id,
        model_id=run.profile.id,
        model_name=run.profile.registered_model,
        outcome=outcome,
        reason=report.reason,
        by=_by(run),
        detected_at=chosen,
        from_version=report.from_version,
        to_version=report.to_version,
        overtaken_run=overtaken,
        plan_digest=None if plan is None else plan.digest,
        signals=signals,
        proof=report.proof,
        statement=report.statement,
        held=scope,
        timeline=tuple(_entry(effect) for effect in sorted([*before, *own], key=lambda each: each.intended_at)),
    )


def _entry(effect: EffectRecord) -> TimelineEntry:
    shown = {name: value for name, value in effect.intent.items() if isinstance(value, str | int) and value != ""}
    told = ", ".join(
        f"{name} {value}"
        for name, value in shown.items()
        if name in ("version", "weight", "mirror", "from", "to", "scope")
    )
    return TimelineEntry(
        at=effect.intended_at, run_id=effect.run_id, effect=effect.name, done=effect.status == "done", told=told
    )
