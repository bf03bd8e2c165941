# pyright: basic
"""Rows from pandas frames: for tests, notebooks and rehearsals. The same windows, errors and row hashes as `IbisData`."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.adapters.data_files import closest
from tools.adapters.data_profile import profile_parquet
from tools.adapters.ibis_columns import aware, naive, no_time, unusable, utc
from tools.adapters.ibis_columns import row_hash as hashed
from tools.adapters.ibis_data import (
    MATURE,
    key_columns,
    mature_event,
    prediction_columns,
    require_columns,
    written_columns,
)
from tools.adapters.ibis_summary import summarize
from tools.adapters.meter import Meter
from tools.adapters.prediction_tables import VERSION
from tools.adapters.row_digest import ROW_HASH, row_hash, set_digest
from tools.adapters.rule_counts import counted
from tools.contracts.evidence import DatasetRef, Effort
from tools.contracts.profile import DataSpec, PredictionTable
from tools.contracts.profiling import DataProfile, Overlap, RuleCount, SchemaRule, WindowSummary
from tools.errors import BadInput
from tools.masking import masked
from tools.paired_rows import label_text

_TIME = "__event"
_KNOWN = "__known"


class MemoryData:
    """Port `DataSource` over frames, by the name that `data.source` gives. A frame may be replaced at any time.

    Column types are those that a Parquet file of the frame would have.
    """

    def __init__(self, frames: Mapping[str, Any]) -> None:
        self.frames = dict(frames)
        self._meter = Meter()

    def columns(self, spec: DataSpec) -> Mapping[str, str]:
        from ibis.formats.pyarrow import PyArrowSchema

        return {name: str(kind) for name, kind in PyArrowSchema.to_ibis(self._source(spec).schema).items()}

    def time_range(self, spec: DataSpec, as_of: datetime) -> tuple[datetime, datetime, int] | None:
        from pyarrow.compute import field

        return _range(self._timed(spec).filter(field(_TIME) <= _bound(as_of)))

    def labelled_range(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime
    ) -> tuple[datetime, datetime, int] | None:
        return _range(self._labelled(spec, start, end, known_by))

    def time_at_share(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime, share: float
    ) -> datetime | None:
        table = self._labelled(spec, start, end, known_by).sort_by(_TIME)
        rows = table.num_rows
        return aware(table[_TIME][rows - max(1, round(rows * share))].as_py()) if rows else None

    def write_labelled(
        self,
        spec: DataSpec,
        start: datetime | None,
        end: datetime,
        known_by: datetime,
        path: Path,
        extra_columns: Sequence[str] = (),
        limit: int | None = None,
    ) -> DatasetRef:
        wanted = written_columns(spec, extra_columns)
        table = self._labelled(spec, start, end, known_by)
        _require(table, spec, wanted)
        return self._written(_write(table, spec, wanted, path, limit), limit)

    def write_window(
        self,
        spec: DataSpec,
        start: datetime | None,
        end: datetime,
        path: Path,
        limit: int,
        *,
        known_by: datetime | None = None,
        extra_columns: Sequence[str] = (),
    ) -> DatasetRef:
        table = _between(self._timed(spec), start, end)
        there = [name for name in written_columns(spec, extra_columns) if name in table.column_names]
        if known_by is not None:
            table = table.append_column(MATURE, self._mature(table, spec, known_by))
            there.append(MATURE)
        return self._written(_write(table, spec, there, path, limit), limit)

    def summary(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime, columns: Sequence[str]
    ) -> WindowSummary:
        import ibis

        source = self._source(spec)
        table = _between(self._timed(spec), start, end)
        labelled = table.append_column(MATURE, self._mature(table, spec, known_by))
        if spec.label_time is not None:
            labelled = labelled.append_column(_KNOWN, _utc(spec, spec.label_time, table))
        frame = ibis.memtable(labelled)
        return summarize(
            frame,
            time=_TIME,
            mature=frame[MATURE],
            label_time=None if spec.label_time is None else frame[_KNOWN],
            columns=[name for name in dict.fromkeys(columns) if name in table.column_names],
            undated=source.num_rows - self._timed(spec).num_rows,
            ask=lambda expr: self._ask(expr)[0],
        )

    def check_schema(
        self, spec: DataSpec, start: datetime | None, end: datetime, rules: Sequence[SchemaRule]
    ) -> Sequence[RuleCount]:
        import ibis

        table = ibis.memtable(_between(self._timed(spec), start, end))
        times = (spec.event_time, spec.label_time)
        return counted(
            table,
            spec,
            rules,
            time=_TIME,
            row_hash=lambda rows: hashed(
                [utc(name, rows[name]) if name in times else rows[name] for name in key_columns(spec, rows.columns)]
            ),
            ask=self._ask,
        )

    def overlap(self, holdout: Path, trained_on: Path) -> Overlap:
        import pyarrow.parquet as pq

        with self._meter.query(_nothing):
            rows = pq.read_table(holdout, columns=[ROW_HASH])[ROW_HASH].to_pylist()
            seen = pq.read_table(trained_on, columns=[ROW_HASH])[ROW_HASH].to_pylist()
        known = set(seen)
        both = [one for one in rows if one in known]
        return Overlap(
            rows=len(rows), trained_on=len(seen), overlapping=len(both), examples=tuple(sorted(set(both))[:5])
        )

    def write_predictions(self, spec: DataSpec, table: PredictionTable, versions: Sequence[str], path: Path) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        spec = spec.model_copy(update={"source": table.source})
        rows = self._source(spec)
        outputs = prediction_columns(spec, table, rows.column_names)
        hashes = pa.array(_hashes(rows, spec), pa.string())
        told = [None if one is None else label_text(one) for one in rows[table.version].to_pylist()]
        made = pa.table(
            {ROW_HASH: hashes, VERSION: pa.array(told, pa.string())}
            | {name: rows[column] for name, column in outputs.items()}
        )
        made = made.filter(pa.array([one in versions for one in told], pa.bool_()))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pq.write_table(_sorted(made, ROW_HASH, VERSION), path)
        return made.num_rows

    def effort(self) -> Effort:
        return self._meter.effort()

    def budget(self, *, queries: int, seconds: int) -> AbstractContextManager[None]:
        return self._meter.budget(queries=queries, seconds=seconds)

    def count(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> tuple[int, int]:
        rows = _between(self._timed(spec), start, end).num_rows
        return rows, self._labelled(spec, start, end, known_by).num_rows

    def profile(self, path: Path, spec: DataSpec) -> DataProfile:
        return profile_parquet(path, (*spec.features, spec.target))

    # --- rows ------------------------------------------------------------------------------------------------------

    def _source(self, spec: DataSpec) -> Any:
        """The frame as an Arrow table."""
        import pyarrow as pa

        if spec.source not in self.frames:
            raise BadInput(
                f"data source {masked(spec.source)} does not exist",
                thing="data.source",
                value=masked(spec.source),
                remedy=closest(spec.source, self.frames) or f"there is {', '.join(self.frames) or 'no frame at all'}",
            )
        try:
            table = pa.Table.from_pandas(self.frames[spec.source], preserve_index=False).replace_schema_metadata(None)
        except (pa.ArrowException, TypeError) as error:
            raise unusable(spec.source, error) from error
        return pa.table({name: _simple(table[name]) for name in table.column_names})

    def _timed(self, spec: DataSpec) -> Any:
        table = self._source(spec)
        _require(table, spec, [spec.event_time])
        table = table.append_column(_TIME, _utc(spec, spec.event_time, table))
        return table.filter(table[_TIME].is_valid())

    def _labelled(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> Any:
        table = _between(self._timed(spec), start, end)
        return table.filter(self._mature(table, spec, known_by))

    def _mature(self, table: Any, spec: DataSpec, known_by: datetime) -> Any:
        """Whether each row has a label that was final at `known_by`; never null."""
        from pyarrow import compute

        pc: Any = compute
        _require(table, spec, [spec.target, *([spec.label_time] if spec.label_time else [])])
        mature = pc.and_(
            table[spec.target].is_valid(), pc.less_equal(table[_TIME], _bound(mature_event(spec, known_by)))
        )
        if spec.label_time is not None:
            known = _utc(spec, spec.label_time, table)
            mature = pc.and_(mature, pc.fill_null(pc.less_equal(known, _bound(known_by)), False))
        return mature

    def _ask(self, expr: Any) -> list[dict[str, Any]]:
        with self._meter.query(_nothing):
            rows = expr.to_pyarrow().to_pylist()
        self._meter.rows(len(rows))
        return rows

    def _written(self, made: DatasetRef, limit: int | None) -> DatasetRef:
        """Counted as an engine would: one query, and a sample where it is one."""
        with self._meter.query(_nothing):
            pass
        if limit is not None:
            self._meter.file(made.path, made.rows)
        if made.sampled_from is not None:
            self._meter.sampled(made.sampled_from)
        return made


def _nothing() -> None:
    """What runs in this process is not cancelled."""


def _simple(column: Any) -> Any:
    """NaN as null, categories as their values, zoned times in UTC; other columns as they are."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_floating(kind):
        return pa.chunked_array([pa.array(column.to_numpy(), kind, from_pandas=True)])
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return _whole_microseconds(column).cast(pa.timestamp("us", "UTC"))
    return column


