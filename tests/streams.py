"""A small stream whose rule changes half-way: what a champion from before knows is worth nothing afterwards."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

CHANGE = datetime(2026, 4, 1, tzinfo=UTC)
"""From here on `b` decides the label, before it was `a`."""
NOW = datetime(2026, 7, 1, tzinfo=UTC)


def stream(every: str = "30min") -> pd.DataFrame:
    """Half a year of rows at `at`, features a, b, c, label y; one label in ten is wrong."""
    generator = np.random.default_rng(7)
    at = pd.date_range("2026-01-01", "2026-06-30 23:59", freq=every)
    a, b, c = generator.normal(size=(3, len(at)))
    decides = np.where(at < pd.Timestamp(CHANGE.replace(tzinfo=None)), a, b)
    y = ((decides > 0) ^ (generator.random(len(at)) < 0.1)).astype("int64")
    return pd.DataFrame({"at": at, "a": a, "b": b, "c": c, "y": y})


def queries(every: str = "2h", items: int = 6) -> pd.DataFrame:
    """The same world as a ranking: a query at each time, its items a minute apart, relevance y from 0 to 2.

    A cut at midnight tears a query: its first item falls before, the others behind.
    """
    generator = np.random.default_rng(7)
    start = pd.date_range("2026-01-01", "2026-06-30 23:59", freq=every)
    at = start.repeat(items) + pd.to_timedelta(np.tile(np.arange(items), len(start)), unit="min")
    a, b, c = generator.normal(size=(3, len(at)))
    decides = np.where(at < pd.Timestamp(CHANGE.replace(tzinfo=None)), a, b) + generator.normal(size=len(at)) / 2
    query = np.repeat([f"q{number:05d}" for number in range(len(start))], items)
    return pd.DataFrame({"at": at, "query": query, "a": a, "b": b, "c": c, "y": np.digitize(decides, [0.8, 1.6])})
