# pyright: basic
"""Rows through Ibis, whatever engine they live in: filters, counts, hashes and samples run as queries there; results land in
Parquet files here, which DuckDB reads from then on.

Naive times are UTC; every engine's session zone is pinned to UTC. NaN is null. See docs/windows.md for how sources are read,
`tools.adapters.row_digest` for what identifies a row, and `tools.adapters.engines` for the engines.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Any

from tools.adapters.data_files import closest
from tools.adapters.data_profile import profile_parquet
from tools.adapters.engines import Engines, quoted
from tools.adapters.ibis_columns import aware, naive, no_nan, reading, row_hash, utc
from tools.adapters.ibis_summary import summarize
from tools.adapters.meter import Meter
from tools.adapters.prediction_tables import VERSION
from tools.adapters.row_digest import ROW_HASH, set_digest
from tools.adapters.rule_counts import counted
from tools.contracts.evidence import DatasetRef, Effort
from tools.contracts.profile import DataSpec, PredictionTable
from tools.contracts.profiling import DataProfile, Overlap, RuleCount, SchemaRule, WindowSummary
from tools.errors import BadInput
from tools.masking import masked
from tools.paired_rows import PROBA, label_text

MATURE = "__mature"
_TIME = "__event"
_BATCH = 100_000


class IbisData:
    """See `tools.ports.DataSource`. Threads may share one instance: each has connections, counts and budget of its own.

    Args:
        root: Relative sources start here.
        environ: Where `${NAME}` in a source is looked up.
    """

    def __init__(self, root: Path, environ: Mapping[str, str] | None = None) -> None:
        self._root, self._environ = root, dict(environ or {})
        self._meter = Meter()
        self._own = threading.local()

    @property
    def _engines(self) -> Engines:
        if not hasattr(self._own, "engines"):
            self._own.engines = Engines(self._root, self._environ)
        return self._own.engines

    # --- the port --------------------------------------------------------------------------------------------------

    def columns(self, spec: DataSpec) -> Mapping[str, str]:
        with reading(spec.source):
            return {name: str(kind) for name, kind in self._source(spec).schema().items()}

    def time_range(self, spec: DataSpec, as_of: datetime) -> tuple[datetime, datetime, int] | None:
        with reading(spec.source):
            table = self._timed(spec)
            return self._range(spec, table.filter(table[_TIME] <= naive(as_of)))

    def labelled_range(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime
    ) -> tuple[datetime, datetime, int] | None:
        with reading(spec.source):
            return self._range(spec, self._labelled(spec, start, end, known_by))

    def time_at_share(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime, share: float
    ) -> datetime | None:
        with reading(spec.source):
            table = self._labelled(spec, start, end, known_by)
            rows = self._count(spec, table)
            if rows == 0:
                return None
            skip = rows - max(1, round(rows * share))
            found = self._ask(spec, table.order_by(_TIME).limit(1, offset=skip).select(_TIME))
            return aware(found[0][_TIME])

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
        with reading(spec.source):
            wanted = written_columns(spec, extra_columns)
            table = self._labelled(spec, start, end, known_by)
            self._require(table, spec, wanted)
            return self._write(table, spec, wanted, path, limit)

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
        with reading(spec.source):
            table = self._between(self._timed(spec), start, end)
            there = [name for name in written_columns(spec, extra_columns) if name in table.columns]
            mature = None if known_by is None else self._mature(table, spec, known_by)
            return self._write(table, spec, there, path, limit, mature)

    def count(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> tuple[int, int]:
        with reading(spec.source):
            rows = self._count(spec, self._between(self._timed(spec), start, end))
            return rows, self._count(spec, self._labelled(spec, start, end, known_by))

    def summary(
        self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime, columns: Sequence[str]
    ) -> WindowSummary:
        with reading(spec.source):
            table = self._between(self._timed(spec), start, end)
            undated = self._source(spec).filter(lambda t: utc(spec.event_time, t[spec.event_time]).isnull())
            return summarize(
                table,
                time=_TIME,
                mature=self._mature(table, spec, known_by),
                label_time=None if spec.label_time is None else utc(spec.label_time, table[spec.label_time]),
                columns=[name for name in dict.fromkeys(columns) if name in table.columns],
                undated=self._count(spec, undated),
                ask=lambda expr: self._ask(spec, expr)[0],
            )

    def check_schema(
        self, spec: DataSpec, start: datetime | None, end: datetime, rules: Sequence[SchemaRule]
    ) -> Sequence[RuleCount]:
        with reading(spec.source):
            table = self._between(self._timed(spec), start, end)
            return counted(
                table,
                spec,
                rules,
                time=_TIME,
                row_hash=lambda rows: row_hash(self._identity(rows, spec)),
                ask=lambda expr: self._ask(spec, expr),
            )

    def overlap(self, holdout: Path, trained_on: Path) -> Overlap:
        with reading(str(trained_on)):
            seen = f"SELECT DISTINCT {ROW_HASH} FROM read_parquet(?)"
            shared = f"SELECT h.{ROW_HASH} FROM read_parquet(?) h SEMI JOIN ({seen}) t USING ({ROW_HASH})"
            files = [_escaped(holdout), _escaped(trained_on)]
            (rows,) = self._local("SELECT count(*) FROM read_parquet(?)", files[:1])[0]
            (trained,) = self._local("SELECT count(*) FROM read_parquet(?)", files[1:])[0]
            (both,) = self._local(f"SELECT count(*) FROM ({shared})", files)[0]
            some = self._local(f"SELECT DISTINCT {ROW_HASH} FROM ({shared}) ORDER BY 1 LIMIT 5", files) if both else []
        return Overlap(rows=rows, trained_on=trained, overlapping=both, examples=tuple(one for (one,) in some))

    def write_predictions(self, spec: DataSpec, table: PredictionTable, versions: Sequence[str], path: Path) -> int:
        spec = spec.model_copy(update={"source": table.source})
        with reading(table.source):
            rows = self._source(spec)
            outputs = prediction_columns(spec, table, rows.columns)
            version = rows[table.version]
            # A column of whole numbers with gaps comes as floats.
            version = (version.cast("int64") if version.type().is_floating() else version).cast("string")
            chosen = rows.select(
                **{ROW_HASH: row_hash(self._identity(rows, spec)), VERSION: version},
                **{name: no_nan(rows[column]) for name, column in outputs.items()},
            )
            chosen = chosen.filter(chosen[VERSION].isin(list(versions)) if versions else False)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fetch(spec, chosen, path, (ROW_HASH, VERSION))
            return int(self._local("SELECT count(*) FROM read_parquet(?)", [_escaped(path)])[0][0])

    def profile(self, path: Path, spec: DataSpec) -> DataProfile:
        made = profile_parquet(path, (*spec.features, spec.target))
        self._meter.file(path, made.rows)
        return made

    def effort(self) -> Effort:
        return self._meter.effort()

    def budget(self, *, queries: int, seconds: int) -> AbstractContextManager[None]:
        return self._meter.budget(queries=queries, seconds=seconds)

    # --- queries ---------------------------------------------------------------------------------------------------

    def _source(self, spec: DataSpec) -> Any:
        return self._engines.of(spec.source).table(spec.source)

    def _ask(self, spec: DataSpec, expr: Any) -> list[dict[str, Any]]:
        """The rows of a small answer."""
        with self._meter.query(self._engines.of(spec.source).cancel):
            rows = expr.to_pyarrow().to_pylist()
        self._meter.rows(len(rows))
        return rows

    def _local(self, query: str, parameters: list[str]) -> list[Any]:
        engine = self._engines.local
        with self._meter.query(engine.cancel):
            rows = engine.con.con.execute(query, parameters).fetchall()
        self._meter.rows(len(rows))
        return rows

    def _count(self, spec: DataSpec, table: Any) -> int:
        return int(self._ask(spec, table.aggregate(rows=table.count()))[0]["rows"])

    def _timed(self, spec: DataSpec) -> Any:
        table = self._source(spec)
        self._require(table, spec, [spec.event_time])
        table = table.mutate(**{_TIME: utc(spec.event_time, table[spec.event_time])})
        return table.filter(table[_TIME].notnull())

    def _between(self, table: Any, start: datetime | None, end: datetime) -> Any:
        table = table.filter(table[_TIME] < naive(end))
        return table if start is None else table.filter(table[_TIME] >= naive(start))

    def _labelled(self, spec: DataSpec, start: datetime | None, end: datetime, known_by: datetime) -> Any:
        table = self._between(self._timed(spec), start, end)
        return table.filter(self._mature(table, spec, known_by))

    def _mature(self, table: Any, spec: DataSpec, known_by: datetime) -> Any:
        """Whether the row has a label that was final at `known_by`; never null."""
        self._require(table, spec, [spec.target, *([spec.label_time] if spec.label_time else [])])
        mature = no_nan(table[spec.target]).notnull() & (table[_TIME] <= naive(mature_event(spec, known_by)))
        if spec.label_time is not None:
            mature &= utc(spec.label_time, table[spec.label_time]) <= naive(known_by)
        # A null label time compares to null: not mature.
        return mature.fill_null(False)

    def _require(self, table: Any, spec: DataSpec, names: Sequence[str]) -> None:
        require_columns(spec.source, [name for name in table.columns if name != _TIME], names)

    def _range(self, spec: DataSpec, table: Any) -> tuple[datetime, datetime, int] | None:
        row = self._ask(spec, table.aggregate(low=table[_TIME].min(), high=table[_TIME].max(), rows=table.count()))[0]
        return None if not row["rows"] else (aware(row["low"]), aware(row["high"]), int(row["rows"]))

    def _write(
        self, table: Any, spec: DataSpec, names: list[str], path: Path, limit: int | None, mature: Any = None
    ) -> DatasetRef:
        chosen = table.select(
            **{name: table[_TIME] if name == spec.event_time else no_nan(table[name]) for name in names},
            **{ROW_HASH: row_hash(self._identity(table, spec))},
            **({} if mature is None else {MATURE: mature}),
        )
        total = self._count(spec, table) if limit is not None else 0
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if limit is None or total <= limit:
            self._fetch(spec, chosen, path)
            made = self._ref(path, spec.event_time, None)
            if limit is not None:  # bounded sets are made to be looked at in memory
                self._meter.file(path, made.rows)
            return made
        self._meter.sampled(total)
        # The smallest hashes: spread like the rows, the same each time, and duplicates stay together.
        first = _all(chosen, ROW_HASH, spec.event_time)
        likely = chosen.filter(chosen[ROW_HASH] < _hash_at(limit, total))
        self._fetch(spec, likely.order_by(first).limit(limit), path)
        made = self._ref(path, spec.event_time, total)
        if made.rows < limit:  # hashes that repeat much are not spread evenly
            self._fetch(spec, chosen.order_by(first).limit(limit), path)
            made = self._ref(path, spec.event_time, total)
        self._meter.file(path, made.rows)
        return made

    def _fetch(self, spec: DataSpec, chosen: Any, path: Path, first: tuple[str, ...] = ()) -> None:
        """The rows as a Parquet file in time order (or by `first`); the file appears whole or not at all."""
        part, raw = path.with_name(path.name + ".part"), path.with_name(path.name + ".raw")
        engine, local = self._engines.of(spec.source), self._engines.local
        order = _all(chosen, *(first or (spec.event_time, ROW_HASH)))
        try:
            with self._meter.query(engine.cancel):
                engine.fetch(chosen.order_by(order) if engine is local else chosen, part if engine is local else raw)
            if engine is not local:
                # Sorted here, where text has one order: an engine's depends on its locale.
                with self._meter.query(local.cancel):
                    local.con.con.execute(
                        f"COPY (SELECT * FROM read_parquet({_literal(_escaped(raw))})"
                        f" ORDER BY {', '.join(map(quoted, order))}) TO {_literal(str(part))} (FORMAT parquet)"
                    )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
            raw.unlink(missing_ok=True)

    def _identity(self, table: Any, spec: DataSpec) -> list[Any]:
        """The columns that a row's hash is made of."""
        times = (spec.event_time, spec.label_time)
        return [utc(name, table[name]) if name in times else table[name] for name in key_columns(spec, table.columns)]

    def _ref(self, path: Path, event_time: str, sampled_from: int | None) -> DatasetRef:
        name = quoted(event_time)
        low, high, rows = self._local(
            f"SELECT min({name}), max({name}), count(*) FROM read_parquet(?)", [_escaped(path)]
        )[0]
        local = self._engines.local
        with self._meter.query(local.cancel):
            hashes = local.con.con.execute(f"SELECT {ROW_HASH} FROM read_parquet(?) ORDER BY 1", [_escaped(path)])
            digest = set_digest(_hashes(hashes))
        return DatasetRef(
            path=str(path),
            rows=rows,
            digest=digest,
            start=aware(low) if rows else None,
            end=aware(high) if rows else None,
            sampled_from=sampled_from,
        )


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


