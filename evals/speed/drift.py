"""What does evidence cost? Against Evidently on a million rows, on twenty million, and over two hundred models.

`python -m evals.speed.drift`; `--part evidently|large|sweep` only that part, repeatable; `--quick` on small tables, to show that it
runs. Tables are generated with fixed seeds into a temporary folder (`TMPDIR`; the full run wants 25 GB) and removed.

* **evidently**: the same 50 mixed columns (and the 48 without text, which Evidently takes longest for), from Parquet files to
  verdicts. Ours samples each window through the data source; Evidently's DataDriftPreset takes the frames whole, without a page.
  Processor time is the whole process's, imports and reading in it; memory is what its peak adds to a bare interpreter's.
* **large**: `assess_staleness.measure` and `validate.validate` over a profile with 50 features, as a run calls them, with real
  MLflow, files and scoring. The champion is a decision stump, so that no model is timed. The window is all 400 days.
* **sweep**: `retrain check --all` as a process; 200 profiles of 20 features share one registered version, their files are hard links
  to five tables. What one more costs is the mean of the models' own seconds over the checks at a time.
"""

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from evals.report import Row, arguments, publish
from evals.speed._measured import Cost, run
from evals.speed._shop import RETRAIN, environment
from evals.speed._tables import FIFTY, write

SAMPLE = 50_000
"""Rows a window that a check looks at; `agent.services.recent` and the drift-detective have the same bound."""
CPU_SHARE = 1 / 20
MEMORY_SHARE = 1 / 4
MOST_MB = 2048.0


def evidently(asked: Namespace, folder: Path) -> list[Row]:
    """Ours against DataDriftPreset."""
    rows = 5_000 if asked.quick else 1_000_000
    write(folder / "reference.parquet", rows, seed=1)
    write(folder / "current.parquet", rows, seed=2)
    bare = statistics.median(run("nothing").peak for _ in range(3))
    every = FIFTY.names("all")
    found: list[Row] = []
    for columns in [every] if asked.quick else [every, tuple(n for n in every if not n.startswith("text"))]:
        given: dict[str, Any] = {"folder": str(folder), "columns": columns, "sample": SAMPLE}
        ours = _runs(1 if asked.quick else asked.runs, "ours", **given)
        theirs = _runs(1 if asked.quick else asked.evidently_runs, "evidently", **given)
        found += _against(f"{rows:,} × {len(columns)}", ours, theirs, bare)
    return found


def _runs(n: int, task: str, **given: Any) -> list[Cost]:
    costs: list[Cost] = []
    for number in range(1, n + 1):
        costs.append(run(task, **given))
        cost = costs[-1]
        _say(f"{task} {number} of {n}: {cost.cpu:.1f} CPU s, peak {cost.peak:,.0f} MB, {cost.told}")
    return costs


def _against(what: str, ours: Sequence[Cost], theirs: Sequence[Cost], bare: float) -> list[Row]:
    def ratio(name: str, a: Sequence[float], b: Sequence[float], most: float) -> Row:
        value, low, high = ratio_of(a, b)
        met = None if high is None or low is None else True if high <= most else False if low > most else None
        return Row(f"{what}: {name}, ours / Evidently's", value, low, high, len(a) + len(b), f"at most {most:g}", met)

    return [
        ratio("CPU time", [c.cpu for c in ours], [c.cpu for c in theirs], CPU_SHARE),
        ratio("memory added", [c.peak - bare for c in ours], [c.peak - bare for c in theirs], MEMORY_SHARE),
        mean_of(f"{what}: ours, CPU s", [c.cpu for c in ours]),
        mean_of(f"{what}: Evidently, CPU s", [c.cpu for c in theirs]),
        mean_of(f"{what}: ours, MB added to a bare interpreter", [c.peak - bare for c in ours]),
        mean_of(f"{what}: Evidently, MB added to a bare interpreter", [c.peak - bare for c in theirs]),
        mean_of(f"{what}: Evidently, MB added to the frames as read", [c.peak - c.before for c in theirs]),
    ]


def large(asked: Namespace, folder: Path) -> list[Row]:
    """Staleness and validation over ever more rows."""
    plan = {20_000: 1, 60_000: 1} if asked.quick else {200_000: 3, 2_000_000: 2, 20_000_000: 1}
    plan = {rows: n for rows, n in plan.items() if rows <= asked.most_rows}
    points: list[tuple[int, Cost]] = []
    for rows, repeats in plan.items():
        shop = folder / f"large-{rows}"
        told = run("prepare", folder=str(shop), rows=rows, layout="fifty", profiles=1, distinct=1).told
        _say(f"{rows:,} × 50: {_gigabytes(shop):.2f} GB on disk")
        for _ in range(repeats):
            cost = run("judge", folder=str(shop), model="m000", as_of=told["as_of"])
            points.append((rows, cost))
            _say(f"{rows:,} × 50: {cost.seconds:.1f} s, peak {cost.peak:,.0f} MB, {cost.told}")
            shutil.rmtree(shop / ".retraining" / "runs", ignore_errors=True)
        shutil.rmtree(shop)
    most = max(plan)
    peaks = [cost.peak for rows, cost in points if rows == most]
    slope, low, high = _slope([(rows, cost.seconds) for rows, cost in points])
    met = None if high is None or low is None else True if high <= 1 else False if low > 1 else None
    return [
        Row(
            f"{most:,} × 50: peak of the process, MB",
            max(peaks),
            n=len(peaks),
            target=f"under {MOST_MB:g} MB",
            met=max(peaks) < MOST_MB,
        ),
        Row("time against rows, log-log slope", slope, low, high, len(points), "at most 1", met),
        *(
            row
            for rows in plan
            for row in (
                mean_of(f"{rows:,} × 50: staleness and validation, s", [c.seconds for r, c in points if r == rows]),
                mean_of(
                    f"{rows:,} × 50: of that, staleness, s",
                    [c.told["staleness_seconds"] for r, c in points if r == rows],
                ),
                mean_of(f"{rows:,} × 50: CPU s", [c.task_cpu for r, c in points if r == rows]),
                mean_of(f"{rows:,} × 50: peak of the process, MB", [c.peak for r, c in points if r == rows]),
                mean_of(
                    f"{rows:,} × 50: peak with the scoring process, MB", [c.tree_peak for r, c in points if r == rows]
                ),
            )
        ),
    ]


