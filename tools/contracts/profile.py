"""A model's profile: everything the agent must know about one model. Written in YAML, see docs/profile.md."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tools.contracts.base import Contract
from tools.contracts.request import Direction, GuardrailSpec, Unit
from tools.contracts.rollout import Pause, RolloutMetric, Step
from tools.contracts.triggers import FromOutside, MonthlyBudget, NewDataTrigger, QuietHours, Schedule, Violations
from tools.contracts.when import WhenSpec
from tools.masking import masked

Mode = Literal["observe", "recommend", "act"]
Task = Literal["classification", "regression", "ranking"]
"""Of a ranking, rows are (query, item) pairs, the label is a relevance (a number from 0, not at all, upwards) and the model answers
one score a row."""
Positive = Annotated[timedelta, Field(gt=timedelta(0))]
NotNegative = Annotated[timedelta, Field(ge=timedelta(0))]


def _refused(what: str, remedy: str) -> PydanticCustomError:
    """A fault with a remedy of its own; `agent.problems` shows both."""
    return PydanticCustomError("refused", "{what}: {remedy}", {"what": what, "remedy": remedy})


class ChampionRule(Contract):
    """How the version in production is found."""

    by: Literal["alias", "tag", "stage", "version"] = "alias"
    value: str = "champion"
    """Alias name, `key=value` of a version tag, stage name, or version number."""
    last_known_good_alias: str = "last-known-good"
    """Alias the orchestrator keeps on the version to go back to."""

    @model_validator(mode="after")
    def _no_alias_of_the_registrys_own(self) -> "ChampionRule":
        """`latest` is whatever was registered last, so every candidate would be champion at once; `v3` is version 3."""
        aliases = (self.last_known_good_alias, *((self.value,) if self.by == "alias" else ()))
        for alias in aliases:
            if re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE):
                raise ValueError(
                    f"{alias!r} is an alias of the registry's own and cannot be moved; take a name such as champion"
                )
        return self


def _without_password(source: str) -> str:
    """The profile stands in every record of a run: what must not be known must not be in it."""
    # Where a variable stands for the whole secret, nothing is left that would have to be masked.
    named = re.sub(
        r":\$\{\w+\}@(?=[^@]*$)|[?&]sslkey=[^&#]*|[?&][\w.-]+=\$\{\w+\}(?=[&#]|$)|=\$\{\w+\}(?=\s|$)", "", source
    )
    if masked(named) != named:
        raise ValueError("holds a password; write ${NAME} and set that variable where `retrain` runs")
    return source


Source = Annotated[str, AfterValidator(_without_password)]


class PredictionLog(Contract):
    """Rows as the model saw them when it served, joined to the data by `data.key`."""

    source: Source
    """As `data.source`. Its feature columns bear the names of `data.features`; those that are there are compared."""
    event_time: str | None = None
    """Its time column; the name of `data.event_time` where absent."""
    prediction: str | None = None
    """Column with the prediction as served, where it was logged."""
    version: str | None = None
    """Column with the version that served, where it was logged."""


class DataSpec(Contract):
    """Where the rows are and what their columns mean."""

    source: Source
    """Path (relative to the workspace) of a Parquet or CSV file, a folder of them, or a glob; or a table behind an
    engine: `postgresql://USER:${PASSWORD}@HOST:PORT/DB#SCHEMA.TABLE`, `spark:TABLE` or `spark:PATH.parquet`."""
    event_time: str
    """Column with the time of the event; naive times are UTC."""
    target: str
    """Label column."""
    group: str | None = None
    """Ranking: column that names the query or session that a row belongs to. It reaches training beside the features."""
    features: tuple[str, ...] = Field(min_length=1)
    """Columns the model may see. Nothing else reaches training."""
    label_time: str | None = None
    """Column with the time the label became known; `event_time + label_maturity` where absent."""
    label_maturity: NotNegative = timedelta(0)
    """How long after the event a label counts as final."""
    key: tuple[str, ...] = ()
    """Columns that identify a row; event time, features and target where empty."""
    positive_label: str | int | bool | None = None
    """Classification: the class that precision, recall, f1 and roc_auc are about."""
    text: tuple[str, ...] = ()
    """Features that hold free text: compared by length, words and share of digits, never by value."""
    public: tuple[str, ...] = ()
    """Columns whose values may stand in reports as examples; of all others only counts are shown."""
    available_at: dict[str, str] = {}
    """Feature to the column with the time its value became known: later than the event is time leakage."""
    prediction_log: PredictionLog | None = None
    """What serving logged, to be compared with these rows."""

    @model_validator(mode="after")
    def _no_leak_by_declaration(self) -> "DataSpec":
        if self.target in self.features:
            raise ValueError(f"the target {self.target!r} is listed as a feature")
        if self.label_time is not None and self.label_time in self.features:
            raise ValueError(f"label_time {self.label_time!r} is listed as a feature: it is known only with the label")
        if self.group is not None and self.group in (self.target, self.event_time):
            raise ValueError(f"group {self.group!r} is the target or the event time: it must name the query or session")
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is listed twice")
        return self


class PrimaryMetric(Contract):
    """The metric that must gain."""

    name: str
    direction: Direction | None = None
    """The metric's own direction where absent; a contradiction is refused."""
    min_improvement: Annotated[float, Field(ge=0)] = 0.0
    """Least gain, in `unit`, in the good direction."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """Largest accepted loss, in `unit`, where `promote_on` is `non_inferior`."""
    unit: Unit = "absolute"
    fixed: bool = False
    """A request may ask for more than this, never for less."""


class ProfileGuardrail(GuardrailSpec):
    """A guardrail of the profile."""

    fixed: bool = False
    """A request may neither leave it out nor widen its margin."""


Label = str | int | bool
FairnessMetric = Literal["demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference"]


class FairnessSpec(Contract):
    """How far the groups of a column may drift apart. A request can neither leave it out nor widen it."""

    column: str
    """Its values are the groups; it need not be a feature."""
    metric: FairnessMetric = "equalized_odds_difference"
    """Fairlearn's name: the largest rate less the smallest, of the positive class."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """Largest accepted widening of the gap, absolute."""


