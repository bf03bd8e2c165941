"""`retrain review list|show|approve|canary|reject`. The reviewer is the OS user, never an option."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, run_lines, table, wrapped

app = typer.Typer(help="Questions to people.", no_args_is_help=True, rich_markup_mode=None)
Id = Annotated[int, typer.Argument(help="Review number.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the record.")]


@app.command("list")
def list_reviews(
    everything: Annotated[bool, typer.Option("--all", help="Answered and expired ones too.")] = False,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Open questions."""
    found = open_app(workspace).deps.store.list_reviews(open_only=not everything)
    rows = [
        [r.id, r.model_id, r.status, r.offered, f"{r.expires_at:%Y-%m-%d %H:%M}", ", ".join(r.approvers)] for r in found
    ]
    SCREEN.result(
        [review.to_json_dict() for review in found],
        table(["review", "model", "status", "approve means", "expires (UTC)", "approvers"], rows)
        if rows
        else ["no open reviews"],
    )


@app.command("show")
def show(review: Id, json: Json = False, workspace: Workspace = None) -> None:
    """The question, the evidence it rests on, and what each answer does."""
    opened = open_app(workspace)
    found = opened.deps.store.get_review(review)
    record = opened.deps.store.get_run(found.run_id)
    request = found.payload["action_requests"][0]
    allowed = found.payload["review_configs"][0]["allowed_decisions"]
    lines = [
        f"Review {found.id} ({found.status}), run {found.run_id}",
        f"  {request['description']}",
        f"  asked by {found.requested_by}, approvers: {', '.join(found.approvers) or 'nobody'}; "
        f"open until {found.expires_at:%Y-%m-%d %H:%M} UTC, then the champion stays",
        f"  approve -> {found.offered.replace('_', ' ')}"
        + ("; canary -> a canary first" if "edit" in allowed else "")
        + "; reject -> the champion stays",
    ]
    if found.answer is not None:
        lines.append(f"  answered: {found.answer} by {found.answered_by}: {found.reason}")
    if record.output is not None:
        lines += [*run_lines(record.output, ask=False), ""]
        for item in record.output.get("evidence", []):
            lines += wrapped(f"[{item['id']}] {item['statement']}", hanging=len(item["id"]) + 3)
    SCREEN.result(found.to_json_dict(), lines)


@app.command()
def approve(review: Id, reason: Reason, json: Json = False, quiet: Quiet = False, workspace: Workspace = None) -> None:
    """Take the offered action."""
    _answer(review, "approve", reason, workspace)


@app.command()
def canary(review: Id, reason: Reason, json: Json = False, quiet: Quiet = False, workspace: Workspace = None) -> None:
    """Start with a canary instead."""
    _answer(review, "canary", reason, workspace)


@app.command()
def reject(review: Id, reason: Reason, json: Json = False, quiet: Quiet = False, workspace: Workspace = None) -> None:
    """Leave the champion where it is."""
    _answer(review, "reject", reason, workspace)


def _answer(review: int, verdict: Literal["approve", "canary", "reject"], reason: str, workspace: Path | None) -> None:
    opened = open_app(workspace)
    output = opened.answer(review, verdict, reason)
    SCREEN.result(output, run_lines(output))
