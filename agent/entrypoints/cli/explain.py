"""`retrain explain MODEL|RUN`: why a decision was taken, in parts, with the evidence it cites."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Json, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.contracts.record import DecisionRecord


def explain(
    what: Annotated[str, typer.Argument(help="Model, whose newest decision is meant, or a run id.")],
    version: Annotated[str | None, typer.Option("--version", help="Of a model: the decision about this one.")] = None,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Why a decision was taken: the explanation in its parts, the rules' reasons, and the evidence cited."""
    from agent.services.explanations import decided

    run, record = decided(open_app(workspace).deps, what, version)
    body = {
        "runId": run.run_id,
        "modelId": record.model_id,
        "decidedAt": record.decided_at.isoformat(),
        "decision": record.decision,
        "decidedBy": record.decided_by,
        "certainty": record.policy.certainty,
        "reasons": [reason.to_json_dict() for reason in record.policy.reasons],
        "rationale": record.rationale.to_json_dict(),
        "evidence": [item.to_json_dict() for item in record.evidence],
    }
    SCREEN.result(body, list(_lines(record)))


def _lines(record: "DecisionRecord") -> "Iterator[str]":
    from tools.report_facts import written_by

    rationale, parts = record.rationale, record.rationale.parts
    when = f"{record.decided_at:%Y-%m-%d %H:%M} UTC"
    yield f"{record.model_id}: {record.decision} by {record.decided_by} ({record.policy.certainty}), {when}, run {record.run_id}"
    yield ""
    if parts is None:
        yield from wrapped(rationale.text)
    else:
        yield from wrapped(parts.summary)
        for title, texts in (
            ("What carries it", parts.argument),
            ("What is open", parts.concerns),
            ("What would change it", parts.would_change),
        ):
            if texts:
                yield from ("", title)
                for text in texts:
                    yield from wrapped(f"- {text}", hanging=2)
    yield from ("", "The rules' reasons")
    for reason in record.policy.reasons:
        yield from wrapped(f"- {reason.code}: {reason.sentence}", hanging=2)
    cited = set(re.findall(r"E\d+", " ".join(re.findall(r"\[(E[^\]]*)\]", rationale.text))))
    shown = [item for item in record.evidence if item.id in cited]
    if shown:
        yield from ("", "Evidence cited")
        for item in shown:
            yield from wrapped(f"[{item.id}] {item.outcome}: {item.statement}", hanging=len(item.id) + 3)
    yield ""
    yield from wrapped(written_by(rationale))
    for fault in rationale.faults:
        yield from wrapped(f"not used: {fault}", hanging=2)
