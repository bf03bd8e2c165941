# pyright: basic
"""Small Parquet files on disk: row hashes, golden rows, overlap, and the paired rows of a duel."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.comparison import PairedRows
from tools.errors import BadInput

ROW_HASH = "__row_hash"
PROBABILITY = "proba:"


def _read(path: str | Path, columns: Sequence[str] | None = None) -> Any:
    import pandas as pd

    return pd.read_parquet(path, columns=None if columns is None else list(columns))


def row_hashes(path: str | Path) -> set[str]:
    """The row-key hashes of a data set written by a `DataSource`."""
    return set(_read(path, [ROW_HASH])[ROW_HASH])


def write_hashes(path: str | Path, out: Path) -> Path:
    """Only the hashes: what lineage keeps of the training rows."""
    _read(path, [ROW_HASH]).to_parquet(out, index=False)
    return out


def sample_rows(path: str | Path, limit: int, out: Path) -> Path:
    """At most `limit` rows, evenly spread in time."""
    frame = _read(path)
    if len(frame) > limit:
        import numpy as np

        frame = frame.iloc[np.linspace(0, len(frame) - 1, limit).astype(int)]
    frame.to_parquet(out, index=False)
    return out


def overlap(path: str | Path, hashes: set[str]) -> int:
    """Rows of `path` that stand in `hashes`."""
    return int(_read(path, [ROW_HASH])[ROW_HASH].isin(hashes).sum())


def predictions(path: str | Path) -> list[dict[str, Any]]:
    """A predictions file as plain rows."""
    return _read(path).to_dict("records")


def _as_text(values: Any) -> Any:
    """Labels as text on both sides: 1, 1.0, True and '1' from different files name the same class where exact."""
    import pandas as pd

    series = pd.Series(values)
    if pd.api.types.is_bool_dtype(series):
        series = series.astype("Int64")
    elif pd.api.types.is_float_dtype(series) and (series.dropna() % 1 == 0).all():
        series = series.astype("Int64")
    text = series.astype("string")
    lowered = text.str.lower()
    return text.mask(lowered == "true", "1").mask(lowered == "false", "0").to_numpy(dtype=object, na_value=None)


def paired_rows(
    holdouts: Iterable[tuple[str, str, str]],
    *,
    target: str,
    classify: bool,
    slices: Sequence[str],
    drop: set[str],
    scored_out: Path,
) -> tuple[PairedRows, int]:
    """Rows of one or more holdouts with both models' predictions, in time order.

    Args:
        holdouts: (holdout rows, champion's predictions, candidate's predictions) Parquet paths, row by row.
        drop: row-key hashes that one of the models was trained on.
        scored_out: where the rows kept are written with target, slices and the candidate's predictions, for the
            model-evaluator.

    Returns:
        The rows left, and how many were dropped.

    Raises:
        BadInput: a predictions file has another length than its holdout.
    """
    import numpy as np
    import pandas as pd

    frames: list[Any] = []
    for rows, champion, candidate in holdouts:
        frame = _read(rows)
        for side, path in (("champion", champion), ("candidate", candidate)):
            scored = _read(path)
            if len(scored) != len(frame):
                raise BadInput(
                    f"the {side} gave {len(scored)} predictions for {len(frame)} rows", thing=side, value=len(scored)
                )
            frame = frame.join(scored.add_prefix(f"__{side}:"))
        frames.append(frame)
    whole = pd.concat(frames, ignore_index=True)
    kept = (whole[~whole[ROW_HASH].isin(drop)] if drop else whole).reset_index(drop=True)
    candidate_columns = [column for column in kept.columns if str(column).startswith("__candidate:")]
    out = kept[[target, *(name for name in slices if name != target), *candidate_columns]]
    out.rename(columns={c: str(c).removeprefix("__candidate:") for c in candidate_columns}).to_parquet(
        scored_out, index=False
    )

    def side(name: str) -> tuple[Any, Any, tuple[str, ...]]:
        prediction = kept[f"__{name}:prediction"]
        prefix = f"__{name}:{PROBABILITY}"
        columns = [column for column in kept.columns if str(column).startswith(prefix)]
        classes = tuple(_as_text([str(column)[len(prefix) :] for column in columns]))
        proba = kept[columns].to_numpy(dtype=float) if columns else None
        return (_as_text(prediction) if classify else prediction.to_numpy(dtype=float)), proba, classes

    base, base_proba, base_classes = side("champion")
    cand, cand_proba, cand_classes = side("candidate")
    classes = tuple(sorted(set(base_classes) | set(cand_classes)))

    def aligned(proba: Any, own: tuple[str, ...]) -> Any:
        if proba is None or not classes:
            return None
        out = np.zeros((len(proba), len(classes)))
        for index, name in enumerate(own):
            out[:, classes.index(name)] = proba[:, index]
        return out

    y = _as_text(kept[target]) if classify else kept[target].to_numpy(dtype=float)
    rows_kept = PairedRows(
        y=y,
        baseline_prediction=base,
        candidate_prediction=cand,
        baseline_proba=aligned(base_proba, base_classes),
        candidate_proba=aligned(cand_proba, cand_classes),
        classes=classes,
        slices={column: kept[column].astype("string").fillna("(missing)").to_numpy(dtype=object) for column in slices},
    )
    return rows_kept, len(whole) - len(kept)
