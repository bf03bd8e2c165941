# pyright: basic
"""What did each version answer, by a table of the user's own? And which labels came, joined by request id.

Filters, ranks and joins run where the rows live; only the answers that a look reads, and the labels of these, come into memory. A
table that does not exist yet is empty: nothing was served, or no label came.
"""

import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tools.adapters.data_files import NotThere
from tools.adapters.engines import Engines
from tools.adapters.ibis_columns import naive, no_nan, reading, utc
from tools.adapters.ibis_data import require_columns
from tools.contracts.profile import LabelSpec, TrafficLogSpec
from tools.label_join import Labels, no_labels, with_labels
from tools.observations import HALVINGS, Observations, highest, no_observations
from tools.ports import TrafficLog


class IbisTrafficLog:
    """Port `TrafficLog`. Threads may share one instance: each has connections of its own.

    Args:
        log: The table of answers.
        labels: The table of labels; None where no label ever comes.
        root: Relative sources start here.
        environ: Where `${NAME}` in a source is looked up.
    """

    def __init__(
        self, log: TrafficLogSpec, labels: LabelSpec | None, root: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self._log, self._own = log, PerThread(root, environ or {})
        self._labels = None if labels is None else IbisLabels(labels, root, environ, self._own)

    def observations(self, versions: Sequence[str], since: datetime, until: datetime, limit: int) -> Observations:
        """See the port. Rows without a time or a version are no answers."""
        with _table(self._engines, self._log.source) as table:
            if table is None:
                return self._labelled(no_observations(), None, until)
            rows = _rows(_thinned(self._answers(table, versions, since, until), limit))
            rows.sort(key=lambda row: (row["at"], str(row["request_id"])))
            cut = any(row["answers"] > limit for row in rows)
            return self._labelled(replace(_answers(rows), cut=cut), table, until)

    @property
    def _engines(self) -> Engines:
        return self._own.engines

    def _answers(self, table: Any, versions: Sequence[str], since: datetime, until: datetime) -> Any:
        """The answers in the window, under our names and numbered from the first of each version."""
        import ibis

        spec = self._log
        optional = [spec.failed, spec.latency_ms, spec.probability, spec.mirrored]
        names = [spec.request_id, spec.version, spec.time, spec.prediction, *(name for name in optional if name)]
        require_columns(spec.source, table.columns, names)
        prediction = no_nan(table[spec.prediction])

        def flag(name: str | None, otherwise: Any) -> Any:
            return otherwise if name is None else table[name].cast("boolean").fill_null(otherwise)

        def number(name: str | None) -> Any:
            return ibis.null("float64") if name is None else no_nan(table[name].cast("float64"))

        chosen = table.select(
            request_id=_text(table[spec.request_id]),
            version=_text(table[spec.version]),
            at=utc(spec.time, table[spec.time]),
            mirrored=flag(spec.mirrored, ibis.literal(False)),
            failed=flag(spec.failed, prediction.isnull()),
            latency_ms=number(spec.latency_ms),
            prediction=prediction,
            probability=number(spec.probability),
        )
        within = (chosen.at >= naive(since)) & (chosen.at < naive(until))
        chosen = chosen.filter(within & (chosen.version.isin(list(versions)) if versions else ibis.literal(False)))
        by = ibis.window(group_by=chosen.version, order_by=[chosen.at, chosen.request_id])
        answers = chosen.count().over(ibis.window(group_by=chosen.version))
        return chosen.mutate(nth=ibis.row_number().over(by), answers=answers)

    def _labelled(self, answers: Observations, log: Any | None, until: datetime) -> Observations:
        """With their labels; orphans are told from the whole log, for a label may be of a request long before."""
        if self._labels is None:
            return answers
        joined = with_labels(answers, self._labels.of(answers.request_id.tolist(), until), until.timestamp())
        ids = None if log is None else log.select(request_id=_text(log[self._log.request_id])).distinct()
        return replace(joined, orphan_labels=self._labels.orphans(ids, self._engines.of(self._log.source), until))


class IbisLabels:
    """The table of labels. Threads may share one instance.

    Args:
        spec: Where it is and what its columns are called.
        root: Relative sources start here.
        environ: Where `${NAME}` in a source is looked up.
        own: Its engines, a thread its own; shared with a log where given.
    """

    def __init__(
        self, spec: LabelSpec, root: Path, environ: Mapping[str, str] | None = None, own: "PerThread | None" = None
    ) -> None:
        self._spec, self._own = spec, own or PerThread(root, environ or {})

    def of(self, requests: Iterable[object], until: datetime) -> Labels:
        """Every label of these requests that was known at `until`.

        Raises:
            BadInput: A column is missing.
            Unavailable: The table cannot be read.
        """
        import ibis
        import pyarrow as pa

        wanted = sorted({str(each) for each in requests if each is not None})
        with _table(self._own.engines, self._spec.source) as table:
            if table is None or not wanted:
                return no_labels()
            known = self._known(table, until)
            if self._own.engines.of(self._spec.source) is self._own.engines.local:
                mine = ibis.memtable(pa.table({"request_id": pa.array(wanted, pa.string())}))
                return _labels(_rows(known.semi_join(mine, "request_id")))
            found: list[dict[str, Any]] = []
            for start in range(0, len(wanted), _AT_ONCE):
                found += _rows(known.filter(known.request_id.isin(wanted[start : start + _AT_ONCE])))
            return _labels(found)

    def orphans(self, requests: Any | None, asked: Any, until: datetime) -> int:
        """How many requests have a label, and no answer.

        Args:
            requests: Ibis table of the `request_id` of all answers; None where there are none.
            asked: The engine that it belongs to.
            until: As of when.
        """
        with _table(self._own.engines, self._spec.source) as table:
            if table is None:
                return 0
            labelled = self._known(table, until).select("request_id").distinct()
            if requests is None:
                return int(_rows(labelled.aggregate(n=labelled.count()))[0]["n"])
            mine = self._own.engines.of(self._spec.source)
            if mine is asked:
                lost = labelled.anti_join(requests, "request_id")
                return int(_rows(lost.aggregate(n=lost.count()))[0]["n"])
            with tempfile.TemporaryDirectory(prefix="retraining-log-") as name:  # on disk: both may be long
                files = [Path(name) / "labelled.parquet", Path(name) / "answered.parquet"]
                mine.fetch(labelled, files[0])
                asked.fetch(requests, files[1])
                query = "SELECT count(*) FROM read_parquet(?) l ANTI JOIN read_parquet(?) r USING (request_id)"
                con = self._own.engines.local.con.con
                return int(con.execute(query, [str(file) for file in files]).fetchone()[0])

    def _known(self, table: Any, until: datetime) -> Any:
        spec = self._spec
        require_columns(spec.source, table.columns, [spec.request_id, spec.label, spec.time])
        known = table.select(
            request_id=_text(table[spec.request_id]),
            label=no_nan(table[spec.label]),
            at=utc(spec.time, table[spec.time]),
        )
        return known.filter(known.request_id.notnull() & known.label.notnull() & (known["at"] <= naive(until)))


class LabelledLog:
    """Port `TrafficLog`: another log, whose answers without a label get those that the table has. Orphans are not told."""

    def __init__(self, log: TrafficLog, labels: IbisLabels) -> None:
        self._log, self._labels = log, labels

    def observations(self, versions: Sequence[str], since: datetime, until: datetime, limit: int) -> Observations:
        """See the port."""
        answers = self._log.observations(versions, since, until, limit)
        bare = [name for name, label in zip(answers.request_id, answers.label, strict=True) if label is None]
        return with_labels(answers, self._labels.of(bare, until), until.timestamp())


class PerThread:
    """Engines, of each thread its own."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self._root, self._environ = root, dict(environ)
        self._own = threading.local()

    @property
    def engines(self) -> Engines:
        """This thread's."""
        if not hasattr(self._own, "engines"):
            self._own.engines = Engines(self._root, self._environ)
        return self._own.engines


_AT_ONCE = 5_000
"""Request ids in one question to a server."""


@contextmanager
def _table(engines: Engines, source: str) -> Iterator[Any | None]:
    """The table while it is read; None where it does not exist."""
    with reading(source):
        try:
            table = engines.of(source).table(source)
        except NotThere:
            table = None
        yield table


def _thinned(numbered: Any, limit: int) -> Any:
    """As `tools.observations.thinned`; an answer without a request id goes by its time."""
    import ibis

    @ibis.udf.scalar.builtin
    def md5(text: str) -> str: ...

    hashed: Any = md5(numbered.request_id.fill_null(numbered["at"].cast("string")))
    digits = hashed.left(8)
    shares = [(numbered.nth < limit << halvings, digits <= highest(halvings)) for halvings in range(1, HALVINGS)]
    keep = ibis.cases((numbered.nth < limit, ibis.literal(True)), *shares, else_=digits <= highest(HALVINGS))
    return numbered.filter(keep)


def _text(column: Any) -> Any:
    """A name as text; a column of whole numbers with gaps comes as floats."""
    column = no_nan(column)
    return (column.cast("int64") if column.type().is_floating() else column).cast("string")


def _rows(expr: Any) -> list[dict[str, Any]]:
    return expr.to_pyarrow().to_pylist()


def _answers(rows: list[dict[str, Any]]) -> Observations:
    def column(name: str) -> Any:
        out = np.empty(len(rows), dtype=object)
        out[:] = [row[name] for row in rows]
        return out

    def numbers(name: str) -> Any:
        return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)

    return Observations(
        request_id=column("request_id"),
        version=column("version"),
        at=np.array([_seconds(row["at"]) for row in rows], dtype=np.float64),
        mirrored=np.array([row["mirrored"] for row in rows], dtype=np.bool_),
        failed=np.array([row["failed"] for row in rows], dtype=np.bool_),
        latency_ms=numbers("latency_ms"),
        prediction=column("prediction"),
        probability=numbers("probability"),
        label=np.full(len(rows), None, dtype=object),
        label_at=np.full(len(rows), np.nan),
    )


def _labels(rows: list[dict[str, Any]]) -> Labels:
    # An engine keeps no order: of labels known at one time, the same one must come first at each look.
    rows = sorted(rows, key=lambda row: (row["at"], row["request_id"], str(row["label"])))
    ids, labels = np.empty(len(rows), dtype=object), np.empty(len(rows), dtype=object)
    ids[:], labels[:] = [row["request_id"] for row in rows], [row["label"] for row in rows]
    return Labels(ids, labels, np.array([_seconds(row["at"]) for row in rows], dtype=np.float64))


def _seconds(time: datetime) -> float:
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return aware.timestamp()
