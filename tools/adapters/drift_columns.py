# pyright: basic
"""What does a column of two Parquet windows become, so that its drift can be measured? Arrow in, `tools.drift` out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from tools import drift, drift_aspects, drift_dates
from tools.contracts.profile import Task
from tools.detached import detached
from tools.drift import ColumnDrift
from tools.drift_distance import Pair, nulls

PREDICTION = "__prediction"
PROBA = "__proba:"
MATURE = "__mature"
_ARROW: Any = pc  # its functions are made at run time


class Windows:
    """A reference and a current window, as Arrow tables.

    Args:
        reference: Rows to compare with.
        current: Rows of now.
        event_time: Their time column, where there is one.
        text: Features that hold free text, besides those that look like it.
    """

    def __init__(
        self, reference: pa.Table, current: pa.Table, event_time: str | None = None, text: Sequence[str] = ()
    ) -> None:
        self.reference, self.current, self._text = reference, current, set(text)
        self._times = tuple(
            None if event_time is None or event_time not in table.column_names else _seconds(table[event_time])
            for table in (reference, current)
        )

    def feature(self, name: str, min_effect: float) -> ColumnDrift:
        """Everything found out about one feature; p-values are not yet corrected."""
        return self._measured(name, name, min_effect)[0]

    def dated(self, found: ColumnDrift, min_effect: float) -> ColumnDrift:
        """The finding with the time since when, where it is bad and the rows can tell."""
        times = self._times[1]
        if found.outcome != "bad" or found.worst is None or times is None:
            return found
        pairs = self._pairs(found.column)
        by_name = {pair.name: pair for pair in pairs} | {"nulls": nulls(pairs[0])}
        worst = by_name.get(found.worst.name)
        if worst is None:
            return found
        when = drift_dates.since(worst, times, found.worst.effect or 0.0, min_effect)
        if when is None:
            return found
        told = f"{found.statement.removesuffix('.')}; since {when:%Y-%m-%d %H:%M}."
        return found.model_copy(update={"since": when, "statement": told})

    def detached(self, columns: Sequence[ColumnDrift]) -> tuple[ColumnDrift, ...]:
        """The corrected findings, numbers that came loose from their rows called so."""

        def numbers(table: pa.Table) -> dict[str, np.ndarray]:
            names = [c.column for c in columns if c.column in table.column_names]
            return {name: _floats(table[name]) for name in names if kind_of(table.schema.field(name).type) == "numeric"}

        return detached(columns, numbers(self.reference), numbers(self.current))

    def predictions(self, task: Task | None, min_effect: float) -> ColumnDrift:
        """The champion's outputs: classes and probabilities, or values."""
        pairs = self._pairs(PREDICTION, categorical=task == "classification")
        probabilities = sorted(name for name in self.reference.column_names if name.startswith(PROBA))
        # Of two classes one probability is the other's mirror.
        for name in probabilities[-1:] if len(probabilities) == 2 else probabilities[:20]:
            if name in self.current.column_names:
                pairs += [
                    pair._replace(name=f"probability of {name.removeprefix(PROBA)}") for pair in self._pairs(name)
                ]
        # Rows that the champion was trained on have no output: that is no finding.
        kept = [_both_known(pair) for pair in pairs]
        return drift.measure("predictions", kept, min_effect)

    def labels(self, target: str, task: Task | None, min_effect: float) -> ColumnDrift:
        """Labels that are known and final."""
        kept = Windows(_mature(self.reference), _mature(self.current))
        pairs = kept._pairs(target, categorical=task == "classification")
        return drift.measure(target, [_both_known(pair) for pair in pairs], min_effect)

    def _measured(self, name: str, shown: str, min_effect: float) -> tuple[ColumnDrift, list[Pair]]:
        n, m = self.reference.num_rows, self.current.num_rows
        if name not in self.current.column_names:
            return drift.vanished(shown, n, m), []
        if name not in self.reference.column_names:
            return drift.not_comparable(shown, "the reference window has no such column", n, m), []
        before, after = self.reference.schema.field(name).type, self.current.schema.field(name).type
        kind = _shared_kind(before, after)
        if kind is None:
            return drift.type_changed(shown, str(before), str(after), n, m), []
        if kind == "other":
            return drift.not_comparable(shown, f"columns of type {before} have no distance", n, m), []
        pairs = self._pairs(name)
        if not pairs:
            why = "it holds too short a time to compare hours or weekdays, and there is no event time"
            return drift.not_comparable(shown, why, n, m), []
        return drift.measure(shown, pairs, min_effect), pairs

    def _pairs(self, name: str, *, categorical: bool = False) -> list[Pair]:
        before, after = self.reference[name], self.current[name]
        kind = "categorical" if categorical else _shared_kind(before.type, after.type)
        if kind == "numeric":
            return [Pair("values", _floats(before), _floats(after))]
        if kind == "datetime":
            times = self._times
            return drift_aspects.times(_seconds(before), _seconds(after), times[0], times[1])
        texts = [_texts(before), _texts(after)]
        if kind == "categorical" and not categorical and (name in self._text or _is_text(texts)):
            return drift_aspects.texts(texts[0].to_pylist(), texts[1].to_pylist())
        return [_coded(*texts)]


