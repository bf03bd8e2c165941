"""The outside world, as small Protocols. Each has a real adapter and an in-memory one, and one conformance suite."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import BaseModel

from tools.contracts.access import ApiKey
from tools.contracts.comparison import Look
from tools.contracts.decision import PolicyResult, Rationale
from tools.contracts.evidence import DatasetRef, Effort, EvidenceItem
from tools.contracts.incident import Notice
from tools.contracts.language import Abilities, Completion, Delta, Message, ModelCall, PromptVersion, ToolSpec
from tools.contracts.measuring import MetricJob, MetricResult, TimingJob, TimingResult
from tools.contracts.peers import (
    DeploymentReply,
    DeploymentRequest,
    DriftReply,
    DriftRequest,
    Envelope,
    EvaluationReply,
    EvaluationRequest,
)
from tools.contracts.profile import DataSpec, PredictionTable
from tools.contracts.profiling import DataProfile, Overlap, RuleCount, SchemaRule, WindowSummary
from tools.contracts.rollout import EndpointAnswer
from tools.contracts.run import ChampionEvent, EffectRecord, Hold, Lease, Review, RunRecord
from tools.contracts.training import (
    ModelSignature,
    ModelVersion,
    ScoringJob,
    ScoringResult,
    TrainingOrder,
    TrainingResult,
)
from tools.observations import Observations
from tools.spending import Budget
from tools.trigger_ports import TriggerStore

Clock = Callable[[], datetime]
"""Aware, UTC."""
NewId = Callable[[], str]


class Registry(Protocol):
    """Versions and aliases. Aliases have no compare-and-set: callers move them under a lease, after re-reading.

    All methods raise `Unavailable` when the registry does not answer.
    """

    def get_version(self, name: str, version: str) -> ModelVersion:
        """Raises `NotFound` for an unknown model or version."""
        ...

    def by_alias(self, name: str, alias: str) -> ModelVersion | None:
        """None where the model exists without that alias, or does not exist."""
        ...

    def find_by_tag(self, name: str, key: str, value: str) -> Sequence[ModelVersion]:
        """Newest first; empty where there is none."""
        ...

    def by_stage(self, name: str, stage: str) -> ModelVersion | None:
        """Newest version in a (deprecated) stage."""
        ...

    def list_models(self) -> Sequence[str]:
        """Registered model names, sorted."""
        ...

    def list_versions(self, name: str) -> Sequence[ModelVersion]:
        """Newest first. Raises `NotFound` for an unknown model."""
        ...

    def register(self, name: str, model_uri: str, source_run_id: str | None, tags: Mapping[str, str]) -> ModelVersion:
        """Makes a new version (and the model, if new). Not idempotent: callers look for their tag first."""
        ...

    def set_alias(self, name: str, alias: str, version: str) -> None: ...

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None: ...

    def signature(self, model_uri: str) -> ModelSignature | None:
        """None where the model was logged without one. Reads metadata only; never loads the model."""
        ...

    def can_write(self) -> bool | None:
        """None where that cannot be known without trying."""
        ...


class Tracking(Protocol):
    """One tracking run per orchestration run; every report is an artifact of it."""

    def open_run(self, run_id: str, model_name: str, tags: Mapping[str, str]) -> str:
        """Find or create the run tagged `retraining.run_id=run_id`; returns the tracking run's id."""
        ...

    def log_json(self, tracking_run_id: str, path: str, content: Mapping[str, Any]) -> None:
        """Artifact `path`; overwrites."""
        ...

    def log_file(self, tracking_run_id: str, file: Path, folder: str) -> None: ...

    def log_metrics(self, tracking_run_id: str, metrics: Mapping[str, float]) -> None:
        """Finite values only; raises `BadInput` otherwise."""
        ...

    def set_tags(self, tracking_run_id: str, tags: Mapping[str, str]) -> None: ...

    def get_tags(self, tracking_run_id: str) -> Mapping[str, str]:
        """Raises `NotFound`."""
        ...

    def fetch(self, tracking_run_id: str, path: str, folder: Path) -> Path | None:
        """Download artifact `path` into `folder`; None where it does not exist."""
        ...

    def close_run(self, tracking_run_id: str, *, failed: bool = False) -> None:
        """Idempotent."""
        ...

    def where(self) -> str:
        """How a person opens it, e.g. an `mlflow ui …` command. No password in it."""
        ...


