# pyright: basic
"""Rows through Ibis on DuckDB: filters and counts run as queries, results land in bounded Parquet files.

Naive times are UTC; the engine's session zone is pinned to UTC. NaN is null. `__row_hash` is the md5 of the key columns (event
time, features and target where the profile names none): times as microseconds, numbers in millionths as integers, text as it
is, with separators that cannot be mistaken for content.
"""

import glob
import hashlib
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tools.adapters.data_profile import profile_parquet
from tools.contracts.evidence import DatasetRef
from tools.contracts.profile import DataSpec
from tools.contracts.profiling import DataProfile
from tools.errors import BadInput, RetrainingError, Unavailable

ROW_HASH = "__row_hash"
_TIME = "__event"


class IbisData:
    """See `tools.ports.DataSource`. Relative sources start at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._made: Any = None

    @property
    def _con(self) -> Any:
        if self._made is None:
            import ibis

            self._made = ibis.duckdb.connect()
            self._made.raw_sql("SET TimeZone = 'UTC'")
            self._made.raw_sql("SET preserve_insertion_order = false")
        return self._made

    # --- the port --------------------------------------------------------------------------------------------------

    def columns(self, spec: DataSpec) -> Mapping[str, str]:
        with self._lock, self._reading(spec):
            return {name: str(kind) for name, kind in self._source(spec).schema().items()}

    def time_range(self, spec: DataSpec, as_of: datetime) -> tuple[datetime, datetime, int] | None:
        with self._lock, self._reading(spec):
            table = self._timed(spec)
            return self._range(table.filter(table[_TIME] <= _naive(as_of)))

    def labelled_range(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime
    ) -> tuple[datetime, datetime, int] | None:
        with self._lock, self._reading(spec):
            return self._range(self._labelled(spec, start, end, known_by))

    def time_at_share(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime, share: float
    ) -> datetime | None:
        with self._lock, self._reading(spec):
            table = self._labelled(spec, start, end, known_by)
            rows = int(table.count().execute())
            if rows == 0:
                return None
            skip = min(rows - 1, int(rows * (1 - share)))
            found = table.order_by(_TIME).limit(1, offset=skip).select(_TIME).execute()
            return _aware(found[_TIME].iloc[0])

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
        with self._lock, self._reading(spec):
            source = self._timed(spec)
            wanted = [spec.event_time, *spec.key, *spec.features, *extra_columns, spec.target]
            self._require(source, spec, wanted)
            table = self._labelled(spec, start, end, known_by)
            return self._write(table, spec, list(dict.fromkeys(wanted)), path, limit)

    def write_window(
        self, spec: DataSpec, start: datetime | None, end: datetime, path: Path, limit: int
    ) -> DatasetRef:
        with self._lock, self._reading(spec):
            table = self._between(self._timed(spec), start, end)
            declared = [spec.event_time, *spec.key, *spec.features, spec.target]
            there = [name for name in dict.fromkeys(declared) if name in table.columns]
            return self._write(table, spec, there, path, limit)

    def count(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> tuple[int, int]:
        with self._lock, self._reading(spec):
            rows = self._between(self._timed(spec), start, end).count().execute()
            return int(rows), int(self._labelled(spec, start, end, known_by).count().execute())

    def profile(self, path: Path, spec: DataSpec) -> DataProfile:
        return profile_parquet(path, (*spec.features, spec.target))

    # --- queries ---------------------------------------------------------------------------------------------------

    def _source(self, spec: DataSpec) -> Any:
        files = self._files(spec)
        if Path(files[0]).suffix.lower() in (".csv", ".tsv", ".txt", ".gz"):
            return self._con.read_csv(files)
        return self._con.read_parquet(files)

    def _files(self, spec: DataSpec) -> list[str]:
        path = self._root / spec.source
        if path.is_file():
            return [str(path)]
        pattern = str(path / "*") if path.is_dir() else str(path)
        found = sorted(name for name in glob.glob(pattern) if Path(name).is_file())
        kinds = [name for name in found if Path(name).suffix.lower() in (".parquet", ".csv", ".tsv", ".gz")]
        if kinds or found:
            return kinds or found
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else [], n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "a Parquet or CSV file, folder or glob, relative to the workspace"
        raise BadInput(f"data source {spec.source} does not exist", thing="data.source", value=spec.source, remedy=hint)

    def _timed(self, spec: DataSpec) -> Any:
        table = self._source(spec)
        self._require(table, spec, [spec.event_time])
        table = table.mutate(**{_TIME: _utc(table[spec.event_time])})
        return table.filter(table[_TIME].notnull())

    def _between(self, table: Any, start: datetime | None, end: datetime) -> Any:
        table = table.filter(table[_TIME] < _naive(end))
        return table if start is None else table.filter(table[_TIME] >= _naive(start))

    def _labelled(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> Any:
        table = self._timed(spec)
        self._require(table, spec, [spec.target, *([spec.label_time] if spec.label_time else [])])
        table = self._between(table, start, end)
        target = _no_nan(table[spec.target])
        mature = target.notnull() & (table[_TIME] <= _naive(known_by - spec.label_maturity))
        if spec.label_time is not None:
            mature &= _utc(table[spec.label_time]) <= _naive(known_by)
        return table.filter(mature)

    def _require(self, table: Any, spec: DataSpec, names: Sequence[str]) -> None:
        gone = [name for name in names if name not in table.columns]
        if gone:
            near = get_close_matches(gone[0], table.columns, n=1)
            raise BadInput(
                f"{spec.source} has no column {', '.join(map(repr, gone))}; it has {', '.join(c for c in table.columns if c != _TIME)}",
                thing="data",
                value=gone[0],
                remedy=f"did you mean {near[0]!r}?" if near else "mend the source, or the profile's data section",
            )

    def _range(self, table: Any) -> tuple[datetime, datetime, int] | None:
        row = table.aggregate(low=table[_TIME].min(), high=table[_TIME].max(), rows=table.count()).execute().iloc[0]
        return None if int(row["rows"]) == 0 else (_aware(row["low"]), _aware(row["high"]), int(row["rows"]))

    def _write(self, table: Any, spec: DataSpec, names: list[str], path: Path, limit: int | None) -> DatasetRef:
        import ibis
        import pyarrow.parquet as pq

        key = [name for name in (spec.key or (spec.event_time, *spec.features, spec.target)) if name in table.columns]
        chosen = table.select(
            **{name: _no_nan(table[name]) for name in names if name != spec.event_time},
            **{spec.event_time: table[_TIME], _TIME: table[_TIME], ROW_HASH: _row_hash(table, key)},
        )
        total = int(chosen.count().execute())
        sampled = limit is not None and total > limit
        if sampled:
            # Every k-th row in time order: evenly spread, and the same each time.
            ordered = chosen.mutate(__n=ibis.row_number().over(ibis.window(order_by=[_TIME, ROW_HASH])))
            step = ((ordered["__n"] + 1) * limit / total).floor() > (ordered["__n"] * limit / total).floor()
            chosen = ordered.filter(step)
        rows = chosen.order_by([_TIME, ROW_HASH]).select(*names, ROW_HASH)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_suffix(".part")
        rows.to_parquet(part)
        part.replace(path)
        written = pq.read_table(path, columns=[ROW_HASH, spec.event_time])
        hashes = sorted(written.column(ROW_HASH).to_pylist())
        digest = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
        times = written.column(spec.event_time)
        count = written.num_rows
        return DatasetRef(
            path=str(path),
            rows=count,
            digest=digest,
            start=_aware(times[0].as_py()) if count else None,
            end=_aware(times[count - 1].as_py()) if count else None,
            sampled_from=total if sampled else None,
        )

    def _reading(self, spec: DataSpec) -> "_Reading":
        return _Reading(spec.source)


class _Reading:
    """What goes wrong while a source is read, in our words; passwords of URLs stay out of it."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, RetrainingError) or not isinstance(error, Exception):
            return
        import duckdb
        from ibis.common.exceptions import IbisError

        from tools.adapters.mlflow_client import masked

        why = masked(str(error)).splitlines()[0][:300] if str(error) else type(error).__name__
        if isinstance(error, duckdb.IOException | OSError):
            raise Unavailable(
                f"{masked(self._source)} could not be read: {why}",
                thing="data.source",
                value=masked(self._source),
                remedy="check that the file is there, whole and readable",
            ) from error
        if isinstance(error, duckdb.Error | IbisError):
            raise BadInput(
                f"{masked(self._source)} cannot be used: {why}",
                thing="data.source",
                value=masked(self._source),
                remedy="a Parquet or CSV file whose columns are as the profile says",
            ) from error


