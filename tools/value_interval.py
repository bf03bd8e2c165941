"""How sure is one model's metric on rows in time order?

Delete-a-block jackknife (Künsch 1989, "The jackknife and the bootstrap for general stationary observations"): the rows are
cut into consecutive blocks, the metric is computed with each block left out in turn, and

    se² = (b - 1) / b · Σ (value without block i - mean of those)²

gives value ± t(b - 1) · se. Blocks keep neighbours together, so dependence within a block counts.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from tools.contracts.comparison import Criteria
from tools.metrics import metric_named
from tools.scored_rows import ScoredRows

BLOCKS: Final = 30
MIN_BLOCKS: Final = 8


@dataclass(frozen=True)
class ValueInterval:
    """A metric's value with its standard error and two-sided interval, in the metric's unit."""

    value: float
    low: float
    high: float
    se: float
    degrees: int
    """Of freedom of `se`."""


def value_interval(*, rows: ScoredRows, criteria: Criteria) -> ValueInterval | None:
    """The primary metric; None where it is undefined on these rows or on a part of them.

    Args:
        rows: Labelled, in time order.
        criteria: Names the metric and the confidence.
    """
    blocks = min(BLOCKS, rows.n // 10)
    metric = metric_named(criteria.primary.metric, criteria.primary.direction)
    if blocks < MIN_BLOCKS or metric.task not in (None, rows.task) or rows.unusable(criteria) is not None:
        return None
    value = rows.value(criteria)
    number = np.arange(rows.n) * blocks // rows.n
    without = np.array([rows.at(number != block).value(criteria) for block in range(blocks)])
    if not np.isfinite(value) or not np.isfinite(without).all():
        return None
    se = float(np.sqrt((blocks - 1) / blocks * np.sum((without - without.mean()) ** 2)))
    reach = float(stats.t.ppf((1 + criteria.confidence) / 2, blocks - 1)) * se  # pyright: ignore
    return ValueInterval(value=value, low=value - reach, high=value + reach, se=se, degrees=blocks - 1)
