"""How does a run look as a task? A view of what the store holds: no task is kept anywhere, so none is lost with a process."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from a2a.helpers.proto_helpers import new_data_part, new_raw_part, new_text_part
from a2a.types import Artifact, Message, Part, Role, Task, TaskState, TaskStatus
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from agent.entrypoints.server.a2a.card import JSON, TEXT
from agent.progress import Line
from tools.contracts.run import Review, RunRecord

ENDED: Final = frozenset({"finished", "failed", "aborted"})
DECISION: Final = "decision"
"""The artifact's id and name; it is replaced whenever the public JSON changes."""


@dataclass(frozen=True)
class Standing:
    """A run as it stands."""

    record: RunRecord
    review: Review | None = None
    """Its question, while a person may answer it."""
    driven: bool = True
    """Whether some process is on it: a run that was killed stays `running` in the store."""

    @property
    def ended(self) -> bool:
        return self.record.status in ENDED

    @property
    def asks(self) -> bool:
        """A person must answer before it goes on."""
        return self.review is not None

    @property
    def waits(self) -> bool:
        """A rollout is under way, or a person has answered: it goes on by itself, in its own time."""
        return self.record.status == "parked" and not self.asks


def context_of(record: RunRecord) -> str:
    """The client's own, where he gave one; else the run is its own context."""
    return (record.order or {}).get("context") or record.run_id


def state_of(standing: Standing) -> TaskState:
    """The protocol's word for it; why, stands in docs/design/a2a.md."""
    if standing.asks:
        return TaskState.TASK_STATE_INPUT_REQUIRED
    states = {
        "finished": TaskState.TASK_STATE_COMPLETED,
        "failed": TaskState.TASK_STATE_FAILED,
        "aborted": TaskState.TASK_STATE_CANCELED,
    }
    return states.get(standing.record.status, TaskState.TASK_STATE_WORKING)


def task_of(standing: Standing, *, note: str = "") -> Task:
    """The whole task; its id is the run's.

    Args:
        standing: The run.
        note: For this caller alone, before what the status says.
    """
    record = standing.record
    metadata = Struct()
    metadata.update({"modelId": record.model_id, "kind": record.kind, "requestedBy": record.requested_by})
    return Task(
        id=record.run_id,
        context_id=context_of(record),
        status=status_of(standing, note=note),
        artifacts=artifacts_of(record),
        metadata=metadata,
    )


def status_of(standing: Standing, *, note: str = "") -> TaskStatus:
    """State, time, and a message: words, and for a question or an ended run the same as data."""
    words, data = _words(standing), _data(standing)
    parts = [new_text_part(f"{note}\n\n{words}" if note else words, media_type=TEXT)]
    if data is not None:
        parts.append(new_data_part(data, media_type=JSON))
    record = standing.record
    # The same status has the same id, however often and by whichever process it is told.
    told = f"{record.status}/{record.updated_at:%Y%m%dT%H%M%S.%f}"
    return TaskStatus(
        state=state_of(standing),
        timestamp=_timestamp(record.updated_at),
        message=_message(record, told, parts),
    )


def progress_of(record: RunRecord, line: Line) -> TaskStatus:
    """What a run says while it works."""
    return TaskStatus(
        state=TaskState.TASK_STATE_WORKING,
        message=_message(record, f"line/{line.number}", [new_text_part(line.text, media_type=TEXT)]),
    )


def artifacts_of(record: RunRecord) -> Sequence[Artifact]:
    """The decision, once there is one: as data, as the very bytes of `retrain run --json`, and its rationale as text."""
    output = record.output
    if output is None:
        return []
    # A data part keeps its numbers as doubles, in no order: bytes that are to be compared or signed come as a file.
    exact = new_raw_part(as_printed(output), media_type=JSON, filename="decision.json")
    rationale = new_text_part(output["deploymentDecision"]["rationale"], media_type=TEXT)
    return [
        Artifact(
            artifact_id=DECISION,
            name=DECISION,
            description="The public JSON of the run (`retrain schema output`), and its rationale.",
            parts=[new_data_part(output, media_type=JSON), exact, rationale],
        )
    ]


def as_printed(output: dict[str, Any]) -> bytes:
    """The public JSON as `retrain run --json` prints it."""
    return (json.dumps(output, ensure_ascii=False) + "\n").encode()


