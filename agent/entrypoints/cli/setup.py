"""`retrain schema`, `doctor` and `demo`."""

from pathlib import Path
from typing import Annotated

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, table


def schema(
    name: Annotated[
        str | None, typer.Argument(help="input, output, a peer's message, …; without it: the list.")
    ] = None,
    json: Json = False,
) -> None:
    """Print a contract as JSON Schema."""
    from agent.schemas import SCHEMAS, json_schema

    if name is None:
        SCREEN.result(sorted(SCHEMAS), sorted(SCHEMAS))
    else:
        SCREEN.result(json_schema(name))


def doctor(
    model: Annotated[str | None, typer.Argument(help="Only this profile.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """What is missing before any run: permissions, signature, server support, environments."""
    from agent.services.doctor import examine

    findings = examine(open_app(workspace), model)
    rows = [[f.result, f.about, f.statement, f.remedy] for f in findings]
    SCREEN.result([f.to_json_dict() for f in findings], table(["result", "about", "finding", "remedy"], rows))
    if any(finding.result == "missing" for finding in findings):
        raise typer.Exit(2)


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Made fresh; must be new or an earlier demo's.")] = Path(
        ".demo"
    ),
    quiet: Quiet = False,
) -> None:
    """Four runs on the electricity stream: improve, refuse bad data, go back, ask."""
    from agent.demo import play

    play(folder, SCREEN)
