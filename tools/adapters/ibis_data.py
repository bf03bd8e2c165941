# pyright: basic
"""Rows through Ibis on DuckDB: filters, counts, hashes and samples run as queries; results land in Parquet files.

Naive times are UTC; the engine's session zone is pinned to UTC. NaN is null. See docs/windows.md for how sources are read and
`tools.adapters.row_digest` for what identifies a row.
"""

import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Any

from tools.adapters.data_files import closest, find_files
from tools.adapters.data_profile import profile_parquet
from tools.adapters.ibis_columns import aware, naive, no_nan, reading, row_hash, utc
from tools.adapters.mlflow_client import masked
from tools.adapters.row_digest import ROW_HASH, set_digest
from tools.contracts.evidence import DatasetRef
from tools.contracts.profile import DataSpec
from tools.contracts.profiling import DataProfile
from tools.errors import BadInput

_TIME = "__event"
_BATCH = 100_000
_SEPARATORS = set(",;\t|")
_CSV_NULLS = ["", "NA", "NULL", "null"]


class IbisData:
    """See `tools.ports.DataSource`. Relative sources start at `root`. Threads may share one instance."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._made: Any = None
        self._opened: dict[str, tuple[object, Any]] = {}

    @property
    def _con(self) -> Any:
        if self._made is None:
            import ibis

            # An engine in memory would spill into the working folder otherwise.
            spill = tempfile.mkdtemp(prefix="retraining-data-")
            weakref.finalize(self, shutil.rmtree, spill, ignore_errors=True)
            self._made = ibis.duckdb.connect(temp_directory=spill)
            self._made.raw_sql("SET TimeZone = 'UTC'")
            self._made.raw_sql("SET preserve_insertion_order = false")
        return self._made

    # --- the port --------------------------------------------------------------------------------------------------

    def columns(self, spec: DataSpec) -> Mapping[str, str]:
        with self._lock, reading(spec.source):
            return {name: str(kind) for name, kind in self._source(spec).schema().items()}

    def time_range(self, spec: DataSpec, as_of: datetime) -> tuple[datetime, datetime, int] | None:
        with self._lock, reading(spec.source):
            table = self._timed(spec)
            return self._range(table.filter(table[_TIME] <= naive(as_of)))

    def labelled_range(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime
    ) -> tuple[datetime, datetime, int] | None:
        with self._lock, reading(spec.source):
            return self._range(self._labelled(spec, start, end, known_by))

    def time_at_share(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime, share: float
    ) -> datetime | None:
        with self._lock, reading(spec.source):
            table = self._labelled(spec, start, end, known_by)
            rows = _count(table)
            if rows == 0:
                return None
            skip = rows - max(1, round(rows * share))
            found = table.order_by(_TIME).limit(1, offset=skip).select(_TIME).to_pyarrow()
            return aware(found.column(_TIME)[0].as_py())

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
        with self._lock, reading(spec.source):
            wanted = written_columns(spec, extra_columns)
            table = self._labelled(spec, start, end, known_by)
            self._require(table, spec, wanted)
            return self._write(table, spec, wanted, path, limit)

    def write_window(self, spec: DataSpec, start: datetime | None, end: datetime, path: Path, limit: int) -> DatasetRef:
        with self._lock, reading(spec.source):
            table = self._between(self._timed(spec), start, end)
            there = [name for name in written_columns(spec) if name in table.columns]
            return self._write(table, spec, there, path, limit)

    def count(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> tuple[int, int]:
        with self._lock, reading(spec.source):
            rows = _count(self._between(self._timed(spec), start, end))
            return rows, _count(self._labelled(spec, start, end, known_by))

    def profile(self, path: Path, spec: DataSpec) -> DataProfile:
        return profile_parquet(path, (*spec.features, spec.target))

    # --- queries ---------------------------------------------------------------------------------------------------

    def _source(self, spec: DataSpec) -> Any:
        """The source as a table; opened anew when its files changed."""
        files, kind = find_files(self._root, spec.source)
        state = [(str(file), (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files]
        known = self._opened.get(spec.source)
        if known is not None and known[0] == state:
            return known[1]
        names = [escape(str(file)) for file in files]
        with reading(spec.source, opening=True):
            table = self._csv(names) if kind == "csv" else self._con.read_parquet(names, union_by_name=True)
        if known is not None:
            self._drop(known[1])
        self._opened[spec.source] = (state, table)
        return table

    def _csv(self, names: list[str]) -> Any:
        """Types follow from all rows, looked at once: a sample's guess would break on a later row."""
        ways: dict[str, Any] = {"union_by_name": True, "nullstr": _CSV_NULLS, "allow_quoted_nulls": False}
        looked = self._con.read_csv(names, sample_size=-1, **ways)
        written = self._con.compiler.type_mapper.to_string
        types = {name: written(kind) for name, kind in looked.schema().items()}
        self._drop(looked)
        if len(types) == 1 and _SEPARATORS & set(looked.columns[0]):
            raise BadInput(
                "a CSV file cannot be used: its lines differ in their number of fields, or in what separates them",
                thing="data.source",
                value=", ".join(names),
                remedy="quote fields that hold the separator, and mend or leave out cut lines",
            )
        return self._con.read_csv(names, types=types, **ways)

    def _drop(self, view: Any) -> None:
        # Not by Ibis' `drop_view`: with sqlglot 30 it loses the name on the way.
        self._con.raw_sql(f"DROP VIEW IF EXISTS {_quoted(view.get_name())}")

    def _timed(self, spec: DataSpec) -> Any:
        table = self._source(spec)
        self._require(table, spec, [spec.event_time])
        table = table.mutate(**{_TIME: utc(spec.event_time, table[spec.event_time])})
        return table.filter(table[_TIME].notnull())

    def _between(self, table: Any, start: datetime | None, end: datetime) -> Any:
        table = table.filter(table[_TIME] < naive(end))
        return table if start is None else table.filter(table[_TIME] >= naive(start))

    def _labelled(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> Any:
        table = self._timed(spec)
        self._require(table, spec, [spec.target, *([spec.label_time] if spec.label_time else [])])
        table = self._between(table, start, end)
        mature = no_nan(table[spec.target]).notnull() & (table[_TIME] <= naive(mature_event(spec, known_by)))
        if spec.label_time is not None:
            # A null label time compares to null, which the filter drops: not mature.
            mature &= utc(spec.label_time, table[spec.label_time]) <= naive(known_by)
        return table.filter(mature)

    def _require(self, table: Any, spec: DataSpec, names: Sequence[str]) -> None:
        require_columns(spec.source, [name for name in table.columns if name != _TIME], names)

    def _range(self, table: Any) -> tuple[datetime, datetime, int] | None:
        made = table.aggregate(low=table[_TIME].min(), high=table[_TIME].max(), rows=table.count()).to_pyarrow()
        row = made.to_pylist()[0]
        return None if not row["rows"] else (aware(row["low"]), aware(row["high"]), int(row["rows"]))

    def _write(self, table: Any, spec: DataSpec, names: list[str], path: Path, limit: int | None) -> DatasetRef:
        times = {
            name: utc(name, table[name])
            for name in (spec.event_time, spec.label_time)
            if name and name in table.columns
        }
        chosen = table.select(
            **{name: table[_TIME] if name == spec.event_time else no_nan(table[name]) for name in names},
            **{ROW_HASH: row_hash([times.get(name, table[name]) for name in key_columns(spec, table.columns)])},
        )
        total = _count(table)
        sampled = limit is not None and total > limit
        if sampled:
            # The smallest hashes: spread like the rows, the same each time, and duplicates stay together.
            chosen = chosen.order_by(_all(chosen, ROW_HASH, spec.event_time)).limit(limit)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(path.name + ".part")
        try:
            chosen.order_by(_all(chosen, spec.event_time, ROW_HASH)).to_parquet(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return self._ref(path, spec.event_time, total if sampled else None)

    def _ref(self, path: Path, event_time: str, sampled_from: int | None) -> DatasetRef:
        low, high, rows = self._ask(
            path, f"min({_quoted(event_time)}), max({_quoted(event_time)}), count(*)"
        ).fetchone()
        return DatasetRef(
            path=str(path),
            rows=rows,
            digest=set_digest(_hashes(self._ask(path, f"{ROW_HASH}", order=True))),
            start=aware(low) if rows else None,
            end=aware(high) if rows else None,
            sampled_from=sampled_from,
        )

    def _ask(self, path: Path, what: str, *, order: bool = False) -> Any:
        tail = " ORDER BY 1" if order else ""
        return self._con.con.execute(f"SELECT {what} FROM read_parquet(?){tail}", [escape(str(path))])


def mature_event(spec: DataSpec, known_by: datetime) -> datetime:
    """The latest event time whose label is final at `known_by`."""
    try:
        return known_by - spec.label_maturity
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def written_columns(spec: DataSpec, extra: Sequence[str] = ()) -> list[str]:
    """The columns of a data set, each once, in the order they are written."""
    return list(dict.fromkeys([spec.event_time, *spec.key, *spec.features, *extra, spec.target]))


def key_columns(spec: DataSpec, there: Sequence[str]) -> list[str]:
    """Columns that identify a row, of those that are there."""
    everything = (spec.event_time, *spec.features, spec.target)
    key = [name for name in spec.key if name in there]
    return key or [name for name in everything if name in there]


def require_columns(source: str, there: Sequence[str], names: Sequence[str]) -> None:
    """Raises `BadInput` with what there is when a column is missing."""
    gone = [name for name in names if name not in there]
    if gone:
        raise BadInput(
            f"{masked(source)} has no column {', '.join(map(repr, gone))}; it has {', '.join(there)}",
            thing="data",
            value=gone[0],
            remedy=closest(gone[0], there) or "mend the source, or the profile's data section",
        )


def _all(table: Any, *first: str) -> list[str]:
    """An order by these columns, then by all others: rows that share a key come in the same order each time."""
    return list(dict.fromkeys((*first, *table.columns)))


def _count(table: Any) -> int:
    return int(table.count().to_pyarrow().as_py())


def _hashes(answer: Any) -> Iterator[str]:
    while batch := answer.fetchmany(_BATCH):
        yield from (row[0] for row in batch)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
