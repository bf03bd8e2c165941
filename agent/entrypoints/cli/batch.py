"""`retrain batch score`: the partitions that are due, for cron."""

from typing import Annotated

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN
from tools.errors import BadInput, Unavailable

app = typer.Typer(help="Scoring by partitions.", no_args_is_help=True, rich_markup_mode=None)
Model = Annotated[str, typer.Argument(help="Profile id or registered model name.")]


@app.callback()
def _group() -> None:
    """Scoring by partitions."""


@app.command("score")
def score(
    model: Model,
    until: Annotated[
        str | None, typer.Option("--until", help="Score what was due then, ISO 8601, UTC where naive; default: now.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Score every partition that is due: the version whose turn it is into the output, a candidate into the shadow."""
    from datetime import UTC, datetime

    from agent.services.batch import score_due

    when: datetime | None = None
    if until is not None:
        try:
            when = datetime.fromisoformat(until)
        except ValueError as error:
            raise BadInput(
                f"--until {until} is no time", thing="--until", value=until, remedy="e.g. 2026-03-01T12:00:00Z"
            ) from error
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    made = score_due(open_app(workspace, model).deps, model, when)
    done = [
        {"start": each.start.isoformat(), "version": each.version, "why": each.why, "shadow": each.shadow}
        for each in made.scored.done
    ]
    faults = [said for _, said in made.scored.faults]
    lines = [f"{each['start']}  version {each['version']}{'  shadow' if each['shadow'] else ''}" for each in done]
    lines += faults or ([] if done else ["nothing was due"])
    if made.champion is not None and made.champion != made.writer:
        lines.append(f"version {made.writer} writes the output, version {made.champion} is the champion")
    body = {"scored": done, "faults": faults, "writer": made.writer, "champion": made.champion}
    SCREEN.result({name: value for name, value in body.items() if value is not None}, lines)
    if faults:
        raise Unavailable(
            f"{len(faults)} of {len(faults) + len(done)} partitions could not be scored",
            thing="batch",
            remedy="mend what the lines above say, then score again: what is done is not done twice",
        )
