"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.render import SCREEN

if TYPE_CHECKING:
    from agent.bootstrap import App
    from agent.workspace import Workspace as Space


def _remember_json(value: bool) -> bool:
    SCREEN.json = SCREEN.json or value
    return value


def _remember_quiet(value: bool) -> bool:
    SCREEN.quiet = SCREEN.quiet or value
    return value


def _remember_workspace(value: Path | None) -> Path | None:
    SCREEN.workspace = value or SCREEN.workspace
    return value


Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for machines.", callback=_remember_json)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.", callback=_remember_quiet)]
Workspace = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        help="A retraining.yaml or its folder; default: this folder or one above it.",
        callback=_remember_workspace,
    ),
]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="The 'now' of the data, ISO 8601, UTC where naive: nothing later is read.")
]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit 10 on reject, 11 on manual_review.")]


def open_app(workspace: Path | None, model: str | None = None) -> "App":
    """Build everything for one command, about `model` where it names one.

    Raises:
        NotFound: no workspace, or no profile that `model` could mean.
    """
    import os

    from agent.bootstrap import bootstrap

    opened = bootstrap(environ=os.environ, start=Path.cwd(), workspace=workspace, progress=SCREEN.progress)
    if model is not None:
        tell_match(opened.workspace, model)
    return opened


def tell_match(space: "Space", model: str) -> None:
    """Say so where a name is no profile's: the profile that shares its registered model may not be the one meant."""
    from agent.profiles import find_profile

    found = find_profile(space, model)
    if found.by == "registered_model":
        SCREEN.progress(f"no profile {model!r}; using {found.id!r}, whose registered_model it is")
