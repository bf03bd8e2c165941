# pyright: basic
"""Parquet files of rows with one model's outputs beside them: baseline rows, the recent window, and shuffled copies.

Output columns are `__prediction` and `__proba:<class>`; `__mature` says whether a row's label is final.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.adapters.row_digest import ROW_HASH
from tools.contracts.comparison import Criteria
from tools.contracts.profile import Profile
from tools.errors import BadInput
from tools.paired_rows import query_codes
from tools.scored_rows import Mask, ScoredRows

PREDICTION = "__prediction"
PROBA = "__proba:"
MATURE = "__mature"


@dataclass(frozen=True)
class ScoredFiles:
    """Baseline rows and recent rows, coded alike, in time order. `repeated`: recent rows that are baseline rows too."""

    baseline: ScoredRows | None
    recent: ScoredRows
    repeated: Mask


def baseline_rows(parts: Sequence[tuple[str, str, set[str]]], profile: Profile, limit: int, out: Path) -> int:
    """Holdout rows with the outputs of the model judged on them, at most `limit`, evenly in time; returns how many. Of a ranking,
    whole groups, and none that a row was trained on of.

    Args:
        parts: (holdout rows, its scores, row hashes to leave out because the model was trained on them) a fold.
        profile: Names features, target and event time.
        limit: Most rows.
        out: Parquet file to write.
    """
    import numpy as np
    import pandas as pd

    spec = profile.data
    frames: list[Any] = []
    for rows, scored, trained_on in parts:
        frame = _joined(pd.read_parquet(rows), pd.read_parquet(scored))
        known = frame[ROW_HASH].isin(list(trained_on))
        if spec.group is not None:
            known = frame[spec.group].isna() | frame[spec.group].isin(frame.loc[known, spec.group].unique())
        frames.append(frame[~known])
    whole = pd.concat(frames, ignore_index=True).sort_values([spec.event_time, ROW_HASH], kind="stable")
    if len(whole) > limit and spec.group is not None:
        whole = _some_groups(whole, spec.group, limit)
    elif len(whole) > limit:
        whole = whole.iloc[np.linspace(0, len(whole) - 1, limit).astype(int)]
    outputs = [name for name in whole.columns if _is_output(name)]
    named = (spec.event_time, *([] if spec.group is None else [spec.group]), *spec.features, spec.target)
    kept = whole[[*dict.fromkeys(named), ROW_HASH, *outputs]]
    _write(kept.assign(**{MATURE: True}), out)
    return len(kept)


def _some_groups(rows: Any, group: str, limit: int) -> Any:
    """Whole groups, evenly in the order in which they come, with about `limit` rows and never more."""
    import numpy as np
    import pandas as pd

    number, names = pd.factorize(rows[group])
    sizes = np.bincount(number)
    keep = max(1, int(len(names) * limit / len(rows)))
    while keep > 1:
        chosen = np.unique(np.linspace(0, len(names) - 1, keep).astype(int))
        if sizes[chosen].sum() <= limit:
            break
        keep = min(keep - 1, int(keep * 0.95))
    else:
        chosen = np.arange(1)
    return rows[np.isin(number, chosen)]


def shuffled_copies(rows: str | Path, features: Sequence[str], limit: int, out: Path) -> int:
    """The rows (at most `limit`, evenly) once as they are, then once a feature with that column shuffled."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(rows, columns=list(features))
    if len(frame) > limit:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, limit).astype(int)].reset_index(drop=True)
    generator = np.random.default_rng(0)
    copies = [frame]
    for name in features:
        copies.append(frame.assign(**{name: frame[name].take(generator.permutation(len(frame))).array}))
    _write(pd.concat(copies, ignore_index=True), out)
    return len(frame)


def importance(scored: str | Path, features: Sequence[str], rows: int) -> dict[str, float] | None:
    """Mean absolute change of the outputs a shuffled feature, as shares; None where no feature changes anything.

    Args:
        scored: Scores of `shuffled_copies`: probabilities where there are, else predictions.
        features: In the order of the copies.
        rows: Rows a copy.
    """
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(scored)
    probabilities = [name for name in frame.columns if str(name).startswith("proba:")]
    if probabilities or pd.api.types.is_numeric_dtype(frame["prediction"]):
        values = frame[probabilities or ["prediction"]].to_numpy(dtype=float)
        as_is = values[:rows]
        changes = [float(np.abs(values[rows * i : rows * (i + 1)] - as_is).mean()) for i in range(1, len(features) + 1)]
    else:
        texts = frame["prediction"].astype(str).to_numpy()
        changes = [
            float((texts[rows * i : rows * (i + 1)] != texts[:rows]).mean()) for i in range(1, len(features) + 1)
        ]
    total = sum(changes)
    if not np.isfinite(total) or total <= 0:
        return None
    return {name: change / total for name, change in zip(features, changes, strict=True)}


def labelled_count(rows: str | Path) -> int:
    """Rows with a label that is final."""
    import pandas as pd

    return int(pd.read_parquet(rows, columns=[MATURE])[MATURE].to_numpy().sum())


def with_labelled(window: str | Path, labelled: str | Path, out: Path) -> Path:
    """The window's rows, and behind them those labelled rows that it does not hold."""
    import pandas as pd

    rows, more = pd.read_parquet(window), pd.read_parquet(labelled)
    more = more[~more[ROW_HASH].isin(list(rows[ROW_HASH]))].assign(**{MATURE: True})
    _write(pd.concat([rows, more[[name for name in rows.columns if name in more]]], ignore_index=True), out)
    return out