def question_of(review: Review) -> dict[str, Any]:
    """The question for whoever shows it to a person. Its nonce stays here."""
    return {
        "reviewId": review.id,
        "digest": review.digest,
        "offered": review.offered,
        "question": review.payload,
        "approvers": list(review.approvers),
        "roles": {offered: list(names) for offered, names in review.roles.items()},
        "fourEyes": review.four_eyes,
        "requestedBy": review.requested_by,
        "expiresAt": review.expires_at.isoformat(),
        "verdicts": _verdicts(review),
    }


def _verdicts(review: Review) -> list[str]:
    edits = "edit" in review.payload["review_configs"][0]["allowed_decisions"]
    return ["approve", "canary", "reject"] if edits else ["approve", "reject"]


def _data(standing: Standing) -> dict[str, Any] | None:
    record = standing.record
    if standing.review is not None:
        return question_of(standing.review)
    if record.status != "finished" or record.output is None:
        return None
    rollout = _rollout(record)
    told: dict[str, Any] = {
        "decision": record.output["deploymentDecision"]["decision"],
        "decidedBy": record.output["deploymentDecision"]["decidedBy"],
        "rolloutPhase": rollout.get("phase"),
        "proof": rollout.get("proof"),
        "championVersion": rollout.get("championVersion"),
    }
    return {name: value for name, value in told.items() if value is not None}


def _words(standing: Standing) -> str:
    record, review = standing.record, standing.review
    if review is not None:
        return _asking(review)
    if record.status == "finished":
        return _finished(record)
    if record.status == "failed":
        return (
            f"The run broke off, and nothing further was moved: {record.error or 'no reason was recorded'}\n"
            f"  remedy: mend that; `retrain run --resume {record.run_id}` goes on with it, or start a new run"
        )
    if record.status == "aborted":
        return f"The run was overtaken and cannot go on: {record.error or 'a rollback ended it'}"
    if record.status == "parked":
        return _waiting(record)
    if not standing.driven:
        return (
            "No process drives this run just now; it may have been killed.\n"
            f"  remedy: send the same message again, or `retrain run --resume {record.run_id}`"
        )
    return "The run is under way."


def _asking(review: Review) -> str:
    (action,) = review.payload["action_requests"]
    reasons = "\n".join(f"- {reason}" for reason in action["args"].get("reasons", ()))
    who = ", ".join(review.approvers) or "nobody (the profile names no approvers)"
    return (
        f"A person must answer review {review.id}: {action['description']}\n{reasons}\n"
        f"Approvers: {who}. Until {review.expires_at:%Y-%m-%d %H:%M} UTC; unanswered, the champion stays.\n"
        f"With a key of theirs that has the scope `review`: a message to this task with the data"
        f' {{"verdict": "{" | ".join(_verdicts(review))}", "reason": "…", "digest": "{review.digest}"}}.'
        f" At a terminal: `retrain review show {review.id}`. An agent's word is no person's approval."
    )


def _finished(record: RunRecord) -> str:
    decision, rollout = (record.output or {}).get("deploymentDecision", {}), _rollout(record)
    statement = rollout.get("statement")
    proof = f", {rollout['proof']}" if rollout.get("proof") else ""
    return (
        f"The run has ended; this says nothing of whether anything was deployed. Decision: {decision.get('decision')}"
        f" (by {decision.get('decidedBy')}). Rollout: {rollout.get('phase')}{proof}."
        + (f" {statement}" if statement else "")
    )


def _waiting(record: RunRecord) -> str:
    if record.parked_for == "review":
        return "The question has been answered or has run out; the run goes on."
    rollout = _rollout(record)
    when = "" if record.wake_at is None else f" The next look is due {record.wake_at:%Y-%m-%d %H:%M} UTC."
    return f"A rollout is under way ({rollout.get('phase')}). {rollout.get('statement', '')}{when}".strip()


def _rollout(record: RunRecord) -> dict[str, Any]:
    return (record.output or {}).get("rollout", {})


def _message(record: RunRecord, told: str, parts: list[Part]) -> Message:
    return Message(
        message_id=f"{record.run_id}/{told}",
        role=Role.ROLE_AGENT,
        task_id=record.run_id,
        context_id=context_of(record),
        parts=parts,
    )


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
