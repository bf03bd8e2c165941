"""`retrain profile list|show`."""

from typing import Annotated

import typer

from agent.entrypoints.cli.options import Json, Workspace
from agent.entrypoints.cli.render import SCREEN, table

app = typer.Typer(help="Profiles of this workspace.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_all(json: Json = False, workspace: Workspace = None) -> None:
    """Profile ids."""
    from agent.profiles import list_profiles
    from agent.workspace import open_workspace

    found = list_profiles(open_workspace(workspace))
    SCREEN.result(list(found), list(found) or ["no profiles yet: `retrain init --all` drafts them from the registry"])


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
    from agent.workspace import open_workspace

    loaded = load_profile(open_workspace(workspace), model)
    rows = resolve(loaded) if resolved else [(field, value, "") for field, value, _ in resolve(loaded)]
    headers = ["field", "value", "from"] if resolved else ["field", "value", ""]
    content = [{"field": f, "value": str(v), "from": w} for f, v, w in rows] if resolved else loaded.profile.to_state()
    SCREEN.result(content, table(headers, rows))
