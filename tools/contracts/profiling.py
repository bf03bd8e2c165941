"""What columns look like: bounded summaries that validation compares."""

from typing import Any, Literal

from tools.contracts.base import Contract, UtcDatetime

Family = Literal["numeric", "categorical", "boolean", "datetime", "other", "empty"]


class ColumnProfile(Contract):
    """One column. Quantiles are of the finite values; `empty` has only nulls, of any type."""

    name: str
    family: Family
    null_share: float
    infinite: int = 0
    distinct: int = 0
    quantiles: tuple[float, ...] = ()
    """Numeric only: the 0, 1, …, 100 % quantiles."""
    categories: dict[str, float] = {}
    """Category to share of the non-null rows; at most 500, the largest."""


class DataProfile(Contract):
    """A data set."""

    rows: int
    duplicate_share: float | None = None
    """Share of rows whose row-key hash appeared before; absent where rows have none."""
    columns: tuple[ColumnProfile, ...]

    def column(self, name: str) -> ColumnProfile | None:
        """The column, if it is there."""
        return next((column for column in self.columns if column.name == name), None)


class ColumnCounts(Contract):
    """One column of a whole window, counted exactly."""

    name: str
    type: str
    """As the engine calls it, in Ibis' words."""
    nulls: int
    """NaN counts as null."""
    infinite: int = 0
    low: float | None = None
    """Least finite value; numeric columns only."""
    high: float | None = None


class LabelDelay(Contract):
    """How long after the event labels became known, in seconds; measured where there is a label time."""

    rows: int
    median: float
    p90: float
    longest: float


class WindowSummary(Contract):
    """A whole window, counted exactly by queries, whatever its size."""

    rows: int
    labelled: int
    """Rows with a label mature at the time asked about."""
    newest: UtcDatetime | None = None
    newest_labelled: UtcDatetime | None = None
    """Latest event time with a mature label."""
    undated: int = 0
    """Rows of the source without a readable event time: in no window."""
    columns: tuple[ColumnCounts, ...] = ()
    """Of the columns asked for, those that are there."""
    delay: LabelDelay | None = None

    def column(self, name: str) -> ColumnCounts | None:
        """The column, if it is there."""
        return next((column for column in self.columns if column.name == name), None)


class Overlap(Contract):
    """Rows of a holdout that a model was trained on."""

    rows: int
    """Rows of the holdout."""
    trained_on: int
    """Rows in the list of training rows."""
    overlapping: int
    examples: tuple[str, ...] = ()
    """Row hashes, at most five."""


class SchemaRule(Contract):
    """One rule that every row of a window must keep, to be counted by a query."""

    column: str
    check: str
    """`required`, `dtype`, `not_null`, `unique`, `not_after` (another time column), or the name of a Pandera check."""
    arguments: dict[str, Any] = {}
    """As Pandera's `statistics`: `min_value`, `allowed_values`, …"""
    warns: bool = False
    """Pandera's `raise_warning`: a failure is told and blocks nothing."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it is about: several for `unique`."""
        return tuple(self.arguments.get("columns", (self.column,)))


class RuleCount(Contract):
    """How many rows broke a rule."""

    rule: SchemaRule
    rows: int = 0
    failing: int | None = None
    """None where it could not be counted, for the reason given."""
    reason: str = ""
    examples: tuple[dict[str, str], ...] = ()
    """At most five: row hash, event time, and the value where the column is public."""


class FeatureSkew(Contract):
    """One feature as served against as stored."""

    name: str
    different: int
    examples: tuple[dict[str, str], ...] = ()


class SkewCounts(Contract):
    """The prediction log joined to the data by key, on a sample that holds the same keys of both sides."""

    logged: int
    paired: int
    features: tuple[FeatureSkew, ...] = ()
    absent: tuple[str, ...] = ()
    """Features that the log does not hold."""
