"""`retrain profile list|show`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Json, Workspace
from agent.entrypoints.cli.render import SCREEN, table

if TYPE_CHECKING:
    from agent.workspace import Workspace as Space

app = typer.Typer(help="Profiles of this workspace.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_all(json: Json = False, workspace: Workspace = None) -> None:
    """Profile ids."""
    from agent.profiles import list_profiles

    found = list_profiles(_space(workspace))
    rows = [[entry.id, entry.registered_model, entry.fault] for entry in found]
    SCREEN.result(
        [{"id": e.id, "registeredModel": e.registered_model, "fault": e.fault} for e in found],
        table(["profile", "registered model", "fault"], rows)
        if rows
        else ["no profiles yet: `retrain init --all` drafts them from the registry"],
    )


@app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="Profile id or registered model name.")],
    resolved: Annotated[bool, typer.Option("--resolved", help="Each value with the place it comes from.")] = False,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """The profile as a run would see it."""
    from agent.profiles import load_profile
    from agent.profiles import resolved as resolve

    loaded = load_profile(_space(workspace), model)
    rows = resolve(loaded) if resolved else [(field, value, "") for field, value, _ in resolve(loaded)]
    headers = ["field", "value", "from"] if resolved else ["field", "value", ""]
    content = [{"field": f, "value": str(v), "from": w} for f, v, w in rows] if resolved else loaded.profile.to_state()
    SCREEN.result(content, table(headers, rows))


def _space(workspace: Path | None) -> "Space":
    import os

    from agent.settings import read_settings
    from agent.workspace import find_workspace

    return find_workspace(Path.cwd(), workspace or read_settings(os.environ).workspace, os.environ)
