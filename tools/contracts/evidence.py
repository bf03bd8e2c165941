"""What was measured before training: data sets, staleness, validation. And the numbered evidence itself."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.when import LossCell, WhenVerdict
from tools.contracts.when import Recommendation as Recommendation

Outcome = Literal["ok", "bad", "could_not_tell", "could_not_measure"]
"""Measured good · measured bad · measured but undecided · not measured. Never merged."""


class HoldoutGroups(Contract):
    """The groups of a ranking's holdout, counted when it was cut."""

    groups: int
    """Groups kept, each whole."""
    telling: int
    """Those of them whose rows differ in relevance: in them one order is worth more than another."""
    single: int = 0
    """Those of one row."""
    irrelevant: int = 0
    """Those of several rows, none of them relevant."""
    torn: int = 0
    """Left out: groups with rows before the holdout or behind it."""
    torn_rows: int = 0
    rows_without_group: int = 0
    """Left out: rows that name no group."""
    negative_rows: int = 0
    """Relevances below 0."""
    not_numbers: int = 0
    """Relevances that are no finite numbers."""


class DatasetRef(Contract):
    """A bounded set of rows on disk. State carries this, never the rows."""

    path: str
    """Parquet file in the run's folder."""
    rows: int
    """Rows in the file."""
    digest: str
    """sha256 over the sorted row-key hashes: the same rows in another order give the same digest."""
    start: UtcDatetime | None = None
    """Earliest event time; absent when empty."""
    end: UtcDatetime | None = None
    """Latest event time; absent when empty."""
    sampled_from: int | None = None
    """Rows the file was sampled from, where it is a sample."""
    groups: HoldoutGroups | None = None
    """Of a ranking's holdout."""


class Effort(Contract):
    """What looking cost: queries sent to the engine, and rows that came into memory."""

    queries: int = 0
    rows_in_memory: int = 0
    sampled_from: int | None = None
    """Rows the sample stands for, where not all were looked at."""


class Fold(Contract):
    """One training set and the holdout behind it. No training row is later than the holdout's start."""

    training: DatasetRef
    holdout: DatasetRef
    holdout_start: UtcDatetime


class PreparedData(Contract):
    """All rows that a run may look at, written once."""

    folds: tuple[Fold, ...] = Field(min_length=1)
    """In time order; the last one's training set makes the candidate."""
    recent: DatasetRef
    """Rows of the data window with or without labels, for validation (a bounded sample)."""
    unlabelled: int = 0
    """Rows of the window without a mature label: neither negative nor in a holdout."""
    late_labels: int = 0
    """Rows before a holdout whose label became known after its start: not trained on."""
    effort: Effort | None = None
    """Queries and rows that preparing cost."""


Rule = Literal[
    "age",
    "freshness",
    "drift",
    "prediction_drift",
    "label_drift",
    "performance",
    "estimated_performance",
    "label_delay",
]


class Signal(Contract):
    """One reason why the champion may be stale, or why that cannot be known."""

    rule: Rule
    subject: str = "model"
    """Column, metric or `model`."""
    outcome: Outcome
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    n: int | None = None
    """Sample size of the current window."""
    n_reference: int | None = None
    """Sample size of what it is compared with."""
    p_value: float | None = None
    """Corrected over columns; held against a level corrected over nights."""
    method: str = ""
    kind: str = ""
    """Drift only: what moved, e.g. `shift`, `null_share`, `unit` or `vanished`."""
    weight: float | None = None
    """Share of the champion's importance that a column has, 0 to 1, where the model gives one."""
    since: UtcDatetime | None = None
    """Start of the first block of the current window from which the change stays."""
    reliable: bool | None = None
    """Estimates only: whether they were better than 'as last measured' where labels could tell."""
    unit: str = ""
    """`days`, `share`, `distance` or the metric's name."""
    statement: str
    """One sentence for people, with the numbers in it."""


class StalenessReport(Contract):
    """Is the champion stale, and what follows?"""

    verdict: Literal["stale", "fresh", "could_not_measure"]
    """`could_not_measure` when nothing was bad and something that matters is unknown."""
    signals: tuple[Signal, ...]
    recommendation: Recommendation
    statement: str
    effort: Effort | None = None
    """Queries and rows that the whole report cost."""
    when: WhenVerdict | None = None
    """Whether a retraining is worth its cost; absent where nobody weighed it."""
    losses: tuple[LossCell, ...] = ()
    """The champion's losses, block by block, as this look measured them."""


class TriggerVerdict(Contract):
    """May this run go on?"""

    proceed: bool
    insists: bool
    """`manual` and `scheduled` proceed even when fresh."""
    code: str
    """Machine-readable reason: `insists`, `stale`, `fresh`, `cool_down`, `could_not_measure`, `roll_back_instead`, …"""
    statement: str


class Check(Contract):
    """One data validation check."""

    name: str
    """`schema`, `volume`, `freshness`, `nulls`, `range`, `categories`, `duplicates`, `label_share`, `label_noise`,
    `target_leakage`, `time_leakage`, `contamination`, `skew`, `pandera`, …"""
    subject: str = "data set"
    """Column, or `data set`."""
    result: Literal["pass", "fail", "could_not_check"]
    severity: Literal["block", "warn"] = "block"
    value: float | None = None
    threshold: float | None = None
    n: int | None = None
    counts: dict[str, int] = {}
    """What was counted, by name: `rows`, `failing`, `overlapping`, …"""
    examples: tuple[dict[str, str], ...] = ()
    """At most five failing rows as printed: the row's hash and event time, and values of columns marked public only."""
    effort: Effort | None = None
    """What it cost to look."""
    statement: str


class ValidationReport(Contract):
    """May these rows train and judge a model?"""

    verdict: Literal["pass", "fail", "could_not_check"]
    """`fail` when a blocking check failed; `could_not_check` when a blocking check could not be done and none failed."""
    checks: tuple[Check, ...]
    statement: str


class EvidenceItem(Contract):
    """One numbered fact. Every number in a rationale comes from one of these."""

    id: str
    """`E1`, `E2`, … in the order collected; stable for the same evidence."""
    key: str
    """`staleness/age/model`, `validation/nulls/COLUMN`, `comparison/METRIC`, …"""
    outcome: str
    """Its verdict in the words of its own report."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    n: int | None = None
    unit: str = ""
    statement: str
    measured_at: datetime | None = None
