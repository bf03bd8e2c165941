"""When is retraining worth it? `python -m evals.decisions.when [--stream FILE --time COL --target COL] [--quick] [--json FILE]`

Policies are replayed over error matrices (`when_matrices`) of electricity, weather and flights, or of a stream of anybody's own,
and held against the oracle (`when_policies`, `when_excess`); ours is the product's `tools.when_expected`. Apart from them streams
whose truth is known (`when_synthetic`), and pipelines that break beside worlds that change (`when_pipeline`). Nothing is tuned on
what is reported: every policy has the warm-up, and the constants of ours were chosen on other streams (docs/design/when.md keeps
the log).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from evals.decisions import when_excess, when_matrices, when_pipeline, when_synthetic
from evals.decisions.staleness_streams import Stream, from_file, shipped
from evals.decisions.when_excess import Spent, beyond, excess, interval
from evals.decisions.when_policies import NAMES, OURS
from evals.report import Row, arguments, publish
from tools.errors import BadInput

SEEDS: Final = 3
PARTS: Final = ("streams", "detectors", "known", "pipeline")
"""Error matrices of the streams; the detectors beside the other policies; streams whose truth is known; broken pipelines."""
RIVALS: Final = tuple(NAMES[name] for name in ("periodic", "cumulative_loss", "forecast"))
MOST: Final = 0.065
WORSE: Final = 0.05
DECAYED_AT: Final = 0.01
"""Cost from which a stream that does not decay may be retrained once at most."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, writes."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--stream", type=Path, help="Parquet or CSV file in place of the three streams")
    parser.add_argument("--time", default="event_time", help="its time column")
    parser.add_argument("--target", help="its target column")
    parser.add_argument("--drop", default="", help="its columns that no model may see, with commas between")
    parser.add_argument("--workers", type=int, default=when_matrices.WORKERS, help="processes that train")
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="only this part (may be repeated); all where absent"
    )
    asked = parser.parse_args(argv)
    try:
        found = measure(
            _streams(asked),
            quick=asked.quick,
            own=asked.stream is not None,
            parts=asked.part or PARTS,
            workers=asked.workers,
        )
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    publish(found, asked.json)
    return 0


def _streams(asked: argparse.Namespace) -> tuple[Stream, ...]:
    if asked.stream is None:
        return shipped()
    if asked.target is None:
        raise BadInput("--stream without --target", thing="--target", remedy="name the target column")
    dropped = tuple(name.strip() for name in asked.drop.split(",") if name.strip())
    return (from_file(asked.stream, asked.time, asked.target, drop=dropped),)


def measure(
    streams: tuple[Stream, ...], *, quick: bool, own: bool, parts: Sequence[str] = PARTS, workers: int = 1
) -> list[Row]:
    """Every row of the parts: the targets first, then stream by stream."""
    blocks, seeds = (16, 1) if quick else (when_matrices.BLOCKS, SEEDS)
    short = tuple(_shortened(stream) for stream in streams) if quick else streams
    spent: dict[str, list[Spent]] = {}
    known: dict[str, list[Spent]] = {}
    rivals = "detectors" in parts
    if "streams" in parts:
        for stream in short:
            spent[stream.name] = _excesses(
                when_matrices.matrices([stream], range(seeds), blocks, workers), quick, rivals
            )
    if "known" in parts and not own:
        for kind in (when_synthetic.NO_DECAY,) if quick else when_synthetic.KINDS:
            made = [when_synthetic.stream(kind, seed, blocks) for seed in range(seeds)]
            matrices = [m for stream in made for m in when_matrices.matrices([stream], [0], blocks, workers)]
            known[made[0].name] = _excesses(matrices, quick, rivals)
    rows = [*(_headline(spent, own) if spent else ()), *_worst(spent | known), *_idle(known)]
    if "pipeline" in parts:
        rows += when_pipeline.rows(streams, quick=quick)
    for name, configurations in (spent | known).items():
        rows += _table(name, configurations)
    return rows


