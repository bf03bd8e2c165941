"""Training orders and results, scoring jobs and results, registry facts."""

from datetime import timedelta
from typing import Literal

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.profile import ExternalTraining, ProjectTraining, Task


class TrainingOrder(Contract):
    """What the pipeline is asked to do."""

    key: str
    """Idempotency key: `RUN_ID` or `RUN_ID.FOLD`. Stands as tag `retraining.key` on the tracking run."""
    model_name: str
    """Registered model name, for the experiment's name only: the pipeline never registers."""
    how: ProjectTraining | ExternalTraining
    project_dir: str
    """Absolute folder that relative paths in `how` start from."""
    training_data: str
    """Absolute path of the Parquet file with features, target and event time."""
    target: str
    features: tuple[str, ...]
    event_time: str
    task: Task
    window_start: UtcDatetime | None = None
    window_end: UtcDatetime | None = None
    training_digest: str
    log_path: str
    """Where the streamed log goes."""


class TrainingResult(Contract):
    """What came of it. A failure is a result."""

    status: Literal["trained", "failed", "timed_out", "no_model"]
    tracking_run_id: str | None = None
    model_uri: str | None = None
    """URI of the logged, unregistered model."""
    metrics: dict[str, float] = {}
    """What the pipeline logged, finite ones only."""
    adopted: bool = False
    """True where an earlier, finished run with the same key was taken over."""
    seconds: float | None = None
    log_tail: str = ""
    """Last lines of the log, for a failure."""
    statement: str


class ScoringJob(Contract):
    """Score rows with one model, in a subprocess."""

    model_uri: str
    rows: str
    """Parquet path."""
    features: tuple[str, ...]
    output: str
    """Parquet path to write: `prediction`, and for classifiers `proba:<class>` a class where the model gives it."""
    task: Task
    time_limit: timedelta
    memory_limit_mb: int
    environment: Literal["ours_if_it_fits", "build"] = "ours_if_it_fits"
    expected_digest: str | None = None
    """Artifact digest recorded at registration; a difference is refused."""


class ScoringResult(Contract):
    """What came of it. A crash is a result."""

    status: Literal["scored", "failed", "timed_out", "out_of_memory", "environment_does_not_fit", "digest_differs"]
    output: str | None = None
    rows: int = 0
    seconds: float | None = None
    environment: str = ""
    """Which interpreter scored: `ours` or the built environment's requirement hash."""
    artifact_digest: str | None = None
    """sha256 over the downloaded model's files."""
    model_bytes: int | None = None
    """Size of the downloaded model's files."""
    by_model: bool = False
    """Of a failure: whether the model itself raised, left, or gave no usable answer, and nothing around it."""
    statement: str


class ModelVersion(Contract):
    """A registered version as the registry knows it."""

    name: str
    version: str
    model_uri: str
    """`models:/NAME/VERSION`."""
    source_run_id: str | None = None
    created_at: UtcDatetime | None = None
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = {}


class ColumnSpec(Contract):
    name: str
    type: str
    required: bool = True


class ModelSignature(Contract):
    """Input and output columns of a model, where it was logged with a signature."""

    inputs: tuple[ColumnSpec, ...] = ()
    outputs: tuple[ColumnSpec, ...] = ()
