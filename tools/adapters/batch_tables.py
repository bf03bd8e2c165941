# pyright: basic, reportMissingImports=false
"""A table of predictions by partition: a folder with a Parquet file a partition, or a table of PostgreSQL.

A partition appears whole or not at all, in the place of what stood there: a file is renamed, a table's rows are exchanged in one
transaction.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from tools.adapters.appended_table import writable
from tools.adapters.engines import PostgresEngine
from tools.adapters.ibis_columns import reading
from tools.batch import Written
from tools.errors import Unavailable

_TOLD = b"retraining"
STAMP = "%Y%m%dT%H%M%SZ"


class PartitionTable(Protocol):
    """Where one side's predictions are kept."""

    def written(self) -> tuple[Written, ...]:
        """The partitions that are there, oldest first."""
        ...

    def write(self, start: datetime, version: str, rows: Any) -> None:
        """Puts an Arrow table in the partition's place. Raises `Unavailable` where it cannot; nothing has changed then."""
        ...


def partition_table(source: str, root: Path, environ: Mapping[str, str], *, by_version: bool) -> PartitionTable:
    """The table behind a source.

    Args:
        source: A folder, or `postgresql://…#SCHEMA.TABLE`.
        root: Relative folders start here.
        environ: Where `${NAME}` is looked up.
        by_version: Whether versions stand beside each other in a partition, as in the shadow.

    Raises:
        BadInput: Neither of the two.
    """
    if writable(source, "target.output") == "postgresql":
        return PostgresPartitions(source, environ, by_version=by_version)
    return ParquetPartitions(root / source, by_version=by_version)


class ParquetPartitions:
    """A file a partition, or a file a partition and version. What each holds stands in its footer."""

    def __init__(self, folder: Path, *, by_version: bool) -> None:
        self._folder, self._by_version = folder, by_version

    def written(self) -> tuple[Written, ...]:
        import pyarrow.lib
        import pyarrow.parquet as pq

        found: list[Written] = []
        for path in sorted(self._folder.glob("[!._]*.parquet")):
            try:
                told = (pq.read_schema(path).metadata or {}).get(_TOLD)
            except FileNotFoundError:  # exchanged under us
                continue
            except (OSError, pyarrow.lib.ArrowInvalid) as error:
                raise Unavailable(
                    f"{path} cannot be read: {error}",
                    thing="target.output",
                    value=str(path),
                    remedy="take the file away; its partition is then scored again",
                ) from error
            if told is not None:
                content = json.loads(told)
                found.append(Written(datetime.fromisoformat(content["start"]), content["version"], content["rows"]))
        return tuple(sorted(found, key=lambda each: (each.start, each.version)))

    def write(self, start: datetime, version: str, rows: Any) -> None:
        import pyarrow.parquet as pq

        beside = f"-{quote(version, safe='')}" if self._by_version else ""
        path = self._folder / f"{start.astimezone(UTC):{STAMP}}{beside}.parquet"
        part = path.with_name(f".{path.name}.part")
        told = json.dumps({"start": start.isoformat(), "version": version, "rows": rows.num_rows}).encode()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows.replace_schema_metadata({_TOLD: told}), part)
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise Unavailable(
                f"partition {start.isoformat()} could not be written to {self._folder}: {error}",
                thing="target.output",
                value=str(self._folder),
                remedy="make room on the disk; what stood there before is untouched",
            ) from error


class PostgresPartitions:
    """A table, made at the first write."""

    def __init__(self, source: str, environ: Mapping[str, str], *, by_version: bool) -> None:
        self._source, self._environ, self._by_version = source, environ, by_version
        schema, _, self._table = source.partition("#")[2].rpartition(".")
        self._schema = schema or "public"
        self._engine: PostgresEngine | None = None

    def written(self) -> tuple[Written, ...]:
        from psycopg import sql

        with reading(self._source):
            if not self._there():
                return ()
            query = "SELECT partition_start, model_version, count(*) FROM {} GROUP BY 1, 2 ORDER BY 1, 2"
            with self._con.transaction(), self._con.cursor() as cursor:
                cursor.execute(sql.SQL(query).format(self._name))
                return tuple(Written(_aware(start), version, rows) for start, version, rows in cursor.fetchall())

    def write(self, start: datetime, version: str, rows: Any) -> None:
        import ibis
        from psycopg import sql

        with reading(self._source):
            if not self._there():
                kinds = ibis.memtable(rows).schema()
                self._open.con.create_table(self._table, schema=kinds, database=self._schema)
                self._con.commit()
            names = sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
            gone = "DELETE FROM {} WHERE partition_start = %s" + (" AND model_version = %s" if self._by_version else "")
            with self._con.transaction(), self._con.cursor() as cursor:
                cursor.execute(sql.SQL(gone).format(self._name), (start, version) if self._by_version else (start,))
                with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(self._name, names)) as copy:
                    for batch in rows.to_batches(max_chunksize=10_000):
                        for row in zip(*batch.to_pydict().values(), strict=True):
                            copy.write_row(row)

    @property
    def _open(self) -> PostgresEngine:
        if self._engine is None or self._engine.closed:
            self._engine = PostgresEngine(self._source, self._environ)
        return self._engine

    @property
    def _con(self) -> Any:
        return self._open.con.con

    @property
    def _name(self) -> Any:
        from psycopg import sql

        return sql.Identifier(self._schema, self._table)

    def _there(self) -> bool:
        return self._table in self._open.con.list_tables(database=self._schema)


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
