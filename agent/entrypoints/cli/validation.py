"""`retrain validation init|check|show`: the rules that data must keep, and whether they do."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.entrypoints.cli.options import AsOf, Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, hint, shortened, table, wrapped

if TYPE_CHECKING:
    from tools.contracts.evidence import Check

app = typer.Typer(help="Rules that the data must keep.", no_args_is_help=True, rich_markup_mode=None)
Model = Annotated[str, typer.Argument(help="Profile id or registered model name.")]


@app.command("init")
def init(
    model: Model,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; default: schemas/MODEL.yaml in the workspace.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Draft a Pandera schema from the rows that the champion was trained on."""
    from agent.services.schema_files import draft_schema

    opened = open_app(workspace, model)
    drafted = draft_schema(opened.deps, model, out=None if out is None else out.resolve(), force=force)
    shown = drafted.shown_as
    lines = [
        f"wrote {drafted.path}: {drafted.columns} columns, from {drafted.rows:,} of the champion's training rows",
        "",
        *wrapped(
            "Edit it: ranges have a margin of a quarter of their width, and lists of values are what was seen.",
            indent=0,
        ),
        "",
        f"Then, in the profile of {model}, so that every run checks it:",
        "",
        "  validation:",
        f"    schema_file: {shown}",
        "",
        f"Try it: {hint(f'validation check {model}')}",
    ]
    body = {"path": str(drafted.path), "schemaFile": shown, "columns": drafted.columns, "rows": drafted.rows}
    SCREEN.result(body, lines)


@app.command("check")
def check(
    model: Model,
    data_window: Annotated[str | None, typer.Option(help="e.g. 90d, 2013-01-01/2013-06-01, all.")] = None,
    validation_strategy: Annotated[str | None, typer.Option(help="e.g. latest:20%, latest:14d.")] = None,
    passes: Annotated[bool, typer.Option("--all", help="List the checks that passed, too.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 10 on fail, 11 on could_not_check.")] = False,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """All of data validation, as a run would do it, without training. Nothing is recorded or moved."""
    from agent.requests import request_from_flags
    from agent.services.validate import examine

    parsed = request_from_flags(model, window=data_window, strategy=validation_strategy, as_of=as_of)
    opened = open_app(workspace, model)
    report = examine(opened.deps, opened.order("retrain", parsed))
    told = [one for one in report.checks if passes or one.result != "pass"]
    passed = sum(1 for one in report.checks if one.result == "pass")
    lines = [*wrapped(f"{model}: {report.verdict}. {report.statement}", indent=0), ""]
    if told:
        lines += [*table(["check", "about", "result", "finding"], [_row(one) for one in told]), ""]
    lines += [*_examples(told), f"{passed} of {len(report.checks)} checks passed; {_cost(report.checks)}."]
    if passed and not passes:
        lines.append(f"The passing ones too: {hint(f'validation check {model} --all')}")
    SCREEN.result(report.to_json_dict(), lines)
    if exit_code and report.verdict != "pass":
        raise typer.Exit(10 if report.verdict == "fail" else 11)


@app.command("show")
def show(model: Model, json: Json = False, workspace: Workspace = None) -> None:
    """Bounds and rules that apply to a model's data, and where they stand."""
    from agent.profile_drafts import inline
    from agent.services.schema_files import schema_of

    opened = open_app(workspace, model)
    profile = opened.deps.load_profile(model)
    rules = schema_of(opened.deps, profile)
    bounds = profile.validation.to_state()
    lines = [*table(["bound", "value"], [[name, inline(value)] for name, value in bounds.items()]), ""]
    if profile.validation.schema_file is None:
        lines.append(f"no schema file; `{hint(f'validation init {model}')}` drafts one")
    else:
        shown = [[", ".join(rule.columns), rule.check, _arguments(rule.arguments)] for rule in rules]
        lines += [f"rules of {profile.validation.schema_file}", "", *table(["column", "check", "asks for"], shown)]
    SCREEN.result({"bounds": bounds, "rules": [rule.to_json_dict() for rule in rules]}, lines)


def _row(check: "Check") -> list[str]:
    result = check.result.replace("_", " ")
    return [check.name, check.subject, result if check.severity == "block" else f"{result} (warning)", check.statement]


def _examples(checks: "Sequence[Check]") -> list[str]:
    lines: list[str] = []
    for check in checks:
        if check.result != "pass" and check.examples:
            lines.append(f"examples of {check.name}, {check.subject}:")
            lines += [
                "  " + ", ".join(f"{name} {value}" for name, value in example.items()) for example in check.examples
            ]
    return [*lines, ""] if lines else []


def _cost(checks: "Sequence[Check]") -> str:
    efforts = [check.effort for check in checks if check.effort is not None]
    queries, rows = sum(one.queries for one in efforts), sum(one.rows_in_memory for one in efforts)
    return f"{queries:,} queries, {rows:,} rows brought into memory"


def _arguments(arguments: dict[str, Any]) -> str:
    return shortened(", ".join(f"{name} {value}" for name, value in arguments.items() if name != "columns"), 70)
