"""How often does the drift check cry wolf?

Both windows are drawn without replacement from one of four consecutive parts of a stream, so nothing drifted between them. A
cell (a pair of window sizes) that no part can fill is named. Bounds are Clopper-Pearson's, one-sided, for all cells of a stream
at once. Beside ours, on the same draws, stands Evidently's default, whose flags are held against the real preset.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from scipy import stats

from evals.decisions import evidently_default
from evals.decisions.staleness_streams import Asked, Stream, draw, on_all_cores, parts
from evals.report import Row, share
from tools import drift
from tools.adapters.drift_columns import Windows
from tools.contracts.profile import DriftTrigger
from tools.drift import ColumnDrift

REFERENCE: Final = (200, 1_000, 1_100, 5_000, 50_000)
CURRENT: Final = (80, 300, 1_000, 5_000)
LOOKS: Final = 365
LEAST: Final = DriftTrigger().min_effect
COUNTS_FROM: Final = DriftTrigger().share_of_columns
NEIGHBOURS: Final = (5_000, 1_000)
MOST: Final = 0.05
_STATS: Any = stats


@dataclass
class _Cell:
    """Counts over the draws of one pair of sizes."""

    n: int
    m: int
    draws: int = 0
    ours: int = 0
    any_column: int = 0
    theirs: int = 0
    theirs_columns: int = 0
    columns: int = 0


def rows(asked: Asked) -> list[Row]:
    """A stream's worst cell, and all of its cells together."""
    draws, sizes = (
        (4, [(1_100, 80), (200, 300)]) if asked.quick else (150, [(n, m) for n in REFERENCE for m in CURRENT])
    )
    jobs = [(stream, n, m, draws) for stream in asked.streams for n, m in sizes]
    cells = on_all_cores(_counted, jobs, quick=asked.quick)
    found: list[Row] = []
    for k, stream in enumerate(asked.streams):
        found += _told(stream.name, cells[k * len(sizes) : (k + 1) * len(sizes)])
        found.append(_neighbours(stream, 3 if asked.quick else 60))
    return [*found, _agreement(asked)]


def _counted(job: tuple[Stream, int, int, int]) -> _Cell:
    stream, n, m, draws = job
    cell, g = _Cell(n, m), np.random.default_rng((n, m))
    wide_enough = [part for part in parts(stream) if len(part) >= n + m]
    for number in range(draws if wide_enough else 0):
        reference, current = draw(wide_enough[number % len(wide_enough)], n, m, g)
        columns = _checked(reference, current)
        theirs = [evidently_default.flagged(reference[name], current[name]) for name in reference.columns]
        cell.draws += 1
        cell.columns += len(theirs)
        cell.ours += (drift.share_drifted(columns) or 0.0) >= COUNTS_FROM
        cell.any_column += any(c.outcome == "bad" for c in columns)
        cell.theirs += float(np.mean(theirs)) >= evidently_default.SHARE
        cell.theirs_columns += sum(theirs)
    return cell


def _checked(reference: Any, current: Any) -> tuple[ColumnDrift, ...]:
    return checked(*(pa.Table.from_pandas(side, preserve_index=False) for side in (reference, current)))


def checked(reference: pa.Table, current: pa.Table) -> tuple[ColumnDrift, ...]:
    """Every column of the reference at the defaults, corrected as a year of nightly checks is."""
    windows = Windows(reference, current)
    return drift.correct([windows.feature(name, LEAST) for name in reference.column_names], LEAST, looks=LOOKS)


def _neighbours(stream: Stream, times: int) -> Row:
    """How often windows that follow each other, in which seasons and the world do move, are called drifted."""
    n, m = NEIGHBOURS
    name = f"{stream.name}: neighbouring windows of {n:,} × {m:,} rows, data set called drifted"
    frame = stream.frame[list(stream.features)]
    if len(frame) < n + m:
        return Row(f"{name}: too few rows", float("nan"), n=0)
    starts = np.unique(np.linspace(0, len(frame) - n - m, times).astype(int))
    pairs = [(frame.iloc[k : k + n], frame.iloc[k + n : k + n + m]) for k in starts]
    return share(name, sum((drift.share_drifted(_checked(*pair)) or 0.0) >= COUNTS_FROM for pair in pairs), len(pairs))


def _told(stream: str, cells: list[_Cell]) -> list[Row]:
    done, empty = [c for c in cells if c.draws], [c for c in cells if not c.draws]
    named = ", ".join(f"{c.n:,} × {c.m:,}" for c in empty)
    unfilled = (
        [Row(f"{stream}: cells that no part of it fills: {named}", float(len(empty)), n=len(empty))] if empty else []
    )
    if not done:
        return unfilled
    level = 0.05 / len(done)
    worst = max(done, key=lambda c: (_upper(c.ours, c.draws, level), c.n, c.m))
    bound = _upper(worst.ours, worst.draws, level)
    draws, columns = sum(c.draws for c in done), sum(c.columns for c in done)
    worst_theirs = max(done, key=lambda c: c.theirs / c.draws)
    return [
        Row(
            f"{stream}: data-set false alarms, worst of {len(done)} cells ({worst.n:,} × {worst.m:,})",
            worst.ours / worst.draws,
            0.0,
            bound,
            worst.draws,
            "at most 5 %, all cells at once",
            True if bound <= MOST else False if worst.ours / worst.draws > MOST else None,
        ),
        share(f"{stream}: data-set false alarms, all cells", sum(c.ours for c in done), draws),
        share(f"{stream}: any column falsely called drifted, all cells", sum(c.any_column for c in done), draws),
        share(f"{stream}: Evidently's default, data set, all cells", sum(c.theirs for c in done), draws),
        share(
            f"{stream}: Evidently's default, data set, worst cell ({worst_theirs.n:,} × {worst_theirs.m:,})",
            worst_theirs.theirs,
            worst_theirs.draws,
        ),
        share(f"{stream}: Evidently's default, columns, all cells", sum(c.theirs_columns for c in done), columns),
        *unfilled,
    ]


def _upper(hits: int, n: int, level: float) -> float:
    return 1.0 if hits >= n else float(_STATS.beta.ppf(1 - level, hits + 1, n - hits))


def _agreement(asked: Asked) -> Row:
    """Our reading of Evidently's default against the real preset, column by column."""
    same = columns = 0
    g = np.random.default_rng(0)
    for stream in asked.streams:
        for n, m in [(1_000, 300), (1_100, 300)][: 1 if asked.quick else 2]:
            for part in parts(stream)[: 1 if asked.quick else 3]:
                if len(part) < n + m:
                    continue
                reference, current = draw(part, n, m, g)
                real, _ = evidently_default.preset(reference, current)
                for name, flag in real.items():
                    same += flag == evidently_default.flagged(reference[name], current[name])
                    columns += 1
    return share("Evidently's default as read here agrees with the real preset, columns", same, columns)
