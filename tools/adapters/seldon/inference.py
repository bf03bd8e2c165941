# pyright: basic
"""Golden rows, asked of one Model through the mesh, in the V2 inference protocol."""

import http.client
import json
import re
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tools.adapters import v2_protocol
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
    kinds = {field.name: v2_protocol.datatype(field.type) for field in table.schema}
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
    columns = {column: [value] for column, value in row.items()}
    body = {"parameters": {"content_type": "pd"}, **v2_protocol.infer_request(columns, kinds)}
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


def _unanswered(version: str, what: str) -> Unavailable:
    return Unavailable(f"version {version} did not answer a row: {what}", thing="version", value=version)
