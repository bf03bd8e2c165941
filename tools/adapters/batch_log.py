# pyright: basic
"""What did each version answer in its table, and what did the rows' own labels turn out to be?"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tools.adapters.batch_rows import request_of
from tools.adapters.row_digest import ROW_HASH
from tools.adapters.traffic_log import IbisTrafficLog
from tools.contracts.profile import BatchTarget, Profile, TrafficLogSpec
from tools.label_join import Labels, with_labels
from tools.observations import Observations
from tools.paired_rows import label_text
from tools.ports import DataSource

MOST_LABELS = 1_000_000
_MATURE = "__mature"


class BatchLog:
    """Port `TrafficLog` over the output and the shadow; an answer's time is when it was scored.

    Args:
        profile: Of the model.
        spec: Its target.
        data: Where the rows, and with them the labels, come from.
        root: Relative sources start here.
        environ: Where `${NAME}` in a source is looked up.
    """

    def __init__(
        self, profile: Profile, spec: BatchTarget, data: DataSource, root: Path, environ: Mapping[str, str]
    ) -> None:
        self._profile, self._spec, self._data = profile, spec, data
        self._tables = [IbisTrafficLog(_columns(source), None, root, environ) for source in (spec.output, spec.shadow)]

    def observations(self, versions: Sequence[str], since: datetime, until: datetime, limit: int) -> Observations:
        """See the port."""
        parts = [table.observations(versions, since, until, limit) for table in self._tables]
        answers = _together(parts)
        if self._profile.task == "classification":
            answers = replace(answers, prediction=_texts(answers.prediction))
        if not len(answers):
            return answers
        joined = with_labels(answers, self._labels(answers, until), until.timestamp())
        return replace(joined, orphan_labels=0)  # rows that were not scored are no lost requests

    def _labels(self, answers: Observations, until: datetime) -> Labels:
        """Of the rows in the answers' partitions, as far as they were final at `until`."""
        import pyarrow.parquet as pq

        spec, length = self._profile.data, self._spec.partition
        stamps = [str(each).rpartition("@")[2] for each in answers.request_id]
        first, last = (
            datetime.strptime(each, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for each in (min(stamps), max(stamps))
        )
        extra = () if spec.label_time is None else (spec.label_time,)
        with tempfile.TemporaryDirectory(prefix="retraining-batch-") as name:
            path = Path(name) / "rows.parquet"
            self._data.write_window(spec, first, last + length, path, MOST_LABELS, known_by=until, extra_columns=extra)
            wanted = list(dict.fromkeys([ROW_HASH, _MATURE, spec.event_time, spec.target, *extra]))
            rows = [row for row in pq.read_table(path, columns=wanted).to_pylist() if row[_MATURE]]
        events = [_utc(row[spec.event_time]) for row in rows]
        ids, labels = np.empty(len(rows), dtype=object), np.empty(len(rows), dtype=object)
        ids[:] = [request_of(row[ROW_HASH], event, length) for row, event in zip(rows, events, strict=True)]
        labels[:] = [row[spec.target] for row in rows]
        known = [
            event + spec.label_maturity if spec.label_time is None else _utc(row[spec.label_time])
            for row, event in zip(rows, events, strict=True)
        ]
        if self._profile.task == "classification":
            labels = _texts(labels)
        return Labels(ids, labels, np.array([each.timestamp() for each in known], dtype=np.float64))


def _columns(source: str) -> TrafficLogSpec:
    return TrafficLogSpec(
        source=source, version="model_version", time="scored_at", probability="probability", mirrored="mirrored"
    )


def _together(parts: Sequence[Observations]) -> Observations:
    arrays = [each.name for each in fields(Observations) if isinstance(getattr(parts[0], each.name), np.ndarray)]
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    whole = Observations(**joined)
    order: Any = np.argsort(whole.at, kind="stable")
    return replace(whole.of(order), cut=any(part.cut for part in parts))


def _texts(values: Any) -> Any:
    """Classes as text, so that 1, 1.0 and True of two versions are one class."""
    out = np.empty(len(values), dtype=object)
    out[:] = [None if value is None else label_text(value) for value in values]
    return out


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
