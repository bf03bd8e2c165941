"""`retrain labels add`: what turned out to be right, for the answers of a rollout."""

from pathlib import Path
from typing import Annotated

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN

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
    """Add the labels to the table of `rollout.labels`, or to the workspace's own; a file added twice adds nothing the second time."""
    from tools.adapters.label_store import add_labels, own_labels

    opened = open_app(workspace, model)
    deps = opened.deps
    profile = deps.load_profile(model)
    spec = profile.rollout.labels or own_labels(deps.work_dir, profile.id)
    made = add_labels(spec, deps.root, file.absolute(), deps.clock(), opened.variables)
    lines = [f"added {made.added:,} labels; {made.known:,} were there already"]
    if made.dropped:
        lines.append(f"left out {made.dropped:,} rows without a request id, a label or a time")
    SCREEN.result({"added": made.added, "known": made.known, "dropped": made.dropped}, lines)
