# pyright: basic
"""Golden rows, asked of one version's own server, past Envoy and its log."""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.adapters import v2_protocol as protocol
from tools.adapters.serving import admin, processes
from tools.adapters.serving.layout import LOOPBACK
from tools.contracts.rollout import EndpointAnswer
from tools.errors import Unavailable

SECONDS = 10.0
"""A row that is not answered by then is not answered."""
PROBE = "x-retrain-probe"


def ask(version: str, rows: Path, features: Sequence[str], model: str, record: Mapping[str, Any]) -> EndpointAnswer:
    """A request a row; raises `Unavailable` with what the server said."""
    import pyarrow.parquet as pq

    names = [name for name in pq.read_schema(rows).names if name in features] or None
    table = pq.read_table(rows, columns=names)
    kinds = {field.name: protocol.datatype(field.type) for field in table.schema}
    connection = http.client.HTTPConnection(LOOPBACK, record["port"], timeout=SECONDS)
    given: list[Any] = []
    took: list[float] = []
    told = version
    try:
        about = _call(connection, "GET", f"/v2/models/{model}", None, version)
        for row in table.to_pylist():
            body = protocol.infer_request({name: [value] for name, value in row.items()}, kinds)
            begun = time.perf_counter()
            answer = _call(connection, "POST", f"/v2/models/{model}/infer", body, version)
            took.append((time.perf_counter() - begun) * 1e3)
            told = str(answer.get("model_version", told))
            given += protocol.predictions(answer)
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise _unanswered(version, f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    child = processes.adopted(record.get("process"))
    return EndpointAnswer(
        version=told,
        digest=(about.get("parameters") or {}).get("digest"),
        predictions=tuple(given),
        latency_ms=tuple(took),
        memory_mb=None if child is None else child.memory_mb,
        load_seconds=record.get("load_seconds"),
    )


def lost_answers(model: str, record: Mapping[str, Any]) -> int | None:
    """How many answers the server could not log since it started; None where it does not say."""
    try:
        status, body = admin.get(record["port"], f"/v2/models/{model}")
        return int(json.loads(body)["parameters"]["lost_log_lines"]) if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None


def example(path: Path, features: Sequence[str]) -> dict[str, Any]:
    """The body of a request for the first row of a Parquet file."""
    return bodies(path, features, 1)[0]


def bodies(path: Path, features: Sequence[str], limit: int = 10_000) -> list[dict[str, Any]]:
    """A request a row of a Parquet file."""
    import pyarrow.parquet as pq

    table = pq.read_table(path).slice(0, limit)
    table = table.select([name for name in table.column_names if name in features])
    kinds = {field.name: protocol.datatype(field.type) for field in table.schema}
    return [protocol.infer_request({name: [value] for name, value in row.items()}, kinds) for row in table.to_pylist()]


def _call(connection: http.client.HTTPConnection, method: str, path: str, body: Any, version: str) -> dict[str, Any]:
    content = None if body is None else json.dumps(body, allow_nan=False)
    connection.request(method, path, content, {"content-type": "application/json", PROBE: "1"})
    reply = connection.getresponse()
    text = reply.read()
    if reply.status != 200:
        raise _unanswered(version, f"{reply.status} {text[:300].decode(errors='replace')}")
    return json.loads(text)


def _unanswered(version: str, what: str) -> Unavailable:
    return Unavailable(f"version {version} did not answer a row: {what}", thing="version", value=version)
