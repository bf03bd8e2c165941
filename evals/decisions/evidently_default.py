"""What does Evidently 0.7.23's DataDriftPreset flag by default? Its switch of methods, with scipy, so that thousands of draws take
minutes; `staleness_false_alarms` holds it against the real `preset`.

Nulls and infinities are left out first. Up to 1,000 reference values: p-values, Kolmogorov-Smirnov for more than 5 distinct numbers
(at most 0.05), chi-square, or z for two values (below 0.05). Above: distances of at least 0.1 (Wasserstein over the reference's
standard deviation, Jensen-Shannon for categories and few numbers), whatever the current window's size. The data set drifted where
half of the columns did.
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial import distance

SHARE: Final = 0.5
_STATS: Any = stats


def flagged(reference: Any, current: Any) -> bool:
    """Whether one column (pandas series) is called drifted."""
    ref, cur = (side.replace([np.inf, -np.inf], np.nan).dropna() for side in (reference, current))
    if not len(ref) or not len(cur):
        return False
    distinct = int(pd.concat([ref, cur]).nunique())  # pyright: ignore[reportArgumentType]
    number = pd.api.types.is_numeric_dtype(ref) and not pd.api.types.is_bool_dtype(ref)
    if len(ref) <= 1000:
        if number and distinct > 5:
            # Asymptotic where Evidently computes exactly, which takes seconds; `preset` shows that the flags are the same.
            return bool(_STATS.ks_2samp(ref, cur, method="asymp").pvalue <= 0.05)
        return _by_p_value(ref, cur, distinct)
    if number and distinct > 5:
        norm = max(float(np.std(ref)), 0.001)
        return bool(_STATS.wasserstein_distance(ref, cur) / norm >= 0.1)
    p, q = _shares(ref, cur)
    return bool(distance.jensenshannon(p, q) >= 0.1)


def _by_p_value(ref: Any, cur: Any, distinct: int) -> bool:
    p, q = _shares(ref, cur)
    if distinct == 1:
        return False
    if distinct == 2:
        pooled = (p[1] * len(ref) + q[1] * len(cur)) / (len(ref) + len(cur))
        spread = np.sqrt(pooled * (1 - pooled) * (1 / len(ref) + 1 / len(cur)))
        return bool(2 * _STATS.norm.sf(abs(p[1] - q[1]) / spread) < 0.05)
    expected, observed = p * len(cur), q * len(cur)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(np.nansum((observed - expected) ** 2 / expected))
    return bool(_STATS.chi2.sf(value, distinct - 1) < 0.05)


def _shares(ref: Any, cur: Any) -> tuple[Any, Any]:
    counts = pd.concat([ref.value_counts(), cur.value_counts()], axis=1).fillna(0).to_numpy(dtype=float)
    return counts[:, 0] / counts[:, 0].sum(), counts[:, 1] / counts[:, 1].sum()


def preset(reference: Any, current: Any) -> tuple[dict[str, bool], bool]:
    """The real preset's flags a column, and of the data set."""
    import warnings

    names = list(reference.columns)
    numbers = [n for n in names if pd.api.types.is_numeric_dtype(reference[n])]
    with warnings.catch_warnings():
        # Evidently's own deprecations.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        others = [n for n in names if n not in numbers]
        definition = DataDefinition(numerical_columns=numbers, categorical_columns=others)
        made = Report([DataDriftPreset()]).run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(reference, data_definition=definition),
        )
    found: dict[str, bool] = {}
    whole = False
    for metric in made.dict()["metrics"]:
        value, config = metric["value"], metric["config"]
        if "column" in config and not isinstance(value, dict):
            method, threshold = str(config.get("method") or metric["metric_name"]), config.get("threshold")
            by_p = "p_value" in metric["metric_name"] or "p_value" in method
            limit = threshold if threshold is not None else 0.05 if by_p else 0.1
            found[config["column"]] = bool(value < limit if by_p else value >= limit)
        elif isinstance(value, dict) and "share" in value:
            whole = bool(value["share"] >= SHARE)
    return found, whole
