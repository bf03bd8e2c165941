"""Messages to and from drift-detective, model-evaluator and deployment-engineer.

The payloads are the peers' published ones, unchanged; `Envelope` is ours and goes around them.
"""

from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from tools.contracts.base import PublicContract, UtcDatetime
from tools.contracts.profile import Task

# --- drift-detective -------------------------------------------------------------------------------------------


class MonitoringConfig(PublicContract):
    reference_data: str | None = None
    """Path of the reference rows."""
    current_data_window: str | None = None
    """Path of the current rows."""
    features: tuple[str, ...] | None = None
    baseline_data: str | None = None
    """Added: path of rows that the champion never trained on, with labels and its predictions: the reference for
    predictions, labels and performance. Columns as in `currentDataWindow`."""
    event_time: str | None = None
    """Added: time column of all files; absent: changes are not dated."""
    target: str | None = None
    """Added: label column of `currentDataWindow` and `baselineData`."""
    task: Task | None = None
    """Added."""
    text: tuple[str, ...] = ()
    """Added: features that hold free text."""
    importance: dict[str, float] | None = None
    """Added: feature to its share of the champion's importance."""
    checks_a_year: int | None = None
    """Added: how often this check is repeated."""
    performance: "PerformanceClaim | None" = None
    """Added: what the caller measured on labels; concept drift is told from it."""


class PerformanceClaim(PublicContract):
    """Added: the champion's primary metric now against then."""

    metric: str
    outcome: str
    """`ok`, `bad`, `could_not_tell` or `could_not_measure`."""
    statement: str
    since: UtcDatetime | None = None


class DriftThresholds(PublicContract):
    data_drift: float | None = None
    performance_drop: float | None = None
    prediction_drift: float | None = None
    min_effect: float | None = None
    """Added: least distance of one column, 0 to 1, beside significance."""


class DriftRequest(PublicContract):
    model_id: str
    monitoring_config: MonitoringConfig
    thresholds: DriftThresholds | None = None
    alert_config: dict[str, Any] | None = None


class FeatureDrift(PublicContract):
    feature: str
    drift_score: float | None = None
    """Effect size, 0 to 1; absent where it could not be measured."""
    drift_type: str
    """`data_drift`, `null_share`, `vanished`, …"""
    severity: str
    """`none`, `drifted`, `could_not_tell` or `could_not_measure`."""
    p_value: float | None = None
    """Added: corrected over columns."""
    method: str | None = None
    """Added: name of the test or distance."""
    reference_rows: int | None = None
    current_rows: int | None = None
    weight: float | None = None
    """Added: share of the champion's importance."""
    since: UtcDatetime | None = None
    """Added: start of the first block of the current window from which the change stays."""
    statement: str | None = None
    """Added: the finding in one sentence."""


class ConceptDrift(PublicContract):
    detected: bool
    evidence: str


class DriftReport(PublicContract):
    overall_drift_score: float | None = None
    """Share of the measured features that drifted, weighted where weights are known; absent when none could be measured."""
    feature_drift: tuple[FeatureDrift, ...] = ()
    prediction_drift: FeatureDrift | None = None
    """Added: the champion's predictions against those on the baseline rows."""
    label_drift: FeatureDrift | None = None
    """Added: mature labels against those of the baseline rows."""
    concept_drift: ConceptDrift | None = None


class RootCause(PublicContract):
    hypothesis: str
    evidence: tuple[str, ...] = ()
    confidence: str


class DriftAlert(PublicContract):
    type: str
    severity: str
    """`page` (performance lost, or data broken), `ticket` (the data set or the predictions drifted, or an estimate fell) or
    `digest` (all else)."""
    message: str
    triggered: bool


class PeerRecommendation(PublicContract):
    action: str
    priority: str
    rationale: str


class DriftReply(PublicContract):
    drift_report: DriftReport
    root_cause: RootCause | None = None
    alerts: tuple[DriftAlert, ...]
    recommendations: tuple[PeerRecommendation, ...]
    report_path: str | None = None
    """Added: HTML report for people."""


