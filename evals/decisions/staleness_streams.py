"""Which real streams are the staleness evals measured on? The three that ship, or one of anybody's own."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd

from tools.contracts.profile import Task
from tools.errors import BadInput

J = TypeVar("J")
R = TypeVar("R")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PARTS: Final = 4
MOST_CLASSES = 20
"""A numeric target with more distinct values is a regression."""
MOST_TEXTS = 0.5
"""A text column with more distinct values than this share of the rows is an id, which no model should see."""


@dataclass(frozen=True)
class Stream:
    """Rows in time order, and what their columns mean."""

    name: str
    frame: Any
    """pandas, sorted by `time`, without unlabelled rows."""
    time: str
    target: str
    task: Task
    features: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What a part of the eval is to measure."""

    quick: bool
    streams: tuple[Stream, ...]


def shipped() -> tuple[Stream, ...]:
    """Electricity, weather and flights, each with the features of its profile."""
    return (
        from_file(EXAMPLES / "electricity" / "electricity.parquet", "event_time", "price_up"),
        from_file(EXAMPLES / "weather" / "weather.parquet", "event_time", "rain"),
        from_file(
            EXAMPLES / "flights" / "nyc_flights.parquet",
            "event_time",
            "late",
            # Known only after departure, or an id.
            drop=("dep_delay", "arr_delay", "tailnum"),
            name="flights",
        ),
    )


def from_file(path: Path, time: str, target: str, drop: Sequence[str] = (), name: str | None = None) -> Stream:
    """A Parquet or CSV file as a stream.

    Raises:
        BadInput: the file is not there, or has no such columns, or nothing is left to look at.
    """
    if not path.is_file():
        raise BadInput(f"no stream {path}", thing="--stream", value=path, remedy="a Parquet or CSV file")
    frame = _read(path)
    for option, column in (("--time", time), ("--target", target), *(("--drop", column) for column in drop)):
        if column not in frame.columns:
            there = ", ".join(map(str, frame.columns))
            raise BadInput(
                f"{path.name} has no column {column!r}", thing=option, value=column, remedy=f"one of {there}"
            )
    frame[time] = _times(frame[time], path.name)
    frame = frame[frame[target].notna() & frame[time].notna()].sort_values(time, kind="stable").reset_index(drop=True)
    if frame[target].nunique() < 2:
        raise BadInput(
            f"target {target!r} of {path.name} has a single value",
            thing="--target",
            value=target,
            remedy="name a target that varies",
        )
    number = pd.api.types.is_numeric_dtype(frame[target]) and frame[target].nunique() > MOST_CLASSES
    features = tuple(name for name in frame.columns if name not in {time, target, *drop} and not _is_id(frame[name]))
    if len(frame) < 1_000 or not features:
        raise BadInput(
            f"{path.name} has {len(frame)} labelled rows and {len(features)} features",
            thing="--stream",
            value=path,
            remedy="at least 1,000 rows and one feature are needed",
        )
    return Stream(name or path.stem, frame, time, target, "regression" if number else "classification", features)


def _read(path: Path) -> Any:
    try:
        return pd.read_csv(path, low_memory=False) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise BadInput(
            f"{path} could not be read: {told[0]}", thing="--stream", value=path, remedy="a Parquet or CSV file"
        ) from error


def _times(column: Any, file: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that each value is parsed by itself
            return pd.to_datetime(column, utc=True).dt.tz_localize(None)
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"column {column.name!r} of {file} does not hold times",
            thing="--time",
            value=column.name,
            remedy="name a column with dates or times, for example 2026-01-31T12:00:00Z",
        ) from error


def _is_id(column: Any) -> bool:
    if any(isinstance(value, list | dict | np.ndarray) for value in column.head(100)):
        return True  # nested values: no model of ours can use them
    text = pd.api.types.is_string_dtype(column) or pd.api.types.is_object_dtype(column)
    return bool(text and column.nunique() > MOST_TEXTS * len(column))


def parts(stream: Stream) -> list[Any]:
    """The features of `PARTS` consecutive parts of a stream: between two draws from one part nothing drifted."""
    frame = stream.frame[list(stream.features)]
    size = len(frame) // PARTS
    return [frame.iloc[k * size : (k + 1) * size].reset_index(drop=True) for k in range(PARTS)]


def draw(part: Any, n: int, m: int, g: np.random.Generator) -> tuple[Any, Any]:
    """Two windows of n and m rows without a row in common."""
    places = g.choice(len(part), n + m, replace=False)
    return part.iloc[places[:n]], part.iloc[places[n:]]


def on_all_cores(job: Callable[[J], R], jobs: Sequence[J], *, quick: bool) -> list[R]:
    """Results in order; in this process for a quick run, whose jobs take less time than the workers' start."""
    if quick:
        return [job(one) for one in jobs]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(job, jobs))
