# pyright: basic
"""What did a version predict for these rows, by the table that its predictions were kept in?

All or nothing: a version that has no prediction for some of the rows, or two for one of them, is not compared on the rest.
Which rows are missing is seldom chance (a failed batch is a day, a shop, a country), and the rest would flatter.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.adapters.row_digest import ROW_HASH

VERSION = "__version"
_WHERE = "in the predictions table"


@dataclass(frozen=True)
class TableFault:
    """Why there is nothing to compare."""

    code: str
    """`predictions_version_unknown`, `predictions_missing`, `predictions_duplicated`, `predictions_not_finite`."""
    sentence: str


def outputs_of(rows: str | Path, table: Path, version: str, out: Path) -> int | TableFault:
    """The version's outputs in the order of the rows, written to `out`: how many, or why none.

    Args:
        rows: Parquet file of a `DataSource`.
        table: As `DataSource.write_predictions` wrote it.
        version: As text.
    """
    import numpy as np
    import pandas as pd

    wanted: Any = pd.read_parquet(rows, columns=[ROW_HASH])[ROW_HASH]
    whole: Any = pd.read_parquet(table, filters=[(VERSION, "==", version)])
    total = len(wanted)

    def fault(code: str, what: str, count: int) -> TableFault:
        return TableFault(
            f"predictions_{code}", f"Version {version} has {what} for {count:,} of {total:,} rows {_WHERE}."
        )

    if not len(whole):
        return TableFault("predictions_version_unknown", f"Version {version} has no prediction at all {_WHERE}.")
    mine = whole[whole[ROW_HASH].isin(wanted)].drop(columns=[VERSION])
    twice = int(wanted.isin(mine.loc[mine[ROW_HASH].duplicated(), ROW_HASH]).sum())
    if twice:
        return fault("duplicated", "more than one prediction", twice)
    missing = int((~wanted.isin(mine[ROW_HASH])).sum())
    if missing:
        return fault("missing", "no prediction", missing)
    found = mine.set_index(ROW_HASH).loc[wanted].reset_index(drop=True)
    for name in found.columns:
        bad = found[name].isna()
        if found[name].dtype.kind == "f":
            bad |= ~np.isfinite(found[name])
        if bad.any():
            return fault("not_finite", f"a value of {name!r} that is missing or no finite number", int(bad.sum()))
    beside = out.with_name(f".{out.name}.part")
    found.to_parquet(beside, index=False)
    beside.replace(out)
    return total
