"""What does a comparison cost? Against `scipy.stats.bootstrap` on a million rows, five metrics and twenty slices.

`python -m evals.speed.compare`; `--quick` on a small table, to show that it runs. Rows are those of two classifiers with known
accuracies (80.0 % and 80.3 %), independent, in time order, with two slice columns of ten values; they are written to Parquet in a
temporary folder and read as the evaluation step reads them. Each measurement is a process of its own.

* **Ours** is `tools.comparison.compare`, slices in it. "As the product calls it": one call with accuracy as primary metric, which
  has the slices, and four guardrails: 25 intervals. "Every metric on every slice": each metric once as primary: 105 intervals.
* **scipy** is `bootstrap(method="percentile")`: its default, BCa, leaves out every row in turn, which is n evaluations on n rows,
  hours for a million. Means are given as one array of differences and evaluated by `numpy.mean`, f1 from counts, both
  vectorized; roc_auc and average_precision are scikit-learn's. Each metric is timed on all rows and on one slice (a tenth of the
  rows), the slice's time counts 20 times.
* **Equal width**: `RESAMPLES` is what our interval of a sum metric draws, so that both ends move alike between seeds (by 2 % of the
  width); our others draw nothing and do not move, which is not counted in our favour. scipy's ends are as wide as the rows allow
  if they are independent; ours allow for dependence in time. Where ours are wider by x, our time is multiplied by x², since that
  many more rows would make them as narrow.

Targets are judged on processor time (wall time depends on what else runs), and on memory that the whole process, reading and
imports in it, adds to an idle one.
"""

import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from evals.report import Row, arguments, publish
from evals.speed._duels import COLUMNS
from evals.speed._measured import Cost, run
from evals.speed.drift import mean_of, ratio_of
from tools.resampling import RESAMPLES

METRICS = ("accuracy", "log_loss", "f1", "roc_auc", "average_precision")
SLICES = 20
TIMES = 10
MOST_MB = 1024.0
TIMED = {"accuracy": (400, RESAMPLES), "log_loss": (400, RESAMPLES), "f1": (100, 1000)}
"""scipy's resamples that are really drawn, over all rows and on a slice; the others' time is scaled."""
TIMED_SKLEARN = (8, 100)

Grid = Mapping[str, Sequence[Cost]]


def _scipy(folder: str, metric: str, part: str, repeats: int, quick: bool) -> list[Cost]:
    timed = 50 if quick else TIMED.get(metric, TIMED_SKLEARN)[part == "slice"]
    costs: list[Cost] = []
    for seed in range(repeats):
        given: dict[str, Any] = {"folder": folder, "metric": metric, "slice": part == "slice", "seed": seed}
        costs.append(run("duel_scipy", **given, timed=timed, resamples=RESAMPLES))
        told = costs[-1].told
        _say(f"scipy, {metric}, {part}: {told['cpu']:.1f} CPU s for {RESAMPLES}, {timed} drawn")
    return costs


def _ours(folder: str, duels: Sequence[Sequence[str]], repeats: int) -> list[Cost]:
    costs: list[Cost] = []
    for _ in range(repeats):
        costs.append(run("duel", folder=folder, duels=duels))
        cost = costs[-1]
        _say(f"ours, {cost.told['intervals']} intervals: {cost.task_cpu:.1f} CPU s, peak {cost.peak:,.0f} MB")
    return costs


def measure(asked: Namespace, folder: str) -> list[Row]:
    """Both sides, the ratio of their times, and memory."""
    n = 20_000 if asked.quick else asked.rows
    runs, rival_runs = (1, 1) if asked.quick else (asked.runs, asked.scipy_runs)
    run("duel_write", folder=folder, rows=n)
    idle = statistics.median(run("nothing").peak for _ in range(1 if asked.quick else 3))
    reading = [run("duel_read", folder=folder) for _ in range(runs)]
    product = _ours(folder, [METRICS], runs)
    grid = _ours(folder, [[metric] for metric in METRICS], runs)
    whole = {metric: _scipy(folder, metric, "all rows", rival_runs, asked.quick) for metric in METRICS}
    sliced = {metric: _scipy(folder, metric, "slice", rival_runs, asked.quick) for metric in METRICS}
    return rows_of(n, idle, reading, product, grid, whole, sliced)


