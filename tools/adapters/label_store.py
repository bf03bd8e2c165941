# pyright: basic
"""Labels that somebody hands in: kept as Parquet files of the workspace, a file a hand-in, each label once."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tools.adapters.data_files import kind_of
from tools.adapters.engines import Engines
from tools.adapters.ibis_columns import no_nan, reading, utc
from tools.adapters.ibis_data import require_columns
from tools.contracts.profile import LabelSpec
from tools.errors import BadInput, NotFound, Unavailable


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


def add_labels(folder: Path, file: Path, now: datetime, environ: Mapping[str, str] | None = None) -> Added:
    """Appends the labels of a file; a file handed in again adds nothing.

    A label counts as known already when the same request has the same label. Another label for a request is kept too: which one
    counts is told by when each became known.

    Args:
        folder: The table; made where it is not there.
        file: CSV, Parquet or JSON lines with `request_id`, `label` and perhaps `at`.
        now: When a label of a file without `at` became known.

    Raises:
        NotFound: There is no such file.
        BadInput: It is none of the three, lacks a column, or a label is of another type than those that are there.
        Unavailable: The disk did not take the rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        raise NotFound(f"there is no file {file}", thing="labels", value=str(file), remedy="name a file of labels")
    given, dropped = _read(file, now, environ)
    there = _there(folder)
    fresh: dict[tuple[str, str], dict[str, Any]] = {}
    for row in given:
        key = (row["request_id"], json.dumps(row["label"], default=str))
        if key not in there:
            fresh.setdefault(key, row)
    if not fresh:
        return Added(0, len(given), dropped)
    rows = [fresh[key] for key in sorted(fresh)]
    kinds = {type(row["label"]).__name__ for row in rows}
    if len(kinds) > 1:
        raise BadInput(
            f"{file} holds labels of several types: {', '.join(sorted(kinds))}", thing="label", value=str(file)
        )
    schema = pa.schema(
        [("request_id", pa.string()), ("label", _kind(rows[0]["label"])), ("at", pa.timestamp("us", "UTC"))]
    )
    _same_kind(folder, schema.field("label").type, file)
    content = json.dumps([[row["request_id"], row["label"]] for row in rows], default=str).encode()
    path = folder / f"{hashlib.sha256(content).hexdigest()[:32]}.parquet"
    part = path.with_name(f".{path.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        pq.write_table(pa.Table.from_pylist(rows, schema), part)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise Unavailable(
            f"the labels could not be written to {folder}: {error}",
            thing="labels",
            value=str(folder),
            remedy="make room on the disk and hand the file in again: what is there already is not added twice",
        ) from error
    return Added(len(rows), len(given) - len(rows), dropped)


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


def _there(folder: Path) -> set[tuple[str, str]]:
    import pyarrow.parquet as pq

    found: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path, columns=["request_id", "label"]).to_pylist():
            found.add((row["request_id"], json.dumps(row["label"], default=str)))
    return found


def _kind(label: Any) -> Any:
    import pyarrow as pa

    kinds: dict[type, Any] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    return kinds.get(type(label)) or pa.scalar(label).type


def _same_kind(folder: Path, kind: Any, file: Path) -> None:
    """Numbers and text in one column would break every reader."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = {True: "numbers", False: "no numbers"}
    for path in sorted(folder.glob("*.parquet"))[:1]:
        before = pq.read_schema(path).field("label").type
        both = [pa.types.is_integer(each) or pa.types.is_floating(each) for each in (before, kind)]
        if before != kind and not all(both):
            raise BadInput(
                f"{file} has labels of type {kind}, those that are there are of type {before}",
                thing="label",
                value=str(kind),
                remedy=f"the labels there are {number[both[0]]}: convert the file",
            )
