# pyright: basic
"""Rows as requests of the V2 inference protocol, and answers back as values."""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any


def infer_request(columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, str]) -> dict[str, Any]:
    """The body of a request: a tensor a column.

    Args:
        columns: Name to values; all of one length.
        kinds: Name to datatype; see `datatype`.
    """
    return {
        "inputs": [
            {
                "name": name,
                "shape": [len(values)],
                "datatype": kinds[name],
                "data": [_plain(value, kinds[name]) for value in values],
            }
            for name, values in columns.items()
        ]
    }


def datatype(arrow_type: Any) -> str:
    """V2's name for a column type of Arrow; text for what it has no name for."""
    import pyarrow as pa

    if pa.types.is_boolean(arrow_type):
        return "BOOL"
    if pa.types.is_integer(arrow_type):
        return "INT64"
    if pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type):
        return "FP64"
    return "BYTES"


def predictions(answer: Mapping[str, Any]) -> list[Any]:
    """Raises `KeyError` where the answer has no predictions."""
    outputs = {output["name"]: output for output in answer["outputs"]}
    return list(outputs["prediction"]["data"])


def _plain(value: Any, kind: str) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind == "BYTES":
        return value.isoformat() if isinstance(value, date) else str(value)
    return float(value) if kind == "FP64" else value
