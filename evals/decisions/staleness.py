"""Can the evidence be trusted? False alarms, what is found and what is missed, on real streams or on one of your own.

`python -m evals.decisions.staleness` measures on the three shipped streams; `--stream FILE --time COL --target COL [--drop COLS]`
on data of anyone's own; `--part drift|nights|shifts|traps|estimates|validation` only a part.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.decisions import (
    staleness_estimates,
    staleness_false_alarms,
    staleness_nights,
    staleness_shifts,
    staleness_traps,
    staleness_validation,
)
from evals.decisions.staleness_streams import Asked, from_file, shipped
from evals.report import Row, arguments, publish
from tools.errors import RetrainingError, outcome_of

PARTS: dict[str, Callable[[Asked], list[Row]]] = {
    "drift": staleness_false_alarms.rows,
    "nights": staleness_nights.rows,
    "shifts": staleness_shifts.rows,
    "traps": staleness_traps.rows,
    "estimates": staleness_estimates.rows,
    "validation": staleness_validation.rows,
}


def _parser() -> argparse.ArgumentParser:
    parser = arguments(__doc__ or "")
    parser.add_argument("--stream", type=Path, metavar="FILE", help="Parquet or CSV with a time and a target column")
    parser.add_argument("--time", metavar="COL", help="event time column of the stream")
    parser.add_argument("--target", metavar="COL", help="target column of the stream")
    parser.add_argument("--drop", default="", metavar="COLS", help="comma-separated columns no model may see")
    parser.add_argument("--part", choices=sorted(PARTS), action="append", help="only this part; repeatable")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when a target was missed."""
    parser = _parser()
    asked = parser.parse_args(argv)
    if asked.stream is not None and not (asked.time and asked.target):
        parser.error("--stream needs --time and --target")
    try:
        drop = tuple(name for name in asked.drop.split(",") if name)
        streams = shipped() if asked.stream is None else (from_file(asked.stream, asked.time, asked.target, drop),)
    except RetrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return outcome_of(error).exit_code
    rows: list[Row] = []
    for part in asked.part or PARTS:
        print(f"  · {part}", file=sys.stderr, flush=True)
        rows += PARTS[part](Asked(asked.quick, streams))
    publish(rows, asked.json, quick=asked.quick)
    return 0 if asked.quick or all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