class MetricsSpec(Contract):
    """What is compared, and how much is asked."""

    primary: PrimaryMetric
    guardrails: tuple[ProfileGuardrail, ...] = ()
    promote_on: Literal["improved", "non_inferior"] = "improved"
    """`non_inferior`: a routine refresh needs no gain, only no loss beyond `primary.margin`."""
    on_inconclusive: Literal["keep", "review"] = "review"
    """Where the rows cannot tell: ask a person, or keep the champion and say when the next look pays."""
    slices: tuple[str, ...] = ()
    """Categorical or boolean columns: each value with enough rows becomes a guardrail on the primary metric."""
    slice_margin: Annotated[float, Field(ge=0)] = 0.05
    """Non-inferiority margin of a slice on the primary metric, absolute."""
    search_slices: bool = True
    """Whether groups of rows that nobody declared are searched for one that is surely harmed; a person is then asked."""
    fairness: tuple[FairnessSpec, ...] = ()
    """Gaps between groups that must not widen."""
    costs: dict[Label, dict[Label, float]] = {}
    """For the metric `mean_cost`: true class, then predicted class, to what that costs; what is not named costs 0."""
    null_margin: Annotated[float, Field(ge=0)] | None = None
    """Largest accepted loss of the primary metric, absolute, on rows in which values are missing; not looked at where absent."""
    min_rows: Annotated[int, Field(ge=2)] = 50
    """Fewer holdout rows (or fewer of the rarer class; of a ranking, fewer groups that count) give the verdict `no_data`."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the two-sided intervals at the first look at a holdout; later looks at its rows must be surer."""
    max_looks: Annotated[int, Field(ge=1)] = 20
    """Candidates judged on overlapping holdouts before fresh labels are asked for."""
    allow_first_model: bool = False
    """With no champion: True lets the first model go to `manual_review` for adoption instead of `reject`."""

    @model_validator(mode="after")
    def _margin_where_it_is_used(self) -> "MetricsSpec":
        if self.promote_on == "non_inferior":
            if self.primary.margin <= 0:
                raise ValueError("promote_on: non_inferior needs primary.margin, the largest loss that is accepted")
            if self.primary.min_improvement > 0:
                raise ValueError("promote_on: non_inferior asks for no gain; take primary.min_improvement away")
        elif self.primary.margin > 0:
            raise ValueError("primary.margin is used with promote_on: non_inferior only")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the comparison needs beside features and target."""
        return tuple(dict.fromkeys((*self.slices, *(spec.column for spec in self.fairness))))


class ProjectTraining(Contract):
    """An MLflow Project, run on this machine by this interpreter."""

    kind: Literal["project"] = "project"
    uri: str
    """Folder (relative to the workspace) with an MLproject file."""
    entry_point: str = "main"
    parameters: dict[str, str | int | float] = {}
    """Passed on beside `training_data`, `target`, `features`, `group`, `task`, `window_start`, `window_end`."""
    time_limit: Positive = timedelta(minutes=30)
    memory_limit_mb: Annotated[int, Field(gt=0)] = 8192


class ExternalTraining(Contract):
    """Training where it already lives: a command or an HTTP call, then waiting for its model."""

    kind: Literal["external"] = "external"
    command: tuple[str, ...] = ()
    """Started with RETRAINING_* variables in its environment; exactly one of `command` and `url`."""
    url: str | None = None
    """POSTed with the training order as JSON and the run id as Idempotency-Key."""
    poll_every: Positive = timedelta(seconds=5)
    time_limit: Positive = timedelta(hours=6)

    @model_validator(mode="after")
    def _one_way(self) -> "ExternalTraining":
        if bool(self.command) == bool(self.url):
            raise ValueError("external training takes exactly one of command and url")
        return self


class PredictionTable(Contract):
    """Where the predictions of each version are kept, a row a row key and version. No model is run then."""

    source: Source
    """As `data.source`. It has the columns of `data.key`, under the same names."""
    version: str
    """Column with the registry version that predicted."""
    prediction: str = "prediction"
    """Column with the predicted class or value."""
    probabilities: dict[Label, str] = {}
    """Classification: class to the column with its probability; the columns named `proba:<class>` where empty."""


class ScoringSpec(Contract):
    """Limits of the scoring subprocess, and which environment it may use."""

    time_limit: Positive = timedelta(minutes=10)
    memory_limit_mb: Annotated[int, Field(gt=0)] = 4096
    environment: Literal["ours_if_it_fits", "build"] = "ours_if_it_fits"
    """`build`: where the model's logged requirements do not fit ours, build a virtual environment from them."""
    golden_rows: Annotated[int, Field(ge=1, le=1000)] = 20
    """Rows whose predictions are recorded at registration and checked at every proof."""
    predictions: PredictionTable | None = None
    """Compare by predictions that were kept, instead of running the models."""


