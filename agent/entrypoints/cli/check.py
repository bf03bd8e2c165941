"""`retrain check MODEL` and `retrain check --all`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import AsOf, Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN

if TYPE_CHECKING:
    from tools.contracts.request import RunOrder


def check(
    model: Annotated[str | None, typer.Argument(help="Profile id or registered model name.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every profile of the workspace, worst first.")] = False,
    only: Annotated[str, typer.Option(help="With --all: profiles whose id holds this text.")] = "",
    parallel: Annotated[
        int | None, typer.Option(min=1, help="With --all: checks at a time; default: one a core.", show_default=False)
    ] = None,
    trigger: Annotated[
        str, typer.Option(help="Which trigger to test: scheduled, drift, performance or manual.")
    ] = "drift",
    columns: Annotated[bool, typer.Option("--columns", help="Every column with its numbers.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Keep the drift report (HTML) here; takes ten seconds more.")
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Is the champion stale, and would the trigger fire? Touches nothing."""
    _require_sense(model, every, only, parallel, columns, report)
    if model is None:
        _sweep(only, parallel, trigger, as_of, workspace)
    else:
        _one(model, trigger, as_of, workspace, columns=columns, report=report)


def _one(
    model: str, trigger: str, as_of: str | None, workspace: Path | None, *, columns: bool, report: Path | None
) -> None:
    import time

    from agent.entrypoints.cli.check_lines import check_lines, checked_json
    from agent.requests import request_from_flags

    begun = time.monotonic()
    parsed = request_from_flags(model, trigger=trigger, as_of=as_of)
    opened = open_app(workspace, model)
    checked = opened.check(opened.order("retrain", parsed), page=report)
    kept = {} if report is None else {"report": str(report)}
    lines = check_lines(model, trigger, checked, seconds=time.monotonic() - begun, columns=columns, report=report)
    SCREEN.result(checked_json(checked) | kept, lines)


def _sweep(only: str, parallel: int | None, trigger: str, as_of: str | None, workspace: Path | None) -> None:
    from agent.entrypoints.cli.check_lines import sweep_json, sweep_lines
    from agent.requests import request_from_flags

    opened = open_app(workspace)

    def order_of(model: str) -> "RunOrder":
        return opened.order("retrain", request_from_flags(model, trigger=trigger, as_of=as_of))

    try:
        swept = opened.sweep(order_of, only=only, parallel=parallel)
    except KeyboardInterrupt:
        SCREEN.progress("interrupted: what had begun was ended, nothing was recorded or moved")
        raise typer.Exit(130) from None
    SCREEN.result(sweep_json(swept), sweep_lines(swept))
    if swept.exit_code:
        raise typer.Exit(swept.exit_code)


def _require_sense(
    model: str | None, every: bool, only: str, parallel: int | None, columns: bool, report: Path | None
) -> None:
    from tools.errors import BadInput

    if (model is None) != every:
        said = "no model was named" if model is None else "a model and --all were both given"
        raise BadInput(said, thing="model", value=model, remedy="`retrain check MODEL`, or `retrain check --all`")
    stray = {"--only": only, "--parallel": parallel} if model else {"--columns": columns, "--report": report}
    for name, value in stray.items():
        if value:
            where = "without --all" if model else "with --all"
            raise BadInput(f"{name} means nothing {where}", thing=name, value=value, remedy=f"leave {name} out")
