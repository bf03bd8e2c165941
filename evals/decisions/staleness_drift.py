"""How often does the drift check cry wolf, what does it find, and does it catch the known traps?

* **False alarms**: both windows are drawn without replacement from one of four consecutive parts of a stream, so nothing drifted
  between them. A part that cannot fill a cell is named. Bounds are Clopper-Pearson's, one-sided, for all cells of a stream at once.
* **Shifts**: one column of a window is changed. Ours is corrected as for 20 columns and 365 nights. Since a test that flags more
  finds more, ours is also taken at the false alarm rate that Evidently's default shows in the same cell: a threshold on our
  p-value from undrifted draws of the same columns. There it must find at least as much.
* **Traps**: what Evidently's defaults miss or die of; see `TRAPS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from evals.decisions import evidently_default
from evals.decisions.staleness_streams import Asked, Stream
from evals.report import Row, share
from tools import drift
from tools.adapters.drift_columns import Windows
from tools.contracts.profile import DriftTrigger
from tools.drift import ColumnDrift

REFERENCE: Final = (200, 1_000, 1_100, 5_000, 50_000)
CURRENT: Final = (80, 300, 1_000, 5_000)
SHIFT_REFERENCE: Final = (200, 1_000, 1_100, 5_000)
PARTS: Final = 4
LOOKS: Final = 365
COLUMNS: Final = 20
"""A shifted column is corrected as one of so many."""
LEAST: Final = DriftTrigger().min_effect
COUNTS_FROM: Final = DriftTrigger().share_of_columns
MARGIN: Final = 0.02
"""At equal false alarms ours may find so much less before it counts as less: what these draws can tell."""
_STATS: Any = stats


def _parts(stream: Stream) -> list[Any]:
    frame = stream.frame[list(stream.features)]
    size = len(frame) // PARTS
    return [frame.iloc[k * size : (k + 1) * size].reset_index(drop=True) for k in range(PARTS)]


def _draw(part: Any, n: int, m: int, g: np.random.Generator) -> tuple[Any, Any]:
    places = g.choice(len(part), n + m, replace=False)
    return part.iloc[places[:n]], part.iloc[places[n:]]


def _checked(reference: Any, current: Any) -> tuple[ColumnDrift, ...]:
    windows = Windows(*(pa.Table.from_pandas(side, preserve_index=False) for side in (reference, current)))
    return drift.correct([windows.feature(name, LEAST) for name in reference.columns], LEAST, looks=LOOKS)


# --- false alarms --------------------------------------------------------------------------------------------------


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


def false_alarms(asked: Asked) -> list[Row]:
    """A stream's worst cell, and all of its cells together."""
    draws, cells = (4, [(1_100, 80), (200, 300)]) if asked.quick else (150, _cells())
    found: list[Row] = []
    for stream in asked.streams:
        done, empty = [], []
        for n, m in cells:
            cell = _false(stream, n, m, draws)
            (done if cell.draws else empty).append(cell)
        found += _told(stream.name, done, empty)
    return [*found, _agreement(asked)]


def _cells() -> list[tuple[int, int]]:
    return [(n, m) for n in REFERENCE for m in CURRENT]


def _false(stream: Stream, n: int, m: int, draws: int) -> _Cell:
    cell, g = _Cell(n, m), np.random.default_rng((n, m))
    parts = [part for part in _parts(stream) if len(part) >= n + m]
    for number in range(draws if parts else 0):
        reference, current = _draw(parts[number % len(parts)], n, m, g)
        columns = _checked(reference, current)
        theirs = [evidently_default.flagged(reference[name], current[name]) for name in reference.columns]
        cell.draws += 1
        cell.columns += len(theirs)
        cell.ours += (drift.share_drifted(columns) or 0.0) >= COUNTS_FROM
        cell.any_column += any(c.outcome == "bad" for c in columns)
        cell.theirs += float(np.mean(theirs)) >= evidently_default.SHARE
        cell.theirs_columns += sum(theirs)
    return cell


