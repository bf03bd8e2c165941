# pyright: basic
"""Small Parquet files on disk: row hashes, golden rows, overlap, and the paired rows of a duel."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.adapters.group_rows import some_groups
from tools.adapters.parquet_rows import even, names
from tools.contracts.profile import Task
from tools.errors import BadInput
from tools.paired_rows import PairedRows, query_codes

ROW_HASH = "__row_hash"
GROUP = "__group"
"""Column of `scored_out` with the code of each row's group."""


def _read(path: str | Path, columns: Sequence[str] | None = None) -> Any:
    import pandas as pd

    return pd.read_parquet(path, columns=None if columns is None else list(columns))


def row_hashes(path: str | Path) -> set[str]:
    """The row-key hashes of a data set written by a `DataSource`."""
    return set(_read(path, [ROW_HASH])[ROW_HASH])


def write_hashes(path: str | Path, out: Path) -> Path:
    """Only the hashes: what lineage keeps of the training rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        wanted = pa.schema([file.schema_arrow.field(ROW_HASH)])
        with pq.ParquetWriter(out, wanted) as to:
            for batch in file.iter_batches(columns=[ROW_HASH]):
                to.write_batch(batch)
    return out


def sample_rows(path: str | Path, limit: int, out: Path, group: str | None = None) -> Path:
    """At most `limit` rows, evenly spread in time; where a column of groups is named, whole ones (one alone may exceed it)."""
    import pyarrow.parquet as pq

    if group is not None:
        table = pq.read_table(path)
        pq.write_table(table.filter(some_groups(table[group].to_pandas(), limit)), out)
        return out
    pq.write_table(even(path, names(path), limit), out)
    return out


def with_nulls(path: str | Path, features: Sequence[str], share: float, seed: int, out: Path) -> int:
    """The rows with each feature's value missing with chance `share`; the same each time. Returns how many rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import compute

    pc: Any = compute
    table, generator = pq.read_table(path), np.random.default_rng(seed)
    for name in dict.fromkeys(features):
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        gone = pa.array(generator.random(table.num_rows) < share)
        holed = pc.if_else(gone, pa.scalar(None, column.type), column)
        table = table.set_column(table.column_names.index(name), name, holed)
    pq.write_table(table, out)
    return table.num_rows


def add_column(path: str | Path, name: str, values: str | Path) -> None:
    """Put the column `value` of another file beside those that are there, under a name; whole or not at all."""
    import pyarrow.parquet as pq

    table, column = pq.read_table(path), pq.read_table(values).column("value")
    if name in table.column_names:
        table = table.drop_columns([name])
    beside = Path(path).with_name(f".{Path(path).name}.part")
    pq.write_table(table.append_column(name, column), beside)
    beside.replace(path)


def overlap(path: str | Path, hashes: set[str]) -> int:
    """Rows of `path` that stand in `hashes`."""
    return int(_read(path, [ROW_HASH])[ROW_HASH].isin(list(hashes)).sum())


def predictions(path: str | Path) -> list[list[Any]]:
    """A predictions file as plain rows, columns in name order."""
    frame = _read(path)
    return frame[sorted(frame.columns)].to_numpy(dtype=object).tolist()


def answers(path: str | Path) -> list[Any]:
    """The predicted class or value of each row of a predictions file, without the probabilities."""
    return _read(path)["prediction"].tolist()