class DataSource(Protocol):
    """Rows, read as queries; written as bounded Parquet files. Times are aware; naive columns are UTC.

    Raises `BadInput` (source missing or unreadable, column gone: names what there is), `Unavailable` (died in mid-read).
    """

    def columns(self, spec: DataSpec) -> Mapping[str, str]:
        """Column name to type, of the source as it is now."""
        ...

    def time_range(self, spec: DataSpec, as_of: datetime) -> tuple[datetime, datetime, int] | None:
        """Earliest and latest event time and row count up to `as_of`; None without rows."""
        ...

    def labelled_range(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime
    ) -> tuple[datetime, datetime, int] | None:
        """Like `time_range` for rows in [start, end) with a label mature at `known_by`."""
        ...

    def time_at_share(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime, share: float
    ) -> datetime | None:
        """Event time behind which the latest `share` of the labelled rows in [start, end) lies."""
        ...

    def write_labelled(
        self,
        spec: DataSpec,
        start: datetime | None,
        end: datetime,
        known_by: datetime,
        path: Path,
        extra_columns: Sequence[str] = (),
        limit: int | None = None,
    ) -> DatasetRef:
        """Rows in [start, end) by event time whose non-null label was mature at `known_by`, in time order.

        Columns written: event time, key columns, features, `extra_columns`, target, and `__row_hash` (text).
        Of a ranking also the group. With `limit`, an evenly spread, deterministic sample; where `spec.group` is given, of whole
        groups (one that alone exceeds the limit is cut). A missing feature column raises `BadInput`.
        """
        ...

    def write_window(
        self,
        spec: DataSpec,
        start: datetime | None,
        end: datetime,
        path: Path,
        limit: int,
        *,
        known_by: datetime | None = None,
        extra_columns: Sequence[str] = (),
    ) -> DatasetRef:
        """All rows in [start, end), labelled or not, at most `limit`, spread evenly; of a ranking, whole groups.

        Writes whichever of the declared columns exist: a vanished column is the validator's to find. With `known_by` also
        `__mature` (boolean): whether the row has a label that was final then.
        """
        ...

    def summary(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime, columns: Sequence[str]
    ) -> WindowSummary:
        """Exact counts over all rows in [start, end), however many: nothing comes into memory but the counts."""
        ...

    def overlap(self, holdout: Path, trained_on: Path) -> Overlap:
        """Rows of `holdout` whose row hash stands in `trained_on`; both Parquet files with `__row_hash`."""
        ...

    def check_schema(
        self, spec: DataSpec, start: datetime | None, end: datetime, rules: Sequence[SchemaRule]
    ) -> Sequence[RuleCount]:
        """Rows in [start, end) that break each rule, in the order of the rules, counted over all of them by queries.

        A rule that cannot be counted says why; it never raises for that.
        """
        ...

    def write_predictions(self, spec: DataSpec, table: PredictionTable, versions: Sequence[str], path: Path) -> int:
        """The predictions of these versions, as they stand in the table; returns how many.

        Columns written: `__row_hash` (of `spec.key`, as `write_labelled` writes it), `__version` (text), `prediction`, and
        `proba:<class>` where there are. NaN is null. A missing column raises `BadInput`.
        """
        ...

    def effort(self) -> Effort:
        """Queries sent and rows brought into memory by this thread since it was last asked; asking starts anew."""
        ...

    def budget(self, *, queries: int, seconds: int) -> AbstractContextManager[None]:
        """Within it, this thread may send so many queries, each of so many seconds; beyond it `TimedOut` is raised."""
        ...

    def count(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> tuple[int, int]:
        """(rows in [start, end), rows among them with a label mature at `known_by`)."""
        ...

    def profile(self, path: Path, spec: DataSpec) -> DataProfile:
        """What features and target look like in a file that this source wrote."""
        ...


class Trainer(Protocol):
    """Trains; never registers. A failure is a result."""

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        """Adopts a finished run with `order.key`; ends a live orphan of it by recorded pid and start time first."""
        ...


class Scorer(Protocol):
    """Scores in a subprocess with limits, without our secrets. A crash is a result."""

    def score(self, job: ScoringJob) -> ScoringResult: ...

    def digest(self, model_uri: str) -> str | None:
        """sha256 over the model's files; None where they cannot be fetched."""
        ...

    def measure(self, job: MetricJob) -> MetricResult:
        """A user's own metric on a model's scored rows."""
        ...

    def time(self, job: TimingJob) -> TimingResult:
        """Single-row predictions of two models, timed in turn. Callers see to it that nothing else of ours runs."""
        ...


class DriftDetective(Protocol):
    def detect(self, request: Envelope[DriftRequest], report_folder: Path) -> Envelope[DriftReply]: ...


class ModelEvaluator(Protocol):
    def evaluate(self, request: Envelope[EvaluationRequest]) -> Envelope[EvaluationReply]: ...


class TargetAbilities(Protocol):
    @property
    def can_split(self) -> bool: ...
    @property
    def can_prove(self) -> bool:
        """Whether `status` reports the served versions."""
        ...

    @property
    def can_mirror(self) -> bool: ...
    @property
    def can_load(self) -> bool:
        """Whether `prepare`, `ask` and `release` reach the servers themselves."""
        ...


class TrafficLog(Protocol):
    """What each version answered, and the labels that came for it."""

    def observations(self, versions: Sequence[str], since: datetime, until: datetime, limit: int) -> Observations:
        """Answers of these versions in [since, until), with labels known by `until`; beyond the first `limit` of a version only
        a part of them, the same at every look (`tools.observations.thinned`).

        Raises `Unavailable` where the log cannot be read, `BadInput` where a column is missing. A log that does not exist
        yet is empty.
        """
        ...


class DeploymentTarget(Protocol):
    """Where models serve, spoken to in deployment-engineer's message. Never moves an alias.

    Raises `Unavailable` when a command fails or times out; the message holds its last lines. Raises `BadInput` or one of its kinds
    where the same call will be refused again until somebody mends something: a rollout under way ends then and goes back.
    """

    @property
    def abilities(self) -> TargetAbilities: ...

    def apply(self, request: DeploymentRequest) -> DeploymentReply:
        """Put `traffic_config.canary_percent` on the version and mirror `mirror_percent` to it; idempotent."""
        ...

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """What is served now; `healthy` is of the version in the request and of the endpoint."""
        ...

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """All traffic to the version in `model_artifact`, nothing mirrored; idempotent. Loads it where it is not loaded."""
        ...

    def prepare(self, request: DeploymentRequest) -> None:
        """Load the version beside what serves, without traffic; idempotent. Raises `Unavailable` with the reason."""
        ...

    def ask(self, version: str, rows: Path) -> EndpointAnswer | None:
        """What the loaded version answers to each row of a Parquet file of features; None where it cannot be asked."""
        ...

    def release(self, version: str) -> None:
        """Unload a version that gets no traffic; idempotent. Refuses one that does with `Conflict`."""
        ...

    @property
    def log(self) -> TrafficLog | None:
        """The target's own log of answers; None where it keeps none."""
        ...


ESCALATION: Final = "escalation-"
"""How the channels begin that hear only of questions that nobody answers."""


class Notifier(Protocol):
    """Who is told, by channels that know nothing of each other."""

    def channels(self) -> Sequence[str]:
        """Names of the channels; no address and no secret stands in them."""
        ...

    def send(self, channel: str, notice: Notice) -> None:
        """Raises `Unavailable` where the message did not leave, without any part of the address."""
        ...


class LanguageModel(Protocol):
    """A chat model behind an endpoint. Every failure is `ModelUnavailable`, without a word of the endpoint's in it."""

    @property
    def name(self) -> str:
        """The model's name there."""
        ...

    def budget(self) -> Budget:
        """A fresh one for a run or a turn, as the settings say."""
        ...

    def abilities(self) -> Abilities:
        """What the endpoint really supports: tried once, remembered for days."""
        ...

    def complete(
        self,
        messages: Sequence[Message],
        schema: type[BaseModel] | None = None,
        *,
        purpose: str,
        budget: Budget | None = None,
        reuse: bool = False,
    ) -> Completion:
        """One whole answer; with a schema, parsed into it, in the best way that the endpoint supports.

        Args:
            messages: The conversation.
            schema: What the answer must be an instance of. Text mode relies on the prompt alone, so describe it there.
            purpose: What for, in traces, e.g. `rationale`.
            budget: What it is paid from; a fresh one where None.
            reuse: Whether the answer to exactly this question from an earlier time will do.
        """
        ...

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        *,
        purpose: str = "chat",
        budget: Budget | None = None,
    ) -> Iterator[Delta]:
        """The answer in pieces. Closing the iterator ends the request; a stream that breaks off raises."""
        ...


