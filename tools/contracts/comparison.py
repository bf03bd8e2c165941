"""The duel of candidate and champion on the same rows."""

from typing import Literal

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.request import Direction, Unit

Verdict = Literal["improved", "non_inferior", "regressed", "inconclusive", "no_data"]
Role = Literal["primary", "guardrail", "slice", "found_slice"]
"""`slice` was declared in the profile, `found_slice` came out of the search over all groups of rows."""


class Criterion(Contract):
    """What one metric must show. Made from profile and request, fully resolved."""

    metric: str
    role: Role
    direction: Direction
    unit: Unit = "absolute"
    min_improvement: float = 0.0
    """Primary only: least gain in `unit`."""
    margin: float = 0.0
    """Guardrail, slice, and a primary that must not lose: largest accepted loss in `unit`."""
    must: Literal["improve", "not_lose"] = "improve"
    """Primary only: whether it has to gain, or only not to lose more than `margin`."""
    slice_column: str | None = None
    slice_value: str | None = None
    """Of two columns: both names and both values, joined by ` & `."""
    group: str | None = None
    """Fairness: the column whose groups are compared with each other."""
    nulls: bool = False
    """About rows in which values of features were made missing."""

    @property
    def plain(self) -> bool:
        """About the holdout's rows as a whole and as they are."""
        return self.slice_column is None and self.group is None and not self.nulls

    @property
    def about(self) -> str:
        """The metric and which rows or groups it is about, in words."""
        if self.nulls:
            return f"{self.metric} with nulls"
        if self.group is not None:
            return f"{self.metric} between the groups of {self.group}"
        return (
            self.metric
            if self.slice_column is None
            else f"{self.metric} where {self.slice_column} is {self.slice_value}"
        )

    @property
    def must_gain(self) -> bool:
        """Whether no loss is not enough."""
        return self.role == "primary" and self.must == "improve"

    @property
    def bar(self) -> float:
        """The change at which the verdict turns: the gain asked for, or the loss accepted (negative)."""
        return self.min_improvement if self.must_gain else -self.margin


class Criteria(Contract):
    """All criteria of a comparison."""

    primary: Criterion
    guardrails: tuple[Criterion, ...] = ()
    slice_columns: tuple[str, ...] = ()
    slice_margin: float = 0.05
    min_rows: int = 50
    confidence: float = 0.95
    alpha: float | None = None
    """One-sided error at which a gain, or the absence of a loss, must show; half of what `confidence` leaves where absent."""
    apart: tuple[Criterion, ...] = ()
    """Guardrails that are not measured on the holdout's predictions: latency, size, rows with nulls."""
    search_slices: bool = False
    costs: dict[str, dict[str, float]] = {}
    """True class to predicted class to cost, as text."""
    positive_label: str | None = None
    """As text; labels are compared as text."""
    overruled: tuple[str, ...] = ()
    """What the request asked for and did not get, since the profile marks it as fixed."""


class MetricComparison(Contract):
    """One metric, one verdict. `change` is positive when the candidate is better, whatever the direction."""

    criterion: Criterion
    verdict: Verdict
    baseline: float | None = None
    """The champion's value on these rows."""
    candidate: float | None = None
    change: float | None = None
    """In `criterion.unit`, positive when better."""
    low: float | None = None
    high: float | None = None
    """Two-sided interval of `change`."""
    n: int = 0
    rows_needed: int | None = None
    """Inconclusive only: about how many rows in all would tell, at the observed change and spread."""
    source_digest: str | None = None
    """A user's own metric: sha256 of the file with its function, so that a changed metric is seen."""
    tells_by: UtcDatetime | None = None
    """When so many rows will have come, at the rate of this holdout; absent beyond ten years."""
    statement: str

    @property
    def key(self) -> str:
        """Evidence key: `comparison/METRIC` or `comparison/METRIC/COLUMN=VALUE`."""
        c = self.criterion
        tail = "" if c.slice_column is None else f"/{c.slice_column}={c.slice_value}"
        groups = " with nulls" if c.nulls else "" if c.group is None else f"/between {c.group}"
        found = "/found" if c.role == "found_slice" else ""
        # A user's own metric has a path in its name; a key has its parts between slashes.
        return f"comparison/{c.metric.replace('/', '.')}{groups}{tail}{found}"


class Agreement(Contract):
    """On how many rows the two models say something else: evidence, never a verdict."""

    differing: float
    """Share of rows: another class, or a value more than a tenth of the labels' standard deviation away."""
    mended: int | None = None
    """Classification: rows that only the candidate has right."""
    broken: int | None = None
    """Rows that only the champion has right."""
    n: int
    statement: str


class Contamination(Contract):
    """Overlap of the holdout with either model's training rows, by row-key hash."""

    candidate: Literal["clean", "overlaps", "could_not_check"]
    champion: Literal["clean", "overlaps", "could_not_check"]
    candidate_rows: int | None = None
    champion_rows: int | None = None
    """Overlapping holdout rows; dropped before the duel."""


class Span(Contract):
    """From the first to the last row's event time."""

    start: UtcDatetime
    end: UtcDatetime


class Look(Contract):
    """One judged attempt on a holdout, as the run store keeps it."""

    model_name: str
    run_id: str
    """A run looks once: what it recorded first holds when it is resumed."""
    digest: str
    """Of the holdout's rows."""
    spans: tuple[Span, ...]
    """One a fold; empty where the times are not known."""
    alpha: float = 0.0
    """One-sided error it spent."""
    at: UtcDatetime


class ErrorBudget(Contract):
    """What a look may spend of its holdout's error, after those that were taken before."""

    look: int
    """1 for the first."""
    most: int
    alpha: float
    """One-sided error of this look; 0 where exhausted."""
    spent: float
    """By the looks before."""
    total: float
    exhausted: bool
    statement: str


class ComparisonResult(Contract):
    """All verdicts, and what puts them in doubt."""

    metrics: tuple[MetricComparison, ...]
    """Primary first, then guardrails (those that are measured apart last), then declared slices (worst first), then found ones
    (worst first)."""
    holdout_rows: int
    """Rows judged, after dropping contaminated ones."""
    holdout_digest: str
    contamination: Contamination
    budget: ErrorBudget | None = None
    """Absent where nothing was judged."""
    agreement: Agreement | None = None
    """Absent where nothing was judged."""
    groups_searched: int | None = None
    """Groups of rows looked at for found slices; absent where there was no search."""
    doubts: tuple[str, ...] = ()
    """Codes that make the case ambiguous: `baseline_version_mismatch`, `baseline_metrics_mismatch`, `peer_disagrees`, `classes_differ`,
    `contamination_unchecked`, `scoring_failed`, `needs_fresh_labels`, …"""
    doubt_statements: tuple[str, ...] = ()
    """One sentence a doubt, same order."""
    failures: tuple[str, ...] = ()
    """Why something could not be scored: exit code, last log lines."""

    @property
    def primary(self) -> MetricComparison:
        """The primary metric's comparison."""
        return self.metrics[0]