def _require(table: Any, spec: DataSpec, names: Sequence[str]) -> None:
    require_columns(spec.source, [name for name in table.column_names if name != _TIME], names)


def _between(table: Any, start: datetime | None, end: datetime) -> Any:
    from pyarrow.compute import field

    table = table.filter(field(_TIME) < _bound(end))
    return table if start is None else table.filter(field(_TIME) >= _bound(start))


def _range(table: Any) -> tuple[datetime, datetime, int] | None:
    times = table[_TIME].to_numpy()
    return (aware(times.min().item()), aware(times.max().item()), len(times)) if len(times) else None


def _write(table: Any, spec: DataSpec, names: list[str], path: Path, limit: int | None) -> DatasetRef:
    import pyarrow as pa
    import pyarrow.parquet as pq

    hashes = _hashes(table, spec)
    chosen = pa.table(
        {name: table[_TIME] if name == spec.event_time else table[name] for name in names}
        | {ROW_HASH: pa.array(hashes, pa.string())}
    )
    sampled_from = chosen.num_rows if limit is not None and chosen.num_rows > limit else None
    if sampled_from is not None:
        chosen = _sorted(chosen, ROW_HASH, spec.event_time).slice(0, limit)
    chosen = _sorted(chosen, spec.event_time, ROW_HASH)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(path.name + ".part")
    pq.write_table(chosen, part)
    part.replace(path)
    found = _range(chosen.append_column(_TIME, chosen[spec.event_time]))
    return DatasetRef(
        path=str(path),
        rows=chosen.num_rows,
        digest=set_digest(sorted(chosen[ROW_HASH].to_pylist())),
        start=found and found[0],
        end=found and found[1],
        sampled_from=sampled_from,
    )


