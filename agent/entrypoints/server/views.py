"""What does a caller see of a run, a question, a change of champion? The contracts of the answers, and what they leave out."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tools.contracts.base import Contract, PublicContract, UtcDatetime
from tools.contracts.explanation import Brief
from tools.contracts.request import RetrainingRequest, RunKind
from tools.contracts.run import ChampionEvent, Review, RunRecord, RunStatus

_INSIDE = {"order", "decision_record", "idempotency_key", "model_name", "tracking_run_id"}


class JudgeRequest(RetrainingRequest):
    """A version that exists is to be judged against the champion; nothing is trained."""

    candidate_version: Annotated[str, Field(min_length=1, max_length=200)]
    """Its version in the registry."""


class RollbackRequest(PublicContract):
    """Back to an earlier version."""

    model_id: Annotated[str, Field(min_length=1)]
    """A profile's id, or its registered model name."""
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    """Why; stands in the record and on the version left behind."""
    to: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Version wanted; the last known good one where absent."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Same key, same run."""


class AnswerRequest(PublicContract):
    """A person's answer to a question."""

    answer: Literal["approve", "canary", "reject"]
    """`approve` takes what is offered, `canary` begins smaller, `reject` leaves the champion."""
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    """Why; stands in the record."""
    digest: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The question's, as it was read: an answer to anything else is a conflict."""


class Confirmation(PublicContract):
    """A yes to one action, exactly as it was shown."""

    action_id: Annotated[str, Field(min_length=1, max_length=80)]
    """Of the `confirmation` event."""
    digest: Annotated[str, Field(min_length=1, max_length=80)]
    """Of the same event: a yes to anything else is a conflict."""


class ChatRequest(PublicContract):
    """Something said, or the confirmation of what was asked."""

    conversation_id: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    """As the first event of an earlier answer named it; a new one where absent."""
    message: Annotated[str, Field(max_length=200_000)] | None = None
    """In words."""
    confirm: Confirmation | None = None
    """In place of a message."""
    model_id: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """Of a new conversation: the model that it is about."""


class RunView(Contract):
    """A run as it stands."""

    run_id: str
    model_id: str
    """Profile id."""
    kind: RunKind
    status: RunStatus
    requested_by: str
    created_at: UtcDatetime
    updated_at: UtcDatetime
    wake_at: UtcDatetime | None = None
    """Parked only: when it wants to be looked at again."""
    parked_for: Literal["review", "rollout"] | None = None
    decision: str | None = None
    output: dict[str, Any] | None = None
    """The latest public JSON, as `retrain schema output` describes it."""
    error: str | None = None
    """Failed and aborted runs: why."""
    warnings: tuple[str, ...] | None = None
    """In the answer to a request: fields of it that were not known."""


class RunList(Contract):
    """Newest first."""

    runs: tuple[RunView, ...]


class ReviewView(Contract):
    """A question to a person. What proves an answer stays in the store."""

    id: int
    run_id: str
    model_id: str
    status: Literal["open", "answered", "expired", "void"]
    offered: Literal["deploy", "canary", "train", "roll_back"]
    payload: dict[str, Any]
    digest: str
    requested_by: str
    approvers: tuple[str, ...]
    created_at: UtcDatetime
    expires_at: UtcDatetime
    answer: Literal["approve", "canary", "reject"] | None = None
    answered_by: str | None = None
    answered_at: UtcDatetime | None = None
    reason: str | None = None
    brief: Brief | None = None
    """What is uncertain, the facts that matter, what each answer leads to; where one review is asked for."""


class ReviewList(Contract):
    """Oldest first."""

    reviews: tuple[ReviewView, ...]


class ChampionHistory(Contract):
    """Newest first."""

    champions: tuple[ChampionEvent, ...]


class ProblemView(Contract):
    """RFC 9457, with what was wrong and what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    thing: str | None = None
    """What is at fault: a field, a parameter, a run."""
    value: str | float | bool | None = None
    remedy: str | None = None


def run_view(run: RunRecord, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """A run for a caller, without what is ours alone."""
    found = RunView(**run.model_dump(exclude=_INSIDE), warnings=warnings or None)
    return found.to_json_dict()


def run_line(run: RunRecord) -> RunView:
    """One of a list: without its output, which is long."""
    return RunView(**run.model_dump(exclude={*_INSIDE, "output"}))


def review_view(review: Review, brief: Brief | None = None) -> ReviewView:
    """A question for a caller: without the nonce, and whatever else is no field of the view."""
    return ReviewView(**review.model_dump(include=set(ReviewView.model_fields)), brief=brief)
