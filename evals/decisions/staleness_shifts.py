"""Is a planted shift found, and at least as often as by Evidently's default?

One column of a current window is changed; the reference and the untouched window are drawn without replacement from one part of
a stream. Ours is corrected as one of `COLUMNS` columns and for 365 nights, Evidently's default for nothing: a rule that flags more
finds more. So ours is also taken at Evidently's rate of false alarms, cell by cell: the threshold on our p-value is the highest
at which ours flags no more of the **undrifted** draws (made apart, of the same columns and sizes) than Evidently does.

Intervals of the paired difference are Agresti and Min's (2005, half a count in each of the four cells), widened by what the
threshold owes to its draws (bootstrap).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from evals.decisions import evidently_default
from evals.decisions.staleness_false_alarms import CURRENT, LEAST, LOOKS
from evals.decisions.staleness_streams import Asked, Stream, draw, on_all_cores, parts
from evals.report import Row, share
from tools import drift
from tools.adapters.drift_columns import Windows

REFERENCE: Final = (200, 1_000, 1_100, 5_000)
COLUMNS: Final = 20
"""A shifted column is corrected as one of so many."""
DRAWS: Final = 600
UNDRIFTED: Final = 1_200
MARGIN: Final = 0.02
"""Ours may find so much less before it counts as less: what these draws can tell."""
_RESAMPLES: Final = 200

Change = Callable[[Any, Any, np.random.Generator], Any]
"""(current column, reference column, generator) to the changed current column."""


def _moved(current: Any, reference: Any, g: np.random.Generator) -> Any:
    return current.astype(float) + 0.25 * float(reference.astype(float).std())


def _unit(current: Any, reference: Any, g: np.random.Generator) -> Any:
    return current.astype(float) * 1_000


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
class _Judged:
    """What both judges say of one column."""

    score: float
    """Our p-value over the column's aspects."""
    ours: bool
    theirs: bool


@dataclass
class _Cell:
    """All draws of one pair of sizes."""

    n: int
    m: int
    planted: dict[str, list[_Judged]] = field(default_factory=dict)
    undrifted: dict[bool, list[_Judged]] = field(default_factory=dict)


def rows(asked: Asked) -> list[Row]:
    """For each kind of change: the worst cell at equal false alarms, and both at their defaults over all cells."""
    draws, undrifted = (6, 12) if asked.quick else (DRAWS, UNDRIFTED)
    sizes = [(1_000, 300)] if asked.quick else [(n, m) for n in REFERENCE for m in CURRENT]
    cells = on_all_cores(_cell, [(asked.streams, n, m, draws, undrifted) for n, m in sizes], quick=asked.quick)
    found: list[Row] = []
    for kind, (_, number) in KINDS.items():
        told = [(c, c.planted[kind], c.undrifted[number]) for c in cells if c.planted[kind]]
        what = "numeric" if number else "fitting"
        unfit = Row(f"{kind}: not measured, no stream has a {what} column and rows enough", float("nan"), n=0)
        found += _compared(kind, told) if told else [unfit]
    return found


def _cell(job: tuple[tuple[Stream, ...], int, int, int, int]) -> _Cell:
    streams, n, m, draws, undrifted = job
    cell = _Cell(n, m)
    for number in (True, False):
        kinds = {kind: change for kind, (change, into_number) in KINDS.items() if into_number == number}
        g = np.random.default_rng((n, m, number))
        for kind in kinds:
            cell.planted[kind] = []
        for reference, current in _columns(streams, n, m, draws, number, g):
            for kind, change in kinds.items():
                cell.planted[kind].append(_judged(reference, change(current, reference, g)))
        apart = np.random.default_rng((n, m, number, 1))
        cell.undrifted[number] = [_judged(*pair) for pair in _columns(streams, n, m, undrifted, number, apart)]
    return cell