class DriftTrigger(Contract):
    share_of_columns: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The data set counts as drifted when at least this share of the features has."""
    min_effect: Annotated[float, Field(gt=0, le=1)] = 0.08
    """Least distance (Jensen-Shannon, 0 to 1) beside significance; 0.08 is a normal column's shift by a fifth of its sd."""
    predictions: bool = True
    """Whether the champion's predictions (and the labels) are compared too."""
    weigh: bool = True
    """Weigh columns by the champion's importance, where it is on record; else every column counts the same."""


class PerformanceTrigger(Contract):
    max_loss: Annotated[float, Field(ge=0)] = 0.02
    """Loss of the primary metric on recent mature rows against the champion's recorded baseline, absolute."""
    act_on_estimate: bool = False
    """Whether a loss that was only estimated, reliably, makes the champion stale; else it is shown and alerts."""


class TriggersSpec(Contract):
    """When a run may start by itself, and how staleness is judged."""

    scheduled: Schedule | None = None
    """Retrain at these hours, whatever a look would say. Hours at which nobody watched are made up once."""
    check: Schedule | None = Schedule(cron="0 5 * * *", jitter=timedelta(hours=1))
    """When `retrain watch` looks at the model by itself; null: only when something outside asks for it."""
    new_data: NewDataTrigger | None = None
    """New rows bring the next look forward."""
    new_version: bool = False
    """Judge each version that somebody else registers."""
    accept: tuple[FromOutside, ...] = ("alertmanager", "mlflow", "signed")
    """Webhooks that may ask for a look. None of them starts a run by its word alone."""
    drift: DriftTrigger | None = DriftTrigger()
    performance: PerformanceTrigger | None = PerformanceTrigger()
    max_age: Positive | None = None
    """Champion older than this (end of its training window to as-of) is stale by age."""
    max_data_lag: Positive | None = None
    """Newest row older than this: the data are not fresh, and staleness cannot be told."""
    recent: Positive = timedelta(days=28)
    """Length of the current window that drift and performance look at."""
    checks_a_year: Annotated[int, Field(ge=1)] = 365
    """How often the same check is repeated: significance is asked for at alpha / checks_a_year, so that an undrifted model
    raises a false finding in at most one year of twenty."""
    cool_down: NotNegative = timedelta(0)
    """After a finished run, drift and performance triggers are skipped for this long."""
    violations: Violations = Violations()
    """How many of the latest looks must find the model stale."""
    clear_after: Annotated[int, Field(ge=1)] = 1
    """After a firing, so many looks in a row must find nothing before another one; a new champion counts as well."""
    rearm_after: Positive | None = timedelta(days=7)
    """A finding that stays fires again after this long; null: never."""
    quiet_hours: QuietHours | None = None
    """When no run is started by itself."""
    budget: MonthlyBudget = MonthlyBudget()
    """How much may be started by itself in a month."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Of those that are due at once, the higher one comes first."""
    dry_run: bool = False
    """Evaluate and record, start nothing."""

    @model_validator(mode="after")
    def _significance_counts_every_look(self) -> "TriggersSpec":
        if self.check is not None:
            looks = self.check.a_year()
            if looks > self.checks_a_year * 1.02 + 1:
                raise _refused(
                    f"triggers.check is due about {looks:,.0f} times a year, and checks_a_year is {self.checks_a_year:,}",
                    f"write checks_a_year: {round(looks)}, so that so many looks raise no more false findings",
                )
        return self