def write_outputs(rows: str | Path, scored: str | Path, out: Path) -> Path:
    """The rows with the model's outputs beside them.

    Raises:
        BadInput: Another number of outputs than rows.
    """
    import pandas as pd

    _write(_joined(pd.read_parquet(rows), pd.read_parquet(scored)), out)
    return out


def window_with_outputs(rows: str | Path, first: int, profile: Profile, trained_until: Any, out: Path) -> Path:
    """The first rows of a scored file; rows that the model was trained on lose their outputs: they say nothing."""
    import pandas as pd

    frame = pd.read_parquet(rows).iloc[:first]
    if trained_until is not None:
        trained_on = _seconds(frame[profile.data.event_time]) <= trained_until.timestamp()
        outputs = [name for name in frame.columns if _is_output(name)] if trained_on.any() else []
        # Nullable types, so that class 1 stays 1 and does not become 1.0 beside a null.
        frame = frame.assign(**{name: frame[name].convert_dtypes().mask(trained_on) for name in outputs})
    _write(frame, out)
    return out


def read(
    baseline: str | Path | None,
    recent: str | Path,
    profile: Profile,
    *,
    criteria: Criteria,
    with_features: bool,
) -> ScoredFiles:
    """Both files as rows of one coding. Labels that are not final are missing.

    Raises:
        BadInput: A file without outputs, or values that are no numbers in a regression.
    """
    import numpy as np
    import pandas as pd

    spec = profile.data
    frames: list[Any] = [pd.read_parquet(path) for path in (baseline, recent) if path is not None]
    for frame, path in zip(frames, [p for p in (baseline, recent) if p is not None], strict=True):
        needed = (spec.event_time, PREDICTION, MATURE, ROW_HASH, *([] if spec.group is None else [spec.group]))
        gone = [name for name in needed if name not in frame]
        if gone:
            raise BadInput(f"{Path(path).name} has no column {gone[0]!r}", thing="file", value=gone[0])
    if spec.group is not None:
        frames = [frame[frame[spec.group].notna()] for frame in frames]
    frames = [frame.sort_values([spec.event_time, ROW_HASH], kind="stable") for frame in frames]
    whole = pd.concat(frames, ignore_index=True)
    labels = whole[spec.target] if spec.target in whole else pd.Series([None] * len(whole), dtype=object)
    rows = ScoredRows.from_columns(
        task=profile.task,
        y=labels.astype(object).where(whole[MATURE].fillna(False).astype(bool) & labels.notna(), None),
        outputs={str(n).removeprefix("__"): whole[n] for n in whole.columns if _is_output(n)},
        time=_seconds(whole[spec.event_time]),
        features=_numbers(whole, spec.features) if with_features else None,
        group=None if spec.group is None else _groups(frames, spec.group),
        positive_label=criteria.positive_label,
        costs=criteria.costs,
    )
    first = 0 if baseline is None else len(frames[0])
    hashes: Any = whole[ROW_HASH].to_numpy()
    repeated = np.isin(hashes[first:].astype(str), hashes[:first].astype(str))
    return ScoredFiles(
        baseline=rows.at(slice(0, first)) if baseline is not None else None,
        recent=rows.at(slice(first, None)),
        repeated=repeated,
    )


def _groups(frames: list[Any], group: str) -> Any:
    """Codes of the rows of all frames; a group of one frame is none of another's."""
    import numpy as np

    codes: list[Any] = []
    for frame in frames:
        own = query_codes(frame[group])
        codes.append(own + (int(codes[-1].max(initial=-1)) + 1 if codes else 0))
    return np.concatenate(codes)


def _joined(rows: Any, scored: Any) -> Any:
    if len(rows) != len(scored):
        raise BadInput(f"there are {len(scored)} outputs for {len(rows)} rows", thing="outputs", value=len(scored))
    return rows.join(scored.add_prefix("__"))


def _is_output(name: Any) -> bool:
    return str(name) == PREDICTION or str(name).startswith(PROBA)


def _seconds(times: Any) -> Any:
    import pandas as pd

    utc = pd.to_datetime(times, utc=True)
    return utc.astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6


def _numbers(frame: Any, features: Sequence[str]) -> Any:
    """Every column as floats: categories by their rank in name order, times in seconds; a column that is gone is missing."""
    import numpy as np
    import pandas as pd

    columns: list[Any] = []
    for name in features:
        if name not in frame:
            columns.append(np.full(len(frame), np.nan))
            continue
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            columns.append(np.where(column.isna(), np.nan, _seconds(column)))
        elif pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            columns.append(column.to_numpy(dtype=float, na_value=np.nan))
        else:
            codes = pd.factorize(column.astype(str), sort=True)[0].astype(float)
            columns.append(np.where(column.isna(), np.nan, codes))
    return np.column_stack(columns)


def _write(frame: Any, out: Path) -> None:
    """Whole or not at all: whoever is killed here leaves no half file."""
    out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = out.with_name(out.name + ".part")
    frame.to_parquet(part, index=False)
    part.replace(out)


def read_importance(path: Path) -> Mapping[str, float] | None:
    """Feature to its share, as recorded; None where the file says nothing usable."""
    import json

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shares = {str(name): float(share) for name, share in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return shares if shares and all(0 <= share <= 1 for share in shares.values()) else None
