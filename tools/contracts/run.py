"""Records of the run store: runs, leases, effects, reviews, champion history."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.request import RunKind

RunStatus = Literal["running", "parked", "finished", "failed", "aborted"]
"""`failed` can be resumed; `aborted` was overtaken by a rollback and cannot."""


class RunRecord(Contract):
    """One pass of the state machine for one model."""

    run_id: str
    model_id: str
    """Profile id."""
    model_name: str
    """Registered model name; leases are held on it."""
    kind: RunKind
    status: RunStatus
    requested_by: str
    idempotency_key: str | None = None
    order: dict[str, Any] | None = None
    """RunOrder; absent in records of older programs."""
    created_at: UtcDatetime
    updated_at: UtcDatetime
    wake_at: UtcDatetime | None = None
    """Parked only: when it wants to be looked at again."""
    parked_for: Literal["review", "rollout"] | None = None
    decision: str | None = None
    tracking_run_id: str | None = None
    output: dict[str, Any] | None = None
    """Latest public JSON."""
    decision_record: dict[str, Any] | None = None
    """DecisionRecord; absent before there is a decision, and in records of older programs."""
    error: str | None = None


class Lease(Contract):
    """Who may move things for a model. A parked lease reserves without a heartbeat."""

    model_name: str
    run_id: str
    holder: str
    """`HOST:PID:START_TIME` of the process."""
    token: int
    """Fencing token: grows by one with each acquisition, never reused."""
    expires_at: UtcDatetime | None
    """Absent while parked."""


class EffectRecord(Contract):
    """A side effect, recorded before and after."""

    key: str
    """`RUN_ID/EFFECT`."""
    run_id: str
    name: str
    status: Literal["intended", "done"]
    token: int
    """Fencing token under which it was intended."""
    intent: dict[str, Any]
    result: dict[str, Any] | None = None
    intended_at: UtcDatetime
    done_at: UtcDatetime | None = None


Offered = Literal["deploy", "canary", "train", "roll_back"]
"""What a person can be asked to approve."""


class Subject(Contract):
    """What a question is about, as it stood when it was asked. A change of anything here voids it."""

    candidate_uri: str | None = None
    """Absent before there is one."""
    candidate_version: str | None = None
    """Absent until it is registered."""
    candidate_digest: str | None = None
    """sha256 over the files of the candidate that was judged; absent where they could not be fetched."""
    baseline_version: str | None = None
    """The champion; absent where there is none."""
    baseline_digest: str | None = None
    """sha256 over its files, as recorded for it."""
    evidence: str
    """sha256 of all evidence, and of the reports that it comes from."""
    policy: str
    """sha256 of what the policy said, and of what it was asked."""
    plan: str | None = None
    """Digest of the rollout's plan."""
    profile: str
    """sha256 of the profile, but for who answers and who is told."""


class Review(Contract):
    """A question to a person, in LangChain's payload."""

    id: int
    run_id: str
    model_id: str
    status: Literal["open", "answered", "expired", "void"]
    offered: Offered
    """What `approve` does."""
    payload: dict[str, Any]
    """`{"action_requests": […], "review_configs": […]}`."""
    digest: str
    """sha256 of what is being approved; the answer must name it."""
    nonce: str
    requested_by: str
    approvers: tuple[str, ...]
    roles: dict[Offered, tuple[str, ...]] = {}
    """Who of them may approve what; all of them what is not named."""
    four_eyes: bool = False
    """Nobody approves what he asked for himself."""
    subject: Subject | None = None
    """Absent in records of older programs: such a question can only be refused."""
    created_at: UtcDatetime
    escalate_at: UtcDatetime | None = None
    """From when on an open question is told of again, and to others."""
    expires_at: UtcDatetime
    answer: Literal["approve", "canary", "reject"] | None = None
    answered_by: str | None = None
    answered_at: UtcDatetime | None = None
    reason: str | None = None


class ChampionEvent(Contract):
    """What was champion when."""

    model_name: str
    version: str
    previous: str | None
    how: Literal["found", "deployed", "rolled_back", "adopted"]
    run_id: str | None
    at: UtcDatetime
    by: str
    """`policy` or the person."""
    reason: str = ""


class Hold(Contract):
    """Something that a person must let go again: nothing within its scope goes on by itself."""

    scope: Annotated[str, Field(pattern=r"^(all|triggers|model:.+|rollout:.+|triggers:.+)$")]
    """`all`, `model:REGISTERED_NAME`, `rollout:RUN_ID`, `triggers` of all profiles or `triggers:PROFILE_ID`."""
    why: str
    by: str
    """Who set it: a person, or `policy` for a rollback that a trigger asked for."""
    run_id: str | None = None
    """The rollback that set it, where one did."""
    at: UtcDatetime
    released_at: UtcDatetime | None = None
    """Absent while it is in force."""
    released_by: str | None = None
    released_why: str | None = None
