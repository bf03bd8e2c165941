"""`retrain run`, `judge`, `rollback` and `runs list|show|report`."""

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.entrypoints.cli.options import AsOf, ExitCode, Json, Quiet, Workspace, open_app, tell_match
from agent.entrypoints.cli.render import SCREEN, hint, labelled, run_lines, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.bootstrap import App
    from tools.contracts.run import RunRecord

app = typer.Typer(help="Runs so far.", no_args_is_help=True, rich_markup_mode=None)


def run(
    model: Annotated[str | None, typer.Argument(help="Profile id or registered model name.")] = None,
    request: Annotated[
        Path | None, typer.Option("--request", "-r", help="Request JSON from a file; '-' reads stdin.")
    ] = None,
    trigger: Annotated[str, typer.Option(help="scheduled, drift, performance or manual.")] = "manual",
    data_window: Annotated[str | None, typer.Option(help="e.g. 90d, 2013-01-01/2013-06-01, all.")] = None,
    validation_strategy: Annotated[str | None, typer.Option(help="e.g. latest:20%, latest:14d, rolling:3x14d.")] = None,
    min_improvement: Annotated[float | None, typer.Option(help="Least gain of the primary metric.")] = None,
    guardrail: Annotated[
        list[str] | None, typer.Option(help="Guardrail metric, NAME or NAME=MARGIN; repeatable.")
    ] = None,
    as_of: AsOf = None,
    resume: Annotated[str | None, typer.Option("--resume", help="Go on with this run id.")] = None,
    exit_code: ExitCode = False,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Retrain a model and decide about the candidate. The request comes from flags, a file, or stdin when piped."""
    from agent.requests import parse_request, request_from_flags
    from tools.errors import BadInput

    if resume is not None:
        _finish(open_app(workspace).runs.resume(resume), exit_code)
        return
    if model is None:
        if request is None and sys.stdin.isatty():
            raise BadInput(
                "no model and no request",
                thing="request",
                remedy="`retrain run MODEL`, `retrain run --request FILE`, or pipe a request in",
            )
        parsed, warnings = parse_request(_text(request))
    else:
        if request is not None:
            raise BadInput(
                "a model and a request file were both given", thing="request", value=request, remedy="give one"
            )
        parsed, warnings = (
            request_from_flags(
                model,
                trigger=trigger,
                window=data_window,
                strategy=validation_strategy,
                as_of=as_of,
                min_improvement=min_improvement,
                guardrails=tuple(guardrail or ()),
            ),
            (),
        )
    for warning in warnings:
        SCREEN.progress(warning)
    opened = open_app(workspace, parsed.model_id)
    _finish(opened.runs.start(opened.order("retrain", parsed, warnings)), exit_code)


def judge(
    model: Annotated[str, typer.Argument(help="Profile id or registered model name.")],
    candidate: Annotated[str, typer.Option("--candidate", "-c", help="Registered version to be judged.")],
    data_window: Annotated[str | None, typer.Option(help="Window the holdout is cut from.")] = None,
    validation_strategy: Annotated[str | None, typer.Option(help="How the holdout is cut.")] = None,
    min_improvement: Annotated[float | None, typer.Option(help="Least gain of the primary metric.")] = None,
    guardrail: Annotated[
        list[str] | None, typer.Option(help="Guardrail metric, NAME or NAME=MARGIN; repeatable.")
    ] = None,
    as_of: AsOf = None,
    exit_code: ExitCode = False,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Judge a version that somebody else made against the champion. Trains nothing."""
    from agent.requests import request_from_flags

    parsed = request_from_flags(
        model,
        trigger="manual",
        window=data_window,
        strategy=validation_strategy,
        as_of=as_of,
        min_improvement=min_improvement,
        guardrails=tuple(guardrail or ()),
    )
    opened = open_app(workspace, model)
    _finish(opened.runs.start(opened.order("judge", parsed, candidate_version=candidate)), exit_code)


def rollback(
    model: Annotated[str, typer.Argument(help="Profile id or registered model name.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; stands in the record and on the version left behind.")],
    to: Annotated[str | None, typer.Option("--to", help="Version wanted; default: the last known good one.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Go back to the last known good version, proved by loading it and scoring its golden rows."""
    from agent.requests import request_from_flags
    from tools.errors import BadInput

    if not reason.strip():
        raise BadInput("a rollback needs a reason", thing="reason", value=reason, remedy='--reason "…"')
    opened = open_app(workspace, model)
    order = opened.order("rollback", request_from_flags(model), rollback_to=to, reason=reason)
    output = opened.runs.start(order)
    SCREEN.result(output, run_lines(output))
    if output["rollout"]["phase"] != "rolled_back":
        raise typer.Exit(4)


@app.command("list")
def list_runs(
    model: Annotated[str | None, typer.Argument(help="Only this profile's.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Newest first."""
    found = _runs_of(open_app(workspace), model, limit)
    rows = [[r.run_id, r.model_id, r.kind, r.status, r.decision, _phase(r), r.requested_by] for r in found]
    # An id begins with the UTC time of its start; a column of its own would not fit.
    headers = ["run (rDATE-TIME, UTC)", "model", "kind", "status", "decision", "rollout", "by"]
    SCREEN.result(
        [record.model_copy(update={"decision_record": None}).to_json_dict() for record in found],
        table(headers, rows) if rows else ["no runs yet"],
    )


def _runs_of(opened: "App", model: str | None, limit: int) -> "Sequence[RunRecord]":
    """By profile id, else by registered model; a name that neither runs nor profiles know is not found."""
    store = opened.deps.store
    found = store.list_runs(model, limit)
    if found or model is None:
        return found
    # The store lists by profile only; this is a look back, not a query.
    found = [record for record in store.list_runs(limit=1000) if record.model_name == model][:limit]
    if not found:
        tell_match(opened.workspace, model)
    return found


def _phase(record: "RunRecord") -> str | None:
    """What became of the decision, in words that can be folded."""
    phase = (record.output or {}).get("rollout", {}).get("phase")
    return None if phase is None else str(phase).replace("_", " ")


@app.command("show")
def show(run_id: Annotated[str, typer.Argument()], json: Json = False, workspace: Workspace = None) -> None:
    """A run's latest result, and its side effects."""
    opened = open_app(workspace)
    record, effects = opened.deps.store.get_run(run_id), opened.deps.store.effects(run_id)
    lines = _record_lines(opened, record) if record.output else [f"{run_id}: {record.status}"]
    if record.error:
        lines += labelled("  error      ", record.error)
    lines.append("")
    for effect in effects:
        content = json_module.dumps(effect.result or effect.intent, ensure_ascii=False)
        lines += labelled("  effect     ", f"{effect.name}: {effect.status} {content}")
    SCREEN.result({"run": record.to_json_dict(), "effects": [e.to_json_dict() for e in effects]}, lines)


@app.command("report")
def report(
    run_id: Annotated[str, typer.Argument()],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the page there only; default: the run's folder and MLflow."),
    ] = None,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Make a run's decision report again: one HTML page to judge the decision from."""
    page = open_app(workspace).runs.report(run_id, out)
    SCREEN.result({"runId": run_id, "report": str(page)}, [str(page)])


def _record_lines(opened: "App", record: "RunRecord") -> list[str]:
    """The output as it was, and what is asked as it stands now: an answered review asks nobody."""
    output = record.output or {}
    number = output["deploymentDecision"].get("reviewId")
    review = None if number is None else opened.deps.store.get_review(number)
    waits = review is None or review.status == "open"
    lines = run_lines(output, ask=waits, status=record.status)
    if record.status == "parked" and review is not None and not waits:
        lines += ["", f"  Review {review.id} is {review.status}: {hint(f'run --resume {record.run_id}')} goes on"]
    return lines


def _text(request: Path | None) -> str:
    from tools.errors import BadInput, NotFound

    if request is None or str(request) == "-":
        return sys.stdin.read()
    try:
        return request.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"no request file {request}", thing="request", value=request, remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"request file {request} cannot be read: {error}", thing="request", value=request) from error


def _finish(output: dict[str, Any], exit_code: bool) -> None:
    from tools.errors import DECISION_EXIT_CODES

    SCREEN.result(output, run_lines(output))
    if exit_code:
        raise typer.Exit(DECISION_EXIT_CODES[output["deploymentDecision"]["decision"]])
