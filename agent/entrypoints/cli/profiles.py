"""`retrain profile list|show`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Json, Workspace, tell_match
from agent.entrypoints.cli.render import SCREEN, hint, table

if TYPE_CHECKING:
    from agent.workspace import Workspace as Space

app = typer.Typer(help="Profiles of this workspace.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_all(json: Json = False, workspace: Workspace = None) -> None:
    """Profile ids, and what is wrong with those that cannot be used."""
    from agent.profiles import list_profiles

    found = list_profiles(_space(workspace), check=True)
    rows = [[entry.id, entry.registered_model, entry.fault] for entry in found]
    SCREEN.result(
        [{"id": e.id, "registeredModel": e.registered_model, "fault": e.fault} for e in found],
        table(["profile", "registered model", "fault"], rows)
        if rows
        else [f"no profiles yet: `{hint('init --all')}` drafts them from the registry"],
    )


@app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="Profile id or registered model name.")],
    resolved: Annotated[bool, typer.Option("--resolved", help="Each value with the place it comes from.")] = False,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """The profile as a run would see it."""
    from agent.profile_drafts import inline
    from agent.profiles import load_profile
    from agent.profiles import resolved as resolve

    space = _space(workspace)
    tell_match(space, model)
    loaded = load_profile(space, model)
    fields = resolve(loaded)
    if not resolved:
        SCREEN.result(loaded.profile.to_state(), table(["field", "value"], [[f, inline(v)] for f, v, _ in fields]))
        return
    SCREEN.result(
        [{"field": field, "value": value, "from": place} for field, value, place in fields],
        table(
            ["field", "value", "from"],
            [[field, inline(value), place.removeprefix(f"{space.root}/")] for field, value, place in fields],
        ),
    )


def _space(workspace: Path | None) -> "Space":
    import os

    from agent.settings import read_settings
    from agent.workspace import find_workspace

    return find_workspace(Path.cwd(), workspace or read_settings(os.environ).workspace, os.environ)
