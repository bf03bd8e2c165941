"""Which windows are data validation's evals measured on? Drawn from the streams in time order.

A reference of 3,000 rows, later a window of 600, 1,500 or 3,000 rows; less where a stream has not as many.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from evals.decisions.staleness_streams import Stream
from evals.report import Row, at_most
from tools.contracts.profile import ValidationSpec
from tools.sampled_rows import SampledRows

SPEC: Final = ValidationSpec()
REFERENCE: Final = 3_000
SIZES: Final = (600, 1_500, 3_000)


@dataclass(frozen=True)
class Cut:
    """A window and the reference before it."""

    stream: Stream
    reference: Any
    window: Any


def cuts(streams: tuple[Stream, ...], times: int, random: np.random.Generator) -> Iterator[Cut]:
    """So many windows, streams and sizes in turn."""
    for number in range(times):
        stream = streams[number % len(streams)]
        frame = stream.frame
        size = min(SIZES[number // len(streams) % len(SIZES)], len(frame) // 3)
        before = min(REFERENCE, len(frame) // 3)
        start = int(random.integers(before, len(frame) - size + 1))
        first = int(random.integers(0, start - before + 1))
        yield Cut(stream, frame.iloc[first : first + before], frame.iloc[start : start + size].reset_index(drop=True))


def sample(frame: Any, stream: Stream, features: tuple[str, ...]) -> SampledRows:
    """The rows as a run's checks get them."""
    return SampledRows.from_frame(
        frame, features=features, target=stream.target, event_time=stream.time, task=stream.task, newest=3_000
    )


def event(frame: Any, stream: Stream) -> Any:
    """The commonest class, or a value above the median: what a leak gives away."""
    values = frame[stream.target]
    return (values > values.median() if stream.task == "regression" else values == values.mode()[0]).to_numpy(bool)


def few(name: str, hits: int, n: int) -> Row:
    """Met as the issue states it: at most 2 of 100."""
    row = at_most(name, hits, n, 0.02)
    return Row(row.name, row.value, row.low, row.high, row.n, "at most 2 of 100", hits <= 0.02 * n)
