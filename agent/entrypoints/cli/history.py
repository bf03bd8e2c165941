"""`retrain history MODEL`: what was champion when, why, and by whom."""

from typing import Annotated

import typer

from agent.entrypoints.cli.options import Json, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, shortened, table


def history(
    model: Annotated[str, typer.Argument(help="Profile id or registered model name.")],
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """What was champion when, newest first."""
    opened = open_app(workspace, model)
    profile = opened.deps.load_profile(model)
    events = opened.deps.store.champions(profile.registered_model)
    rows = [
        [f"{e.at:%Y-%m-%d %H:%M:%S}", e.version, e.previous, e.how, e.by, e.run_id, shortened(e.reason)] for e in events
    ]
    SCREEN.result(
        [event.to_json_dict() for event in events],
        table(["since (UTC)", "version", "before", "how", "by", "run", "why"], rows)
        if rows
        else [f"no champion of {profile.registered_model} is on record"],
    )
