"""Are the intervals honest, and does the gate deploy what is better and nothing else?

`python -m evals.decisions.gate` measures on simulated rows whose truth is known, on candidates of three real streams, and on one stream
whose positives are thinned to 0.2 %. `--stream FILE --time COL --target COL [--drop COLS]` measures the same on data of anyone's own;
`--part simulated|streams|rare` only a part; `--plot FILE` draws the frontier of safety against review.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from evals.decisions import gate_latency, gate_plot, gate_rows, gate_simulated
from evals.decisions.gate_duels import RARE_ROWS, on_rare, on_streams
from evals.decisions.staleness_streams import Stream, from_file, shipped
from evals.report import Row, arguments, publish
from tools.errors import BadInput

PARTS = ("simulated", "streams", "rare")
PICTURES = (".png", ".svg", ".pdf")


def _parser() -> argparse.ArgumentParser:
    parser = arguments(__doc__ or "")
    parser.add_argument("--stream", type=Path, metavar="FILE", help="Parquet or CSV with a time and a target column")
    parser.add_argument("--time", metavar="COL", help="event time column of the stream")
    parser.add_argument("--target", metavar="COL", help="target column of the stream")
    parser.add_argument("--drop", default="", metavar="COLS", help="comma-separated columns no model may see")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; repeatable")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw safety against review (.png, .svg or .pdf)")
    parser.add_argument("--cache", type=Path, metavar="DIR", default=_cache(), help="where predictions are kept")
    parser.add_argument("--repeats", type=int, default=400, help="holdouts drawn for each simulated row")
    return parser


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retraining-orchestrator" / "gate-eval"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when a target was missed."""
    parser = _parser()
    asked = parser.parse_args(argv)
    if asked.stream is not None and not (asked.time and asked.target):
        parser.error("--stream needs --time and --target")
    if asked.plot is not None and asked.plot.suffix.lower() not in PICTURES:
        parser.error(f"--plot {asked.plot}: the name must end in {', '.join(PICTURES)}")
    parts = asked.part or (PARTS if asked.stream is None else PARTS[1:])
    if asked.plot is not None and "streams" not in parts:
        parser.error("--plot draws what the part streams measures; add --part streams")
    rows: list[Row] = []
    try:
        streams = () if parts == ["simulated"] else _streams(asked)
        for part in parts:
            print(f"  · {part}", file=sys.stderr, flush=True)
            rows += _part(part, streams, asked)
    except BadInput as error:
        parser.error(error.message if error.remedy is None else f"{error.message}; {error.remedy}")
    publish(rows, asked.json, quick=asked.quick)
    return 0 if asked.quick or all(row.met is not False for row in rows) else 1


def _streams(asked: argparse.Namespace) -> tuple[Stream, ...]:
    if asked.stream is None:
        return shipped()
    drop = tuple(name for name in asked.drop.split(",") if name)
    return (from_file(asked.stream, asked.time, asked.target, drop),)


def _part(part: str, streams: Sequence[Stream], asked: argparse.Namespace) -> list[Row]:
    if part == "simulated":
        repeats = 10 if asked.quick else asked.repeats
        return gate_simulated.rows(repeats) + gate_latency.rows(3 if asked.quick else 40)
    if part == "rare":
        found = on_rare(streams, asked.cache, quick=asked.quick)
        if found:
            return gate_rows.rows(found, f"{found[0].world}: ")
        least = f"a target of two classes and {2 * RARE_ROWS:,} rows are needed"
        return [Row(f"positives thinned to 0.2 %: not measured, {least}", float("nan"), n=0)]
    found = on_streams(streams, asked.cache, quick=asked.quick, sweep=asked.plot is not None)
    rows = gate_rows.rows(found)
    if asked.plot is None:
        return rows
    frontier = gate_rows.frontier(found)
    if not frontier:
        return [*rows, Row("frontier: not drawn, no bad or no good candidate with power is left", float("nan"), n=0)]
    gate_plot.draw(frontier, asked.plot)
    return rows + gate_plot.frontier_rows(frontier)


if __name__ == "__main__":
    raise SystemExit(main())
