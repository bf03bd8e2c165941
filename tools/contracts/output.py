"""The public output. Names follow the published schema; `decidedBy`, `rollout` and others are added."""

from typing import Any, Literal

from pydantic import Field

from tools.contracts.base import SCHEMA_VERSION, PublicContract, UtcDatetime
from tools.contracts.decision import Certainty, DecisionKind, Reason
from tools.contracts.evidence import EvidenceItem
from tools.contracts.request import RunKind

TrainingStatus = Literal["trained", "given", "skipped", "invalid_data", "failed", "pending"]
"""`given`: a version handed in by `judge`. `pending`: a person is asked before training."""


class RetrainingOutcome(PublicContract):
    status: TrainingStatus
    new_model_version: str | None = None
    """Registered version; absent in `observe`, where nothing is registered."""
    training_metrics: dict[str, float] | None = None
    """What the pipeline logged."""
    validation_metrics: dict[str, float] | None = None
    """The candidate's metrics on the holdout."""
    model_uri: str | None = None
    """Added: the logged model."""
    statement: str | None = None
    """Added: how the training ended."""
    seconds: float | None = None
    """Added: how long it took, where that was measured."""
    log_tail: str | None = None
    """Added: the last lines of a failed training's log."""


class Regression(PublicContract):
    metric: str
    slice: str | None = None
    change: float
    low: float
    high: float
    margin: float


class Comparison(PublicContract):
    baseline_metrics: dict[str, float] = {}
    """The champion's, recomputed on the same rows."""
    new_model_metrics: dict[str, float] = {}
    improvement: dict[str, float] = {}
    """Positive when better."""
    regressions: tuple[Regression, ...] = ()
    intervals: dict[str, tuple[float, float]] = {}
    """Added: of the improvement."""
    verdicts: dict[str, str] = {}
    """Added."""
    holdout_rows: int | None = None
    """Added."""


class DeploymentDecision(PublicContract):
    decision: DecisionKind
    rationale: str
    rollout_plan: dict[str, Any] | None = None
    decided_by: str = "policy"
    """Added: `policy`, `model`, the reviewer; `expiry` or `void` where no answer counted."""
    certainty: Certainty | None = None
    reasons: tuple[Reason, ...] = ()
    rationale_source: dict[str, str] = {}
    """Added: writtenBy, promptName, promptVersion, promptHash, model."""
    review_id: int | None = None
    """Added: the open question, where there is one."""


class Rollout(PublicContract):
    phase: str
    proof: str | None = None
    weight: int | None = None
    observed_weight: int | None = None
    champion_version: str | None = None
    """Version in production as this run left it."""
    statement: str = ""
    wake_at: UtcDatetime | None = None
    step_index: int | None = None
    """Of the plan's step that comes next."""
    signals: tuple[dict[str, Any], ...] = ()
    """What the latest look said about each metric of the plan."""


class Monitoring(PublicContract):
    post_deployment_checks: tuple[dict[str, Any], ...] = ()
    rollback_triggers: tuple[dict[str, Any], ...] = ()


class RetrainingResponse(PublicContract):
    """The public output of the agent, emitted at each pause and at the end."""

    retraining_result: RetrainingOutcome
    comparison: Comparison | None = None
    deployment_decision: DeploymentDecision
    monitoring: Monitoring | None = None
    rollout: Rollout | None = None
    run_id: str
    model_id: str
    kind: RunKind = "retrain"
    status: Literal["parked", "finished"]
    staleness: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    evidence: tuple[EvidenceItem, ...] = ()
    report: str | None = None
    """Added: the decision report, an HTML page on the orchestrator's disk; also `decision/report.html` of the tracking run."""
    warnings: tuple[str, ...] = ()
    schema_version: str = Field(default=SCHEMA_VERSION)
