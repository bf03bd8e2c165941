"""`retrain labels add`: what turned out to be right, for the answers of a rollout."""

from pathlib import Path
from typing import Annotated

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN
from tools.errors import BadInput

app = typer.Typer(help="Labels that arrive by hand.", no_args_is_help=True, rich_markup_mode=None)
Model = Annotated[str, typer.Argument(help="Profile id or registered model name.")]


@app.callback()
def _group() -> None:
    """Labels that arrive by hand."""


@app.command("add")
def add(
    model: Model,
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines: request_id, label and perhaps at.")],
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Keep the labels in the workspace; a file that is added twice adds nothing the second time."""
    from tools.adapters.label_store import add_labels, label_folder

    deps = open_app(workspace, model).deps
    profile = deps.load_profile(model)
    if profile.rollout.labels is not None:
        raise BadInput(
            f"the labels of {profile.id} are read from {profile.rollout.labels.source}",
            thing="rollout.labels",
            value=profile.rollout.labels.source,
            remedy="write them there, or take rollout.labels out of the profile",
        )
    made = add_labels(label_folder(deps.work_dir, profile.id), file.absolute(), deps.clock())
    lines = [f"added {made.added:,} labels; {made.known:,} were there already"]
    if made.dropped:
        lines.append(f"left out {made.dropped:,} rows without a request id, a label or a time")
    SCREEN.result({"added": made.added, "known": made.known, "dropped": made.dropped}, lines)
