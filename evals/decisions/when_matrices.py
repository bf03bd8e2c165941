"""What would each model have cost on each block? The error matrix of a stream, made once and kept.

A stream is cut into blocks of equally many rows, in time order. Model `s` is boosted trees trained on all blocks up to and with
`s`; `error[s, t]` is its mean error on block `t`, for t > s: wrong answers of a classifier, absolute error of a regression over the
mean absolute deviation from the warm-up's median, so that 1 is as bad as a constant. A seed draws which rows train.

Matrices are kept by the digest of rows, features and settings in the user's cache folder (`RETRAINING_EVAL_CACHE` names another).
"""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.util import hash_pandas_object
from scipy import stats

from evals.decisions.staleness_streams import Stream

BLOCKS: Final = 40
WARM_UP: Final = 0.3
MOST_ROWS: Final = 60_000
"""Rows of a stream that are looked at; more are thinned evenly."""
TRAINED_ON: Final = 0.8
"""Share of the rows that a seed trains on."""
WORKERS: Final = 2
_VERSION: Final = "1"
_DRIFT_ROWS: Final = 1_000


@dataclass(frozen=True)
class Matrix:
    """The errors of one stream and seed.

    Attributes:
        error: [s, t], NaN where t <= s.
        rows: [s, t, row]: error a row, for detectors; NaN where t <= s.
        drifted: [s, t]: share of columns that drifted between the training rows of s and block t.
    """

    stream: str
    seed: int
    error: NDArray[np.float64]
    rows: NDArray[np.float32]
    drifted: NDArray[np.float64]

    @property
    def blocks(self) -> int:
        return self.error.shape[0]

    @property
    def warm_up(self) -> int:
        """Blocks that may be tuned on."""
        return round(WARM_UP * self.blocks)


def cache_folder() -> Path:
    """Where matrices are kept."""
    named = os.environ.get("RETRAINING_EVAL_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "retraining-orchestrator" / "when"


def matrices(
    streams: Iterable[Stream], seeds: Iterable[int], blocks: int = BLOCKS, workers: int = WORKERS
) -> list[Matrix]:
    """One a stream and seed, from the cache where they are there."""
    jobs = [(stream, seed, blocks) for stream in streams for seed in seeds]
    missing = [job for job in jobs if not _path(*job).is_file()]
    if workers > 1 and len(missing) > 1:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(_make, missing))
    else:
        for job in missing:
            _make(job)
    return [_load(*job) for job in jobs]


def _path(stream: Stream, seed: int, blocks: int) -> Path:
    columns = [*stream.features, stream.target]
    content = hashlib.sha256(f"{_VERSION} {columns} {stream.task} {seed} {blocks} {MOST_ROWS}".encode())
    # Lists and other nested values never become features, so every column left can be hashed.
    hashes: Any = hash_pandas_object
    content.update(hashes(stream.frame[columns], index=False).to_numpy().tobytes())
    return cache_folder() / f"{content.hexdigest()[:32]}.npz"


def _load(stream: Stream, seed: int, blocks: int) -> Matrix:
    with np.load(_path(stream, seed, blocks)) as kept:
        return Matrix(stream.name, seed, kept["error"], kept["rows"].astype(np.float32), kept["drifted"])


def _make(job: tuple[Stream, int, int]) -> None:
    stream, seed, blocks = job
    made = measure(stream, seed, blocks)
    path = _path(*job)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez_compressed(half, error=made.error, rows=made.rows.astype(np.float16), drifted=made.drifted)
    half.replace(path)


def measure(stream: Stream, seed: int, blocks: int) -> Matrix:
    """Trains `blocks - 1` models and tries each on every later block."""
    x, y = coded(stream, blocks)
    size = len(x) // blocks
    x, y = x[: size * blocks], y[: size * blocks]
    g = np.random.default_rng(seed)
    kept = g.random(len(x)) < TRAINED_ON
    early = y[: size * max(round(WARM_UP * blocks), 1)]
    scale = 1.0 if stream.task == "classification" else float(np.mean(np.abs(early - np.median(early)))) or 1.0
    rows = np.full((blocks, blocks, size), np.nan, dtype=np.float32)
    for s in range(blocks - 1):
        until = size * (s + 1)
        train = np.flatnonzero(kept[:until])
        answer = _fitted(stream.task, x[train], y[train], seed)(x[until:])
        missed = answer != y[until:] if stream.task == "classification" else np.abs(answer - y[until:]) / scale
        rows[s, s + 1 :] = missed.reshape(blocks - s - 1, size)
    error = np.full((blocks, blocks), np.nan)
    upper = np.triu_indices(blocks, 1)
    error[upper] = rows[upper].mean(axis=1)
    return Matrix(stream.name, seed, error, rows, _drifted(x, blocks, size, seed))


def _fitted(task: str, x: Any, y: Any, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if task == "classification" and len(np.unique(y)) < 2:
        constant = y[0]
        return lambda later: np.full(len(later), constant)
    kind: Any = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    # scikit-learn cannot bin a column that has no value yet.
    told = np.isfinite(x).any(axis=0)
    if not told.any():
        told[0], x = True, np.zeros_like(x)
    model = kind(max_iter=60, learning_rate=0.15, max_leaf_nodes=24, early_stopping=False, random_state=seed)
    model.fit(x[:, told], y)
    return lambda later: model.predict(later[:, told])


def coded(stream: Stream, blocks: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Features as numbers, nulls as NaN; the target as it is, or as codes. Thinned evenly to `MOST_ROWS`."""
    frame = stream.frame
    if len(frame) > MOST_ROWS:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, MOST_ROWS).astype(int)]
    known = max(len(frame) * max(round(WARM_UP * blocks), 1) // blocks, 1)
    x = np.column_stack([_numbers(frame[name], known) for name in stream.features]).astype(np.float32)
    target = frame[stream.target]
    y = target.to_numpy(dtype=float) if stream.task == "regression" else pd.factorize(target)[0]
    return np.where(np.isfinite(x), x, np.nan), y


def _numbers(column: Any, known: int) -> NDArray[np.float64]:
    """Categories by how common they are in the warm-up; one that was never seen there is NaN."""
    if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(column):
        return (column.astype("int64") / 3.6e12).where(column.notna()).to_numpy(dtype=float, na_value=np.nan)
    if pd.api.types.is_timedelta64_dtype(column):
        return column.dt.total_seconds().to_numpy(dtype=float, na_value=np.nan)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=float, na_value=np.nan)
    text = column.astype(str).where(column.notna())
    codes = {name: code for code, name in enumerate(text.iloc[:known].value_counts().index)}
    return text.map(codes).to_numpy(dtype=float, na_value=np.nan)


def _drifted(x: NDArray[np.float32], blocks: int, size: int, seed: int) -> NDArray[np.float64]:
    """Share of columns whose Kolmogorov-Smirnov test refuses equality at 5 %, on samples."""
    g = np.random.default_rng(seed)
    found = np.full((blocks, blocks), np.nan)
    for s in range(blocks - 1):
        then = x[g.integers(0, size * (s + 1), _DRIFT_ROWS)]
        for t in range(s + 1, blocks):
            now = x[size * t + g.integers(0, size, _DRIFT_ROWS)]
            hits = [_moved(then[:, k], now[:, k]) for k in range(x.shape[1])]
            found[s, t] = float(np.mean(hits))
    return found


def _moved(then: Any, now: Any) -> bool:
    a, b = then[np.isfinite(then)], now[np.isfinite(now)]
    if min(len(a), len(b)) < 20:
        return False
    found: Any = stats.ks_2samp(a, b, method="asymp")
    return bool(found.pvalue < 0.05)
