"""What does being wrong cost, and do probabilities mean what they say? Columns and values of two metrics.

- `mean_cost`: the profile's cost of each (true class, predicted class), averaged over rows.
- `expected_calibration_error` (Naeini, Cooper and Hauskrecht 2015) over `BINS` bins of equally many rows:
  Σ_b (n_b / n) · |mean of the labels − mean of the probabilities|, which is Σ_b |Σ_{i in b} (y_i − p_i)| / n. The probability
  is that of the positive class; where there is none, that of the likeliest class, and the label is whether it was right.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from tools.errors import BadInput
from tools.metric_values import FloatArray, IntArray, Sample, ratio

BINS: Final = 10


def cost(sample: Sample) -> Iterator[FloatArray]:
    """Row count, then each row's cost."""
    if sample.costs is None:
        raise BadInput(
            "mean_cost needs a cost matrix", thing="metrics.costs", remedy="set metrics.costs in the profile"
        )
    yield np.ones_like(sample.y)
    yield sample.costs[sample.y.astype(np.int64), sample.prediction.astype(np.int64)]


def calibration(sample: Sample) -> Iterator[FloatArray]:
    """Row count, then each bin's gaps y − p, 0 elsewhere. Rows keep their bins when they are resampled."""
    if sample.proba is None:
        raise BadInput("the metric needs probabilities and the model gave none", remedy="use a metric of labels")
    if sample.positive is None:
        stated: FloatArray = sample.proba.max(axis=1)
        right: FloatArray = (sample.proba.argmax(axis=1) == sample.y).astype(np.float64)
    else:
        stated = sample.proba[:, sample.positive]
        right = (sample.y == sample.positive).astype(np.float64)
    where, gap = bins_of(stated), right - stated
    yield np.ones_like(sample.y)
    for number in range(BINS):
        yield np.where(where == number, gap, 0.0)


def bins_of(stated: FloatArray) -> IntArray:
    """(n,) bin of each row, 0 … BINS-1: equally many rows a bin, equal probabilities in the same one."""
    edges: FloatArray = np.quantile(stated, np.arange(1, BINS) / BINS)
    return np.searchsorted(edges, stated, side="left").astype(np.int64)


def calibration_error(sums: FloatArray) -> FloatArray:
    """From the sums of `calibration`."""
    gaps: FloatArray = np.abs(sums[1:]).sum(axis=0)
    return ratio(gaps, sums[0])
