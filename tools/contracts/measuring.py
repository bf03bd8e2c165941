"""What is measured beside predictions: a user's own metric, and how fast and how large a model is."""

from datetime import timedelta
from typing import Literal

from tools.contracts.base import Contract
from tools.contracts.profile import Task


class MetricJob(Contract):
    """Call a function of the user's on one model's scored rows, in a subprocess."""

    name: str
    """`FILE.py:FUNCTION`, the file relative to `root`."""
    root: str
    """Folder of the workspace; the file must lie in it, links followed."""
    rows: str
    """Parquet path of the rows."""
    scored: str
    """Parquet path of the model's outputs, row for row: `prediction`, and `proba:<class>` where there are."""
    features: tuple[str, ...]
    target: str
    output: str
    """Parquet path to write: `value`, one finite number a row."""
    time_limit: timedelta
    memory_limit_mb: int


class MetricResult(Contract):
    """What came of it. Whatever the function does is a result."""

    status: Literal["measured", "failed", "timed_out", "out_of_memory"]
    output: str | None = None
    digest: str | None = None
    """sha256 of the function's file; absent where there is none."""
    statement: str
    """Half a sentence about the metric: why there is nothing, or how many rows."""


class TimingJob(Contract):
    """Time single-row predictions of two models in turn, a new process each time, and nothing else meanwhile."""

    champion_uri: str
    candidate_uri: str
    champion_digest: str | None = None
    """Artifact digest recorded at registration; a difference is refused."""
    rows: str
    """Parquet path: rows to predict, one at a time, over and over."""
    features: tuple[str, ...]
    task: Task
    pairs: int
    """Processes a model; which of the two goes first alternates."""
    calls: int
    """Timed predictions a process, after `warm_up` ones that are not."""
    warm_up: int
    time_limit: timedelta
    """A process."""
    memory_limit_mb: int
    environment: Literal["ours_if_it_fits", "build"] = "ours_if_it_fits"


class TimingResult(Contract):
    """Milliseconds a call: a tuple a process, champion and candidate of the same place ran one after the other."""

    champion_ms: tuple[tuple[float, ...], ...] = ()
    candidate_ms: tuple[tuple[float, ...], ...] = ()
    fault: str | None = None
    """Why there is nothing, as half a sentence; the tuples are empty then."""