def paired_rows(
    holdouts: Iterable[tuple[str, str, str]],
    *,
    target: str,
    task: Task,
    slices: Sequence[str],
    drop: Sequence[set[str]],
    scored_out: Path,
    group: str | None = None,
    features: Sequence[str] = (),
    unnamed: Iterable[str] = (),
    duel_out: Path | None = None,
    event_time: str | None = None,
) -> PairedRows:
    """Rows of one or more holdouts with both models' predictions, in time order.

    Of a ranking, rows without a group are left out, and a group with one row that was trained on goes whole. A group never
    reaches from one holdout into the next: other models judge it there.

    Args:
        holdouts: (holdout rows, champion's predictions, candidate's predictions) Parquet paths, row by row.
        drop: for each holdout the row-key hashes that one of its two models was trained on; those rows are left out.
        features: columns to search for groups that are worse off; `unnamed` ones' values are not shown.
        scored_out: where the rows kept are written with target, slices and the candidate's predictions, for the
            model-evaluator; of a ranking, with a column `__group` too.
        group: ranking: the column that names a row's group.
        duel_out: where the same rows are written with label, time and both models' outputs, and no feature; see `duel`.
        event_time: column of the rows' times, for `duel_out`.

    Raises:
        BadInput: a predictions file has another length than its holdout.
    """
    import numpy as np
    import pandas as pd

    frames: list[Any] = []
    groups = 0
    for (rows, champion, candidate), trained_on in zip(holdouts, drop, strict=True):
        frame = _read(rows)
        for side, path in (("champion", champion), ("candidate", candidate)):
            scored = _read(path)
            if len(scored) != len(frame):
                raise BadInput(
                    f"the {side} gave {len(scored)} predictions for {len(frame)} rows", thing=side, value=len(scored)
                )
            frame = frame.join(scored.add_prefix(f"__{side}:"))
        known = frame[ROW_HASH].isin(list(trained_on)).to_numpy() if trained_on else np.zeros(len(frame), dtype=bool)
        if group is not None:
            codes = query_codes(frame[group])
            known = (codes < 0) | np.isin(codes, codes[known])
            frame = frame.assign(**{GROUP: codes + groups})
            groups += int(codes.max(initial=-1)) + 1
        frames.append(frame[~known] if known.any() else frame)
    kept = pd.concat(frames, ignore_index=True)

    def side_of(name: str) -> dict[str, Any]:
        prefix = f"__{name}:"
        return {str(c).removeprefix(prefix): kept[c] for c in kept.columns if str(c).startswith(prefix)}

    if duel_out is not None:
        _write_duel(kept, target, event_time, duel_out)
    candidate_side = side_of("candidate")
    plain: Any = kept[[target, *(name for name in slices if name != target), *([] if group is None else [GROUP])]]
    plain.assign(**candidate_side).to_parquet(scored_out, index=False)
    return PairedRows.from_columns(
        task=task,
        y=kept[target],
        baseline=side_of("champion"),
        candidate=candidate_side,
        slices={name: kept[name] for name in slices},
        group=None if group is None else kept[GROUP],
        features={name: kept[name] for name in features if name in kept.columns},
        unnamed=unnamed,
    )


def _write_duel(kept: Any, target: str, event_time: str | None, out: Path) -> None:
    outputs = {str(c): str(c)[2:] for c in kept.columns if str(c).startswith(("__champion:", "__candidate:"))}
    frame = kept[list(outputs)].rename(columns=outputs)
    frame.insert(0, "label", kept[target])
    if event_time is not None and event_time in kept.columns:
        frame.insert(0, "at", kept[event_time])
    frame.to_parquet(out, index=False)


def duel(path: str | Path, task: Task) -> tuple[PairedRows, Any]:
    """The rows of a `duel_out` file, and their times in seconds since 1970 UTC, (n,), NaN where unknown.

    Raises:
        BadInput: It is not such a file.
    """
    import numpy as np
    import pandas as pd

    try:
        frame = _read(path)
        label = frame["label"]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"the judged rows cannot be read from {path}: {error}", thing="duel.parquet", value=path
        ) from error
    seconds = np.full(len(frame), np.nan)
    if "at" in frame.columns:
        times = pd.to_datetime(frame["at"], utc=True, errors="coerce")
        since = (times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        seconds = since.to_numpy(dtype=np.float64, na_value=np.nan)

    def side_of(name: str) -> dict[str, Any]:
        return {str(c).removeprefix(f"{name}:"): frame[c] for c in frame.columns if str(c).startswith(f"{name}:")}

    rows = PairedRows.from_columns(task=task, y=label, baseline=side_of("champion"), candidate=side_of("candidate"))
    return rows, seconds
