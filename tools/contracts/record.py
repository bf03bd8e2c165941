"""What a decision rested on, whole: enough to make it again."""

from typing import Literal

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.comparison import ComparisonResult
from tools.contracts.decision import DecisionKind, PolicyResult, Rationale
from tools.contracts.evidence import EvidenceItem, TriggerVerdict, ValidationReport
from tools.contracts.output import TrainingStatus
from tools.contracts.rollout import RolloutPlan


class PolicyInput(Contract):
    """Everything the decision rests on."""

    training_status: TrainingStatus
    trigger: TriggerVerdict | None = None
    """Whether the run was to go on at all; absent where nothing asked (`judge`)."""
    validation: ValidationReport | None = None
    """Absent only where no training was asked for (`given`); absent otherwise means it could not be checked."""
    comparison: ComparisonResult | None = None
    has_champion: bool
    allow_first_model: bool = False
    """From the profile: with no champion, a person may adopt the first model."""
    can_split: bool
    """Whether the target can give the candidate a part of the traffic."""
    risk: Literal["low", "high"] = "low"
    """`high`: a clear win still goes through a canary."""
    on_inconclusive: Literal["keep", "review"] = "review"
    """Where the rows cannot tell: the champion stays, or a person is asked."""


class DecisionRecord(Contract):
    """Everything a decision rests on; replays to the same decision."""

    run_id: str
    model_id: str
    decided_at: UtcDatetime
    decision: DecisionKind
    """As policy and model left it; a reviewer's answer stands in the review."""
    decided_by: str
    """`policy` or `model`."""
    policy: PolicyResult
    policy_input: PolicyInput
    policy_input_digest: str
    """sha256 of `policy_input`."""
    evidence: tuple[EvidenceItem, ...]
    rationale: Rationale
    plan: RolloutPlan | None = None