def rows_of(
    n: int,
    idle: float,
    reading: Sequence[Cost],
    product: Sequence[Cost],
    grid: Sequence[Cost],
    whole: Grid,
    sliced: Grid,
) -> list[Row]:
    """The table, from what was measured."""
    wider = _wider(grid[0].told["widths"], whole, sliced)
    penalty = max(1.0, statistics.fmean(wider.values())) ** 2
    of_product = _total(whole, {METRICS[0]: sliced[METRICS[0]]})
    of_grid = _total(whole, sliced)
    peaks = [cost.peak - idle for cost in (*product, *grid)]
    scaled = f"{RESAMPLES:,} resamples a metric, one slice's time × {SLICES}"
    return [
        _faster(
            f"{n:,} × 5 metrics, the primary on {SLICES} slices, as the product calls it", product, of_product, penalty
        ),
        _faster(f"{n:,} × 5 metrics × {SLICES} slices, every metric on every slice", grid, of_grid, penalty),
        Row(
            "MB that reading and comparing add to an idle process, the most of all runs",
            max(peaks),
            n=len(peaks),
            target=f"at most {MOST_MB:g}",
            met=max(peaks) <= MOST_MB,
        ),
        *(Row(f"width of {name}, ours / scipy's", value, n=1) for name, value in wider.items()),
        Row("our time is multiplied by (for wider intervals)", penalty),
        mean_of("ours, as the product calls it, CPU s", [c.task_cpu for c in product]),
        mean_of("ours, as the product calls it, wall s", [c.seconds for c in product]),
        mean_of("ours, every metric on every slice, CPU s", [c.task_cpu for c in grid]),
        mean_of("ours, every metric on every slice, wall s", [c.seconds for c in grid]),
        mean_of("ours, reading the three files before, CPU s", [c.task_cpu for c in reading]),
        mean_of("MB that reading alone adds to an idle process", [c.peak - idle for c in reading]),
        mean_of(f"scipy, as the product calls it, CPU s (scaled: {scaled})", of_product),
        mean_of(f"scipy, every metric on every slice, CPU s (scaled: {scaled})", of_grid),
        *(mean_of(f"scipy, {m} over all rows, CPU s ({_drawn(c)})", _cpus(c)) for m, c in whole.items()),
        *(mean_of(f"scipy, {m} on one slice, CPU s ({_drawn(c)})", _cpus(c)) for m, c in sliced.items()),
    ]


def _faster(name: str, ours: Sequence[Cost], theirs: Sequence[float], penalty: float) -> Row:
    value, low, high = ratio_of(theirs, [cost.task_cpu * penalty for cost in ours])
    met = None if low is None or high is None else True if low >= TIMES else False if high < TIMES else None
    name = f"{name}: scipy's CPU time / ours, at equal width"
    return Row(name, value, low, high, len(ours) + len(theirs), f"at least {TIMES}", met)


def _wider(widths: Mapping[str, float], whole: Grid, sliced: Grid) -> dict[str, float]:
    """Ours over scipy's, where scipy drew enough to know its own width: means over all rows, every metric on a slice."""
    one = f"{COLUMNS[0]}={COLUMNS[0]}-0"
    keys = {
        **{metric: (metric, whole[metric]) for metric in METRICS[:2]},
        **{f"{m} on one slice": (f"{m}/{one}", costs) for m, costs in sliced.items()},
    }
    return {
        name: widths[key] / statistics.fmean(cost.told["width"] for cost in costs)
        for name, (key, costs) in keys.items()
    }


def _total(whole: Grid, sliced: Grid) -> list[float]:
    """Seconds of scipy for the metrics of `whole` and, on every slice, those of `sliced`; one total a repeat."""
    repeats = len(next(iter(whole.values())))
    return [
        sum(costs[i].told["cpu"] for costs in whole.values())
        + SLICES * sum(costs[i].told["cpu"] for costs in sliced.values())
        for i in range(repeats)
    ]


def _cpus(costs: Sequence[Cost]) -> list[float]:
    return [cost.told["cpu"] for cost in costs]


def _drawn(costs: Sequence[Cost]) -> str:
    timed = costs[0].told["drawn"]
    return f"{RESAMPLES:,} resamples, " + ("all drawn" if timed == RESAMPLES else f"scaled from {timed}")


def _say(text: str) -> None:
    print(f"  · {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs it; exit code 1 when a target was missed."""
    parser = arguments("What does a comparison cost?")
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="rows of the table")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of ours")
    parser.add_argument("--scipy-runs", type=int, default=2, metavar="N", help="runs of scipy, each metric")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="retraining-compare-") as folder:
        found = measure(asked, folder)
    publish(found, asked.json, quick=asked.quick)
    return 0 if asked.quick or all(row.met is not False for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
