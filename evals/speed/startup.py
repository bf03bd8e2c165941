"""How long does `retrain --help` take, against an interpreter that does nothing?

`python -m evals.speed.startup` starts both in turn, as whole processes, and gives the ratio of each pair: a busy machine
slows both, so the ratio says more than the seconds.
"""

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from evals.report import Row, arguments, publish

NOTHING = (sys.executable, "-c", "pass")
HELP = (sys.executable, "-m", "agent.entrypoints.cli.app", "--help")
WARM_UPS = 3
RESAMPLES = 2000
TARGET_SECONDS = 0.3


def seconds(command: Sequence[str]) -> float:
    """Wall time of one process, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return time.perf_counter() - began


def pairs(n: int) -> list[tuple[float, float]]:
    """Seconds of (help, nothing), in turn; what a first start alone pays (bytecode, cold files) is left out."""
    for command in (NOTHING, HELP) * WARM_UPS:
        seconds(command)
    return [(seconds(HELP), seconds(NOTHING)) for _ in range(n)]


def median(name: str, values: Sequence[float], target: str = "", most: float | None = None) -> Row:
    """A median with its percentile bootstrap interval; met or missed only where all of that says so."""
    g = random.Random(20240229)
    found = sorted(statistics.median(g.choices(values, k=len(values))) for _ in range(RESAMPLES))
    low, high = found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES) - 1]
    met = None if most is None else True if high < most else False if low >= most else None
    return Row(name, statistics.median(values), low, high, len(values), target, met)


def rows_of(measured: Sequence[tuple[float, float]]) -> list[Row]:
    """Ratio first; the seconds beside it hold for this machine at that hour."""
    helps, nothings = zip(*measured, strict=True)
    return [
        median("retrain --help / python -c pass", [a / b for a, b in measured]),
        median("retrain --help, seconds", helps, f"under {TARGET_SECONDS:g} s", TARGET_SECONDS),
        median("python -c pass, seconds", nothings),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when the target was missed."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--pairs", type=int, default=40, metavar="N", help="starts of each")
    asked = parser.parse_args(argv)
    rows = rows_of(pairs(3 if asked.quick else asked.pairs))
    publish(rows, asked.json, quick=asked.quick)
    return 0 if asked.quick or all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
