"""The rollout plan in Argo's vocabulary, its status, and what a rollback proved."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from tools.contracts.base import Contract, UtcDatetime


class SetMirror(Contract):
    kind: Literal["set_mirror"] = "set_mirror"
    percent: Annotated[int, Field(ge=0, le=100)]
    """Percent of requests that are answered by the candidate too; only the champion's answers are sent back."""


class SetWeight(Contract):
    kind: Literal["set_weight"] = "set_weight"
    weight: Annotated[int, Field(ge=0, le=100)]
    """Percent of traffic on the candidate."""


class Pause(Contract):
    kind: Literal["pause"] = "pause"
    duration: timedelta | None = None
    """Absent: until an approver says so (`retrain rollout resume`), as long as the plan's `max_duration` allows."""


class Analysis(Contract):
    kind: Literal["analysis"] = "analysis"
    """The target's health and every metric of the plan, judged on all that was seen since the rollout began."""
    require: Literal["no_alarm", "no_harm", "safe"] = "no_harm"
    """`no_alarm`: no harm shown, whatever the samples. `no_harm`: enough samples and no harm shown. `safe`: shown that no harm
    exceeds the margin."""


class Bake(Contract):
    kind: Literal["bake"] = "bake"
    duration: Annotated[timedelta, Field(gt=timedelta(0))]
    """All traffic on the candidate, the champion still loaded; harm at any look goes back."""


Step = Annotated[SetMirror | SetWeight | Pause | Analysis | Bake, Field(discriminator="kind")]

SignalName = Literal[
    "errors", "latency_ms", "prediction_distribution", "disagreement", "quality", "estimated_quality", "missing_values"
]
"""What a version is watched by: share of failed answers; share of answers slower than 95 % of the champion's first ones; largest
change in the share of a class (of numbers: of a fifth of the champion's); share of requests on which both versions answered and
differ; loss on labelled answers; loss expected from its own probabilities; share of answers without a prediction. All are worse
when larger, and lie between 0 and 1."""


class RolloutMetric(Contract):
    """One signal of the candidate, held against the champion's over the same time."""

    name: SignalName
    margin: Annotated[float, Field(ge=0, lt=1)]
    """Largest accepted worsening, absolute. A share like the signal itself: with 1 or more nothing could ever be harmful or safe."""
    critical: bool = True
    """Whether harm rolls back and want of data holds up; else it is only shown."""
    min_samples: Annotated[int, Field(ge=1)] = 200
    """Of each version, before anything is concluded."""
    compare_to: Literal["baseline"] = "baseline"
    interval: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(minutes=1)
    """Between looks."""
    failure_limit: Annotated[int, Field(ge=0)] = 0
    """Looks in a row that may find harm before it counts."""
    inconclusive_limit: Annotated[int, Field(ge=1)] | None = None
    """Looks in a row without a conclusion before a person is asked; the plan's `max_duration` where absent."""
    consecutive_error_limit: Annotated[int, Field(ge=1)] = 4
    """Looks in a row that could not be taken before the rollout pauses for a person."""


class SignalVerdict(Contract):
    """What one look said about one metric."""

    name: SignalName
    outcome: Literal["harmful", "safe", "inconclusive", "no_data", "error"]
    """`error`: the look could not be taken. `no_data`: fewer than `min_samples` of a version."""
    better: bool = False
    """Shown to be better than the champion."""
    critical: bool = True
    champion_n: int = 0
    candidate_n: int = 0
    champion_value: float | None = None
    candidate_value: float | None = None
    difference: float | None = None
    """Candidate less champion: positive is worse."""
    low: float | None = None
    high: float | None = None
    """Confidence sequence of the difference: holds at all looks together."""
    statement: str


class RolloutPlan(Contract):
    """What will happen, in order. Stored with its digest before anything moves."""

    candidate_version: str | None = None
    """Absent until the candidate is registered."""
    last_known_good: str | None = None
    """The version to go back to, named before the rollout starts; absent only for a first model."""
    strategy: Literal["rolling", "canary"]
    steps: tuple[Step, ...]
    metrics: tuple[RolloutMetric, ...] = ()
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Chance that a harmless candidate is called harmful by any metric at any look of the whole rollout."""
    on_failure: Literal["rollback"] = "rollback"
    on_inconclusive: Literal["pause"] = "pause"
    """A person is asked; nobody answers: rollback."""
    on_error: Literal["pause"] = "pause"
    keep_baseline_loaded: bool = True
    max_duration: timedelta
    digest: str = ""
    """sha256 of the plan without this field."""


class EndpointAnswer(Contract):
    """How one version at the endpoint answered rows it was asked directly, outside the traffic split."""

    version: str
    digest: str | None = None
    """Of the model's files as the server holds them; absent where it cannot say."""
    predictions: tuple[Any, ...] = ()
    """In the order of the rows asked."""
    latency_ms: tuple[float, ...] = ()
    """Of single-row requests."""
    memory_mb: float | None = None
    load_seconds: float | None = None


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
    mirror: int = 0
    """Desired percent of requests mirrored to the candidate."""
    observed_mirror: int | None = None
    step_started_at: UtcDatetime | None = None
    """When the pending step was first tried; a bake counts from it."""
    signals: tuple[SignalVerdict, ...] = ()
    """Of the latest look."""
    in_a_row: dict[str, int] = {}
    """Looks in a row that failed (`failed:NAME`), concluded nothing (`open:NAME`) or could not be taken (`error`)."""
    statement: str = ""


class ProofOfVersion(Contract):
    """A version was loaded in a subprocess and scored its golden rows."""

    version: str
    loaded: bool
    artifact_digest: Literal["matches", "differs", "not_recorded", "not_fetched"]
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
