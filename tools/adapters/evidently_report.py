# pyright: basic
"""How does a person look at the drift? Evidently's HTML report, for the eye only: no number is read back from it.

Evidently raises, and loses the whole report, on an all-null column, a changed type or an infinity; it picks its tests
by the reference's size and ignores nulls. So the columns are cleaned first, and the methods are named here.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.errors import Unavailable

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 5_000
METHOD = "jensenshannon"


def write_report(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    path: Path,
    columns: Sequence[str],
    *,
    threshold: float = 0.15,
    share: float = 0.5,
    max_rows: int = MAX_ROWS,
) -> tuple[str, ...]:
    """Writes the report to `path` and returns the columns in it.

    Args:
        reference: Reference rows.
        current: Current rows.
        path: HTML file; its folder is made.
        columns: Wanted in the report; those that cannot be compared are left out.
        threshold: Jensen-Shannon distance from which Evidently colours a column.
        share: Share of drifted columns from which it calls the data set drifted.
        max_rows: Rows a window, taken evenly.

    Raises:
        Unavailable: Whatever went wrong inside; the report is a convenience, so callers note it and go on.
    """
    os.environ["DO_NOT_TRACK"] = "1"
    ref, cur, numeric, other = _clean(reference, current, columns, max_rows)
    shown = (*numeric, *other)
    if not shown:
        raise Unavailable("no column can be shown in a drift report: each is missing or all null in one of the windows")
    try:
        with warnings.catch_warnings():
            # Evidently's own deprecations and a constant column's correlation: nothing the user could mend.
            warnings.simplefilter("ignore")
            _render(ref, cur, path, numeric, other, threshold, share)
    except Exception as error:
        raise Unavailable(
            f"Evidently could not write the drift report: {type(error).__name__}: {error}",
            thing="drift report",
            value=str(path),
            remedy="the numbers of the drift check do not depend on it; see Evidently's message",
        ) from error
    return shown


def _render(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    path: Path,
    numeric: list[str],
    other: list[str],
    threshold: float,
    share: float,
) -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=numeric, categorical_columns=other)
    preset = DataDriftPreset(
        columns=[*numeric, *other],
        drift_share=share,
        num_method=METHOD,
        cat_method=METHOD,
        num_threshold=threshold,
        cat_threshold=threshold,
    )
    result = Report([preset], include_tests=False).run(
        Dataset.from_pandas(current, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save_html(str(path))


def _clean(
    reference: "pd.DataFrame", current: "pd.DataFrame", columns: Sequence[str], max_rows: int
) -> "tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]":
    """Bounded copies without infinities; numeric columns as floats, all others as text."""
    import numpy as np
    import pandas as pd

    ref, cur = _evenly(reference, max_rows), _evenly(current, max_rows)
    clean_ref: dict[str, Any] = {}
    clean_cur: dict[str, Any] = {}
    numeric: list[str] = []
    other: list[str] = []
    for name in columns:
        if name not in ref.columns or name not in cur.columns:
            continue
        pair = (ref[name], cur[name])
        is_numeric = all(pd.api.types.is_numeric_dtype(s) and not pd.api.types.is_bool_dtype(s) for s in pair)
        if is_numeric:
            pair = tuple(s.astype("float64").replace([np.inf, -np.inf], np.nan) for s in pair)
        else:
            pair = tuple(s.astype(object).where(s.isna(), s.astype(str)) for s in pair)
        if any(s.isna().all() for s in pair):
            continue
        clean_ref[name], clean_cur[name] = pair
        (numeric if is_numeric else other).append(name)
    return pd.DataFrame(clean_ref), pd.DataFrame(clean_cur), numeric, other


def _evenly(frame: "pd.DataFrame", max_rows: int) -> "pd.DataFrame":
    n = len(frame)
    if n > max_rows:
        frame = frame.iloc[[i * n // max_rows for i in range(max_rows)]]
    return frame.reset_index(drop=True)