def _told(stream: str, done: list[_Cell], empty: list[_Cell]) -> list[Row]:
    level = 0.05 / max(len(done), 1)
    worst = max(done, key=lambda c: (_upper(c.ours, c.draws, level), c.n, c.m))
    bound = _upper(worst.ours, worst.draws, level)
    draws, columns = sum(c.draws for c in done), sum(c.columns for c in done)
    worst_theirs = max(done, key=lambda c: c.theirs / c.draws)
    rows = [
        Row(
            f"{stream}: data-set false alarms, worst of {len(done)} cells ({worst.n:,} × {worst.m:,})",
            worst.ours / worst.draws,
            0.0,
            bound,
            worst.draws,
            "at most 5 %, all cells at once",
            bound <= 0.05 if bound <= 0.05 or worst.ours / worst.draws > 0.05 else None,
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
    ]
    if empty:
        named = ", ".join(f"{c.n:,} × {c.m:,}" for c in empty)
        rows.append(Row(f"{stream}: cells that no part of it fills: {named}", float(len(empty)), n=len(empty)))
    return rows


def _upper(hits: int, n: int, level: float) -> float:
    return 1.0 if hits >= n else float(_STATS.beta.ppf(1 - level, hits + 1, n - hits))


def _agreement(asked: Asked) -> Row:
    """Our reading of Evidently's default against the real preset, column by column."""
    same = columns = 0
    g = np.random.default_rng(0)
    for stream in asked.streams:
        for n, m in [(1_000, 300), (1_100, 300)][: 1 if asked.quick else 2]:
            for part in _parts(stream)[: 1 if asked.quick else 3]:
                if len(part) < n + m:
                    continue
                reference, current = _draw(part, n, m, g)
                real, _ = evidently_default.preset(reference, current)
                for name, flag in real.items():
                    same += flag == evidently_default.flagged(reference[name], current[name])
                    columns += 1
    return share("Evidently's default as read here agrees with the real preset, columns", same, columns)


# --- shifts --------------------------------------------------------------------------------------------------------

Change = Callable[[Any, Any, np.random.Generator], Any]
"""(current column, reference column, generator) to the changed current column."""


def _moved(current: Any, reference: Any, g: np.random.Generator) -> Any:
    return current + 0.25 * float(reference.std())


def _unit(current: Any, reference: Any, g: np.random.Generator) -> Any:
    return current * 1_000


def _nulls(current: Any, reference: Any, g: np.random.Generator) -> Any:
    return current.where(g.random(len(current)) >= 0.1)


def _more_of_one(current: Any, reference: Any, g: np.random.Generator) -> Any:
    """Five points of the rows become the commonest category."""
    top = reference.mode().iloc[0]
    return current.where(g.random(len(current)) >= 0.05 / max(1 - float((reference == top).mean()), 0.05), top)


def _new(current: Any, reference: Any, g: np.random.Generator) -> Any:
    return current.where(g.random(len(current)) >= 0.05, "never seen")


KINDS: Final[dict[str, tuple[Change, bool]]] = {
    "0.25 sd": (_moved, True),
    "5 points of a category": (_more_of_one, False),
    "10 points of nulls": (_nulls, True),
    "a new category": (_new, False),
    "a swapped unit": (_unit, True),
}
"""What is planted, and whether into a number."""


@dataclass(frozen=True)
class _Found:
    """One draw: both judges on the shifted and on the untouched column."""

    score: float
    ours: bool
    theirs: bool
    null_score: float
    null_ours: bool
    null_theirs: bool


def shifts(asked: Asked) -> list[Row]:
    """For each kind of change: the worst cell at equal false alarms, and both at their defaults over all cells."""
    draws = 6 if asked.quick else 200
    cells = [(1_000, 300)] if asked.quick else [(n, m) for n in SHIFT_REFERENCE for m in CURRENT]
    rows: list[Row] = []
    for kind, (change, number) in KINDS.items():
        tables = {cell: list(_planted(asked.streams, cell, change, number, draws)) for cell in cells}
        rows += _compared(kind, {cell: found for cell, found in tables.items() if found})
    return rows


def _planted(
    streams: tuple[Stream, ...], cell: tuple[int, int], change: Change, number: bool, draws: int
) -> Iterator[_Found]:
    n, m = cell
    g = np.random.default_rng((n, m, 7))
    for stream in streams:
        parts = [part for part in _parts(stream) if len(part) >= n + m]
        for turn in range(draws // len(streams) if parts else 0):
            part = parts[turn % len(parts)]
            columns = [c for c in part.columns if _fits(part[c], number)] or list(part.columns)
            name = columns[int(g.integers(len(columns)))]
            reference, current = (side[name] for side in _draw(part[[name]], n, m, g))
            if not number:
                reference, current = _categories(reference, current)
            changed = change(current, reference, g)
            yield _Found(*_judged(reference, changed), *_judged(reference, current))


def _fits(column: Any, number: bool) -> bool:
    numeric = pd.api.types.is_numeric_dtype(column)
    return bool(numeric and column.nunique() > 5) if number else bool(not numeric)


def _categories(reference: Any, current: Any) -> tuple[Any, Any]:
    """Text as it is; a number (a stream without categories) cut at the reference's fifths."""
    if not pd.api.types.is_numeric_dtype(reference):
        return reference.astype(object), current.astype(object)
    edges = np.unique(np.nanquantile(reference.to_numpy(dtype=float), [0.2, 0.4, 0.6, 0.8]))
    fifths = [
        pd.Series(np.searchsorted(edges, side.to_numpy(dtype=float)), index=side.index).map("fifth {}".format)
        for side in (reference, current)
    ]
    return fifths[0].astype(object), fifths[1].astype(object)


def _judged(reference: Any, current: Any) -> tuple[float, bool, bool]:
    """(our p-value over the column's aspects, ours at its default, Evidently's default)."""
    found = Windows(*(pa.table({"x": pa.Array.from_pandas(side)}) for side in (reference, current))).feature("x", LEAST)
    tested = [a for a in found.aspects if a.p_value is not None]
    score = min((a.p_value or 0.0 for a in tested), default=1.0) * max(len(tested), 1)
    ours = any((a.p_value or 0.0) * COLUMNS < drift.ALPHA / LOOKS and (a.effect or 0.0) >= LEAST for a in tested)
    return score, ours, evidently_default.flagged(reference, current)


def _compared(kind: str, tables: dict[tuple[int, int], list[_Found]]) -> list[Row]:
    gains: dict[tuple[int, int], tuple[float, float, float, int]] = {}
    for cell, found in tables.items():
        rate = float(np.mean([f.null_theirs for f in found]))
        ranked = np.sort([f.null_score for f in found])
        k = round(rate * len(found))
        threshold = np.inf if k >= len(found) else ranked[k]
        change = np.array([float(f.score < threshold) - float(f.theirs) for f in found])
        reach = 1.96 * float(change.std(ddof=1)) / np.sqrt(len(change))
        gains[cell] = (float(change.mean()), float(change.mean()) - reach, float(change.mean()) + reach, len(change))
    worst = min(gains, key=lambda cell: gains[cell][2])
    every = [f for found in tables.values() for f in found]
    value, low, high, n = gains[worst]
    met = True if all(g[1] >= -MARGIN for g in gains.values()) else False if high < -MARGIN else None
    target = "not below 0 by more than 2 points in any cell"
    pooled = np.array([f.theirs for f in every])
    return [
        Row(
            f"{kind}: at Evidently's false alarms, found by ours less by Evidently, worst of {len(gains)} cells"
            f" ({worst[0]:,} × {worst[1]:,})",
            value,
            low,
            high,
            n,
            target,
            met,
        ),
        Row(
            f"{kind}: the same, mean of the cells",
            float(np.mean([g[0] for g in gains.values()])),
            n=len(every),
        ),
        share(f"{kind}: found by ours at its default", sum(f.ours for f in every), len(every)),
        share(f"{kind}: false alarms of ours at its default, columns", sum(f.null_ours for f in every), len(every)),
        share(f"{kind}: found by Evidently's default", int(pooled.sum()), len(every)),
        share(f"{kind}: false alarms of Evidently's default, columns", sum(f.null_theirs for f in every), len(every)),
    ]


# --- traps ---------------------------------------------------------------------------------------------------------


def _trap(reference: Any, current: Any, wanted: str) -> bool:
    """Whether the column is bad and named so."""
    tables = [pa.table({"x": side} if side is not None else {"y": pa.nulls(500)}) for side in (reference, current)]
    found = drift.correct([Windows(*tables).feature("x", LEAST)], LEAST, looks=LOOKS)[0]
    return (found.outcome, found.drift_type) == ("bad", wanted)


def _traps() -> dict[str, Callable[[], bool]]:
    g = np.random.default_rng(1)
    before, after = g.normal(50, 5, 5_000), g.normal(50, 5, 500)
    hidden = np.append(g.normal(55, 5, 499), 1e6)
    halves = pa.array([None if i % 2 else float(v) for i, v in enumerate(after)])
    one_infinite = np.append(g.normal(55, 5, 499), np.inf)
    return {
        "an outlier of 1e6 hides no shift of one sd": lambda: _trap(before, hidden, "data_drift"),
        "half of the values null": lambda: _trap(before, halves, "null_share"),
        "the column gone": lambda: _trap(before, None, "vanished"),
        "one infinity hides no shift": lambda: _trap(before, one_infinite, "data_drift"),
        "infinities in a tenth": lambda: _trap(before, np.where(np.arange(500) % 10, after, np.inf), "infinite"),
        "all null": lambda: _trap(before, pa.nulls(500, pa.float64()), "null_share"),
        "all null, and without a type": lambda: _trap(before, pa.nulls(500), "null_share"),
        "another type": lambda: _trap(before, [str(v) for v in after], "type_change"),
        "a swapped unit": lambda: _trap(before, after * 1_000, "unit"),
        **{f"1,100 against 80 without drift, seed {seed}": (lambda seed=seed: _quiet(seed)) for seed in range(6)},
    }


def _quiet(seed: int) -> bool:
    g = np.random.default_rng(seed)
    tables = [pa.table({f"c{i}": g.normal(size=n) for i in range(COLUMNS)}) for n in (1_100, 80)]
    windows = Windows(*tables)
    found = drift.correct([windows.feature(f"c{i}", LEAST) for i in range(COLUMNS)], LEAST, looks=LOOKS)
    return not any(c.outcome == "bad" for c in found)


def traps(asked: Asked) -> list[Row]:
    """Each trap caught and named, and silence where there is none."""
    made = {name: trap() for name, trap in _traps().items()}
    missed = ", ".join(name for name, caught in made.items() if not caught)
    told = f"traps caught and named{f' (missed: {missed})' if missed else ''}"
    return [share(told, sum(made.values()), len(made), "every one", all(made.values()))]
