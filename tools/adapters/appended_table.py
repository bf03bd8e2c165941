# pyright: basic, reportMissingImports=false
"""Rows appended to a table of the user's, each once by its key: asked again after a kill, only what is missing is added.

The table is a folder of Parquet files (a file an append, whole or not at all) or a table of PostgreSQL (one transaction). It is only
ever added to: nothing that stands there is changed, and no right but to read and to insert is needed. It is made at the first
append where it does not exist; one that exists keeps its types and its further columns.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from tools.adapters.data_files import NotThere, find_files
from tools.adapters.engines import Engines, engine_name
from tools.adapters.ibis_columns import reading
from tools.adapters.ibis_data import require_columns
from tools.errors import BadInput, Unavailable
from tools.masking import masked


class AppendedTable:
    """A table that rows are added to. Not shared by threads.

    Args:
        source: A folder, or `postgresql://…#SCHEMA.TABLE`.
        root: Relative folders start here.
        environ: Where `${NAME}` is looked up.
        key: Columns that make a row the same row.
        thing: What the source is in the profile, for messages.
        bounded_by: A column of times that are the same for the same row: rows before the earliest that is added are not searched.

    Raises:
        BadInput: The source is neither of the two.
    """

    def __init__(
        self,
        source: str,
        root: Path,
        environ: Mapping[str, str] | None = None,
        *,
        key: Sequence[str],
        thing: str,
        bounded_by: str | None = None,
    ) -> None:
        self._kind = writable(source, thing)
        self._source, self._root, self._key, self._thing, self._time = source, root, list(key), thing, bounded_by
        self._engines = Engines(root, environ or {})

    def append(self, rows: Any) -> int:
        """Adds the rows that are not there yet.

        Args:
            rows: An Arrow table without two rows of one key.

        Returns:
            How many those were.

        Raises:
            BadInput: A column is missing there, or a value does not fit its type; nothing was added.
            Unavailable: The table cannot be reached or written; nothing was added.
        """
        if rows.num_rows == 0:
            return 0
        with self._writing():
            return self._to_postgres(rows) if self._kind == "postgresql" else self._to_folder(rows)

    # --- a folder ------------------------------------------------------------------------------------------------

    def _to_folder(self, rows: Any) -> int:
        import ibis
        import pyarrow.parquet as pq

        folder = self._root / self._source
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / ".append.lock").open("a") as lock:  # the system frees it when the process ends, however it ends
            fcntl.flock(lock, fcntl.LOCK_EX)
            table = self._there()
            if table is not None:
                if find_files(self._root, self._source)[1] == "csv":
                    raise self._refused("holds CSV files", "convert them to Parquet, or name another folder")
                rows = self._fitted(rows, table.schema(), widens=True)
                rows = self._missing(ibis.memtable(rows), table).to_pyarrow().cast(rows.schema)
            if rows.num_rows == 0:
                return 0
            rows = rows.sort_by([(name, "ascending") for name in self._key])
            digest = hashlib.sha256(repr(rows.select(self._key).to_pylist()).encode(errors="replace")).hexdigest()
            path = folder / f"{digest[:32]}.parquet"
            part = path.with_name(f".{path.name}.part")
            try:
                with part.open("wb") as file:
                    pq.write_table(rows, file)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
        return rows.num_rows

    # --- PostgreSQL ----------------------------------------------------------------------------------------------

    def _to_postgres(self, rows: Any) -> int:
        import ibis

        backend = self._engines.of(self._source).con
        schema, _, name = self._source.partition("#")[2].rpartition(".")
        connection = backend.con
        connection.rollback()  # what an earlier query left open would swallow the transaction
        with connection.transaction():
            # Two who append at once would both miss the other's rows. A lock on the table itself would ask for more rights.
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{schema or 'public'}.{name}",)
            )
            table = self._there()
            if table is None:
                backend.create_table(name, schema=ibis.memtable(rows).schema(), database=schema or None)
                table = backend.table(name, database=schema or None)
            kinds = table.schema()
            rows = self._fitted(rows, kinds)
            given = ibis.memtable(rows).select(**{each: _as(each, kinds) for each in rows.column_names})
            missing = self._missing(given, table)
            added = int(
                backend.execute(missing.count())
            )  # `to_pyarrow` would leave a cursor open where a value does not fit
            if added:
                backend.insert(name, missing, database=schema or None)
        return added

    # --- both ----------------------------------------------------------------------------------------------------

    def _there(self) -> Any | None:
        try:
            return self._engines.of(self._source).table(self._source)
        except NotThere:
            return None

    def _missing(self, given: Any, table: Any) -> Any:
        """The rows that are not in the table."""
        import ibis

        require_columns(self._source, table.columns, given.columns)
        if self._time is not None and table[self._time].type().is_timestamp():
            # A day to spare, for columns that keep times less finely than they are given.
            earliest = given[self._time].min().as_scalar() - ibis.interval(days=1)
            table = table.filter(table[self._time] >= earliest)
        return given.anti_join(table.select(self._key), self._key)

    def _fitted(self, rows: Any, there: Any, *, widens: bool = False) -> Any:
        """The rows in the types of the table, where that loses nothing; numbers of several widths share a folder (`widens`)."""
        import pyarrow as pa

        require_columns(self._source, list(there.names), rows.column_names)
        for place, name in enumerate(rows.column_names):
            column, wanted = rows.column(name), there[name].to_pyarrow()
            if column.type == wanted or there[name].is_decimal():
                continue
            if widens and _is_number(column.type) and _is_number(wanted):
                continue
            if pa.types.is_floating(column.type) and pa.types.is_string(wanted):
                raise self._unfit(name, column.type, wanted)  # 1 and 1.0 would be two texts
            times = pa.types.is_timestamp(column.type) and pa.types.is_timestamp(wanted)
            try:
                column = column.cast(wanted, safe=not times)  # a column that keeps whole seconds is the user's choice
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise self._unfit(name, column.type, wanted) from error
            rows = rows.set_column(place, name, column)
        return rows

    def _unfit(self, name: str, given: Any, wanted: Any) -> BadInput:
        return BadInput(
            f"{name} is of type {given}, what stands in {masked(self._source)} is of type {wanted}, and not all values fit",
            thing=self._thing,
            value=str(given),
            remedy="convert what is handed in, or the table's column; nothing was added",
        )

    def _refused(self, what: str, remedy: str) -> BadInput:
        return BadInput(
            f"{masked(self._source)} {what}: rows cannot be added",
            thing=self._thing,
            value=masked(self._source),
            remedy=remedy,
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The faults of writing in our words."""
        try:
            with reading(self._source):
                yield
        except Unavailable as failure:
            cause = failure.__cause__
            if isinstance(cause, OSError):
                raise self._unwritten(cause) from cause
            if type(cause).__module__.partition(".")[0] != "psycopg":
                raise
            import psycopg

            if isinstance(cause, psycopg.DataError | psycopg.IntegrityError):
                raise self._refused(f"does not take a row ({_first_line(cause)})", "nothing was added") from cause
            if isinstance(cause, psycopg.OperationalError) and getattr(cause, "sqlstate", None) is None:
                raise
            raise self._unwritten(cause) from cause

    def _unwritten(self, error: BaseException | None) -> Unavailable:
        return Unavailable(
            f"{self._thing} could not be written to {masked(self._source)}: {_first_line(error)}",
            thing=self._thing,
            value=masked(self._source),
            remedy="make room, or give the right to read, insert and (for the first row) create; what is there is not added twice",
        )


def writable(source: str, thing: str) -> Literal["folder", "postgresql"]:
    """Which kind of table rows are written to.

    Raises:
        BadInput: A source that can only be read.
    """
    if engine_name(source) == "postgresql":
        return "postgresql"
    if "://" in source or source.startswith("spark:") or "*" in source or source.lower().endswith((".parquet", ".csv")):
        raise BadInput(
            f"{thing}: nothing can be written to {masked(source)}",
            thing=thing,
            value=masked(source),
            remedy="name a folder for Parquet files, or postgresql://…#SCHEMA.TABLE",
        )
    return "folder"


def _as(name: str, kinds: Any) -> Any:
    import ibis

    return ibis._[name].cast(kinds[name])


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
