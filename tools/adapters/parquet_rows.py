# pyright: basic
"""A bounded part of a Parquet file of any size: evenly spread rows, or the last ones; a batch is all that is held besides."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 65_536


def even(path: str | Path, columns: Sequence[str], limit: int) -> "pa.Table":
    """At most `limit` rows in their order, from the first to the last; columns in the order given.

    Raises:
        OSError, pyarrow.ArrowException: not there, or not readable.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = list(columns)
    with pq.ParquetFile(path) as file:
        total = file.metadata.num_rows
        if total <= limit:
            return file.read(columns=wanted).select(wanted)
        schema = pa.schema([file.schema_arrow.field(name) for name in wanted])
        places = np.linspace(0, total - 1, limit).astype(np.int64)
        kept, seen = [], 0
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            mine = places[(places >= seen) & (places < seen + batch.num_rows)] - seen
            if len(mine):
                kept.append(batch.select(wanted).take(pa.array(mine)))
            seen += batch.num_rows
        return pa.Table.from_batches(kept, schema=schema)


def last(path: str | Path, columns: Sequence[str], rows: int) -> "pa.Table":
    """The last `rows` rows: of a data set in time order, the newest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = list(columns)
    with pq.ParquetFile(path) as file:
        groups, found = [], 0
        for number in range(file.metadata.num_row_groups - 1, -1, -1):
            if found >= rows:
                break
            groups.insert(0, number)
            found += file.metadata.row_group(number).num_rows
        schema = pa.schema([file.schema_arrow.field(name) for name in wanted])
        if not groups:
            return schema.empty_table()
        return file.read_row_groups(groups, columns=wanted).select(wanted)[max(found - rows, 0) :]


def count(path: str | Path) -> int:
    """The file's rows, as its end tells them.

    Raises:
        OSError, pyarrow.ArrowException: not there, or not readable.
    """
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows


def names(path: str | Path) -> list[str]:
    """The file's columns."""
    import pyarrow.parquet as pq

    return pq.read_schema(path).names
