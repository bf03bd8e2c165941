"""The rollout plan in Argo's vocabulary, its status, and what a rollback proved."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from tools.contracts.base import Contract, UtcDatetime


class SetWeight(Contract):
    kind: Literal["set_weight"] = "set_weight"
    weight: Annotated[int, Field(ge=0, le=100)]
    """Percent of traffic on the candidate."""


class Pause(Contract):
    kind: Literal["pause"] = "pause"
    duration: timedelta | None = None
    """Absent: until a person says so."""


class Analysis(Contract):
    kind: Literal["analysis"] = "analysis"
    """One look at the target's health; unhealthy aborts, no answer is inconclusive."""


Step = Annotated[SetWeight | Pause | Analysis, Field(discriminator="kind")]


class RolloutPlan(Contract):
    """What will happen, in order. Stored with its digest before anything moves."""

    candidate_version: str | None = None
    """Absent until the candidate is registered."""
    last_known_good: str | None = None
    """The version to go back to, named before the rollout starts; absent only for a first model."""
    strategy: Literal["rolling", "canary"]
    steps: tuple[Step, ...]
    on_failure: Literal["rollback"] = "rollback"
    on_inconclusive: Literal["pause"] = "pause"
    max_duration: timedelta
    digest: str = ""
    """sha256 of the plan without this field."""


Phase = Literal[
    "not_started",
    "awaiting_approval",
    "observed",
    "progressing",
    "waiting",
    "healthy",
    "inconclusive",
    "unhealthy",
    "promoted",
    "aborted",
    "rolled_back",
    "refused",
]


class RolloutStatus(Contract):
    """Where a rollout stands."""

    phase: Phase = "not_started"
    step_index: int = 0
    """Next step to be done."""
    weight: int = 0
    """Desired percent on the candidate."""
    observed_weight: int | None = None
    """What the target reported; absent where it cannot."""
    proof: Literal["proved", "unproved", "contradicted"] = "unproved"
    """Whether the endpoint reported the version it should serve. An alias moved is `unproved`."""
    started_at: UtcDatetime | None = None
    wake_at: UtcDatetime | None = None
    """Set while `waiting`."""
    statement: str = ""


class ProofOfVersion(Contract):
    """A version was loaded in a subprocess and scored its golden rows."""

    version: str
    loaded: bool
    artifact_digest: Literal["matches", "differs", "not_recorded"]
    golden_rows: int = 0
    golden_matches: int = 0
    served: Literal["proved", "unproved", "contradicted"] = "unproved"
    """Whether the endpoint reports this version."""
    statement: str

    @property
    def holds(self) -> bool:
        """Loaded, not altered, and every golden row came out as recorded."""
        return (
            self.loaded
            and self.artifact_digest == "matches"
            and self.golden_rows > 0
            and self.golden_matches == self.golden_rows
            and self.served != "contradicted"
        )


class RollbackReport(Contract):
    """What a rollback did."""

    from_version: str | None
    to_version: str | None
    done: bool
    proof: ProofOfVersion | None = None
    reason: str
    statement: str


class MonitoringRule(Contract):
    """A rule that runs after the deployment."""

    metric: str
    condition: str
    """`success_condition` of a check or the condition of a rollback trigger, e.g. `healthy == true`."""
    interval: timedelta | None = None
    statement: str
