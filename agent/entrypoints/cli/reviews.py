"""`retrain review list|show|approve|canary|reject`. The reviewer is the OS user, never an option."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, labelled, run_lines, shortened, table, wrapped

if TYPE_CHECKING:
    from tools.contracts.run import Review, RunRecord

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
    if not found:
        lines = ["no reviews yet" if everything else "no open reviews"]
    elif everything:
        headers = ["review", "model", "status", "offered", "answer", "by", "when (UTC)", "why"]
        rows = [[r.id, r.model_id, r.status, r.offered, *_answer_cells(r)] for r in found]
        lines = table(headers, rows)
    else:
        headers = ["review", "model", "status", "approve means", "expires (UTC)", "approvers"]
        rows = [
            [r.id, r.model_id, r.status, r.offered, _minute(r.expires_at), ", ".join(r.approvers) or "nobody"]
            for r in found
        ]
        lines = table(headers, rows)
    SCREEN.result([review.to_json_dict() for review in found], lines)


def _answer_cells(review: "Review") -> list[str | None]:
    when = None if review.answered_at is None else _minute(review.answered_at)
    return [review.answer, review.answered_by, when, shortened(review.reason or "")]


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


@app.command("show")
def show(review: Id, json: Json = False, workspace: Workspace = None) -> None:
    """The question in brief, the evidence it rests on, and what each answer does."""
    from agent.services import briefs
    from tools import brief

    opened = open_app(workspace)
    found = opened.deps.store.get_review(review)
    record = opened.deps.store.get_run(found.run_id)
    asked = briefs.of_review(opened.deps, found)
    lines = [
        f"Review {found.id} ({found.status}), run {found.run_id}",
        *wrapped(found.payload["action_requests"][0]["description"]),
        *wrapped(f"asked by {found.requested_by}, approvers: {', '.join(found.approvers) or 'nobody'}"),
        *_who(found),
        *(_choices(found, opened.deps.clock()) if found.status == "open" else _ending(found, record)),
        "",
        *(line for told in brief.lines(asked) for line in wrapped(told, hanging=2)),
    ]
    if record.output is not None:
        lines += [*run_lines(record.output, ask=False, status=record.status), ""]
        for item in record.output.get("evidence", []):
            lines += wrapped(f"[{item['id']}] {item['statement']}", hanging=len(item["id"]) + 3)
    SCREEN.result(found.to_json_dict() | {"brief": asked.to_json_dict()}, lines)


def _who(review: "Review") -> list[str]:
    """What beside being an approver it takes to approve."""
    roles = [f"{what.replace('_', ' ')}: {', '.join(names) or 'nobody'}" for what, names in review.roles.items()]
    return [
        *(wrapped(f"only these approve  {'; '.join(roles)}") if roles else []),
        *(wrapped(f"high risk: not approved by {review.requested_by}, who asked for it") if review.four_eyes else []),
    ]


def _choices(review: "Review", now: datetime) -> list[str]:
    """What can be answered, and until when."""
    if review.expires_at <= now:
        return wrapped(f"ran out on {_minute(review.expires_at)} UTC without an answer: the champion stays")
    allowed = review.payload["review_configs"][0]["allowed_decisions"]
    return wrapped(
        f"open until {_minute(review.expires_at)} UTC, then the champion stays\n"
        f"approve -> {review.offered.replace('_', ' ')}"
        + ("; canary -> a canary first" if "edit" in allowed else "")
        + "; reject -> the champion stays"
    )


def _ending(review: "Review", record: "RunRecord") -> list[str]:
    """How a review that is not open was closed."""
    if review.answer is not None and review.answered_at is not None:
        return labelled(
            "  answered   ",
            f"{review.answer} by {review.answered_by} on {_minute(review.answered_at)} UTC "
            f"({review.offered.replace('_', ' ')} was offered): {review.reason}",
        )
    if review.status == "expired":
        return labelled("  expired    ", f"nobody answered until {_minute(review.expires_at)} UTC: the champion stays")
    why = f": {record.error}" if record.error else ", or it asked anew"
    return labelled("  void       ", f"the run is {record.status}{why}; no answer counts any more")


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