# --- model-evaluator -------------------------------------------------------------------------------------------


class SliceSpec(PublicContract):
    column: str
    values: tuple[Any, ...] = ()


class FairnessCheck(PublicContract):
    column: str
    metric: str
    """Fairlearn's name."""
    min_rows: int = 1
    """Groups with fewer rows are left out."""
    min_class_rows: int = 1
    """Groups with fewer rows of a class that the rates are about are left out."""


class EvaluationConfig(PublicContract):
    metrics: tuple[str, ...]
    slices: tuple[SliceSpec, ...] = ()
    thresholds: dict[str, float] = {}
    """What each metric must reach: the champion's value on these rows and what is asked beyond it."""
    fairness: tuple[FairnessCheck, ...] = ()
    """Added."""


class EvaluationRequest(PublicContract):
    task: Literal["evaluate_model"] = "evaluate_model"
    model_path: str
    test_data_path: str
    """Parquet with target and prediction columns."""
    target_column: str
    prediction_column: str
    task_type: Task
    group_column: str | None = None
    """Added: rankings only, the column whose equal values make a group."""
    evaluation_config: EvaluationConfig
    business_context: dict[str, Any] | None = None


class EvaluationReply(PublicContract):
    success: bool
    overall_metrics: dict[str, float] = {}
    """Only what was measured."""
    threshold_analysis: dict[str, Any] | None = None
    slice_metrics: dict[str, dict[str, dict[str, float]]] = {}
    fairness_metrics: dict[str, dict[str, float]] = {}
    """Added: column, then metric, to the gap."""
    error_analysis: dict[str, Any] | None = None
    business_impact: dict[str, float] | None = None
    recommendations: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()


# --- deployment-engineer ---------------------------------------------------------------------------------------


class ModelArtifact(PublicContract):
    path: str
    """`models:/NAME/VERSION`."""
    framework: str | None = None
    version: str


class DeploymentRequest(PublicContract):
    model_artifact: ModelArtifact
    serving_requirements: dict[str, str] = {}
    deployment_strategy: Literal["rolling", "canary", "blue-green", "shadow"] = "rolling"
    infrastructure: dict[str, Any] | None = None
    traffic_config: "TrafficConfig | None" = None
    """Added: the weight wanted on `model_artifact`."""
    previous_version: str | None = None
    """Added: who keeps the rest of the traffic."""
    idempotency_key: str | None = None
    """Added: same key, same effect."""


class TrafficConfig(PublicContract):
    canary_percent: int = Field(ge=0, le=100)
    mirror_percent: int | None = Field(default=None, ge=0, le=100)
    """Added: percent of requests that `model_artifact` answers too, unseen by the caller; absent is 0."""
    rollout_schedule: str | None = None
    rollback_triggers: tuple[Any, ...] = ()


class ServingEndpoint(PublicContract):
    url: str | None = None
    health_endpoint: str | None = None
    metrics_endpoint: str | None = None


class DeploymentReply(PublicContract):
    deployment_config: dict[str, Any] = {}
    serving_endpoint: ServingEndpoint = ServingEndpoint()
    traffic_config: TrafficConfig | None = None
    monitoring: dict[str, Any] = {}
    observed_weights: dict[str, int] | None = None
    """Added: version to percent, as the endpoint reports it; absent where it cannot."""
    observed_mirror: int | None = None
    """Added: percent of requests mirrored to the version asked about, as the endpoint has it; absent where it cannot."""
    healthy: bool | None = None
    """Added: absent means no data, which is never good news."""


MonitoringConfig.model_rebuild()
DriftRequest.model_rebuild()
DeploymentRequest.model_rebuild()

Payload = TypeVar("Payload")


class Envelope(PublicContract, Generic[Payload]):
    """Who says what about which run. A reply without one could not be measured."""

    schema_version: str
    run_id: str
    model_id: str
    model_version: str | None = None
    data_window_digest: str | None = None
    sent_at: UtcDatetime
    sender: str
    request_id: str | None = None
    """Added: same question, same id; a reply repeats it. Who is asked twice answers twice the same."""
    payload: Payload
