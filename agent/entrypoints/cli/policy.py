"""`retrain policy replay`: recorded decisions made again, as they were or under changed demands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Json, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, table

if TYPE_CHECKING:
    from tools.replay import Replayed

app = typer.Typer(help="The rules that decide.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """A group of one command stays a group."""


@app.command("replay")
def replay(
    model: Annotated[str | None, typer.Argument(help="Profile id or registered model name; default: all.")] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="YAML with `metrics:` and `rollout:` as in a profile; default: does each record replay?"),
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 10 where a decision flips.")] = False,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Every recorded decision again, and which of them flip. Touches nothing."""
    from agent.services.replay import read_change, replay_all

    change = None if policy is None else read_change(policy)
    found = replay_all(open_app(workspace, model).deps, model, change)
    flips = [one for one in found if one.would_be is not None and not one.same]
    unknown = [one for one in found if one.would_be is None]
    verb = "flips" if len(flips) == 1 else "flip"
    what = verb if change is not None else "not byte for byte"
    count = f"{len(found)} decision{'' if len(found) == 1 else 's'}"
    lines = [f"{count} replayed, {len(flips)} {what}, {len(unknown)} cannot be told"]
    if flips or unknown:
        rows = [_row(one) for one in (*flips, *unknown)]
        lines += ["", *table(["run", "model", "decided (UTC)", "was", "would be", "because"], rows)]
    body = {"replayed": [one.to_json_dict() for one in found], "flips": len(flips), "cannotTell": len(unknown)}
    SCREEN.result(body, lines)
    if exit_code and flips:
        raise typer.Exit(10)


def _row(one: "Replayed") -> list[str]:
    codes = ", ".join(one.codes_after)
    why = one.why_not or f"{', '.join(one.codes_before)} → {codes}"
    return [one.run_id, one.model_id, one.decided_at[:16].replace("T", " "), one.was, one.would_be or "?", why]
