# pyright: basic
"""The drift-detective in this process: reads Parquet windows and answers in the peer's own message.

The arithmetic is `tools.drift`, the words are `tools.drift_reply`, what columns become is `tools.adapters.drift_columns`; this
file reads a bounded, even sample of the rows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tools.adapters import evidently_report
from tools.adapters.parquet_rows import even, names
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.peers import DriftReply, DriftRequest, Envelope, MonitoringConfig
from tools.contracts.profile import DriftTrigger, TriggersSpec
from tools.errors import Unavailable
from tools.ports import Clock

if TYPE_CHECKING:
    import pyarrow as pa

    from tools.drift import ColumnDrift

MAX_ROWS = 50_000
"""Rows a window, taken evenly over the file."""
REPORT_NAME = "drift.html"


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
        """Compares `currentDataWindow` with `referenceData`, and with `baselineData` what only rows that the champion was not
        trained on can tell: its predictions and the labels. All are paths of Parquet files.

        `thresholds.dataDrift` is the share of columns from which the data set counts as drifted, `thresholds.minEffect`
        the least distance of one column; a profile's defaults where absent. Without `features`, all columns of the
        reference are compared but target, event time and those whose name begins with two underscores.

        Raises:
            Unavailable: A path of reference or current rows is missing or cannot be read: no reply can be made.
        """
        from tools import drift, drift_reply
        from tools.adapters.drift_columns import Windows

        config, thresholds = request.payload.monitoring_config, request.payload.thresholds
        least, share = DriftTrigger().min_effect, DriftTrigger().share_of_columns
        if thresholds is not None:
            least = thresholds.min_effect if thresholds.min_effect is not None else least
            share = thresholds.data_drift if thresholds.data_drift is not None else share
        looks = config.checks_a_year or TriggersSpec().checks_a_year
        reference = self._read(config.reference_data, "referenceData", config)
        current = self._read(config.current_data_window, "currentDataWindow", config)
        own = {config.event_time, config.target}
        features = config.features or tuple(
            n for n in reference.column_names if not n.startswith("__") and n not in own
        )
        windows = Windows(reference, current, config.event_time, config.text)
        columns = drift.correct([windows.feature(name, least) for name in features], least, looks=looks)
        columns = windows.detached(columns)
        columns = drift.weigh([windows.dated(column, least) for column in columns], config.importance)
        predictions, labels = self._sides(config, current, least, looks)
        report_path, note = self._report(reference, current, features, report_folder / REPORT_NAME, least, share)
        return Envelope[DriftReply](
            schema_version=SCHEMA_VERSION,
            run_id=request.run_id,
            model_id=request.model_id,
            model_version=request.model_version,
            data_window_digest=request.data_window_digest,
            request_id=request.request_id,
            sent_at=self._clock(),
            sender="drift-detective (in process)",
            payload=drift_reply.reply(
                columns=columns,
                predictions=predictions,
                labels=labels,
                performance=config.performance,
                share=share,
                report_path=report_path,
                notes=[note] if note else [],
            ),
        )

    def _sides(
        self, config: MonitoringConfig, current: "pa.Table", least: float, looks: int
    ) -> "tuple[ColumnDrift | None, ColumnDrift | None]":
        """Predictions and labels, held against the baseline rows; None where the request does not name them."""
        from tools import drift
        from tools.adapters.drift_columns import PREDICTION, Windows

        if config.baseline_data is None and config.target is None:
            return None, None
        try:
            baseline = self._read(config.baseline_data, "baselineData", config)
        except Unavailable as failure:
            why = failure.message
            missing = [
                drift.not_comparable(n, why, 0, current.num_rows) for n in ("predictions", config.target or "labels")
            ]
            return missing[0], missing[1]
        windows = Windows(baseline, current, config.event_time)
        asked: list[tuple[str, str, Callable[[], ColumnDrift]]] = [
            ("predictions", PREDICTION, lambda: windows.predictions(config.task, least))
        ]
        if config.target is not None:
            target = config.target
            asked.append((target, target, lambda: windows.labels(target, config.task, least)))
        found = [self._side(what, column, baseline, current, measure) for what, column, measure in asked]
        corrected = drift.correct(found, least, looks=looks)
        return corrected[0], corrected[1] if len(corrected) > 1 else None

    @staticmethod
    def _side(
        what: str, column: str, baseline: "pa.Table", current: "pa.Table", measure: "Callable[[], ColumnDrift]"
    ) -> "ColumnDrift":
        from tools import drift

        for rows, which in ((baseline, "baseline"), (current, "current")):
            if column not in rows.column_names:
                return drift.not_comparable(
                    what, f"the {which} rows have no column {column!r}", baseline.num_rows, current.num_rows
                )
        return measure()

    def _read(self, path: str | None, field: str, config: MonitoringConfig) -> "pa.Table":
        """At most `max_rows` rows, evenly over the file."""
        import pyarrow as pa

        remedy = "give the path of a readable Parquet file"
        if not path:
            raise Unavailable(f"the drift request names no {field}", thing=field, remedy=remedy)
        try:
            return even(path, [n for n in names(path) if wanted(n, config)], self._max_rows)
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


def wanted(name: str, config: MonitoringConfig) -> bool:
    """Whether a column is looked at: features, what dates and labels them, and the champion's outputs."""
    if name.startswith("__"):
        return name.startswith(("__prediction", "__proba:", "__mature"))
    return config.features is None or name in config.features or name in (config.event_time, config.target)
