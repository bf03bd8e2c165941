# pyright: basic, reportMissingImports=false
"""Where do a source's rows live, and how is that engine opened, asked and stopped?

`data.source` is one of: a file, folder or glob (DuckDB reads it) · `postgresql://USER:${PASSWORD}@HOST:PORT/DB#SCHEMA.TABLE` ·
`spark:TABLE` · `spark:PATH.parquet`. `${NAME}` is taken from the environment here and nowhere else, so that no password
stands in a profile, a record or a message.
"""

import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from tools.adapters.data_files import NotThere, closest, find_files
from tools.adapters.ibis_columns import reading
from tools.errors import BadInput, Unavailable
from tools.masking import masked

MEMORY = "1GB"
"""Of one DuckDB connection; what needs more spills to disk."""
_BATCH = 50_000
_SEPARATORS = set(",;\t|")
_CSV_NULLS = ["", "NA", "NULL", "null"]
_NAME = re.compile(r"\$\{(\w+)\}")


class Engine(Protocol):
    """One connection of one thread."""

    def table(self, source: str) -> Any:
        """The source as an Ibis table; opened anew when it changed."""
        ...

    def fetch(self, expr: Any, path: Path) -> None:
        """All rows of `expr` as a Parquet file, in any order, never all in memory."""
        ...

    def cancel(self) -> None:
        """Stop what this connection is doing, and nothing else; called from another thread."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, so that another must be opened."""
        ...


def engine_name(source: str) -> str:
    """Which engine reads this source."""
    if source.startswith(("postgresql://", "postgres://")):
        return "postgresql"
    return "spark" if source.startswith("spark:") else "duckdb"


class Engines:
    """The engines of one thread, opened on first use."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self._root, self._environ = root, environ
        self._open: dict[str, Any] = {}

    def of(self, source: str) -> Any:
        """The engine of a source."""
        name = engine_name(source)
        key = f"{name} {source.partition('#')[0]}" if name == "postgresql" else name
        if key not in self._open or self._open[key].closed:
            with reading(source, opening=True):
                self._open[key] = self._made(name, source)
        return self._open[key]

    @property
    def local(self) -> "DuckEngine":
        """Reads the files that we wrote ourselves, whichever engine the rows came from."""
        return self.of("local")

    def _made(self, name: str, source: str) -> Any:
        if name == "postgresql":
            return PostgresEngine(source, self._environ)
        if name == "spark":
            from tools.adapters.spark_engine import SparkEngine

            return SparkEngine(self._root)
        return DuckEngine(self._root)


class DuckEngine:
    """Parquet and CSV files, relative to the workspace."""

    def __init__(self, root: Path) -> None:
        import ibis

        # An engine in memory would spill into the working folder otherwise.
        spill = tempfile.mkdtemp(prefix="retraining-data-")
        weakref.finalize(self, shutil.rmtree, spill, ignore_errors=True)
        self._root = root
        self.con: Any = ibis.duckdb.connect(temp_directory=spill, memory_limit=MEMORY)
        self.con.raw_sql("SET TimeZone = 'UTC'")
        self.con.raw_sql("SET preserve_insertion_order = false")
        self._opened: dict[str, tuple[object, Any]] = {}

    def table(self, source: str) -> Any:
        files, kind = find_files(self._root, source)
        state = [(str(file), (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files]
        known = self._opened.get(source)
        if known is not None and known[0] == state:
            return known[1]
        names = [escape(str(file)) for file in files]
        with reading(source, opening=True):
            table = self._csv(names) if kind == "csv" else self.con.read_parquet(names, union_by_name=True)
        if known is not None:
            self._drop(known[1])
        self._opened[source] = (state, table)
        return table

    def fetch(self, expr: Any, path: Path) -> None:
        expr.to_parquet(path)

    def cancel(self) -> None:
        self.con.con.interrupt()

    @property
    def closed(self) -> bool:
        return False

    def _csv(self, names: list[str]) -> Any:
        """Types follow from all rows, looked at once: a sample's guess would break on a later row."""
        ways: dict[str, Any] = {"union_by_name": True, "nullstr": _CSV_NULLS, "allow_quoted_nulls": False}
        looked = self.con.read_csv(names, sample_size=-1, **ways)
        written = self.con.compiler.type_mapper.to_string
        types = {name: written(kind) for name, kind in looked.schema().items()}
        self._drop(looked)
        if len(types) == 1 and _SEPARATORS & set(looked.columns[0]):
            raise BadInput(
                "a CSV file cannot be used: its lines differ in their number of fields, or in what separates them",
                thing="data.source",
                value=", ".join(names),
                remedy="quote fields that hold the separator, and mend or leave out cut lines",
            )
        return self.con.read_csv(names, types=types, **ways)

    def _drop(self, view: Any) -> None:
        # Not by Ibis' `drop_view`: with sqlglot 30 it loses the name on the way.
        self.con.raw_sql(f"DROP VIEW IF EXISTS {quoted(view.get_name())}")