def kind_of(type_: pa.DataType) -> str:
    """`numeric`, `boolean`, `categorical`, `datetime`, `null` or `other`."""
    if kinds.is_dictionary(type_):
        return kind_of(type_.value_type)
    if kinds.is_null(type_):
        return "null"
    if kinds.is_boolean(type_):
        return "boolean"
    if kinds.is_timestamp(type_) or kinds.is_date(type_):
        return "datetime"
    if kinds.is_integer(type_) or kinds.is_floating(type_) or kinds.is_decimal(type_) or kinds.is_temporal(type_):
        return "numeric"
    if kinds.is_string(type_) or kinds.is_large_string(type_) or kinds.is_string_view(type_):
        return "categorical"
    return "other"


def _shared_kind(before: pa.DataType, after: pa.DataType) -> str | None:
    """The kind of both; None where they differ. A column of nothing but nulls may have lost its type with its values."""
    one, other = kind_of(before), kind_of(after)
    if one == other:
        return "categorical" if one == "null" else one
    if "null" in (one, other):
        return other if one == "null" else one
    return None


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kinds.is_null(column.type):
        return np.full(len(column), np.nan)
    if kinds.is_time(column.type) or kinds.is_duration(column.type):
        # Any unit will do for a distance over quantiles, as long as both windows share it.
        unit = pa.time64("ns") if kinds.is_time(column.type) else pa.duration("ns")
        column = column.cast(unit, safe=False).cast(pa.int64())
    return column.cast(pa.float64(), safe=False).to_pandas().to_numpy(dtype="float64")


def _seconds(column: pa.ChunkedArray) -> np.ndarray:
    """Times as seconds since 1970 in UTC, NaN for null."""
    if kinds.is_null(column.type):
        return np.full(len(column), np.nan)
    if kinds.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    micros = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
    return micros.cast(pa.float64(), safe=False).to_pandas().to_numpy(dtype="float64") / 1e6


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as strings: numbers in one form whether they came as 1, 1.0 or true."""
    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kinds.is_floating(column.type):
        column = _ARROW.if_else(_ARROW.is_nan(column), None, column)
        rounded = _ARROW.round(column)
        if _ARROW.all(_ARROW.fill_null(_ARROW.equal(column, rounded), True)).as_py() and _small(column):
            column = rounded.cast(pa.int64())
    return column.cast(pa.string())


def _small(column: pa.ChunkedArray) -> bool:
    most = _ARROW.max(_ARROW.abs(column)).as_py()
    return most is None or most < 2**53


def _coded(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Pair:
    both = pa.chunked_array([*before.chunks, *after.chunks], pa.string()).combine_chunks()
    if isinstance(both, pa.ChunkedArray):
        both = both.chunk(0) if both.num_chunks else pa.array([], pa.string())
    encoded = both.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Pair("values", codes[: len(before)], codes[len(before) :], encoded.dictionary.to_pylist())


def _is_text(sides: Sequence[pa.ChunkedArray]) -> bool:
    known = sides[0].drop_null()
    if not len(known):
        return False
    length = _ARROW.mean(_ARROW.utf8_length(known)).as_py()
    return drift_aspects.is_text(length, len(known.unique()), len(known))


def _both_known(pair: Pair) -> Pair:
    def known(side: np.ndarray) -> np.ndarray:
        return side[~(np.isnan(side) if side.dtype.kind == "f" else side < 0)]

    return pair._replace(reference=known(pair.reference), current=known(pair.current))


def _mature(table: pa.Table) -> pa.Table:
    return table.filter(_ARROW.fill_null(table[MATURE], False)) if MATURE in table.column_names else table