def prediction_columns(spec: DataSpec, table: PredictionTable, there: Sequence[str]) -> dict[str, str]:
    """`prediction` and `proba:<class>` to the columns of the table that hold them.

    Raises:
        BadInput: A column of the key, the version, the prediction or a declared probability is missing.
    """
    declared = {f"{PROBA}{label_text(label)}": column for label, column in table.probabilities.items()}
    require_columns(table.source, there, [*spec.key, table.version, table.prediction, *declared.values()])
    found = declared or {name: name for name in there if name.startswith(PROBA)}
    return {"prediction": table.prediction, **found}


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


def _hash_at(limit: int, total: int) -> str:
    """The hash below which `limit` of `total` rows lie almost surely: only these need sorting."""
    wanted = limit + 8 * limit**0.5 + 8
    return f"{min(int(wanted / total * 2**32), 2**32 - 1):08x}"


def _all(table: Any, *first: str) -> list[str]:
    """An order by these columns, then by all others: rows that share a key come in the same order each time."""
    return list(dict.fromkeys((*first, *table.columns)))


def _hashes(answer: Any) -> Iterator[str]:
    while batch := answer.fetchmany(_BATCH):
        yield from (row[0] for row in batch)


def _escaped(path: Path) -> str:
    """A path as a file pattern that means only itself."""
    return escape(str(path))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