class PostgresEngine:
    """A table of a PostgreSQL database."""

    def __init__(self, source: str, environ: Mapping[str, str]) -> None:
        address = postgres_address(source, environ)
        try:
            import ibis
            import psycopg
        except ImportError as error:
            raise not_installed("PostgreSQL", "postgres") from error
        try:
            self.con: Any = ibis.postgres.connect(**{"connect_timeout": 10, **address})
        except psycopg.Error as error:
            shown = masked(source)
            raise Unavailable(
                f"{shown} does not answer: {str(error).strip().splitlines()[0]}",
                thing="data.source",
                value=shown,
                remedy="check host, port, database, user and the password's variable",
            ) from None  # the driver's traceback may hold what was passed to it
        weakref.finalize(self, self.con.con.close)

    def table(self, source: str) -> Any:
        name = source.partition("#")[2]
        schema, _, table = name.rpartition(".")
        if not table:
            raise BadInput(
                f"{masked(source)} names no table",
                thing="data.source",
                value=masked(source),
                remedy="…/DB#SCHEMA.TABLE",
            )
        there = self.con.list_tables(database=schema or None)
        if table not in there:
            raise NotThere(
                f"{masked(source)} has no table {table!r} in schema {schema or 'public'!r}",
                thing="data.source",
                value=masked(source),
                remedy=closest(table, there) or "name a table or view as SCHEMA.TABLE behind the #",
            )
        return self.con.table(table, database=schema or None)

    def fetch(self, expr: Any, path: Path) -> None:
        import pyarrow.parquet as pq

        batches = self.con.to_pyarrow_batches(expr, chunk_size=_BATCH)
        with pq.ParquetWriter(path, batches.schema) as file:
            for batch in batches:
                file.write_batch(batch)

    def cancel(self) -> None:
        self.con.con.cancel()

    @property
    def closed(self) -> bool:
        return self.con.con.closed


def postgres_address(source: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """What the driver is told: the URL's parts, and its parameters (`?sslmode=verify-full`) as they stand.

    Raises:
        BadInput: the address is none, or names a variable that is not set.
    """
    try:
        where = urlsplit(source.partition("#")[0])
        port = where.port or 5432
    except ValueError:
        shown = masked(source)
        raise BadInput(
            f"{shown} is not the address of a database",
            thing="data.source",
            value=shown,
            remedy="postgresql://USER:${PASSWORD}@HOST:PORT/DB#SCHEMA.TABLE, the port a number up to 65535",
        ) from None
    parts = {"user": where.username, "password": where.password, "database": where.path.lstrip("/")}
    given = {"host": where.hostname} | {name: expanded(unquote(text), environ) for name, text in parts.items() if text}
    return given | {"port": port} | {name: expanded(text, environ) for name, text in parse_qsl(where.query)}


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """`${NAME}` replaced from the environment.

    Raises:
        BadInput: a variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise BadInput(
                f"data.source names the variable {found[1]}, which is not set",
                thing="data.source",
                value=found[0],
                remedy=f"set {found[1]} in the environment of this process",
            )
        return environ[found[1]]

    return _NAME.sub(value, text)


def quoted(name: str) -> str:
    """A name as DuckDB reads it."""
    return '"' + name.replace('"', '""') + '"'


def not_installed(what: str, extra: str) -> BadInput:
    return BadInput(
        f"{what} cannot be read: its driver is not installed",
        thing="data.source",
        value=extra,
        remedy=f"pip install 'retraining-orchestrator[{extra}]'",
    )