def _hashes(table: Any, spec: DataSpec) -> list[str]:
    times = (spec.event_time, spec.label_time)
    key = key_columns(spec, table.column_names)
    identities = [_utc(spec, name, table) if name in times else _plain(table[name]) for name in key]
    return [row_hash(values) for values in zip(*(column.to_pylist() for column in identities), strict=True)]


def _sorted(table: Any, *first: str) -> Any:
    """By these columns, then by all others, so that rows that share a key have an order too."""
    names = dict.fromkeys((*first, *table.column_names))
    return table.sort_by([(name, "ascending") for name in names])


def _bound(time: datetime) -> Any:
    import pyarrow as pa

    return pa.scalar(naive(time), pa.timestamp("us"))


def _utc(spec: DataSpec, name: str, table: Any) -> Any:
    """Any time column as naive timestamps in UTC, in microseconds."""
    import pandas as pd
    import pyarrow as pa

    column, kind = table[name], table[name].type
    if pa.types.is_timestamp(kind):
        return _whole_microseconds(column)
    if pa.types.is_date(kind) or pa.types.is_null(kind):
        return column.cast(pa.timestamp("us"))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            times = pd.to_datetime(column.to_pandas(), utc=True, format="ISO8601")
        except ValueError as error:
            raise unusable(spec.source, error) from error
        return _whole_microseconds(pa.chunked_array([pa.Array.from_pandas(times)]))
    raise no_time(name, str(kind))


def _plain(column: Any) -> Any:
    """As the row hash wants it: no nanoseconds."""
    import pyarrow.types as kinds

    return _whole_microseconds(column) if kinds.is_timestamp(column.type) else column


def _whole_microseconds(column: Any) -> Any:
    """Timestamps without zone, in UTC; nanoseconds are rounded half away from 1970, as the engine of `IbisData` does."""
    import numpy as np
    import pyarrow as pa

    if column.type.unit != "ns":
        return column.cast(pa.timestamp(column.type.unit)).cast(pa.timestamp("us"))
    count = column.cast(pa.int64()).fill_null(0).to_numpy()
    rounded = np.sign(count) * ((np.abs(count) + 500) // 1000)
    return pa.chunked_array([pa.array(rounded, mask=column.is_null().to_numpy()).cast(pa.timestamp("us"))])
