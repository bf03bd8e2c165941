"""`retrain rollout status|pause|resume|abort|rules`: rollouts that are under way, and what a person may do about them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, hint, labelled, run_lines, table

if TYPE_CHECKING:
    from agent.bootstrap import App
    from agent.services.active import ActiveRollout
    from tools.contracts.run import Hold

app = typer.Typer(help="Rollouts under way.", no_args_is_help=True, rich_markup_mode=None)
Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the record.")]
Model = Annotated[str, typer.Argument(help="Profile id or registered model name.")]


@app.command("status")
def status(
    model: Annotated[str | None, typer.Argument(help="Only this profile's.")] = None,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Each rollout under way: its plan, the step it is at, and what the latest look said."""
    from agent.services import active

    opened = open_app(workspace, model)
    found = list(active.all_of(opened.deps, None if model is None else opened.deps.load_profile(model).id))
    lines = [line for each in found for line in _lines(each, _held(opened, each))] or ["no rollout is under way"]
    SCREEN.result([_content(each) for each in found], lines)


@app.command("abort")
def abort(
    model: Model,
    reason: Annotated[str, typer.Option("--reason", help="Why; stands in the record and on the candidate.")],
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """All traffic back to the champion at once. Final: a new try is a new run."""
    from agent.requests import request_from_flags
    from tools.errors import BadInput

    if not reason.strip():
        raise BadInput("an abort needs a reason", thing="reason", value=reason, remedy='--reason "…"')
    opened = open_app(workspace, model)
    found = _under_way(opened, model)
    order = opened.order("rollback", request_from_flags(model), reason=reason, of_run=found.run.run_id)
    output = opened.runs.start(order)
    SCREEN.result(output, run_lines(output))
    if output["rollout"]["phase"] != "rolled_back":
        raise typer.Exit(4)


@app.command("rules")
def rules(
    run: Annotated[str, typer.Argument(help="Run that does the rollout.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; the screen where absent.")] = None,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """The plan's triggers as a Prometheus rule file, for the embedded endpoint's own metrics."""
    from agent.services import monitors

    opened = open_app(workspace)
    exported = monitors.export(opened.deps, run)
    if out is not None:
        monitors.write(exported, out)
    lines = exported.text.splitlines() if out is None else [f"wrote {out}"]
    SCREEN.result({"rules": exported.text, "leftOut": list(exported.left_out)}, lines)


@app.command("pause")
def pause(model: Model, reason: Reason, json: Json = False, workspace: Workspace = None) -> None:
    """Keep the weight where it is. The rollout is still looked at, and harm still goes back."""
    from agent.services import holds

    opened = open_app(workspace, model)
    found = _under_way(opened, model)
    held = holds.put(opened.deps, holds.of_rollout(found.run.run_id), reason, run_id=found.run.run_id)
    already = "" if held.why == reason else f" already ({held.why}); your reason is not recorded"
    goes_on = f"`{hint(f'rollout resume {model} --reason …')}` goes on"
    SCREEN.result(held.to_json_dict(), [f"{model}: paused by {held.by}{already}; {goes_on}"])


@app.command("resume")
def resume(model: Model, reason: Reason, json: Json = False, workspace: Workspace = None) -> None:
    """Let a paused rollout go on at its next look."""
    from agent.services import holds

    opened = open_app(workspace, model)
    found = _under_way(opened, model)
    approvers = opened.deps.load_profile(model).review.approvers
    freed = holds.release(opened.deps, holds.of_rollout(found.run.run_id), reason, approvers=approvers)
    SCREEN.result(freed.to_json_dict(), [f"{model}: goes on at its next look; `{hint('watch')}` takes it"])


def _under_way(opened: "App", model: str) -> "ActiveRollout":
    from agent.services import active
    from tools.errors import Conflict

    profile = opened.deps.load_profile(model)
    found = active.find(opened.deps, profile)
    if found is None:
        raise Conflict(
            f"no rollout of {profile.id!r} is under way",
            thing="rollout",
            value=profile.id,
            remedy="`retrain rollout status` shows those that are; `retrain rollback` goes back from a finished one",
        )
    return found


def _content(found: "ActiveRollout") -> dict[str, Any]:
    rollout = (found.run.output or {}).get("rollout", {})
    return {
        "runId": found.run.run_id,
        "modelId": found.run.model_id,
        "status": found.run.status,
        "plan": found.plan.to_json_dict(),
        "rollout": rollout,
    }


def _held(opened: "App", found: "ActiveRollout") -> "Hold | None":
    from agent.services import holds

    return holds.on_rollout(opened.deps, opened.deps.load_profile(found.run.model_id), found.run.run_id)


def _lines(found: "ActiveRollout", held: "Hold | None") -> list[str]:
    run, plan = found.run, found.plan
    rollout: dict[str, Any] = (run.output or {}).get("rollout", {})
    champion = f" against version {plan.last_known_good}" if plan.last_known_good else ""
    lines = [
        "",
        f"  {run.model_id}: version {plan.candidate_version}{champion}, {rollout.get('phase', run.status)}",
        "",
    ]
    at = rollout.get("stepIndex", 0)
    for number, step in enumerate(plan.steps):
        mark = "✓" if number < at else "→" if number == at else " "
        lines.append(f"    {mark} {_step_text(step)}")
    lines.append("")
    if rollout.get("statement"):
        lines += labelled("  now        ", rollout["statement"])
    if rollout.get("signals"):
        rows = [
            [s["name"], s.get("championN", 0), s.get("candidateN", 0), s["outcome"], _interval(s)]
            for s in rollout["signals"]
        ]
        lines += ["", *table(["signal", "champion n", "candidate n", "outcome", "difference"], rows, indent=2), ""]
        # The table does not say which labels did not count.
        said = [s["statement"] for s in rollout["signals"] if s["name"] == "quality"]
        lines += [line for each in said for line in labelled("  labels     ", each)]
    if held is not None:
        lines.append(f"  held       by {held.by} since {held.at:%Y-%m-%d %H:%M} UTC, {held.scope}: {held.why}")
    if run.wake_at is not None:
        lines.append(f"  next look  {run.wake_at:%Y-%m-%d %H:%M:%S} UTC ({hint('watch')} takes it)")
    lines.append(f"  run        {run.run_id} ({run.status})" + (f": {run.error}" if run.error else ""))
    return lines


def _step_text(step: Any) -> str:
    texts = {
        "set_mirror": lambda: f"mirror {step.percent} %",
        "set_weight": lambda: f"weight {step.weight} %",
        "pause": lambda: f"pause {step.duration or 'until an approver resumes it'}",
        "analysis": lambda: f"analysis ({step.require.replace('_', ' ')})",
        "bake": lambda: f"bake {step.duration}",
    }
    return texts[step.kind]()


def _interval(signal: dict[str, Any]) -> str:
    if "low" not in signal or "high" not in signal:
        return ""
    return f"{signal.get('difference', float('nan')):+.4f} [{signal['low']:+.4f}, {signal['high']:+.4f}]"
