# pyright: basic
"""What the columns of a bounded Parquet file look like."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.contracts.profiling import ColumnProfile, DataProfile, Family

MOST_CATEGORIES = 500


def profile_parquet(path: Path, columns: Sequence[str]) -> DataProfile:
    """Profiles of the columns that are there; the file is small by construction (a window's sample, a holdout)."""
    import pandas as pd
    import pyarrow.parquet as pq

    there = set(pq.read_schema(path).names)
    wanted = [name for name in dict.fromkeys(columns) if name in there]
    hashed = "__row_hash" in there
    frame = pd.read_parquet(path, columns=[*wanted, *(["__row_hash"] if hashed else [])])
    return DataProfile(
        rows=len(frame),
        duplicate_share=float(frame["__row_hash"].duplicated().mean()) if hashed and len(frame) else None,
        columns=tuple(_column(name, frame[name]) for name in wanted),
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
