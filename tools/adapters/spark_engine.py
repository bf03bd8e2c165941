# pyright: basic, reportMissingImports=false
"""Tables and Parquet paths of a Spark session: a local one, unless spark-defaults or SPARK_REMOTE say otherwise."""

import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from tools.adapters.data_files import NotThere, find_files
from tools.adapters.engines import not_installed
from tools.errors import BadInput
from tools.masking import masked

_BATCH = 50_000
_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}


class SparkEngine:
    """One thread's view of the session, which all threads of a process share."""

    def __init__(self, root: Path) -> None:
        try:
            import ibis

            session, self._classic = _session()
        except ImportError as error:
            raise not_installed("Spark", "spark") from error
        self._local = self._classic and session.sparkContext.master.startswith("local")
        # Else times are written in nanoseconds, in a form of Spark's own.
        session.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        # What this thread asks bears its tag, so that cancelling it leaves other threads' queries alone.
        self._tag = f"retrain-{uuid4()}"
        if self._classic:
            session.sparkContext.addJobTag(self._tag)
        else:
            session.addTag(self._tag)
        self._root, self._session = root, session
        self.con: Any = ibis.pyspark.connect(session)  # which sets the session's zone to UTC

    def table(self, source: str) -> Any:
        name = source.removeprefix("spark:")
        if "://" in name:
            return self.con.read_parquet(name)
        if not name.endswith((".parquet", "/")) and "*" not in name:
            try:
                return self.con.table(name.rpartition(".")[2], database=name.rpartition(".")[0] or None)
            except Exception as error:
                raise _unknown(source, error) from error
        files, _ = find_files(self._root, name)
        return self.con.read_parquet([str(file) for file in files] if len(files) > 1 else str(files[0]))

    def fetch(self, expr: Any, path: Path) -> None:
        frame = self._session.sql(self.con.compile(expr))
        if self._local:
            self._by_writer(frame, path)
        else:
            by_rows(frame, path)

    def cancel(self) -> None:
        """Tasks end at their next row; a local session has no other way to stop one."""
        if self._classic:  # whose own tags of a session are known only to the thread that set them
            self._session.sparkContext.cancelJobsWithTag(self._tag)
        else:
            self._session.interruptTag(self._tag)

    @property
    def closed(self) -> bool:
        return self._classic and self._session.sparkContext._jsc is None

    def _by_writer(self, frame: Any, path: Path) -> None:
        """By way of Spark's own writer, which shares our disk: its rows would all come into memory otherwise."""
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq

        folder = path.with_name(path.name + ".spark")
        try:
            frame.write.mode("overwrite").parquet(folder.absolute().as_uri())
            rows = ds.dataset(folder, format="parquet", ignore_prefixes=["_", "."])
            with pq.ParquetWriter(path, rows.schema) as file:
                for batch in rows.to_batches():
                    file.write_batch(batch)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def by_rows(frame: Any, path: Path) -> None:
    """From a cluster, whose executors write to disks of their own: a partition in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql import functions
    from pyspark.sql.pandas.types import to_arrow_schema

    schema = to_arrow_schema(frame.schema)
    zoned = [kind.name for kind in schema if pa.types.is_timestamp(kind.type) and kind.type.tz is not None]
    # As numbers, for Python would see them in this machine's zone.
    rows: Iterator[Any] = frame.withColumns({name: functions.unix_micros(name) for name in zoned}).toLocalIterator()
    with pq.ParquetWriter(path, schema) as file:
        while some := list(islice(rows, _BATCH)):
            columns = zip(*some, strict=True)
            file.write_table(
                pa.table([pa.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)], schema)
            )


def _session() -> tuple[Any, bool]:
    """The session, and whether it is one of this process rather than of a Spark Connect server."""
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    if "SPARK_REMOTE" in os.environ:
        return SparkSession.builder.getOrCreate(), False
    SparkContext._ensure_initialized()  # spark-defaults are known from here on
    local = (SparkConf().get("spark.master") or "local").startswith("local")
    builder = SparkSession.builder
    for name, value in _LOCAL.items() if local else ():
        builder = builder.config(name, value)
    return builder.getOrCreate(), True


def _unknown(source: str, error: Exception) -> BadInput:
    shown = masked(source)
    absent = type(error).__name__ == "TableNotFound" or "NOT_FOUND" in str(error)
    return (NotThere if absent else BadInput)(
        f"Spark knows no table {shown.removeprefix('spark:')!r}",
        thing="data.source",
        value=shown,
        remedy="spark:DATABASE.TABLE, or spark:PATH.parquet for files",
    )
