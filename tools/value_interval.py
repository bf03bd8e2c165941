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
from tools.metrics import METRICS, FloatArray, Sample, measure
from tools.paired_rows import PairedRows

BLOCKS: Final = 30
MIN_BLOCKS: Final = 8


@dataclass(frozen=True)
class ValueInterval:
    """A metric's value with its two-sided interval, in the metric's unit."""

    value: float
    low: float
    high: float


def value_interval(*, rows: PairedRows, criteria: Criteria) -> ValueInterval | None:
    """The candidate side's primary metric; None where it is undefined on these rows or on a part of them.

    Args:
        rows: In time order.
        criteria: Names the metric, the positive class and the confidence.
    """
    metric = METRICS[criteria.primary.metric]
    if rows.missing(metric.needs, ("candidate",)) is not None:
        return None
    blocks = min(BLOCKS, rows.n // 10)
    if blocks < MIN_BLOCKS:
        return None
    whole = rows.sample("candidate", rows.positive_code(criteria.positive_label))
    value = measure(metric, whole)
    number = np.arange(rows.n) * blocks // rows.n
    without = np.array([measure(metric, _only(whole, number != block)) for block in range(blocks)])
    if not np.isfinite(value) or not np.isfinite(without).all():
        return None
    se = float(np.sqrt((blocks - 1) / blocks * np.sum((without - without.mean()) ** 2)))
    reach = float(stats.t.ppf((1 + criteria.confidence) / 2, blocks - 1)) * se  # pyright: ignore
    return ValueInterval(value=float(value), low=float(value) - reach, high=float(value) + reach)


def _only(sample: Sample, rows: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Sample:
    proba: FloatArray | None = None if sample.proba is None else sample.proba[rows]
    return Sample(
        y=sample.y[rows],
        prediction=sample.prediction[rows],
        proba=proba,
        classes=sample.classes,
        positive=sample.positive,
    )
