"""What does the graph remember? JSON-plain references and small reports, never data: each step stores the whole state."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from tools.contracts.comparison import ComparisonResult
from tools.contracts.decision import PolicyResult, Rationale
from tools.contracts.evidence import EvidenceItem, PreparedData, StalenessReport, TriggerVerdict, ValidationReport
from tools.contracts.output import TrainingStatus
from tools.contracts.profile import Profile
from tools.contracts.request import RunOrder
from tools.contracts.rollout import RollbackReport, RolloutPlan, RolloutStatus
from tools.contracts.training import ModelVersion, TrainingResult

STATE_VERSION = 1
"""Grows when a parked run of an older version could no longer be resumed on this graph."""


class RunState(TypedDict, total=False):
    """Keys are set once by the node named, but for `decision`, `rollout` and `review`."""

    state_version: int
    run_id: str
    order: dict[str, Any]
    """RunOrder, at the start."""
    profile: dict[str, Any]
    """Resolved Profile, frozen at the start: a resumed run is judged by the profile it began with."""
    tracking_run_id: str
    champion: dict[str, Any] | None
    """ModelVersion, as found at the start; re-read before any alias moves."""
    overtaken: str
    """Rollback only: the run that held the model; it is over once the way back is taken."""
    staleness: dict[str, Any]
    trigger: dict[str, Any]
    """TriggerVerdict, from check_staleness."""
    data: dict[str, Any]
    """PreparedData, from validate_data."""
    validation: dict[str, Any]
    training_status: TrainingStatus
    training: dict[str, Any]
    """TrainingResult of the last fold."""
    fold_models: list[str]
    """Model URI a fold, from train_candidate; the last one is the candidate."""
    candidate: dict[str, Any]
    """ModelVersion once registered."""
    candidate_uri: str
    candidate_digest: str | None
    """sha256 over the files of the candidate that was judged, from compare_candidate."""
    comparison: dict[str, Any]
    validation_metrics: dict[str, float]
    """The candidate's metrics on the holdout: ours, and what else the model-evaluator reported."""
    policy: dict[str, Any]
    can_split: bool
    """Whether the target can run a canary, from decide_deployment."""
    evidence: list[dict[str, Any]]
    decision: str
    decided_by: str
    rationale: dict[str, Any]
    plan: dict[str, Any]
    rollout_attempt: int
    rollout: dict[str, Any]
    rollback: dict[str, Any]
    review: dict[str, Any]
    """The answer read by ask_reviewer: `{id, digest, offered, answer, by, reason}`."""
    notes: list[str]
    """Warnings and alerts for the output."""


@dataclass(frozen=True)
class Run:
    """The parts of the state that every service needs, as contracts."""

    run_id: str
    order: RunOrder
    profile: Profile
    tracking_run_id: str
    champion: ModelVersion | None


def run_of(state: RunState) -> Run:
    """The typed view of the run that a node hands to its service."""
    champion = state.get("champion")
    return Run(
        run_id=state["run_id"],  # type: ignore[typeddict-item]
        order=RunOrder.model_validate(state["order"]),  # type: ignore[typeddict-item]
        profile=Profile.model_validate(state["profile"]),  # type: ignore[typeddict-item]
        tracking_run_id=state["tracking_run_id"],  # type: ignore[typeddict-item]
        champion=None if champion is None else ModelVersion.model_validate(champion),
    )


@dataclass(frozen=True)
class Findings:
    """Everything found out so far; absent means that its node has not run."""

    overtaken: str | None = None
    staleness: StalenessReport | None = None
    trigger: TriggerVerdict | None = None
    data: PreparedData | None = None
    validation: ValidationReport | None = None
    training_status: TrainingStatus = "skipped"
    training: TrainingResult | None = None
    fold_models: tuple[str, ...] = ()
    candidate: ModelVersion | None = None
    candidate_uri: str | None = None
    candidate_digest: str | None = None
    comparison: ComparisonResult | None = None
    validation_metrics: dict[str, float] | None = None
    policy: PolicyResult | None = None
    can_split: bool = False
    evidence: tuple[EvidenceItem, ...] = ()
    decision: Literal["deploy", "canary", "reject", "manual_review"] | None = None
    decided_by: str = "policy"
    rationale: Rationale | None = None
    plan: RolloutPlan | None = None
    rollout_attempt: int = 0
    rollout: RolloutStatus | None = None
    rollback: RollbackReport | None = None
    review: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def findings_of(state: RunState) -> Findings:
    """The typed view of the reports in the state."""

    def read(key: str, kind: Any) -> Any:
        value = state.get(key)
        return None if value is None else kind.model_validate(value)

    return Findings(
        overtaken=state.get("overtaken"),
        staleness=read("staleness", StalenessReport),
        trigger=read("trigger", TriggerVerdict),
        data=read("data", PreparedData),
        validation=read("validation", ValidationReport),
        training_status=state.get("training_status", "skipped"),
        training=read("training", TrainingResult),
        fold_models=tuple(state.get("fold_models", [])),
        candidate=read("candidate", ModelVersion),
        candidate_uri=state.get("candidate_uri"),
        candidate_digest=state.get("candidate_digest"),
        comparison=read("comparison", ComparisonResult),
        validation_metrics=state.get("validation_metrics"),
        policy=read("policy", PolicyResult),
        can_split=state.get("can_split", False),
        evidence=tuple(EvidenceItem.model_validate(item) for item in state.get("evidence", [])),
        decision=state.get("decision"),  # type: ignore[arg-type]
        decided_by=state.get("decided_by", "policy"),
        rationale=read("rationale", Rationale),
        plan=read("plan", RolloutPlan),
        rollout_attempt=state.get("rollout_attempt", 0),
        rollout=read("rollout", RolloutStatus),
        rollback=read("rollback", RollbackReport),
        review=state.get("review"),
        notes=tuple(state.get("notes", [])),
    )