class ValidationSpec(Contract):
    """Bounds of data validation."""

    min_rows: Annotated[int, Field(ge=1)] = 500
    """Least labelled rows in the training window."""
    max_null_increase: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Rise of a column's null share over the reference that blocks, as a share of rows."""
    max_outside_range: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of a numeric column outside the reference's range (widened by half its width) that blocks."""
    skip_range: tuple[str, ...] = ()
    """Columns without a range check: a month, a counter, whatever moves out of any range by its nature."""
    max_new_categories: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of rows with a category the reference never had that blocks."""
    max_duplicates: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_overlap: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the holdout that may stand in the candidate's or the champion's training rows: more warns, more than half of the
    holdout blocks. Such rows are dropped from the comparison in any case."""
    max_label_noise: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Rise of the estimated share of wrong labels over the reference that warns."""
    leak_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.75
    """A feature that alone ranks the target this well is looked at for target leakage."""
    allow_leak: tuple[str, ...] = ()
    """Features that may tell the target that well: somebody has looked at them."""
    max_skew: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of rows in which a feature may differ between the prediction log and the data."""
    schema_file: str | None = None
    """Pandera schema in YAML, relative to the workspace; `retrain validation init` drafts it."""
    max_queries: Annotated[int, Field(ge=1)] = 200
    """Budget of one report: more queries end it, and what was not done is `could_not_check`."""
    max_seconds: Annotated[int, Field(ge=1)] = 900
    """Budget of one query: a longer one is cancelled, and its checks are `could_not_check`."""


