# pyright: basic
"""Golden rows, asked of one Model through the mesh, in the V2 inference protocol."""

import http.client
import json
import math
import re
import time
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tools.contracts.rollout import EndpointAnswer
from tools.errors import BadInput, Unavailable

ANSWER_SECONDS: Final = 10.0
"""A row that is not answered by then is not answered."""


def ask_model(url: str, name: str, version: str, rows: Path, seconds: float) -> EndpointAnswer:
    """A request a row, with the header by which the mesh finds the Model.

    Raises:
        Unavailable: A row is not answered, or another Model answered it.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(rows)
    kinds = {field.name: _datatype(field.type) for field in table.schema}
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(
            f"target.inference_url {url!r} is no http address",
            thing="target.inference_url",
            value=url,
            remedy="write http://HOST:PORT",
        )
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=ANSWER_SECONDS)
    path = f"{parts.path.rstrip('/')}/v2/models/{name}/infer"
    deadline = time.monotonic() + seconds
    given: list[Any] = []
    took: list[float] = []
    try:
        for row in table.to_pylist():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(given)} rows answered in {seconds:g} s")
            begun = time.perf_counter()
            answer = _infer(connection, path, name, row, kinds)
            took.append((time.perf_counter() - begun) * 1e3)
            given += answer
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
        raise _unanswered(version, f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    return EndpointAnswer(version=version, predictions=tuple(given), latency_ms=tuple(took))


def _infer(connection: Any, path: str, name: str, row: dict[str, Any], kinds: dict[str, str]) -> list[Any]:
    """The predictions for one row. `content_type: pd` makes MLServer build the data frame that an MLflow model takes."""
    body = {
        "parameters": {"content_type": "pd"},
        "inputs": [
            {"name": column, "shape": [1], "datatype": kinds[column], "data": [_plain(value, kinds[column])]}
            for column, value in row.items()
        ],
    }
    headers = {"content-type": "application/json", "seldon-model": name}
    connection.request("POST", path, json.dumps(body, allow_nan=False), headers)
    reply = connection.getresponse()
    text = reply.read()
    if reply.status != 200:
        raise ValueError(f"{reply.status} {text[:300].decode(errors='replace')}")
    answer = json.loads(text)
    # The mesh names the server's own copy, e.g. prices-v8_1.
    told = re.sub(r"_\d+$", "", str(answer.get("model_name", name)))
    if told != name:
        raise ValueError(f"Model {name} was asked, {told} answered")
    return list(answer["outputs"][0]["data"])


def _datatype(arrow_type: Any) -> str:
    import pyarrow as pa

    if pa.types.is_boolean(arrow_type):
        return "BOOL"
    if pa.types.is_integer(arrow_type):
        return "INT64"
    if pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type):
        return "FP64"
    return "BYTES"


def _plain(value: Any, kind: str) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind == "BYTES":
        return value.isoformat() if isinstance(value, date) else str(value)
    return float(value) if kind == "FP64" else value


def _unanswered(version: str, what: str) -> Unavailable:
    return Unavailable(f"version {version} did not answer a row: {what}", thing="version", value=version)
