# pyright: basic
"""The drift-detective in this process: reads two Parquet windows and answers in the peer's own message.

The arithmetic is `tools.drift`; this file reads a bounded, even sample of the rows, finds what became of each column's
type, and words the reply.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.adapters import evidently_report
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.peers import (
    DriftAlert,
    DriftReply,
    DriftReport,
    DriftRequest,
    Envelope,
    FeatureDrift,
    PeerRecommendation,
    RootCause,
)
from tools.contracts.profile import DriftTrigger
from tools.errors import Unavailable
from tools.ports import Clock
from tools.staleness import BROKEN_DATA

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from tools.drift import ColumnDrift

MAX_ROWS = 50_000
"""Rows a window, taken evenly over the file."""
REPORT_NAME = "drift.html"
_SEVERITY = {
    "ok": "none",
    "bad": "drifted",
    "could_not_tell": "could_not_tell",
    "could_not_measure": "could_not_measure",
}


class LocalDriftDetective:
    """Port `DriftDetective` without a server.

    Args:
        clock: Stamps the reply.
        html: Also write Evidently's report; it takes about ten seconds of import.
        max_rows: Bound of each window.
    """

    def __init__(self, clock: Clock, *, html: bool = True, max_rows: int = MAX_ROWS) -> None:
        self._clock = clock
        self._html = html
        self._max_rows = max_rows

    def detect(self, request: Envelope[DriftRequest], report_folder: Path) -> Envelope[DriftReply]:
        """Compares `currentDataWindow` with `referenceData`, both paths of Parquet files.

        `thresholds.dataDrift` is the share of columns from which the data set counts as drifted, `thresholds.minEffect`
        the least distance of one column; a profile's defaults where absent. Without `features`, all columns of the
        reference are compared but those whose name begins with two underscores.

        Raises:
            Unavailable: A path is missing or cannot be read: no reply can be made.
        """
        config, thresholds = request.payload.monitoring_config, request.payload.thresholds
        least, share = DriftTrigger().min_effect, DriftTrigger().share_of_columns
        if thresholds is not None:
            least = thresholds.min_effect if thresholds.min_effect is not None else least
            share = thresholds.data_drift if thresholds.data_drift is not None else share
        reference = self._read(config.reference_data, "referenceData", config.features)
        current = self._read(config.current_data_window, "currentDataWindow", config.features)
        names = config.features or tuple(n for n in reference.column_names if not n.startswith("__"))
        columns = _measure(reference, current, names, least)
        report_path, note = self._report(reference, current, names, report_folder / REPORT_NAME, least, share)
        return Envelope[DriftReply](
            schema_version=SCHEMA_VERSION,
            run_id=request.run_id,
            model_id=request.model_id,
            model_version=request.model_version,
            data_window_digest=request.data_window_digest,
            sent_at=self._clock(),
            sender="drift-detective (in process)",
            payload=_reply(columns, share, report_path, note),
        )

    def _read(self, path: str | None, field: str, features: Sequence[str] | None) -> "pa.Table":
        """At most `max_rows` rows, evenly over the file, without ever holding more than a batch besides."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        remedy = "give the path of a readable Parquet file"
        if not path:
            raise Unavailable(f"the drift request names no {field}", thing=field, remedy=remedy)
        try:
            with pq.ParquetFile(path) as file:
                wanted = [n for n in file.schema_arrow.names if features is None or n in features]
                schema = pa.schema([file.schema_arrow.field(n) for n in wanted])
                total = file.metadata.num_rows
                if total <= self._max_rows:
                    return file.read(columns=wanted).select(wanted)
                kept, seen, taken = [], 0, 0
                for batch in file.iter_batches(columns=wanted):
                    rows = []
                    while taken < self._max_rows and taken * total // self._max_rows < seen + batch.num_rows:
                        rows.append(taken * total // self._max_rows - seen)
                        taken += 1
                    kept.append(batch.select(wanted).take(pa.array(rows, type=pa.int64())))
                    seen += batch.num_rows
                return pa.Table.from_batches(kept, schema=schema)
        except (OSError, pa.ArrowException) as error:
            raise Unavailable(
                f"{field} cannot be read: {path}: {error}", thing=field, value=path, remedy=remedy
            ) from error

    def _report(
        self, reference: "pa.Table", current: "pa.Table", names: Sequence[str], path: Path, least: float, share: float
    ) -> tuple[str | None, str]:
        if not self._html:
            return None, ""
        try:
            evidently_report.write_report(_frame(reference), _frame(current), path, names, threshold=least, share=share)
        except Unavailable as failure:
            return None, f"There is no HTML report: {failure.message}."
        return str(path), ""


def _frame(table: "pa.Table"):
    rows = table.num_rows
    step = max(1, rows // evidently_report.MAX_ROWS)
    return table.take(list(range(0, rows, step))).to_pandas() if step > 1 else table.to_pandas()


def _measure(
    reference: "pa.Table", current: "pa.Table", names: Sequence[str], least: float
) -> "tuple[ColumnDrift, ...]":
    from tools import drift

    return drift.correct([_column(name, reference, current, least) for name in names], least)


def _column(name: str, reference: "pa.Table", current: "pa.Table", least: float) -> "ColumnDrift":
    from tools import drift

    n, m = reference.num_rows, current.num_rows
    if name not in current.column_names:
        return drift.vanished(name, n, m)
    if name not in reference.column_names:
        return drift.not_comparable(name, "the reference window has no such column", n, m)
    before, after = reference.schema.field(name).type, current.schema.field(name).type
    kinds = _kind(before), _kind(after)
    # A column of nothing but nulls may have lost its type with its values: it is compared as the other's.
    kind_before, kind_after = (k if k != "null" else other for k, other in zip(kinds, reversed(kinds), strict=True))
    if kind_before != kind_after:
        return drift.type_changed(name, str(before), str(after), n, m)
    if kind_before == "other":
        return drift.not_comparable(name, f"columns of type {before} have no distance", n, m)
    kind: Any = "categorical" if kind_before == "null" else kind_before
    ref, cur = _values(reference, name, kind), _values(current, name, kind)
    return drift.column_drift(ref, cur, kind, least, column=name)


def _kind(type_: "pa.DataType") -> str:
    import pyarrow.types as t

    if t.is_dictionary(type_):
        return _kind(type_.value_type)
    if t.is_null(type_):
        return "null"
    if t.is_boolean(type_):
        return "boolean"
    if t.is_integer(type_) or t.is_floating(type_) or t.is_decimal(type_) or t.is_temporal(type_):
        return "numeric"
    if t.is_string(type_) or t.is_large_string(type_) or t.is_string_view(type_):
        return "categorical"
    return "other"


def _values(table: "pa.Table", name: str, kind: str) -> "np.ndarray":
    import numpy as np
    import pyarrow as pa
    import pyarrow.types as t

    column = table[name]
    if t.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind != "numeric":
        return np.array(column.to_pylist(), dtype=object)
    if t.is_temporal(column.type):
        # Any unit will do for a distance over quantiles, as long as both windows share it.
        series = column.to_pandas()
        if t.is_time(column.type):
            return np.array([None if v is None else _seconds(v) for v in column.to_pylist()], dtype=object)
        import pandas as pd

        stamps = pd.to_timedelta(series) if t.is_duration(column.type) else pd.to_datetime(series, utc=True)
        origin = pd.Timedelta(0) if t.is_duration(column.type) else pd.Timestamp(0, tz="UTC")
        return ((stamps - origin) / pd.Timedelta(seconds=1)).to_numpy(dtype="float64")
    if t.is_null(column.type):
        return np.full(len(column), np.nan)
    return column.cast(pa.float64(), safe=False).to_pandas().to_numpy(dtype="float64")


def _seconds(value) -> float:
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def _reply(columns: "Sequence[ColumnDrift]", threshold: float, report_path: str | None, note: str) -> DriftReply:
    from tools import drift

    overall = drift.share_drifted(columns)
    drifted = [c for c in columns if c.outcome == "bad"]
    broken = [c for c in drifted if c.drift_type in BROKEN_DATA]
    return DriftReply(
        drift_report=DriftReport(overall_drift_score=overall, feature_drift=tuple(_feature(c) for c in columns)),
        root_cause=_root_cause(columns, note),
        alerts=_alerts(columns, overall, threshold, note),
        recommendations=_recommendations(
            [c.column for c in broken], [c.column for c in drifted], (overall or 0.0) >= threshold
        ),
        report_path=report_path,
    )


def _feature(column: "ColumnDrift") -> FeatureDrift:
    return FeatureDrift(
        feature=column.column,
        drift_score=column.effect,
        drift_type=column.drift_type,
        severity=_SEVERITY[column.outcome],
        p_value=column.p_value,
        method=column.method or None,
        reference_rows=column.reference_rows,
        current_rows=column.current_rows,
    )


def _root_cause(columns: "Sequence[ColumnDrift]", note: str) -> RootCause:
    drifted = sorted((c for c in columns if c.outcome == "bad"), key=lambda c: -(c.effect or 1.0))
    undecided = [c for c in columns if c.outcome.startswith("could_not")]
    broken = [c.column for c in drifted if c.drift_type in BROKEN_DATA]
    evidence = tuple(c.statement for c in (*drifted, *undecided)) + ((note,) if note else ())
    if broken:
        hypothesis = f"The data themselves are broken or were changed at their source: {', '.join(broken)}."
        return RootCause(hypothesis=hypothesis, evidence=evidence, confidence="high")
    if drifted:
        hypothesis = f"The distribution moved in {', '.join(c.column for c in drifted)}."
        return RootCause(hypothesis=hypothesis, evidence=evidence, confidence="medium")
    if undecided:
        hypothesis = f"No drift was found, but it could not be told for {', '.join(c.column for c in undecided)}."
        return RootCause(hypothesis=hypothesis, evidence=evidence, confidence="low")
    return RootCause(hypothesis="No column drifted.", evidence=evidence, confidence="high")


def _alerts(
    columns: "Sequence[ColumnDrift]", overall: float | None, threshold: float, note: str
) -> tuple[DriftAlert, ...]:
    drifted = sum(c.outcome == "bad" for c in columns)
    if overall is None:
        message = "No column could be measured: whether the data drifted is unknown."
        alerts = [DriftAlert(type="data_drift", severity="could_not_measure", message=message, triggered=True)]
    else:
        decided = sum(c.outcome in ("ok", "bad") for c in columns)
        message = f"{drifted} of {decided} measured columns drifted; the data set counts from a share of {threshold:g}."
        severity = "high" if overall >= threshold else "low"
        alerts = [DriftAlert(type="data_drift", severity=severity, message=message, triggered=overall >= threshold)]
    alerts += [
        DriftAlert(type=c.drift_type, severity="high", message=c.statement, triggered=True)
        for c in columns
        if c.outcome == "bad" and c.drift_type in BROKEN_DATA
    ]
    if note:
        alerts.append(DriftAlert(type="report_missing", severity="low", message=note, triggered=True))
    return tuple(alerts)


def _recommendations(broken: list[str], drifted: list[str], over: bool) -> tuple[PeerRecommendation, ...]:
    if broken:
        why = f"Mend these columns before any training on them: {', '.join(broken)}."
        return (PeerRecommendation(action="fix_data", priority="high", rationale=why),)
    if over and drifted:
        why = f"The data set drifted in {', '.join(drifted)}; whether the model suffers is for the labels to say."
        return (PeerRecommendation(action="check_performance", priority="medium", rationale=why),)
    return (PeerRecommendation(action="keep_watching", priority="low", rationale="Too little drifted to act on."),)