def _columns(
    streams: tuple[Stream, ...], n: int, m: int, draws: int, number: bool, g: np.random.Generator
) -> Iterator[tuple[Any, Any]]:
    """Undrifted pairs of one column, as many from each stream that has such columns and rows enough."""
    for stream in streams:
        wide_enough = [part for part in parts(stream) if len(part) >= n + m]
        for turn in range(draws // len(streams) if wide_enough else 0):
            part = wide_enough[turn % len(wide_enough)]
            numeric = [c for c in part.columns if pd.api.types.is_numeric_dtype(part[c]) and part[c].nunique() > 5]
            # A stream without categories has its numbers cut into some.
            names = numeric if number else [c for c in part.columns if c not in numeric] or numeric
            if not names:
                break
            name = names[int(g.integers(len(names)))]
            reference, current = (side[name] for side in draw(part[[name]], n, m, g))
            yield (reference, current) if number else _categories(reference, current, cut=name in numeric)


def _categories(reference: Any, current: Any, *, cut: bool) -> tuple[Any, Any]:
    """Anything as text; a number cut at the reference's fifths."""
    if cut:
        edges = np.unique(np.nanquantile(reference.to_numpy(dtype=float), [0.2, 0.4, 0.6, 0.8]))
        reference, current = (
            pd.Series(np.searchsorted(edges, side.to_numpy(dtype=float)), index=side.index).map("fifth {}".format)
            for side in (reference, current)
        )
    return tuple(side.astype(object).where(side.isna(), side.astype(str)) for side in (reference, current))  # type: ignore[return-value]


def _judged(reference: Any, current: Any) -> _Judged:
    found = Windows(*(pa.table({"x": pa.Array.from_pandas(side)}) for side in (reference, current))).feature("x", LEAST)
    tested = [a for a in found.aspects if a.p_value is not None]
    score = min((a.p_value or 0.0 for a in tested), default=1.0) * max(len(tested), 1)
    ours = any((a.p_value or 0.0) * COLUMNS < drift.ALPHA / LOOKS and (a.effect or 0.0) >= LEAST for a in tested)
    return _Judged(score, ours, evidently_default.flagged(reference, current))


@dataclass(frozen=True)
class _Gain:
    """Found by ours less by Evidently's default, at its false alarms, in one cell."""

    n: int
    m: int
    value: float
    low: float
    high: float
    draws: int


def _gain(cell: _Cell, planted: list[_Judged], undrifted: list[_Judged]) -> _Gain:
    scores, flags = np.array([j.score for j in undrifted]), np.array([j.theirs for j in undrifted])
    seen, theirs = np.array([j.score for j in planted]), np.array([j.theirs for j in planted])
    ours = seen < _threshold(scores, flags)
    g = np.random.default_rng(0)
    again = [g.integers(0, len(scores), len(scores)) for _ in range(_RESAMPLES)]
    of_threshold = np.var([float((seen < _threshold(scores[k], flags[k])).mean()) for k in again])
    n, only_ours, only_theirs = len(seen), int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    b, c, total = only_ours + 0.5, only_theirs + 0.5, n + 2
    centre = (b - c) / total
    reach = 1.96 * float(np.sqrt((b + c - (b - c) ** 2 / total) / total**2 + of_threshold))
    return _Gain(cell.n, cell.m, (only_ours - only_theirs) / n, max(centre - reach, -1.0), min(centre + reach, 1.0), n)


def _threshold(scores: Any, flags: Any) -> float:
    """Highest bound below which no more scores lie than there are flags."""
    k = int(flags.sum())
    return np.inf if k >= len(scores) else float(np.sort(scores)[k])


def _compared(kind: str, cells: list[tuple[_Cell, list[_Judged], list[_Judged]]]) -> list[Row]:
    gains = [_gain(*cell) for cell in cells]
    lost = [g for g in gains if g.high < -MARGIN]
    # The cell that decides: the surest loss, else the one that is furthest from being shown.
    worst = min(lost, key=lambda g: g.high) if lost else min(gains, key=lambda g: g.low)
    planted = [j for _, found, _ in cells for j in found]
    quiet = [j for _, _, found in cells for j in found]
    return [
        Row(
            f"{kind}: at Evidently's false alarms, found by ours less by Evidently, worst of {len(gains)} cells"
            f" ({worst.n:,} × {worst.m:,})",
            worst.value,
            worst.low,
            worst.high,
            worst.draws,
            "not below 0 by more than 2 points in any cell",
            False if lost else True if worst.low >= -MARGIN else None,
        ),
        Row(f"{kind}: the same, mean of the cells", float(np.mean([g.value for g in gains])), n=len(planted)),
        share(f"{kind}: found by ours at its default", sum(j.ours for j in planted), len(planted)),
        share(f"{kind}: false alarms of ours at its default, columns", sum(j.ours for j in quiet), len(quiet)),
        share(f"{kind}: found by Evidently's default", sum(j.theirs for j in planted), len(planted)),
        share(f"{kind}: false alarms of Evidently's default, columns", sum(j.theirs for j in quiet), len(quiet)),
    ]