def _shortened(stream: Stream) -> Stream:
    return Stream(stream.name, stream.frame.head(8_000), stream.time, stream.target, stream.task, stream.features)


def _excesses(matrices: list[when_matrices.Matrix], quick: bool, detectors: bool) -> list[Spent]:
    if quick:
        return when_excess.spend(matrices, costs=(0.003, 0.05), offsets=(0,), lags=(0, 1), detectors=detectors)
    return when_excess.spend(matrices, detectors=detectors)


def _headline(spent: dict[str, list[Spent]], own: bool) -> list[Row]:
    means = [excess(configurations, OURS) for configurations in spent.values()]
    mean = float(np.mean(means))
    rows = (
        []
        if own
        else [
            Row(
                "real streams: ours, mean excess over the oracle",
                mean,
                n=len(means),
                target="at most 6.5%",
                met=mean <= MOST,
            )
        ]
    )
    better = 0
    for name, configurations in spent.items():
        rival = min(RIVALS, key=lambda policy: excess(configurations, policy))
        low, high = interval(configurations, OURS, less=rival)
        value = excess(configurations, OURS) - excess(configurations, rival)
        better += high < 0
        rows.append(
            Row(
                f"{name}: ours less {rival}, the best rival",
                value,
                low,
                high,
                _blocks(configurations),
                "not above 0 beyond its interval",
                low <= 0,
            )
        )
    if not own:
        rows.append(
            Row(
                "real streams on which ours is surely better than the best rival",
                better,
                n=len(spent),
                target="2 of 3",
                met=better >= 2,
            )
        )
    return rows


def _worst(spent: dict[str, list[Spent]]) -> list[Row]:
    """Ours against the better of never and always, by excess; a stream a row."""
    rows: list[Row] = []
    for name, configurations in spent.items():
        other = min(("never", "every block"), key=lambda policy: excess(configurations, policy))
        value, low, high = beyond(configurations, OURS, other)
        rows.append(
            Row(
                f"{name}: ours beyond {other}, the better of never and always",
                value,
                low,
                high,
                _blocks(configurations),
                "at most 5%",
                value <= WORSE,
            )
        )
    return rows


def _idle(known: dict[str, list[Spent]]) -> list[Row]:
    rows: list[Row] = []
    for name, configurations in known.items():
        if name.endswith(when_synthetic.NO_DECAY):
            dear = [one for one in configurations if one.cost >= DECAYED_AT]
            ours, best = (float(np.mean([one.trainings[who] for one in dear])) for who in (OURS, "oracle"))
            worst = max(one.trainings[OURS] for one in dear)
            rows.append(
                Row(
                    f"{name}, cost from .01: trainings of ours, mean",
                    ours,
                    n=len(dear),
                    target="at most 1",
                    met=ours <= 1,
                )
            )
            rows.append(
                Row(
                    f"{name}, cost from .01: most trainings of ours",
                    worst,
                    n=len(dear),
                    target="at most 1",
                    met=worst <= 1,
                )
            )
            rows.append(Row(f"{name}, cost from .01: trainings of the oracle, mean", best, n=len(dear)))
    return rows


def _table(name: str, configurations: list[Spent]) -> list[Row]:
    rows: list[Row] = []
    for policy in configurations[0].policies:
        low, high = interval(configurations, policy)
        trained = np.mean([one.trainings[policy] for one in configurations])
        rows.append(
            Row(
                f"{name}: {policy} ({trained:.1f} trainings)",
                excess(configurations, policy),
                low,
                high,
                _blocks(configurations),
            )
        )
    for lag in sorted({one.lag for one in configurations}):
        some = [one for one in configurations if one.lag == lag]
        low, high = interval(some, OURS)
        rows.append(Row(f"{name}, labels {lag} blocks late: {OURS}", excess(some, OURS), low, high, _blocks(some)))
    return rows


def _blocks(configurations: list[Spent]) -> int:
    return int(max(np.count_nonzero(one.oracle) for one in configurations))


if __name__ == "__main__":
    sys.exit(main())