class AliasTarget(Contract):
    """The registry alias is the deployment: somebody loads `models:/NAME@champion`."""

    kind: Literal["alias"] = "alias"


class CommandTarget(Contract):
    """The user's own apply, status and undo. Each is an argument list, never a shell string."""

    kind: Literal["command"] = "command"
    apply: tuple[str, ...] = Field(min_length=1)
    """Gets a deployment-engineer request as JSON on stdin; see docs/targets.md."""
    status: tuple[str, ...] = Field(min_length=1)
    """Prints `{"weights": {VERSION: PERCENT}, "healthy": true|false|null}`."""
    undo: tuple[str, ...] = Field(min_length=1)
    """Puts all traffic on the version named in the request on stdin."""
    can_split: bool = False
    """Whether `apply` honours a weight between 0 and 100."""
    time_limit: Positive = timedelta(minutes=5)


class ServingTarget(Contract):
    """Embedded serving on this machine: one MLServer a version behind Envoy, on loopback; see docs/targets.md."""

    kind: Literal["serving"] = "serving"
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    """Of the endpoint; a free one, kept from then on, where absent."""
    load_limit: Positive = timedelta(seconds=90)
    """A version that is not ready by then has failed."""
    memory_limit_mb: Annotated[int, Field(gt=0)] = 2048
    """Of one version's server."""
    latency_limit_ms: Annotated[float, Field(gt=0)] | None = None
    """Median of single-row requests before any traffic; not looked at where absent."""
    keep_former: bool = True
    """The champion of before stays loaded after a promotion, so that a rollback takes no loading; False frees its memory."""
    answers: Source | None = None
    """Table or Parquet folder that every answer is copied to, once a request and version, by each look of a rollout and by
    `retrain serving copy`; of this model alone. Columns: `request_id`, `version`, `at`, `mirrored`, `failed`, `latency_ms`,
    `prediction`, `probability`."""

    @field_validator("answers")
    @classmethod
    def _can_be_written(cls, source: str | None) -> str | None:
        if source is None or source.startswith(("postgresql://", "postgres://")):
            return source
        if "://" in source or source.startswith("spark:") or "*" in source or source.endswith((".parquet", ".csv")):
            raise _refused(
                "answers cannot be written there", "name a folder for Parquet files, or postgresql://…#SCHEMA.TABLE"
            )
        return source


class BatchTarget(Contract):
    """No traffic: both versions score partitions of the data, the candidate into a shadow table first."""

    kind: Literal["batch"] = "batch"
    partition: Positive = timedelta(days=1)
    """Length of a partition of `data.event_time`; partitions begin at whole multiples of it since 1970, UTC."""
    output: Source
    """Table or Parquet folder with the predictions that are used; columns: `data.key`, event time, `prediction`,
    `probability`, `model_version`, `partition_start`, `scored_at`."""
    shadow: Source
    """As `output`, for the candidate until it is promoted."""
    partitions: Annotated[int, Field(ge=1)] = 3
    """How many the candidate scores in the shadow table before it is judged."""
    rescore: tuple[str, ...] = ()
    """Called at a rollback with the partitions that the bad version wrote, as JSON on stdin."""
    time_limit: Positive = timedelta(minutes=30)

    @model_validator(mode="after")
    def _shadow_apart(self) -> "BatchTarget":
        if self.shadow.rstrip("/") == self.output.rstrip("/"):
            raise ValueError(f"shadow must not be output, which is used: {self.shadow}")
        return self


