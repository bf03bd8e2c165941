"""`retrain serving up|status|down|copy`: the champion behind an endpoint on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, labelled, table

if TYPE_CHECKING:
    from agent.bootstrap import App
    from agent.services.serving import Serving
    from tools.adapters.serving.target import ServingTargetAdapter
    from tools.contracts.profile import Profile

app = typer.Typer(
    help="Serve a model on this machine: MLServer behind Envoy.", no_args_is_help=True, rich_markup_mode=None
)

Model = Annotated[str, typer.Argument(help="Profile id or registered model name.")]


@app.command("up")
def up(model: Model, json: Json = False, quiet: Quiet = False, workspace: Workspace = None) -> None:
    """Start the servers and put the champion behind the endpoint; may be repeated, and mends what is broken."""
    from agent.services import serving

    opened, profile, target = _open(model, workspace)
    _show(serving.up(opened.deps, profile, target))


@app.command("status")
def status(model: Model, json: Json = False, quiet: Quiet = False, workspace: Workspace = None) -> None:
    """What serves now: versions, weights, health. Touches nothing."""
    from agent.bootstrap import answer_copy
    from agent.services import serving

    opened, profile, target = _open(model, workspace)
    found = serving.status(opened.deps, profile, target)
    copies = answer_copy(opened.workspace, profile, opened.variables)
    waiting = 0 if copies is None else copies.waiting()
    if waiting:
        note = f"{waiting:,} bytes of answers are not in target.answers yet: `retrain serving copy {profile.id}`"
        found = found.model_copy(update={"notes": (*found.notes, note)})
    _show(found)


@app.command("down")
def down(
    model: Model,
    force: Annotated[bool, typer.Option("--force", help="Also in the middle of a rollout.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Stop all servers of the model and its endpoint; the log of answers stays."""
    from agent.services import serving

    opened, profile, target = _open(model, workspace)
    ended = serving.down(opened.deps, profile, target, force=force)
    said = f"{profile.id}: stopped; nothing of it runs any more" if ended else f"{profile.id} was not served"
    SCREEN.result({"modelId": profile.id, "stopped": ended}, [said])


@app.command("copy")
def copy(model: Model, json: Json = False, quiet: Quiet = False, workspace: Workspace = None) -> None:
    """Copy new answers into the table of `target.answers`, as each look of a rollout does; for cron, between rollouts."""
    from agent.bootstrap import answer_copy
    from tools.adapters.serving.answer_copy import notes
    from tools.errors import BadInput

    opened, profile, _ = _open(model, workspace)
    copies = answer_copy(opened.workspace, profile, opened.variables)
    if copies is None:
        raise BadInput(
            f"profile {profile.id!r} names no table for the answers",
            thing="target.answers",
            remedy="name a folder for Parquet files, or postgresql://…#SCHEMA.TABLE",
        )
    done = copies.copy(wait=True)
    content = {"added": done.added, "known": done.known, "odd": done.odd, "gaps": list(done.gaps)}
    lines = [f"copied {done.added:,} answers; {done.known:,} were there already"]
    SCREEN.result(content, [*lines, *(f"note: {note}" for note in notes(done))])


def _open(model: str, workspace: "Workspace") -> "tuple[App, Profile, ServingTargetAdapter]":
    from agent.bootstrap import serving_target
    from tools.contracts.profile import ServingTarget
    from tools.errors import BadInput

    opened = open_app(workspace, model)
    profile = opened.deps.load_profile(model)
    if not isinstance(profile.target, ServingTarget):
        raise BadInput(
            f"profile {profile.id!r} deploys to a target of kind {profile.target.kind!r}, not to servers on this machine",
            thing="target.kind",
            value=profile.target.kind,
            remedy="write `target: {kind: serving}` into the profile",
        )
    return opened, profile, serving_target(opened.workspace, profile, SCREEN.progress)


def _show(found: "Serving") -> None:
    SCREEN.result(found.to_json_dict(), _lines(found))


def _lines(found: "Serving") -> list[str]:
    if not found.versions:
        champion = "no champion" if found.champion is None else f"champion: version {found.champion}"
        lines = [f"{found.model_id} is not served ({champion}); `retrain serving up {found.model_id}` serves it"]
        return lines + [line for note in found.notes for line in labelled("note: ", note)]
    head = f"{found.model_id} answers at {found.url}" if found.serving else f"{found.model_id} does NOT answer"
    rows = [
        [
            version.version + (" (champion)" if version.version == found.champion else ""),
            version.state if version.healthy is not False or version.state != "ready" else "unhealthy",
            "?" if version.weight is None else f"{version.weight} %",
            "" if not version.mirror else f"{version.mirror} %",
            version.restarts,
            "" if version.memory_mb is None else f"{version.memory_mb:.0f} MB",
            f"{version.recent_answers:,}",
            f"{version.recent_failed:,}",
            "" if version.median_ms is None else f"{version.median_ms:.1f} ms",
        ]
        for version in found.versions
    ]
    heads = ["version", "state", "weight", "mirror", "restarts", "memory", "answers in 5 min", "failed", "median"]
    lines = [head, "", *table(heads, rows)]
    notes = [f"version {version.version}: {version.said}" for version in found.versions if version.said]
    for note in (*notes, *found.notes):
        lines += ["", *labelled("note: ", note)]
    # Not folded: it is there to be copied.
    return lines if found.curl is None else [*lines, "", "Ask it:", "", found.curl]
