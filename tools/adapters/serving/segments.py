# pyright: basic
"""What did each version answer? Read from the segment files that the servers write."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from tools.errors import Unavailable
from tools.observations import Observations, no_observations, thinned

Labels = Callable[[Observations, datetime], Observations]
"""Puts the labels known by a time beside the answers."""
SLACK = 2.0
"""Seconds between an answer's time and its file's: files older than what is asked for are not opened."""


class SegmentLog:
    """Port `TrafficLog` over a folder with a folder a version.

    Args:
        folder: Where the versions' segment files lie.
        labels: Joins labels; without it none is known.
    """

    def __init__(self, folder: Path, labels: Labels | None = None) -> None:
        self._folder, self._labels = folder, labels

    def observations(self, versions: Sequence[str], since: datetime, until: datetime, limit: int) -> Observations:
        """See the port."""
        rows: list[dict[str, Any]] = []
        cut = False
        for version in versions:
            mine = [row for row in self._rows(version, since.timestamp()) if _within(row, since, until)]
            mine.sort(key=lambda row: row["at"])
            cut = cut or len(mine) > limit
            rows += compress(mine, thinned([str(row["id"]) for row in mine], limit))
        found = _arrays(sorted(rows, key=lambda row: row["at"]), cut)
        return found if self._labels is None else self._labels(found, until)

    def _rows(self, version: str, since: float) -> Iterator[dict[str, Any]]:
        folder = self._folder / version
        try:
            files = sorted(folder.glob("*.jsonl")) if folder.exists() else []
            for file in files:
                if file.stat().st_mtime < since - SLACK:
                    continue
                with file.open("rb") as lines:
                    yield from parsed(lines)
        except FileNotFoundError:
            return  # the oldest segment was dropped meanwhile
        except OSError as error:
            raise Unavailable(f"the log of answers cannot be read: {error}", thing="serving log") from error


def parsed(lines: Any) -> Iterator[dict[str, Any]]:
    """Whole lines; the last one may be under way, and one that a full disk cut is no answer."""
    for line in lines:
        if not line.endswith(b"\n"):
            return
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "at" in row and "id" in row:
            yield row


def _within(row: dict[str, Any], since: datetime, until: datetime) -> bool:
    return since.timestamp() <= row["at"] < until.timestamp()


def _arrays(rows: list[dict[str, Any]], cut: bool) -> Observations:
    if not rows:
        return no_observations()

    def of(name: str) -> list[Any]:
        return [row.get(name) for row in rows]

    def numbers(name: str) -> Any:
        return np.array([np.nan if value is None else value for value in of(name)], dtype=np.float64)

    def objects(name: str) -> Any:
        column = np.empty(len(rows), dtype=object)
        column[:] = of(name)
        return column

    return Observations(
        request_id=objects("id"),
        version=objects("version"),
        at=numbers("at"),
        mirrored=np.array(of("mirrored"), dtype=np.bool_),
        failed=np.array(of("failed"), dtype=np.bool_),
        latency_ms=numbers("ms"),
        prediction=objects("prediction"),
        probability=numbers("probability"),
        label=np.full(len(rows), None, dtype=object),
        label_at=np.full(len(rows), np.nan),
        cut=cut,
    )
