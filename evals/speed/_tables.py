"""Mixed tables of any length, written a row group at a time: nothing but one group is ever in memory.

Of 50 columns 30 are numeric (2 % null), 10 categorical with 5 to 50 values, 5 boolean, 3 times and 2 short text; other widths
keep the shares. Beside them stand `at`, evenly over the days asked for and ascending, and `y`, a label that `num_00` half tells.
The same seed gives the same table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

GROUP = 100_000
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
WORDS = 400


@dataclass(frozen=True)
class Layout:
    """How many columns of each kind."""

    numeric: int = 30
    categorical: int = 10
    boolean: int = 5
    times: int = 3
    text: int = 2

    def names(self, kind: str) -> tuple[str, ...]:
        """Names of the columns of one kind, or of all in order."""
        prefixes = {"numeric": "num", "categorical": "cat", "boolean": "flag", "times": "time", "text": "text"}
        if kind == "all":
            return tuple(name for each in prefixes for name in self.names(each))
        return tuple(f"{prefixes[kind]}_{number:02}" for number in range(getattr(self, kind)))


FIFTY = Layout()
TWENTY = Layout(numeric=12, categorical=4, boolean=2, times=1, text=1)


def write(path: Path, rows: int, layout: Layout = FIFTY, *, days: int = 400, seed: int = 1) -> Path:
    """One Parquet file of so many rows; `at` runs from `BEGIN` over `days`."""
    import pyarrow.parquet as pq

    groups = _groups(rows, layout, days, seed)
    first = next(groups)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for group in groups:
            writer.write_table(group)
    return path


def _groups(rows: int, layout: Layout, days: int, seed: int) -> Iterator[Any]:
    import numpy as np
    import pyarrow as pa

    words = np.random.default_rng(0).integers(97, 123, size=(WORDS, 6), dtype=np.uint8)
    vocabulary = np.array([bytes(word).decode() for word in words], dtype=object)
    step = timedelta(days=days).total_seconds() * 1e6 / rows
    begin = int(BEGIN.timestamp() * 1e6)
    for number, start in enumerate(range(0, rows, GROUP)):
        n = min(GROUP, rows - start)
        g = np.random.default_rng((seed, number))
        at = begin + ((np.arange(start, start + n) + 0.5) * step).astype("int64")
        columns: dict[str, Any] = {}
        for place, name in enumerate(layout.names("numeric")):
            values = g.normal(loc=place, scale=1 + place % 5, size=n)
            columns[name] = pa.array(values, mask=g.random(n) < 0.02)
        for place, name in enumerate(layout.names("categorical")):
            values = 5 + 5 * place
            names = pa.array([f"{name}={value}" for value in range(values)])
            codes = np.minimum(g.exponential(values / 4, size=n).astype("int32"), values - 1)
            columns[name] = names.take(pa.array(codes))
        for name in layout.names("boolean"):
            columns[name] = pa.array(g.random(n) < 0.3)
        for name in layout.names("times"):
            columns[name] = pa.array(at - g.integers(0, 30 * 86_400_000_000, size=n), type=pa.timestamp("us"))
        for name in layout.names("text"):
            drawn = vocabulary[g.integers(0, WORDS, size=(n, 3))]
            columns[name] = pa.array(drawn[:, 0] + " " + drawn[:, 1] + " " + drawn[:, 2], type=pa.string())
        lead = columns[layout.names("numeric")[0]].fill_null(0.0).to_numpy()
        columns["at"] = pa.array(at, type=pa.timestamp("us"))
        columns["y"] = pa.array((lead + g.normal(size=n) > 0).astype("int64"))
        yield pa.table(columns)