class SeldonTarget(Contract):
    """Seldon Core 2 on Kubernetes: `Model` and `Experiment` resources."""

    kind: Literal["seldon"] = "seldon"
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$")]
    """Name of the default Model; candidates and the experiment are named after it."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "default"
    context: str | None = None
    """Of the kubeconfig; the current one where absent, the pod's own account where there is no kubeconfig."""
    storage_uri: str = "{source}"
    """Where Seldon finds a version's files; `{name}`, `{version}` and `{source}` (the registry's own) are filled in."""
    requirements: tuple[str, ...] = ("mlflow",)
    """What a server must offer to load it."""
    memory: str | None = None
    """What Seldon reserves for it, e.g. `500Mi`."""
    inference_url: str | None = None
    """Of the mesh, for golden rows; without it no version can be asked, and no rollout starts."""
    time_limit: Positive = timedelta(minutes=5)


Target = AliasTarget | CommandTarget | ServingTarget | BatchTarget | SeldonTarget


class TrafficLogSpec(Contract):
    """Your own log of answers, where the target keeps none: a row an answer."""

    source: Source
    """As `data.source`."""
    request_id: str = "request_id"
    version: str = "version"
    time: str = "at"
    failed: str | None = None
    """Boolean column; rows without a prediction count as failed where absent."""
    latency_ms: str | None = None
    prediction: str = "prediction"
    probability: str | None = None
    """Of the positive class."""
    mirrored: str | None = None
    """Boolean column: nobody got this answer."""


class LabelSpec(Contract):
    """Where labels arrive, joined to answers by request id, whatever their delay."""

    source: Source
    request_id: str = "request_id"
    label: str = "label"
    time: str = "at"
    """When the label became known."""


class RolloutSpec(Contract):
    """How bold a rollout is."""

    risk: Literal["low", "high"] = "low"
    """`high`: a clear win still goes through a canary."""
    canary_weights: tuple[Annotated[int, Field(gt=0, lt=100)], ...] = (10, 50)
    """Ascending percents before 100."""
    step_pause: NotNegative = timedelta(minutes=10)
    max_duration: Positive = timedelta(hours=24)
    mirror: Annotated[int, Field(ge=0, le=100)] = 100
    """Percent of requests mirrored to the candidate before it gets traffic, where the target can; 0 leaves that out."""
    bake: NotNegative = timedelta(minutes=10)
    """All traffic on the candidate, the champion ready to take over, before it is promoted; only where the target can report.
    In batch it counts where it is as long as a partition, and is as many partitions long."""
    steps: tuple[Step, ...] | None = None
    """The course of a canary, step by step, in place of `mirror`, `canary_weights`, `step_pause` and, for a canary, `bake`."""
    metrics: tuple[RolloutMetric, ...] | None = None
    """What a canary is judged by; where absent, by errors, latency and missing values, and by quality where labels arrive."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Chance that a harmless candidate is called harmful at any look of a rollout."""
    promote_on: Literal["safe", "no_harm"] = "safe"
    """`safe`: harm beyond the margins must be excluded before promotion; else a person is asked. `no_harm`: enough samples
    without harm are enough."""
    log: TrafficLogSpec | None = None
    labels: LabelSpec | None = None

    @model_validator(mode="after")
    def _ascending(self) -> "RolloutSpec":
        if list(self.canary_weights) != sorted(set(self.canary_weights)):
            raise ValueError(f"canary_weights must ascend: {list(self.canary_weights)}")
        return self


