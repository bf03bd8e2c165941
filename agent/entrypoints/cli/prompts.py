"""`retrain prompts list|diff|register`: what the language model is told, and which version of it."""

from typing import Annotated

import typer

from agent.entrypoints.cli.options import Json, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, table

app = typer.Typer(help="What the language model is told.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="Prompt, as `retrain prompts list` names it.")]


@app.command("list")
def list_prompts(json: Json = False, workspace: Workspace = None) -> None:
    """Every prompt with its version, and its number in MLflow's prompt registry."""
    from agent.services import prompts

    found = prompts.listed(open_app(workspace).prompts)
    rows = [[p.name, p.version, p.hash[:12], ", ".join(p.inputs) or "none", p.registered or "no"] for p in found]
    SCREEN.result(
        [each.to_json_dict() for each in found], table(["prompt", "version", "sha256", "inputs", "registered"], rows)
    )


@app.command("diff")
def diff(
    name: Name,
    against: Annotated[
        str | None, typer.Option("--against", help="Number in the registry, or a file; default: the newest registered.")
    ] = None,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """What changed in a prompt since an earlier version."""
    from agent.services import prompts

    what, lines = prompts.diff(open_app(workspace).prompts, name, against)
    body = {"prompt": name, "against": what, "diff": list(lines)}
    SCREEN.result(body, list(lines) or [f"{name} is as in {what}"])


@app.command("register")
def register(
    names: Annotated[list[str] | None, typer.Argument(help="Prompts; default: all.")] = None,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Put prompts into MLflow's prompt registry; the same text once."""
    from agent.services import prompts

    found = prompts.register(open_app(workspace).prompts, names or [])
    rows = [[p.name, p.version, p.number, "registered" if new else "was there"] for p, new in found]
    SCREEN.result(
        [each.to_json_dict() | {"new": new} for each, new in found],
        table(["prompt", "version", "number", ""], rows),
    )
