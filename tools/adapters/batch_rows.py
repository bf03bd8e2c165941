# pyright: basic
"""Rows and a version's predictions of them, as they stand in a batch target's tables."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tools import batch
from tools.adapters.batch_tables import STAMP
from tools.adapters.row_digest import ROW_HASH
from tools.contracts.profile import Profile
from tools.paired_rows import label_text


def prediction_rows(
    profile: Profile, rows: Path, predictions: Path, *, version: str, start: datetime, at: datetime, mirrored: bool
) -> Any:
    """Key, event time, prediction, probability of the positive class, and who said so when; an Arrow table.

    Args:
        profile: Of the model.
        rows: Parquet file of a `DataSource`.
        predictions: Parquet file of a `Scorer`, row by row.
        version: Who predicted.
        start: Of the partition.
        at: When.
        mirrored: Whether it goes to the shadow.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec = profile.data
    columns = [*dict.fromkeys((*spec.key, spec.event_time)), ROW_HASH]
    source, scored = pq.read_table(rows, columns=columns), pq.read_table(predictions)
    count = source.num_rows
    ids = [request_id(name, start) for name in source.column(ROW_HASH).to_pylist()]
    made = {name: source.column(name) for name in columns if name != ROW_HASH}
    prediction = scored.column("prediction")
    if pa.types.is_dictionary(prediction.type):
        prediction = prediction.cast(prediction.type.value_type)
    if profile.task != "classification":
        prediction = prediction.cast(pa.float64())
    positive = _positive(profile, scored.column_names)
    stamp = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "request_id": pa.array(ids, pa.string()),
            **made,
            "prediction": prediction,
            "probability": pa.nulls(count, pa.float64())
            if positive is None
            else scored.column(positive).cast(pa.float64()),
            "model_version": pa.array([version] * count, pa.string()),
            "partition_start": pa.array([start] * count, stamp),
            "scored_at": pa.array([at] * count, stamp),
            "mirrored": pa.array([mirrored] * count, pa.bool_()),
        }
    )


def request_id(row_hash: str, start: datetime) -> str:
    """What stands for a request: a row, in its partition."""
    return f"{row_hash}@{start:{STAMP}}"


def request_of(row_hash: str, event: datetime, length: timedelta) -> str:
    """The request that a row of the data was part of."""
    return request_id(row_hash, batch.floor(event, length))


def _positive(profile: Profile, columns: list[str]) -> str | None:
    """The column with the positive class's probability; of two classes without a named one, the last."""
    given = [name for name in columns if name.startswith("proba:")]
    if profile.data.positive_label is not None:
        wanted = f"proba:{label_text(profile.data.positive_label)}"
        return wanted if wanted in given else None
    return sorted(given)[-1] if len(given) == 2 else None