class ModelTrace(Protocol):
    """Where questions to the language model are kept for people to look at."""

    def record(self, call: ModelCall) -> None:
        """Never raises: a trace that cannot be kept is dropped."""
        ...


class PromptRegistry(Protocol):
    """Where versions of prompts are kept. Raises `Unavailable` where it does not answer."""

    def versions(self, name: str) -> Sequence[PromptVersion]:
        """Newest first; empty for an unknown prompt."""
        ...

    def register(self, name: str, version: str, file_hash: str, text: str) -> PromptVersion:
        """A new version. Not idempotent: callers look for the hash first."""
        ...


class RationaleWriter(Protocol):
    """Explains a decision. Never raises: any fault gives the template's text with the fault named."""

    def write(self, policy: PolicyResult, evidence: Sequence[EvidenceItem], model_id: str) -> Rationale: ...


class Store(TriggerStore, Protocol):
    """Runs, leases, effects, reviews and champion history; one implementation on SQLAlchemy.

    Every method is one transaction. Raises `Unavailable` when the database does not answer.
    """

    def create_run(self, run: RunRecord) -> RunRecord:
        """Returns the earlier run where `idempotency_key` is known. Raises `Conflict` where that was for another request."""
        ...

    def repeated(self, run: RunRecord) -> RunRecord | None:
        """What `create_run` would return in place of `run`, or raise; None where it would be new. Nothing is written."""
        ...

    def get_run(self, run_id: str) -> RunRecord:
        """Raises `NotFound`."""
        ...

    def update_run(self, run_id: str, **changes: Any) -> RunRecord:
        """Sets fields of `RunRecord` and `updated_at`."""
        ...

    def list_runs(self, model_id: str | None = None, limit: int = 50) -> Sequence[RunRecord]:
        """Newest first."""
        ...

    def unfinished(self, model_id: str | None = None) -> Sequence[RunRecord]:
        """Runs that may still go on: running, parked or failed; newest first, at most 1,000."""
        ...

    # leases
    def acquire(self, model_name: str, run_id: str, holder: str, ttl_seconds: float, *, preempt: bool = False) -> Lease:
        """A new lease with the next token.

        Free, expired, its holder's process known to be gone, parked by the same run, or `preempt`: granted. Else raises
        `Conflict` that names the holding run, its holder, since when, and whether it is parked.
        """
        ...

    def heartbeat(self, lease: Lease, ttl_seconds: float) -> bool:
        """False when the token is no longer the newest: stop at once."""
        ...

    def park(self, lease: Lease) -> None: ...

    def release(self, lease: Lease) -> None:
        """Only if the token is still the newest."""
        ...

    def current_lease(self, model_name: str) -> Lease | None: ...

    # effects
    def intend(self, lease: Lease, key: str, name: str, intent: Mapping[str, Any]) -> EffectRecord:
        """Records the intent, or returns the earlier record. Raises `Conflict` when the lease's token is not the newest."""
        ...

    def confirm(self, key: str, result: Mapping[str, Any]) -> EffectRecord: ...

    def effects(self, run_id: str) -> Sequence[EffectRecord]:
        """In order of intent."""
        ...

    def unconfirmed(self, name_prefix: str) -> Sequence[EffectRecord]:
        """Effects of any run that were intended and never confirmed, by the beginning of their names; in order of intent."""
        ...

    # holds
    def set_hold(self, hold: Hold) -> Hold:
        """Returns the hold in force for that scope where there is one: of two at once, one stands."""
        ...

    def release_hold(self, scope: str, by: str, why: str, at: datetime) -> Hold:
        """Raises `NotFound` where nothing is held under that scope."""
        ...

    def holds(self, *, in_force: bool = True) -> Sequence[Hold]:
        """Oldest first; with `in_force=False` the released ones too."""
        ...

    # reviews
    def open_review(self, review: Review) -> Review:
        """Assigns `id` (the given one is ignored). Returns the open review of the same run and digest if there is one;
        other open reviews of the run become `void`."""
        ...

    def get_review(self, review_id: int) -> Review: ...

    def list_reviews(self, *, open_only: bool = True, model_id: str | None = None) -> Sequence[Review]: ...

    def answer_review(
        self, review_id: int, digest: str, nonce: str, answer: str, by: str, reason: str, at: datetime
    ) -> Review:
        """Raises `Conflict` when not open, expired, or digest or nonce differ; of two at once, one wins."""
        ...

    def close_review(self, review_id: int, status: str) -> Review:
        """Set `expired` or `void`."""
        ...

    # keys
    def add_key(self, key: ApiKey) -> ApiKey:
        """Raises `Conflict` where a key that is not revoked has the name, or an earlier one of another kind had it."""
        ...

    def get_key(self, key_id: str) -> ApiKey | None:
        """Revoked and expired ones too; None for an unknown id."""
        ...

    def list_keys(self) -> Sequence[ApiKey]:
        """Oldest first, revoked ones too."""
        ...

    def revoke_key(self, name: str, by: str, at: datetime) -> ApiKey:
        """Raises `NotFound` where no key that is not revoked has the name."""
        ...

    def use_key(self, key_id: str, at: datetime) -> None:
        """Remember that it was used; an unknown id changes nothing, and time never goes back."""
        ...

    # history
    def record_look(self, look: Look) -> Look:
        """Keeps what a run spent of its holdout's error; returns what stands: the first record of a run holds."""
        ...

    def looks(self, model_name: str) -> Sequence[Look]:
        """All recorded looks at holdouts of a model, oldest first."""
        ...

    def record_champion(self, event: ChampionEvent) -> None:
        """Appends, unless the newest event of the model has the same version."""
        ...

    def champions(self, model_name: str) -> Sequence[ChampionEvent]:
        """Newest first."""
        ...

    # binding
    def is_empty(self) -> bool:
        """No run was ever recorded."""
        ...

    def identity(self) -> str:
        """Random id of this store, made with it; stands in the tags we leave in the registry."""
        ...
