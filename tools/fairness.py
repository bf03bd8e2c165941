"""How far apart are the groups of a declared column? The gap is the largest rate less the smallest, over the groups.

Fairlearn's names and definitions, of the positive class:

- `demographic_parity_difference`: share of rows predicted positive.
- `equal_opportunity_difference`: share of the positive rows predicted positive (the true positive rate).
- `equalized_odds_difference`: the larger of the gaps of the true and of the false positive rate.

Groups with fewer than `min_rows` rows, or fewer than `min_rows / RARE_SHARE` of a class that a rate is about, say too
little and are left out; with fewer than two groups left there is no gap to measure.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from tools.metric_values import FloatArray, IntArray, Sample, SumMetric, ratio


def gap_metric(name: str) -> SumMetric:
    """The gap of that name, lower is better; its samples carry `group`, -1 where a row's group is left out."""
    columns, value = _MEASURED[name]
    return SumMetric(name, "lower", "classification", "labels", columns, value, per_class=True)


def group_codes(values: Any, y: FloatArray, positive: int, name: str, least: int, rare: int) -> IntArray:
    """(n,) code of each row's group, 0 … groups-1 over the groups that are large enough; -1 else.

    Args:
        values: (n,) the group of each row as text.
        y: (n,) class codes.
        positive: Code of the positive class.
        name: The gap; says what a group must have enough rows of.
        least: Least rows of a group.
        rare: Least rows of a class that the gap's rates are about.
    """
    texts, where = np.unique(np.asarray(values, dtype=str), return_inverse=True)
    rows = np.bincount(where, minlength=len(texts))
    positives = np.bincount(where, weights=y == positive, minlength=len(texts))
    enough = rows >= least
    if name != "demographic_parity_difference":
        enough &= positives >= rare
    if name == "equalized_odds_difference":
        enough &= rows - positives >= rare
    codes = np.where(enough, np.cumsum(enough) - 1, -1)
    return codes[where].astype(np.int64)


def _groups(sample: Sample) -> IntArray:
    if sample.group is None:
        raise ValueError("a gap between groups was asked for where no groups are known")
    return sample.group


def _rates(sample: Sample, *classes: bool | None) -> Iterator[FloatArray]:
    """Row count; then for each class (None: any) and group its rows and those of them predicted positive."""
    group, told = _groups(sample), sample.prediction == sample.positive
    yield np.ones_like(sample.y)
    for truth in classes:
        of_class = np.ones(sample.y.shape, dtype=bool) if truth is None else (sample.y == sample.positive) == truth
        for code in range(int(group.max(initial=-1)) + 1):
            mine = of_class & (group == code)
            yield mine.astype(np.float64)
            yield (mine & told).astype(np.float64)


def _gap(rows: FloatArray, told: FloatArray) -> FloatArray:
    """(groups, …) counts to the gap of the rates; NaN where a group has no rows or there is no second group."""
    if rows.shape[0] < 2:
        return np.full(rows.shape[1:], np.nan)
    rates = ratio(told, rows)
    return rates.max(axis=0) - rates.min(axis=0)


def _one_gap(sums: FloatArray) -> FloatArray:
    return _gap(sums[1::2], sums[2::2])


def _larger_gap(sums: FloatArray) -> FloatArray:
    half = 1 + (sums.shape[0] - 1) // 2
    return np.maximum(_gap(sums[1:half:2], sums[2:half:2]), _gap(sums[half::2], sums[half + 1 :: 2]))


_Columns = Callable[[Sample], Iterator[FloatArray]]
_Value = Callable[[FloatArray], FloatArray]
_MEASURED: Final[dict[str, tuple[_Columns, _Value]]] = {
    "demographic_parity_difference": (lambda sample: _rates(sample, None), _one_gap),
    "equal_opportunity_difference": (lambda sample: _rates(sample, True), _one_gap),
    "equalized_odds_difference": (lambda sample: _rates(sample, True, False), _larger_gap),
}