def _without_secrets(urls: tuple[str, ...]) -> tuple[str, ...]:
    if any(re.search(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", url) is None for url in urls):
        # The address is not repeated: it may hold the secret.
        raise _refused(
            "an address is written out",
            "an address holds a secret: put it into the environment and write `${NAME}`, e.g. `mailtos://${MAIL}`",
        )
    return urls


Addresses = Annotated[tuple[str, ...], AfterValidator(_without_secrets)]
"""Apprise addresses. Each holds a secret: it, or the secret in it, is written `${NAME}` and comes from the environment."""


class ReviewSpec(Contract):
    """Who may answer, how long the question stands, and who is told of it when nobody answers."""

    approvers: tuple[str, ...] = ()
    """Names of OS users, and of people's keys. Empty: nobody can approve, so nothing doubtful is ever deployed."""
    roles: dict[Literal["deploy", "canary", "train", "roll_back"], tuple[str, ...]] = {}
    """Who of the approvers may approve what; all of them what is not named. Refusing is free to every approver."""
    expires_after: Positive = timedelta(days=7)
    escalate_after: Positive | None = None
    """An open question is told of again then; at half of `expires_after` where absent."""
    escalate_to: Addresses = ()
    """As `notify.urls`: who hears then, beside those."""

    @model_validator(mode="after")
    def _approvers_only(self) -> "ReviewSpec":
        strangers = sorted({name for names in self.roles.values() for name in names} - set(self.approvers))
        if strangers:
            raise ValueError(f"roles name {', '.join(strangers)}, who are no approvers: add them to review.approvers")
        if self.escalate_after is not None and self.escalate_after >= self.expires_after:
            raise ValueError("escalate_after must be shorter than expires_after: nobody could answer any more")
        return self


class NotifySpec(Contract):
    """Who is told of rollbacks, promotions, rollouts that a person must judge, and questions."""

    urls: Addresses = ()
    """Apprise addresses. Each holds a secret: it, or the secret in it, is written `${NAME}` and comes from the environment."""


class Profile(Contract):
    """One model, whole. `id` is what a request's modelId names."""

    id: Annotated[str, Field(min_length=1)]
    registered_model: Annotated[str, Field(min_length=1)]
    """Name in the registry, opaque: `catalog.schema.model` too."""
    task: Task
    champion: ChampionRule = ChampionRule()
    data: DataSpec
    data_window: str = "all"
    """Default of the request's dataWindow."""
    validation_strategy: str = "latest:20%"
    """Default of the request's validationStrategy."""
    metrics: MetricsSpec
    training: Annotated[ProjectTraining | ExternalTraining, Field(discriminator="kind")] | None = None
    """Absent: the model can be judged and rolled back, not retrained."""
    scoring: ScoringSpec = ScoringSpec()
    triggers: TriggersSpec = TriggersSpec()
    when: WhenSpec = WhenSpec()
    validation: ValidationSpec = ValidationSpec()
    target: Annotated[Target, Field(discriminator="kind")] = AliasTarget()
    rollout: RolloutSpec = RolloutSpec()
    review: ReviewSpec = ReviewSpec()
    notify: NotifySpec = NotifySpec()

    @model_validator(mode="after")
    def _key_where_predictions_are_looked_up(self) -> "Profile":
        if self.scoring.predictions is not None and not self.data.key:
            raise ValueError("scoring.predictions needs data.key: the columns that identify a row in both")
        return self

    @model_validator(mode="after")
    def _somebody_who_ends_a_pause(self) -> "Profile":
        endless = any(isinstance(step, Pause) and step.duration is None for step in self.rollout.steps or ())
        if endless and not self.review.approvers:
            raise ValueError(
                "rollout.steps has a pause without a duration, which an approver ends: name one in review.approvers"
            )
        return self

    mode: Mode = "observe"
    """`observe` decides and records; `recommend` asks a person for every effect; `act` acts."""

    @field_validator("task", mode="before")
    @classmethod
    def _a_task_that_is_judged(cls, task: object) -> object:
        if isinstance(task, str) and task.lower().replace("-", "_") in _FORECASTING:
            raise _refused(
                "forecasting by series is not judged yet",
                "write task: regression with one row a series and time, whose features are known when the forecast is made "
                "(lags, calendar); event_time is then the time that is forecast",
            )
        return task

    @field_validator("data")
    @classmethod
    def _a_group_for_a_ranking_only(cls, data: DataSpec, info: ValidationInfo) -> DataSpec:
        task = info.data.get("task")
        if task == "ranking" and data.group is None:
            raise _refused("a ranking needs `group`", "add data.group, the column that names the query or session")
        if task in ("classification", "regression") and data.group is not None:
            raise _refused(
                f"`group` is for rankings, and the task is {task}", "take data.group away, or write task: ranking"
            )
        return data


_FORECASTING = frozenset({"forecasting", "forecast", "time_series", "timeseries", "time_series_forecasting"})
