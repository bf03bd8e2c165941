"""All cases of all streams, on all cores, and once more on a stream whose positives are thinned to 0.2 %."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from evals.decisions.gate_cases import Case, Job, case, jobs
from evals.decisions.gate_judge import Judged, judged
from evals.decisions.gate_worlds import MOST_PERIOD, World, world
from evals.decisions.staleness_streams import Stream

EACH: Final = {"bad": 7, "good": 20, "same": 12, "apart": 4}
"""Cases of a kind at each stream and size: with three streams 378 bad, 720 good, 324 no-change, before any is excluded.

Most good ones are: gains are small beside the truth's own error, and a gain often costs a slice or the log-loss something."""
RARE_EACH: Final = {"bad": 4, "good": 5, "same": 5, "apart": 0}
QUICK: Final = {"bad": 1, "good": 1, "same": 1, "apart": 1}
QUICK_ROWS: Final = 6_000
RARE: Final = 0.002
RARE_ROWS: Final = 20_000
"""Fewer rows in the period, and there are hardly any positives left."""
SWEEP: Final = (
    *(("confidence", value) for value in (0.6, 0.8, 0.9, 0.95, 0.99, 0.999)),
    *(("gain", value) for value in (0.0, 0.01, 0.02)),
)
SWEPT: Final = ("bad", "good")
"""Families that go through the sweep, whole: a sample of the bad ones can miss the few that are deployed."""


@dataclass(frozen=True)
class Setup:
    """What all workers know."""

    worlds: tuple[World, ...]
    cache: Path
    sweep: bool
    rare: bool


_setup: Setup | None = None


def _know(setup: Setup) -> None:
    global _setup
    _setup = setup


def _one(job: Job) -> Judged:
    assert _setup is not None
    here = _setup.worlds[job.world]
    found = case(here, job, _setup.cache)
    weight = None
    if _setup.rare:
        found, weight = _thinned(here, found, job)
    swept = _setup.sweep and job.family in SWEPT
    return judged(here, found, SWEEP if swept else (), weight)


def on_streams(streams: Sequence[Stream], cache: Path, *, quick: bool, sweep: bool) -> list[Judged]:
    """Every case of every stream.

    Raises:
        BadInput: A stream that is too short, or whose target does not vary.
    """
    worlds = tuple(world(stream, QUICK_ROWS if quick else MOST_PERIOD) for stream in streams)
    made = jobs(len(worlds), QUICK if quick else EACH, [w.task for w in worlds], (2,) if quick else (0, 1, 2))
    return _run(Setup(worlds, cache, sweep, rare=False), list(made), quick=quick)


def on_rare(streams: Sequence[Stream], cache: Path, *, quick: bool) -> list[Judged]:
    """Every case of the longest stream with two classes; nothing where none has rows enough."""
    two = [s for s in streams if s.task == "classification" and s.frame[s.target].nunique() == 2]
    longest = max(two, key=lambda s: len(s.frame), default=None)
    if longest is None or len(longest.frame) < 2 * RARE_ROWS:
        return []
    made = replace(world(longest, RARE_ROWS if quick else len(longest.frame)), largest=100_000, parts=2)
    named = replace(made, name=f"{longest.name}, {RARE:.1%} positives")
    todo = list(jobs(1, QUICK if quick else RARE_EACH, [named.task], (2,) if quick else (0, 1, 2)))
    if quick:
        todo = todo[::3]
    return _run(Setup((named,), cache, sweep=False, rare=True), todo, quick=quick)


def _run(setup: Setup, todo: list[Job], *, quick: bool) -> list[Judged]:
    if quick:
        _know(setup)
        return [_one(job) for job in todo]
    with ProcessPoolExecutor(os.cpu_count(), initializer=_know, initargs=(setup,)) as pool:
        return list(pool.map(_one, todo, chunksize=4))


def _thinned(here: World, found: Case, job: Job) -> tuple[Case, Any]:
    """The case among 0.2 % positives, and what each row of the truth stands for.

    The holdout loses positives at random; probabilities are moved to the new odds, as with any model that was trained on
    enriched rows. The truth keeps all positives and counts each for as much of one as is left of them.
    """
    y = here.truth_y
    positives = float((y == 1).mean())
    kept = (RARE / (1 - RARE)) / (positives / (1 - positives))
    weight = np.where(y == 1, min(kept, 1.0), 1.0)
    g = np.random.default_rng([11, job.number, job.size])
    holdout = found.holdout[g.random(len(found.holdout)) < weight[found.holdout]]
    moved = {name: _to_odds(getattr(found, name), kept) for name in ("champion", "candidate", "production")}
    return replace(found, holdout=holdout, **moved), weight


def _to_odds(outputs: Any, factor: float) -> Any:
    p = outputs[:, 1] * factor / (outputs[:, 1] * factor + outputs[:, 0])
    return np.column_stack([1 - p, p])
