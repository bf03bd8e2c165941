"""The public input: what a caller may ask. Names follow the published schema; additions are optional."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from tools.contracts.base import Contract, PublicContract, UtcDatetime

TriggerKind = Literal["scheduled", "drift", "performance", "manual"]
Direction = Literal["higher", "lower"]
Unit = Literal["absolute", "relative"]


class GuardrailSpec(PublicContract):
    """A metric that must not lose more than its non-inferiority margin."""

    name: str
    """A metric name of scikit-learn's vocabulary, see `tools.metrics`."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Largest loss that is still accepted, in `unit`; the profile's where absent, else 0."""
    unit: Unit = "absolute"
    """`absolute`: in the metric's unit; `relative`: as a share of the baseline's value."""
    direction: Direction | None = None
    """Which way is better; the metric's own where absent. A contradiction is refused."""


def _as_spec(item: Any) -> Any:
    return {"name": item} if isinstance(item, str) else item


class RetrainingConfig(PublicContract):
    """How this run is to be done; absent fields come from the profile."""

    trigger: TriggerKind = "manual"
    """`manual` and `scheduled` insist; `drift` and `performance` are checked again."""
    trigger_source: str | None = None
    """Where the trigger came from (a webhook, new data); recorded, never insists."""
    data_window: str | None = None
    """`90d`, `P90D`, `2013-01-01/2013-06-01`, `2013-01-01/P90D`, `P90D/2013-06-01` or `all`."""
    validation_strategy: str | None = None
    """`latest:20%`, `latest:14d`, `rolling:3x14d` or `fixed:FILE`."""
    as_of: UtcDatetime | None = None
    """The 'now' of the data: nothing later is read. The clock's where absent."""


class BaselineModel(PublicContract):
    """What the caller believes about production. Checked, never used in place of a measurement."""

    version: str | None = None
    """Registry version; if it is not the champion, the decision is `manual_review`."""
    metrics: dict[str, float] | None = None
    """Metric name to value; compared with what is recomputed."""


class DeploymentCriteria(PublicContract):
    """The caller's demands on the candidate; they override the profile's."""

    min_improvement: Annotated[float, Field(ge=0)] | None = None
    """Least gain of the primary metric, absolute in its unit unless the profile says relative."""
    guardrail_metrics: tuple[Annotated[GuardrailSpec, BeforeValidator(_as_spec)], ...] | None = None
    """Names or `{name, margin, unit, direction}`."""


class RetrainingRequest(PublicContract):
    """The public input of the agent."""

    model_id: Annotated[str, Field(min_length=1)]
    """ID of the model to retrain: a profile's id, or its registered model name."""
    retraining_config: RetrainingConfig
    """Trigger, window and validation."""
    baseline_model: BaselineModel | None = None
    """The caller's view of production."""
    deployment_criteria: DeploymentCriteria | None = None
    """The caller's bar."""
    schema_version: str | None = None
    """Version of this contract that the caller speaks."""
    idempotency_key: str | None = None
    """Same key, same run: a repeated request returns the first one's run."""

    @field_validator("model_id")
    @classmethod
    def _no_padding(cls, value: str) -> str:
        if value != value.strip():
            raise ValueError("has spaces around it")
        return value


RunKind = Literal["retrain", "judge", "rollback"]


class RunOrder(Contract):
    """A request as accepted: what kind of run, for which profile, asked by whom."""

    kind: RunKind
    request: RetrainingRequest
    requested_by: str
    """OS user, agent or key name; recorded as the review's requester."""
    context: str | None = None
    """What the caller groups his requests by, where his door has that; decides nothing."""
    as_of: UtcDatetime
    """Resolved 'now' of the data."""
    candidate_version: str | None = None
    """`judge` only: the registered version to be judged."""
    rollback_to: str | None = None
    """`rollback` only: the version wanted; last known good where absent."""
    of_run: str | None = None
    """`rollback` only: the run whose rollout is to be taken back; refused once that is over, so that nothing older is gone back to."""
    reason: str | None = None
    """`rollback` only: why."""
    warnings: tuple[str, ...] = ()
    """Unknown fields of the request and the like."""
