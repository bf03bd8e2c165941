"""What columns look like: bounded summaries that validation compares."""

from typing import Literal

from tools.contracts.base import Contract

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