def sweep(asked: Namespace, folder: Path) -> list[Row]:
    """`retrain check --all`."""
    rows, profiles = (2_000, 3) if asked.quick else (100_000, asked.profiles)
    parallel = os.cpu_count() or 1
    shop = folder / "shop"
    given = {"rows": rows, "layout": "twenty", "profiles": profiles, "distinct": min(5, profiles)}
    told = run("prepare", folder=str(shop), **given).told
    command = [*RETRAIN, "check", "--all", "--json", "--parallel", str(parallel), "--as-of", told["as_of"]]
    root = Path(__file__).resolve().parents[2]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=shop, env=environment(root), stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise RuntimeError(f"check --all ended with {done.returncode}: {done.stdout[-2000:]}")
    swept = json.loads(done.stdout)
    _say(json.dumps(swept["totals"]))
    if swept["totals"]["models"] != profiles or swept["totals"]["couldNotMeasure"]:
        raise RuntimeError(f"not every model was measured: {swept['totals']}; {swept['models'][-1]['sentence']}")
    what = f"{profiles} profiles of {rows:,} × 20"
    own = [model["seconds"] / parallel for model in swept["models"]]
    return [
        Row(f"{what}: profiles a minute, start-up in it", 60 * profiles / seconds, n=profiles),
        mean_of(f"{what}: one more, s", own),
        Row(f"{what}: whole sweep, s", seconds, n=1),
    ]


PARTS: dict[str, Callable[[Namespace, Path], list[Row]]] = {"evidently": evidently, "large": large, "sweep": sweep}


# --- intervals


def mean_of(name: str, values: Sequence[float]) -> Row:
    """Mean with its t interval; none from a single run."""
    mean, n = statistics.fmean(values), len(values)
    if n < 2:
        return Row(name, mean, n=n)
    reach = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return Row(name, mean, mean - reach, mean + reach, n)


def ratio_of(a: Sequence[float], b: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Ratio of the geometric means, with a t interval of its logarithm; both sides are taken to vary alike."""
    x, y = [math.log(v) for v in a], [math.log(v) for v in b]
    middle, free = statistics.fmean(x) - statistics.fmean(y), len(x) + len(y) - 2
    if free < 1:
        return math.exp(middle), None, None
    squares = sum((v - statistics.fmean(side)) ** 2 for side in (x, y) for v in side)
    reach = float(stats.t.ppf(0.975, free)) * math.sqrt(squares / free * (1 / len(x) + 1 / len(y)))
    return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


def _slope(points: Sequence[tuple[int, float]]) -> tuple[float, float | None, float | None]:
    """Slope of log time on log rows, with its t interval."""
    fit = stats.linregress([math.log(r) for r, _ in points], [math.log(s) for _, s in points])
    slope = float(fit.slope)  # pyright: ignore[reportAttributeAccessIssue]
    if len(points) < 3:
        return slope, None, None
    reach = float(stats.t.ppf(0.975, len(points) - 2)) * float(fit.stderr)  # pyright: ignore[reportAttributeAccessIssue]
    return slope, slope - reach, slope + reach


def _gigabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9


def _say(text: str) -> None:
    print(f"  · {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when a target was missed."""
    parser = arguments("What does evidence cost?")
    parser.add_argument("--part", choices=sorted(PARTS), action="append", help="only this part; repeatable")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of ours against Evidently")
    parser.add_argument("--evidently-runs", type=int, default=2, metavar="N", help="runs of Evidently (minutes each)")
    parser.add_argument("--most-rows", type=int, default=20_000_000, metavar="N", help="largest table of `large`")
    parser.add_argument("--profiles", type=int, default=200, metavar="N", help="models of `sweep`")
    asked = parser.parse_args(argv)
    rows: list[Row] = []
    for part in asked.part or PARTS:
        _say(part)
        with tempfile.TemporaryDirectory(prefix="retraining-speed-") as folder:
            rows += PARTS[part](asked, Path(folder))
    publish(rows, asked.json, quick=asked.quick)
    return 0 if asked.quick or all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
