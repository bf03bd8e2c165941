"""What goes into the MCP tools and what comes out: the contracts that their schemas are made of."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from agent.services.reviews import Answer
from tools.contracts.base import Contract
from tools.contracts.decision import Certainty, DecisionKind, Reason
from tools.contracts.evidence import EvidenceItem
from tools.contracts.output import RetrainingResponse
from tools.contracts.request import RetrainingConfig, RetrainingRequest, RunKind, TriggerKind
from tools.contracts.rollout import RolloutPlan
from tools.contracts.run import RunRecord, RunStatus

LONGEST_WAIT: Final = 3600
MOST_REVIEWS: Final = 100

Wait = Annotated[float, Field(ge=0, le=LONGEST_WAIT)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


# --- what goes in ----------------------------------------------------------------------------------------------------


class Waiting(Contract):
    """Arguments that are not part of the request."""

    wait_seconds: Wait = 0
    """Wait so long for the run's end or first pause; 0 answers at once, `get_run` tells how it stands."""


class StartArgs(RetrainingRequest):
    """The public request, and how long to wait."""

    wait_seconds: Wait = 0
    """Wait so long for the run's end or first pause; 0 answers at once, `get_run` tells how it stands."""


class JudgeArgs(RetrainingRequest):
    """The public request, and which version to judge."""

    retraining_config: RetrainingConfig = RetrainingConfig()
    """Window, validation and 'now' of the data; the profile's where absent."""
    candidate_version: Name
    """The registered version that is to be judged against the champion."""
    wait_seconds: Wait = 0
    """Wait so long for the run's end or first pause; 0 answers at once, `get_run` tells how it stands."""


class JudgeOwn(Waiting):
    """Arguments of a judgement that are not part of the request."""

    candidate_version: Name


class AssessArgs(Contract):
    """Which champion to look at."""

    model_id: Name
    """A profile's id, or its registered model name."""
    trigger: TriggerKind = "drift"
    """Which trigger to test."""
    as_of: str | None = None
    """The 'now' of the data, ISO 8601, UTC where naive: nothing later is read."""


class RunArgs(Waiting):
    """Which run."""

    run_id: Name
    """As the tool that began it answered."""


class ExplainArgs(Contract):
    """Which run's decision."""

    run_id: Name
    """As the tool that began it answered."""


class ListReviewsArgs(Contract):
    """Which questions."""

    model_id: Name | None = None
    """Only this model's."""
    open_only: bool = True
    """False lists answered, expired and void ones too."""
    limit: Annotated[int, Field(ge=1, le=MOST_REVIEWS)] = 50
    """The newest so many."""


class SubmitReviewArgs(Waiting):
    """A person's answer to a question."""

    review_id: Annotated[int, Field(ge=1)]
    """The number of the review, from `list_reviews` or the run's `deploymentDecision.reviewId`."""
    answer: Answer
    """`approve` does what the review offers; `canary` only where the review allows it."""
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    """Why; stands in the record."""
    digest: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The review's, as it was read: an answer to anything else is a conflict."""


class RollBackArgs(Waiting):
    """Which model goes back, and why."""

    model_id: Name
    """A profile's id, or its registered model name."""
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    """Why; stands in the record and on the version left behind."""
    to: Name | None = None
    """The version wanted; the last known good one where absent."""
    idempotency_key: Name | None = None
    """Same key, same run."""


# --- what comes out --------------------------------------------------------------------------------------------------


class Standing(Contract):
    """A run that has nothing to say yet, or no more: begun, failed or overtaken."""

    run_id: str
    model_id: str
    kind: RunKind
    status: RunStatus
    error: str | None = None
    """What ended it."""
    output: RetrainingResponse | None = None
    """What it said at its last pause, where it went on since."""


class Explanation(Contract):
    """Why it was decided so. The whole record is the resource named."""

    run_id: str
    model_id: str
    decided_at: str
    decision: DecisionKind
    """As policy and model left it; a reviewer's answer stands in the review."""
    decided_by: str
    certainty: Certainty
    policy_version: str
    reasons: tuple[Reason, ...]
    rationale: str
    """For people; citations `[E3]` refer to the evidence."""
    written_by: Literal["template", "model"]
    evidence: tuple[EvidenceItem, ...]
    plan: RolloutPlan | None = None
    record: str
    """URI of the decision record, whole."""
    report: str
    """URI of the page to judge the decision from."""


def uri_of(run_id: str, what: Literal["", "decision", "report"] = "") -> str:
    """The address of a run's public JSON, decision record or report."""
    return f"retrain://runs/{run_id}" + (f"/{what}" if what else "")


def run_json(record: RunRecord, *, going: bool = False) -> dict[str, Any]:
    """The run's public JSON where it stands still, else how it stands. `going`: it is driven, whatever the record says yet."""
    if not going and record.status in ("parked", "finished") and record.output is not None:
        return record.output
    last = {} if record.output is None else {"output": record.output}
    return {
        **Standing(
            run_id=record.run_id,
            model_id=record.model_id,
            kind=record.kind,
            status="running" if going else record.status,
            error=None if going else record.error,
        ).to_json_dict(),
        **last,
    }
