"""A batch target on rows in memory and models that are functions; a day passes when the test says so."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from tools.adapters.batch_target import BatchTargetAdapter
from tools.adapters.memory_data import MemoryData
from tools.adapters.memory_training import ScriptedScorer
from tools.contracts.profile import BatchTarget, DataSpec, MetricsSpec, PrimaryMetric, Profile

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
A_DAY = 4
"""Rows."""


def day(number: float) -> datetime:
    return FIRST + timedelta(days=number)


def rows(days: float) -> pd.DataFrame:
    count = round(days * A_DAY)
    at = [FIRST + timedelta(days=i / A_DAY, minutes=5) for i in range(count)]
    values = [float(i % 7) for i in range(count)]
    return pd.DataFrame({"id": range(count), "at": pd.to_datetime(at, utc=True), "x": values, "y": values})


class World:
    """Data of many days, of which the clock hides the later ones; `now` may be moved, `models` exchanged."""

    def __init__(
        self,
        folder: Path,
        *,
        start: float = 3.5,
        days_a_look: float = 0,
        environ: Mapping[str, str] | None = None,
        **target: Any,
    ) -> None:
        self.environ = environ
        self.folder, self.now, self._step = folder, day(start), timedelta(days=days_a_look)
        self.data = MemoryData({"rows": rows(40)})
        self.scorer = ScriptedScorer(
            {f"models:/prices/{version}": self._constant(float(version)) for version in ("5", "6", "7")}
        )
        self.digests: dict[str, str] = {}
        """Recorded ones, by version."""
        spec = {"output": "output", "shadow": "shadow", "partitions": 2} | target
        self.profile = Profile(
            id="prices",
            registered_model="prices",
            task="regression",
            data=DataSpec(source="rows", event_time="at", target="y", features=("x",), key=("id",)),
            metrics=MetricsSpec(primary=PrimaryMetric(name="mae")),
            target=BatchTarget(**spec),
        )
        self.target = self.again()

    def again(self) -> BatchTargetAdapter:
        """Another process's target over the same folders."""
        return BatchTargetAdapter(
            self.profile,
            data=self.data,
            scorer=self.scorer,
            root=self.folder,
            work_dir=self.folder / "work",
            clock=self._clock,
            environ=self.environ,
            digest_of=self.digests.get,
        )

    def output(self) -> dict[int, str]:
        """Day to the version that wrote it."""
        return {(each.start - FIRST).days: each.version for each in self.target._output.written()}

    def shadow(self) -> dict[int, str]:
        return {(each.start - FIRST).days: each.version for each in self.target._shadow.written()}

    def _clock(self) -> datetime:
        self.now += self._step
        return self.now

    @staticmethod
    def _constant(add: float) -> Any:
        return lambda frame: {"prediction": frame["x"].to_numpy() + add}
