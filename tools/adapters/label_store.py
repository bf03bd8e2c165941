# pyright: basic
"""Labels that somebody hands in: appended to the user's own table, or to Parquet files of the workspace, each label once."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tools.adapters.appended_table import AppendedTable
from tools.adapters.data_files import kind_of
from tools.adapters.engines import Engines
from tools.adapters.ibis_columns import no_nan, reading, utc
from tools.adapters.ibis_data import require_columns
from tools.contracts.profile import LabelSpec
from tools.errors import BadInput, NotFound


class Added(NamedTuple):
    """What became of the rows of a file."""

    added: int
    known: int
    """Labels that were there already, the same for the same request."""
    dropped: int
    """Rows without a request id, a label or (where the file has times) a time."""


def label_folder(work_dir: Path, model_id: str) -> Path:
    """Where the workspace keeps a model's labels; no id leads out of it."""
    return work_dir / "labels" / quote(model_id, safe=" ").replace(".", "%2E")


def own_labels(work_dir: Path, model_id: str) -> LabelSpec:
    """The workspace's own table of labels, as a profile would name it."""
    return LabelSpec(source=str(label_folder(work_dir, model_id)))


def add_labels(
    spec: LabelSpec, root: Path, file: Path, now: datetime, environ: Mapping[str, str] | None = None
) -> Added:
    """Appends the labels of a file to a table; a file handed in again adds nothing.

    A label counts as known already when the same request has the same label. Another label for a request is kept too: which one
    counts is told by when each became known.

    Args:
        spec: The table, `own_labels` or the user's; made where it is not there.
        root: Relative sources start here.
        file: CSV, Parquet or JSON lines with `request_id`, `label` and perhaps `at`.
        now: When a label of a file without `at` became known.
        environ: Where `${NAME}` in a source is looked up.

    Raises:
        NotFound: There is no such file.
        BadInput: It is none of the three, lacks a column, a label does not fit those that are there, or nothing can be written
            to such a source.
        Unavailable: The table did not take the rows.
    """
    import pyarrow as pa

    if not file.is_file():
        raise NotFound(f"there is no file {file}", thing="labels", value=str(file), remedy="name a file of labels")
    given, dropped = _read(file, now, environ)
    fresh: dict[tuple[str, str], dict[str, Any]] = {}
    for row in given:
        fresh.setdefault((row["request_id"], json.dumps(row["label"], default=str)), row)
    rows = [fresh[key] for key in sorted(fresh)]
    kinds = {type(row["label"]).__name__ for row in rows}
    if len(kinds) > 1:
        raise BadInput(
            f"{file} holds labels of several types: {', '.join(sorted(kinds))}", thing="label", value=str(file)
        )
    if not rows:
        return Added(0, 0, dropped)
    schema = pa.schema(
        [(spec.request_id, pa.string()), (spec.label, _kind(rows[0]["label"])), (spec.time, pa.timestamp("us", "UTC"))]
    )
    columns = [[row[name] for row in rows] for name in ("request_id", "label", "at")]
    table = AppendedTable(spec.source, root, environ, key=(spec.request_id, spec.label), thing="rollout.labels")
    added = table.append(pa.table(dict(zip(schema.names, columns, strict=True)), schema))
    return Added(added, len(given) - added, dropped)


def _read(file: Path, now: datetime, environ: Mapping[str, str] | None) -> tuple[list[dict[str, Any]], int]:
    """The labels of a file, and how many of its rows are none."""
    import ibis

    engines, source = Engines(file.parent, environ or {}), str(file.absolute())
    with reading(source, opening=True):
        if file.name.lower().endswith((".jsonl", ".ndjson", ".json")):
            table = engines.local.con.read_json(source)
        elif kind_of(file) is None:
            raise BadInput(
                f"{file} is none of CSV, Parquet and JSON lines", thing="labels", value=str(file), remedy="convert it"
            )
        else:
            table = engines.local.table(source)
        require_columns(source, table.columns, ["request_id", "label"])
        ids = no_nan(table["request_id"])
        ids = (ids.cast("int64") if ids.type().is_floating() else ids).cast("string")
        at = utc("at", table["at"]) if "at" in table.columns else ibis.literal(now.replace(tzinfo=None))
        chosen = table.select(request_id=ids, label=no_nan(table["label"]), at=at)
        whole = chosen.filter(chosen.request_id.notnull() & chosen.label.notnull() & chosen["at"].notnull())
        total = int(table.count().to_pyarrow().as_py())
        rows = whole.order_by(["at", "request_id"]).to_pyarrow().to_pylist()
    return rows, total - len(rows)


def _kind(label: Any) -> Any:
    import pyarrow as pa

    kinds: dict[type, Any] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    return kinds.get(type(label)) or pa.scalar(label).type
