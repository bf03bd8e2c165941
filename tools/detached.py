"""Do a column's values still belong to their rows? A join on the wrong key leaves every column as it was, and takes its relations.

A number is **detached** when it went with other numbers before (rank correlation of at least `BOUND`, on at least `MIN_ROWS` rows),
and now goes with none of them: every such correlation is compatible with none at all (`CHANCE` standard errors) and at most a quarter
of what it was. A world that changes moves relations; it hardly ends all relations of one column at once, without the column itself
moving. So only columns that did not drift are looked at. Columns without such relations cannot be told.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from tools.drift import ColumnDrift

BOUND: Final = 0.4
MIN_ROWS: Final = 200
MOST_ROWS: Final = 5_000
CHANCE: Final = 3.0
_STATS: Any = stats
Numbers = Mapping[str, NDArray[np.float64]]


def detached(columns: Sequence[ColumnDrift], reference: Numbers, current: Numbers) -> tuple[ColumnDrift, ...]:
    """The columns, those that came loose called so.

    Args:
        columns: As found by `tools.drift`, corrected.
        reference: Values of those that are numbers, row by row, NaN where missing.
        current: The same of now.
    """
    names = [c.column for c in columns if c.column in reference and c.column in current]
    if len(names) < 2:
        return tuple(columns)
    before, now = _relations([reference[n] for n in names]), _relations([current[n] for n in names])
    loose = {name: said for k, name in enumerate(names) if (said := _loose(k, names, before, now))}
    return tuple(
        c.model_copy(
            update={
                "outcome": "bad",
                "drift_type": "detached",
                "statement": f"{c.column} came loose: {loose[c.column]}.",
            }
        )
        if c.column in loose and c.outcome != "bad"
        else c
        for c in columns
    )


def _relations(values: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rank correlations of all pairs, and rows behind each; NaN where there are too few."""
    rows = len(values[0])
    kept = np.linspace(0, rows - 1, min(rows, MOST_ROWS)).astype(int) if rows else np.zeros(0, int)
    table = np.column_stack([column[kept] for column in values])
    found = np.full((len(values), len(values)), np.nan)
    counts = np.zeros(found.shape, dtype=np.int64)
    for i in range(len(values)):
        for j in range(i + 1, len(values)):
            both = table[np.isfinite(table[:, i]) & np.isfinite(table[:, j])][:, [i, j]]
            counts[i, j] = counts[j, i] = len(both)
            if len(both) < MIN_ROWS:
                continue
            ranks = np.asarray(_STATS.rankdata(both, axis=0), dtype=np.float64)
            if (ranks.std(axis=0) > 0).all():
                both_ways: Any = np.corrcoef(ranks, rowvar=False)
                found[i, j] = found[j, i] = float(both_ways[0, 1])
    return found, counts


def _loose(
    place: int,
    names: Sequence[str],
    before: tuple[NDArray[np.float64], NDArray[np.int64]],
    now: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> str | None:
    then, after, rows = before[0][place], now[0][place], now[1][place]
    partners = np.flatnonzero(np.abs(np.nan_to_num(then)) >= BOUND)
    if not len(partners) or not np.isfinite(after[partners]).all():
        return None
    bound = np.minimum(CHANCE / np.sqrt(rows[partners]), np.abs(then[partners]) / 4)
    if (np.abs(after[partners]) > bound).any():
        return None
    most = int(partners[np.abs(then[partners]).argmax()])
    return f"its rank correlation with {names[most]} was {then[most]:.2f} and is {after[most]:.2f}"
