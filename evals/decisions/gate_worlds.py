"""On which rows do candidates train, on which are they judged, and on which is the truth about them found?

A stream's first half is its history: every model is trained there. The second half is the period, cut into blocks of 48
consecutive rows (a day of the electricity market). Some blocks, drawn at random, are a case's holdout; all the others are the
rows the gate never saw, and tell the truth. So the truth is about the same population as the holdout, and the gate's answer can
be wrong only by what it could have known. Rows that follow a contiguous holdout would mix its error with the world's moving on, which
no holdout shows; that is what the canary and monitoring are for, and it is not measured here.

The interval of a truth comes from sums over 40 consecutive stretches of the period, so that what neighbours share is not counted
as evidence.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from evals.decisions.staleness_estimates import numbers
from evals.decisions.staleness_streams import Stream
from tools.contracts.profile import Task
from tools.errors import BadInput

BLOCK: Final = 48
MOST_PERIOD: Final = 60_000
MOST_HOLDOUT: Final = 10_000
MOST_TRAINING: Final = 6_000
LEAST_ROWS: Final = 3_000
STRETCHES: Final = 40
MOST_SLICE_VALUES: Final = 12
HISTORY: Final = 0.5


@dataclass(frozen=True)
class World:
    """One stream, ready for cases.

    Attributes:
        name: Of the stream.
        task: What kind of model.
        x: (n, f) features as numbers, the history's rows first.
        y: (n,) class codes or values.
        history: Rows of the history.
        names: (f,) feature names.
        shown: Feature to (period,) values as a holdout has them: numbers or texts.
        slice_column: The column that the profile declares.
        slice_source: The feature that the column is, or was made from.
        slice_values: (period,) its texts.
        stretch: (period,) which of the stretches a row of the period lies in.
        largest: Rows of the largest holdout, if the period is long enough.
        parts: The largest holdout is at most this part of the period.
    """

    name: str
    task: Task
    x: Any
    y: Any
    history: int
    names: tuple[str, ...]
    shown: dict[str, Any]
    slice_column: str
    slice_source: str
    slice_values: Any
    stretch: Any
    largest: int = MOST_HOLDOUT
    parts: int = 3

    @property
    def period(self) -> int:
        """Rows of the period."""
        return len(self.y) - self.history

    @property
    def truth_y(self) -> Any:
        """(period,) labels of the period."""
        return self.y[self.history :]

    @property
    def training(self) -> int:
        """Rows of an ordinary training set."""
        return min(MOST_TRAINING, int(0.3 * self.history))

    @property
    def holdouts(self) -> tuple[int, int, int]:
        """Rows of the three holdouts, smallest first: a third of the period (of the rare stream half), a third of that, and again."""
        most = min(self.largest, self.period // self.parts)
        return most // 9, most // 3, most

    @cached_property
    def digest(self) -> str:
        """Of what models are trained and judged on."""
        found = hashlib.sha256(repr((self.history, self.names, self.x.shape)).encode())
        found.update(np.ascontiguousarray(self.x).tobytes())
        found.update(np.ascontiguousarray(self.y).tobytes())
        return found.hexdigest()

    def split(self, size: int, g: np.random.Generator) -> tuple[Any, Any]:
        """(places of the holdout, places of the truth) in the period, in time order; whole blocks on either side."""
        block = max(1, min(BLOCK, self.period // 100))
        numbers_of_blocks = np.arange(self.period) // block
        drawn = g.permutation(int(numbers_of_blocks[-1]) + 1)[: max(1, round(size / block))]
        inside = np.isin(numbers_of_blocks, drawn)
        return np.flatnonzero(inside), np.flatnonzero(~inside)


def world(stream: Stream, most: int = MOST_PERIOD) -> World:
    """A stream in history and period (at most `most` rows of it).

    Raises:
        BadInput: Too few rows, or a target that does not vary in the history or in the period.
    """
    frame = stream.frame
    if stream.task == "regression":
        frame = frame[np.isfinite(frame[stream.target].to_numpy(dtype=float))]
    if len(frame) < LEAST_ROWS:
        raise BadInput(
            f"{stream.name} has {len(frame):,} labelled rows",
            thing="--stream",
            value=stream.name,
            remedy=f"at least {LEAST_ROWS:,} are needed: half of them train, the others are holdouts and truth",
        )
    half = int(HISTORY * len(frame))
    kept = _kept_blocks(half, len(frame), most)
    frame = frame.iloc[np.r_[np.arange(half), kept]].reset_index(drop=True)
    if stream.task == "regression":
        y: Any = frame[stream.target].to_numpy(dtype=float)
    else:
        y = pd.factorize(frame[stream.target], sort=True)[0].astype(int)
    _refuse_constant(stream, y, half)
    period = frame.iloc[half:]
    column, source, values = _slices(period, stream.features)
    count = len(period)
    x = np.column_stack([numbers(frame[name]) for name in stream.features]).astype(np.float64)
    x[~np.isfinite(x)] = np.nan
    return World(
        name=stream.name,
        task=stream.task,
        x=x,
        y=y,
        history=half,
        names=tuple(map(str, stream.features)),
        shown={str(name): _shown(period[name]) for name in stream.features},
        slice_column=column,
        slice_source=source,
        slice_values=values,
        stretch=np.arange(count) * min(STRETCHES, count) // count,
    )


def _kept_blocks(start: int, end: int, most: int) -> Any:
    """Places of the period: all, or whole blocks drawn at random so that no season is left out."""
    places = np.arange(start, end)
    if len(places) <= most:
        return places
    number = (places - start) // BLOCK
    drawn = np.random.default_rng(0).permutation(int(number[-1]) + 1)[: most // BLOCK]
    return places[np.isin(number, drawn)]


def _refuse_constant(stream: Stream, y: Any, half: int) -> None:
    for part, name in ((y[:half], "first"), (y[half:], "second")):
        if len(np.unique(part)) < 2:
            raise BadInput(
                f"target {stream.target!r} has a single value in the {name} half of {stream.name}",
                thing="--target",
                value=stream.target,
                remedy="a target that varies in both halves is needed",
            )
    classes, counts = np.unique(y, return_counts=True) if stream.task == "classification" else ([], [])
    if len(classes) > MOST_SLICE_VALUES * 2:
        raise BadInput(
            f"target {stream.target!r} has {len(classes)} classes",
            thing="--target",
            value=stream.target,
            remedy=f"at most {MOST_SLICE_VALUES * 2} classes, or a number with decimals for a regression",
        )
    if len(counts) and min((y[:half] == c).sum() for c in classes) == 0:
        raise BadInput(
            f"a class of target {stream.target!r} never occurs in the first half of {stream.name}",
            thing="--target",
            value=stream.target,
            remedy="every class must occur in both halves",
        )


def _shown(column: Any) -> Any:
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=float, na_value=np.nan)
    return column.astype("string").fillna("(missing)").to_numpy(dtype=object)


def _slices(period: Any, features: Sequence[str]) -> tuple[str, str, Any]:
    """(name, feature, texts) by one rule for all streams.

    The feature with the fewest values from 2 to 12, else thirds of the first feature that varies.
    """
    counts = {name: period[name].nunique() for name in features}
    few = [name for name in features if 2 <= counts[name] <= MOST_SLICE_VALUES]
    if few:
        chosen = min(few, key=lambda name: counts[name])
        return str(chosen), str(chosen), period[chosen].astype("string").fillna("(missing)").to_numpy(dtype=object)
    first = max(features, key=lambda name: counts[name] > 2)
    ranks = pd.Series(numbers(period[first])).rank(method="average", pct=True).fillna(0.0).to_numpy()
    names = np.array(["low", "middle", "high"], dtype=object)
    return f"third of {first}", str(first), names[np.minimum((ranks * 3).astype(int), 2)]
