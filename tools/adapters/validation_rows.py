# pyright: basic
"""Bounded samples on disk, read for the checks that need rows: leakage, label noise, repeated content, skew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.adapters.parquet_rows import last, names
from tools.adapters.row_digest import ROW_HASH
from tools.contracts.profile import DataSpec, Task
from tools.contracts.profiling import FeatureSkew, SkewCounts
from tools.sampled_rows import FloatArray, SampledRows

MATURE = "__mature"
TOLERANCE = 1e-6
"""Relative difference of two floats that are the same value."""
_EXAMPLES = 5


def labelled(paths: Sequence[str | Path], spec: DataSpec, task: Task, newest: int) -> SampledRows:
    """The newest labelled rows of one or more files together."""
    import pandas as pd

    wanted = (*spec.features, spec.target, spec.event_time)
    # Files of a data source are in time order: only their ends are read.
    frame = pd.concat(
        [
            last(path, [name for name in dict.fromkeys(wanted) if name in set(names(path))], newest).to_pandas()
            for path in paths
        ]
    )
    return SampledRows.from_frame(
        frame, features=spec.features, target=spec.target, event_time=spec.event_time, task=task, newest=newest
    )


@dataclass(frozen=True)
class Newest:
    """Features of the newest rows without a mature label, and of as many or more just before them."""

    newest: Mapping[str, FloatArray]
    mature: Mapping[str, FloatArray]


def newest_without_label(path: str | Path, spec: DataSpec) -> Newest:
    """Rows behind the last mature label against up to three times as many before it."""
    from tools.sampled_rows import numbers

    frame = _read(path, [*spec.features, spec.event_time, MATURE]).sort_values(spec.event_time, kind="stable")
    mature = frame[frame[MATURE].astype(bool)]
    last = mature[spec.event_time].max()
    fresh = frame[(~frame[MATURE].astype(bool)) & (frame[spec.event_time] > last)] if len(mature) else frame.iloc[:0]
    before = mature.tail(max(3 * len(fresh), 1))
    there = [name for name in spec.features if name in frame.columns]
    both = {name: numbers(frame[name].loc[[*before.index, *fresh.index]])[0] for name in there}
    cut = len(before)
    return Newest(
        newest={name: values[cut:] for name, values in both.items()},
        mature={name: values[:cut] for name, values in both.items()},
    )


def rows_from(path: str | Path, event_time: str, start: datetime) -> int:
    """Rows of a data set at or after `start`."""
    times = _read(path, [event_time])[event_time]
    return int((times >= (start.replace(tzinfo=None) if times.dt.tz is None else start)).sum())


@dataclass(frozen=True)
class Repeats:
    """Rows whose content stands elsewhere; see `tools.contamination.content_check`."""

    rows: int
    repeated: int
    natural_rows: int
    natural_repeated: int
    examples: tuple[str, ...] = ()


def repeated_content(holdout: str | Path, training: str | Path, event_time: str, *, sampled: bool) -> Repeats:
    """Both files are keyed by content. Where they are samples, each holds all rows of the smallest hashes: only hashes that
    both had room for are compared."""
    judged, trained = (_read(path, [ROW_HASH, event_time]) for path in (holdout, training))
    if sampled and len(judged) and len(trained):
        most = min(judged[ROW_HASH].max(), trained[ROW_HASH].max())
        judged, trained = judged[judged[ROW_HASH] <= most], trained[trained[ROW_HASH] <= most]
    trained = trained.sort_values(event_time, kind="stable")
    late = min(len(judged), len(trained) // 2)
    earlier, latest = trained.iloc[: len(trained) - late], trained.iloc[len(trained) - late :]
    found = judged[ROW_HASH].isin(set(trained[ROW_HASH]))
    natural = latest[ROW_HASH].isin(set(earlier[ROW_HASH]))
    return Repeats(
        rows=len(judged),
        repeated=int(found.sum()),
        natural_rows=late,
        natural_repeated=int(natural.sum()),
        examples=tuple(judged.loc[found, ROW_HASH].head(_EXAMPLES)),
    )


def repeated_rows(path: str | Path, key: Sequence[str]) -> tuple[int, int]:
    """(rows, rows whose content stood there before under another key), of a file keyed by content."""
    frame = _read(path, [ROW_HASH, *key])
    once = frame.drop_duplicates()
    return len(frame), int(once[ROW_HASH].duplicated().sum())


def repeated_in_reference(path: str | Path, spec: DataSpec) -> tuple[int, int]:
    """The same for the champion's training rows, whose hashes are of the key."""
    frame = _read(path, [*spec.features, spec.target, *spec.key])
    content = [name for name in (*spec.features, spec.target) if name in frame.columns]
    once = frame.drop_duplicates()
    return len(frame), int(once.duplicated(subset=content).sum())


def skew(log: str | Path, data: str | Path, spec: DataSpec, *, sampled: bool) -> SkewCounts:
    """Rows of the prediction log beside the rows of the data with the same key."""
    served, stored = _read(log), _read(data)
    if sampled and len(served) and len(stored):
        most = min(served[ROW_HASH].max(), stored[ROW_HASH].max())
        served, stored = served[served[ROW_HASH] <= most], stored[stored[ROW_HASH] <= most]
    features = [name for name in spec.features if name in served.columns and name in stored.columns]
    left = served.drop_duplicates(ROW_HASH).set_index(ROW_HASH)
    right = stored.drop_duplicates(ROW_HASH).set_index(ROW_HASH)
    both = left.index.intersection(right.index, sort=True)
    left, right = left.loc[both], right.loc[both]
    found: list[FeatureSkew] = []
    for name in features:
        differs = _differs(left[name], right[name])
        shown = [
            {"row_hash": str(row)}
            | ({"event_time": str(right.loc[row, spec.event_time])} if spec.event_time in right.columns else {})
            | ({"served": str(left.loc[row, name]), "stored": str(right.loc[row, name])} if name in spec.public else {})
            for row in both[differs][:_EXAMPLES]
        ]
        found.append(FeatureSkew(name=name, different=int(differs.sum()), examples=tuple(shown)))
    absent = tuple(name for name in spec.features if name not in served.columns)
    return SkewCounts(logged=len(set(served[ROW_HASH])), paired=len(both), features=tuple(found), absent=absent)


def _differs(left: Any, right: Any) -> Any:
    import numpy as np
    import pandas as pd

    if all(pd.api.types.is_numeric_dtype(side) for side in (left, right)):
        a, b = (side.to_numpy(dtype=float, na_value=np.nan) for side in (left, right))
        return ~np.isclose(a, b, rtol=TOLERANCE, atol=0.0, equal_nan=True)
    a, b = left.astype("string").to_numpy(dtype=object), right.astype("string").to_numpy(dtype=object)
    nulls = pd.isna(a), pd.isna(b)
    return np.where(nulls[0] | nulls[1], nulls[0] != nulls[1], np.where(nulls[0], "", a) != np.where(nulls[1], "", b))


def _read(path: str | Path, columns: Sequence[str] | None = None) -> Any:
    import pandas as pd
    import pyarrow.parquet as pq

    if columns is None:
        return pd.read_parquet(path)
    there = set(pq.read_schema(path).names)
    return pd.read_parquet(path, columns=[name for name in dict.fromkeys(columns) if name in there])
