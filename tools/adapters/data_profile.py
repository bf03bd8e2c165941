# pyright: basic
"""What the columns of a bounded Parquet file look like."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.adapters.parquet_rows import even, names
from tools.contracts.profiling import ColumnProfile, DataProfile, Family

MOST_CATEGORIES = 500
MOST_ROWS = 200_000


def profile_parquet(path: Path, columns: Sequence[str]) -> DataProfile:
    """Profiles of the columns that are there, a column at a time; of a larger file, of `MOST_ROWS` evenly spread rows.

    Duplicates are told only of a whole file: neighbours that repeat each other are what an even sample leaves out.
    """
    import pyarrow.parquet as pq

    there, total = set(names(path)), pq.read_metadata(path).num_rows
    hashed = "__row_hash" in there and 0 < total <= MOST_ROWS
    hashes = even(path, ["__row_hash"], MOST_ROWS).to_pandas()["__row_hash"] if hashed else None
    return DataProfile(
        rows=min(total, MOST_ROWS),
        duplicate_share=None if hashes is None else float(hashes.duplicated().mean()),
        columns=tuple(
            _column(name, even(path, [name], MOST_ROWS).to_pandas()[name])
            for name in dict.fromkeys(columns)
            if name in there
        ),
    )


def _column(name: str, values: Any) -> ColumnProfile:
    import numpy as np

    nulls = float(values.isna().mean()) if len(values) else 0.0
    known = values.dropna()
    family = _family(known)
    common = {"name": name, "family": family, "null_share": nulls}
    if family == "empty":
        return ColumnProfile(**common)
    distinct = int(known.astype("string").nunique()) if family == "other" else int(known.nunique())
    if family == "numeric":
        numbers = known.to_numpy(dtype=float)
        finite = numbers[np.isfinite(numbers)]
        quantiles = tuple(float(q) for q in np.quantile(finite, np.linspace(0, 1, 101))) if len(finite) else ()
        return ColumnProfile(
            **{**common, "family": family if quantiles else "empty"},
            infinite=int(len(numbers) - len(finite)),
            distinct=distinct,
            quantiles=quantiles,
        )
    if family in ("categorical", "boolean"):
        shares = known.astype("string").value_counts(normalize=True).head(MOST_CATEGORIES)
        return ColumnProfile(**common, distinct=distinct, categories={str(k): float(v) for k, v in shares.items()})
    return ColumnProfile(**common, distinct=distinct)


def _family(known: Any) -> Family:
    import pandas as pd

    if len(known) == 0:
        return "empty"
    if pd.api.types.is_bool_dtype(known):
        return "boolean"
    if pd.api.types.is_numeric_dtype(known):
        return "numeric"
    if pd.api.types.is_datetime64_any_dtype(known):
        return "datetime"
    if isinstance(known.dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(known):
        return "categorical"
    # What has no type of its own beside nulls: flags with a gap among them, decimals.
    objects: dict[str, Family] = {"boolean": "boolean", "string": "categorical", "decimal": "numeric"}
    return objects.get(pd.api.types.infer_dtype(known), "other")
