# pyright: basic
"""How long does a single-row prediction take? Timed in the worker, one process at a time, the two models in turn."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from tools.adapters.model_environments import Interpreter
from tools.adapters.scoring_process import run_worker
from tools.contracts.measuring import TimingJob, TimingResult


@dataclass(frozen=True)
class Timed:
    """A model as fetched, and what is to open it."""

    side: str
    model: Path
    interpreter: Interpreter


def time_in_turn(job: TimingJob, folder: Path, champion: Timed, candidate: Timed) -> TimingResult:
    """Pairs of processes: champion and candidate, then candidate and champion, and so on."""
    found: dict[str, list[tuple[float, ...]]] = {champion.side: [], candidate.side: []}
    for number in range(job.pairs):
        for one in (champion, candidate) if number % 2 == 0 else (candidate, champion):
            times = _timed(job, folder / f"{one.side}-{number}", one)
            if isinstance(times, str):
                return TimingResult(fault=times)
            found[one.side].append(times)
    return TimingResult(champion_ms=tuple(found[champion.side]), candidate_ms=tuple(found[candidate.side]))


def _timed(job: TimingJob, folder: Path, one: Timed) -> tuple[float, ...] | str:
    folder.mkdir(mode=0o700)
    order, part = folder / "job.json", folder / "times.json"
    content = {
        "model": str(one.model),
        "rows": str(Path(job.rows).resolve()),
        "features": list(job.features),
        "task": job.task,
        "times": str(part),
        "calls": job.calls,
        "warm_up": job.warm_up,
    }
    order.write_text(json.dumps(content), encoding="utf-8")
    ended = run_worker(one.interpreter, order, folder / "work", job.time_limit.total_seconds(), job.memory_limit_mb)
    if ended.how == "timed_out":
        return f"the {one.side} did not make {job.calls + job.warm_up} single-row predictions within {job.time_limit}"
    if ended.how == "out_of_memory":
        return f"the {one.side} took more than {job.memory_limit_mb} MB while it was timed"
    if not ended.good:
        return f"the {one.side} could not be timed: {ended.last_line}"
    try:
        times = json.loads(part.read_text(encoding="utf-8"))
        read = tuple(float(value) for value in times)
    except (OSError, ValueError, TypeError):
        return f"the {one.side} left no times"
    if not all(math.isfinite(value) and value >= 0 for value in read):
        return f"the {one.side} left times that are no times"
    return read