def _utc(column: Any) -> Any:
    """Any time column as a naive timestamp in UTC."""
    kind = column.type()
    if kind.is_timestamp() and kind.timezone is not None:
        return column.cast("timestamp('UTC')").cast("timestamp")
    return column.cast("timestamp(6)")


def _no_nan(column: Any) -> Any:
    import ibis

    return ibis.ifelse(column.isnan(), ibis.null(), column) if column.type().is_floating() else column


def _row_hash(table: Any, key: Sequence[str]) -> Any:
    import ibis

    @ibis.udf.scalar.builtin(name="md5")
    def md5(text: str) -> str: ...

    @ibis.udf.scalar.builtin(name="epoch_us")
    def epoch_us(time: "datetime") -> int: ...

    def text(name: str) -> Any:
        column = table[name]
        kind = column.type()
        if kind.is_timestamp() or kind.is_date():
            return epoch_us(_utc(column)).cast("string")
        if kind.is_boolean():
            return column.cast("int64").cast("string")
        if kind.is_integer():
            return column.cast("string")
        if kind.is_numeric():
            number = _no_nan(column.cast("float64"))
            return (number * 1e6).round().try_cast("decimal(38, 0)").cast("string").fill_null(number.cast("string"))
        return column.cast("string")

    # A null is told apart from any text, and a separator within text cannot shift the columns.
    parts = [text(name).replace("\\", "\\\\").replace("|", "\\|").fill_null("\\N") for name in key]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + "|" + part
    return md5(joined)


def _naive(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None) if time.year < 9999 else datetime(9999, 1, 1)


def _aware(value: Any) -> datetime:
    time = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)



