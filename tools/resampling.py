"""How sure is a paired change, when rows are ordered in time and neighbours resemble each other?

The method, fixed and deterministic so that a recorded decision replays:

- Circular block bootstrap (Politis and Romano 1992): blocks of consecutive rows are drawn with replacement for both
  models at once, so the pairing and the dependence inside a block survive.
- Block length: `LENGTHEN` times the automatic rule of Politis and White (2004, corrected 2009) on the per-row influence
  on the change, or times n^(1/3) if that is more; at least `MIN_BLOCKS` and at most `MAX_BLOCKS` blocks. What the block
  ends still cut off is made up by widening the standard error, see `block_length`.
- Interval for sum metrics: bootstrap-t, `change - t*(1-a/2)·se … change - t*(a/2)·se`, the standard error from block
  sums of the linearised change; `RESAMPLES` resamples. For whole-sample metrics: change ± Student's t (blocks - 1) ×
  the bootstrap's standard deviation; `WEIGHT_RESAMPLES` resamples.
- Interval for roc_auc: change ± Student's t (blocks - 1) × the standard error from block sums of DeLong's components, which
  is DeLong's own test where rows are independent.
- Where both models give the same output in all but a few stretches, resampling sees too few differences to know their
  spread: the interval is then stretched to reach no change.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from tools.metrics import FloatArray, IntArray, Metric, Sample, SumMetric, WeightMetric, measure

RESAMPLES: Final = 2000
WEIGHT_RESAMPLES: Final = 400
SEED: Final = 20_240_229
"""Part of the method: the same rows give the same interval."""
MIN_BLOCKS: Final = 15
FEW_STRETCHES: Final = 8
"""Fewer blocks than this in which the two models differ: the interval is stretched to reach 0."""
FEWEST_BEYOND: Final = 5
"""Resamples that must lie beyond a quantile for it to be read off them."""
MAX_BLOCKS: Final = 4000
"""More would cost time and memory and tell nothing more about the spread."""
LENGTHEN: Final = 1.5
"""Politis-White's length is best for a variance; the tails of an interval want longer blocks."""
WIDEST: Final = 1.5
_GATHER: Final = 2_000_000
"""Block sums held at once while resampling; bounds memory whatever n is."""


@dataclass(frozen=True)
class Change:
    """A paired change, positive when the candidate is better, with its two-sided interval.

    `low` and `high` are NaN where no interval could be made. `se` is the standard error.
    """

    baseline: float
    candidate: float
    change: float
    low: float
    high: float
    se: float
    block_length: int
    blocks: int


@dataclass(frozen=True)
class _Pair:
    baseline: Sample
    candidate: Sample
    sign: float
    relative: bool

    def change(self, baseline: FloatArray, candidate: FloatArray) -> FloatArray:
        return _change(baseline, candidate, self.sign, self.relative)


def paired_change(
    *,
    metric: Metric,
    baseline: Sample,
    candidate: Sample,
    relative: bool,
    confidence: float,
    low_tail: float | None = None,
) -> Change:
    """Change of `metric` from baseline to candidate on the same rows.

    Args:
        metric: What is measured.
        baseline: The champion's outputs; rows in time order.
        candidate: The candidate's, row for row.
        relative: Change as a share of the baseline's absolute value.
        confidence: Of the two-sided interval.
        low_tail: One-sided error of its lower end, where that must be surer.

    Returns:
        NaN in `change`, `low` and `high` where a value is undefined or a relative change has a zero baseline.
    """
    sign = 1.0 if metric.direction == "higher" else -1.0
    worth = (measure(metric, baseline), measure(metric, candidate))
    change = float(_change(np.array(worth[0]), np.array(worth[1]), sign, relative))
    if not np.isfinite(change):
        return Change(*worth, change=np.nan, low=np.nan, high=np.nan, se=np.nan, block_length=0, blocks=0)
    pair = _Pair(baseline, candidate, sign, relative)
    tail = (1 - confidence) / 2
    tails = (tail if low_tail is None else low_tail, tail)
    low, high, se, length = _spread(metric, pair, worth, change, tails)
    n = baseline.y.shape[0]
    if _stretches_that_differ(metric, baseline, candidate, length) < FEW_STRETCHES:
        low, high = min(low, 0.0), max(high, 0.0)
    return Change(*worth, change, low, high, se, length, _block_count(n, length))


def _spread(
    metric: Metric, pair: _Pair, worth: tuple[float, float], change: float, tails: tuple[float, float]
) -> tuple[float, float, float, int]:
    if isinstance(metric, SumMetric):
        return _sum_spread(metric, pair, change, tails)
    if metric.influence is not None:
        return _influence_spread(metric.influence, pair, worth, change, tails)
    return _weight_spread(metric, pair, change, tails)


def t_quantile(share: float, freedom: int) -> float:
    """Student's t below which `share` lies."""
    return float(special.stdtrit(freedom, share))  # pyright: ignore[reportUnknownMemberType]


def t_share(value: float, freedom: int) -> float:
    """Share of Student's t below `value`."""
    return float(special.stdtr(freedom, value))  # pyright: ignore[reportUnknownMemberType]


def block_length(influence: FloatArray) -> tuple[int, float]:
    """Rows a block, and by how much the spread must be widened.

    Blocks cut the dependence at their ends, so their sums are too calm where neighbours resemble each other. The factor
    is the root of the flat-top estimate of the long-run variance over the blocks' own, at least 1, at most `WIDEST`.

    Args:
        influence: (n,) each row's influence on the change, in time order.
    """
    n = influence.shape[0]
    wanted, long_run = _politis_white(influence)
    floor = max(LENGTHEN * n ** (1 / 3), n / MAX_BLOCKS)
    length = int(min(np.ceil(max(floor, LENGTHEN * wanted)), max(1, n // MIN_BLOCKS)))
    own = float(_window_sums(influence - influence.mean(), length).var()) / length
    return length, float(np.sqrt(np.clip(long_run / own, 1.0, WIDEST**2))) if own > 0 else 1.0


def _politis_white(x: FloatArray) -> tuple[float, float]:
    """(block length, long-run variance), with a flat-top lag window of twice the last notable lag.

    b = (2 G² / D)^(1/3) n^(1/3) with D = 4/3 g(0)²; g(0) is the long-run variance, the sum of all autocovariances.
    """
    n = x.shape[0]
    centred = x - x.mean()
    variance = float(centred @ centred) / n
    if variance <= 0 or n < 10:
        return 1.0, variance
    run = max(5, int(np.ceil(np.log10(n))))
    longest = min(n - 1, int(np.ceil(np.sqrt(n))) + run)
    size = 1 << int(2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), size)[: longest + 1] / n
    notable = np.abs(covariance[1:] / variance) >= 2 * np.sqrt(np.log10(n) / n)
    # The last lag before a run of `run` unremarkable ones.
    quiet = np.lib.stride_tricks.sliding_window_view(~notable, run).all(axis=1)
    last = int(np.argmax(quiet)) if quiet.any() else int(np.flatnonzero(notable)[-1]) + 1
    window = min(2 * max(last, 1), longest)
    lags = np.arange(1, window + 1)
    taper = np.minimum(1.0, 2 * (1 - lags / window))
    spectral = variance + 2 * float(taper @ covariance[1 : window + 1])
    slope = 2 * float((taper * lags) @ covariance[1 : window + 1])
    if spectral <= 0:
        return 1.0, variance
    return float((2 * slope**2 / (4 / 3 * spectral**2)) ** (1 / 3) * n ** (1 / 3)), spectral


def _change(baseline: FloatArray, candidate: FloatArray, sign: float, relative: bool) -> FloatArray:
    """Positive when better. Relative: a share of |baseline|; NaN where that is 0."""
    gain = sign * (candidate - baseline)
    if not relative:
        return gain
    scale = np.abs(baseline)
    return np.divide(gain, scale, out=np.full(gain.shape, np.nan), where=scale > 0)


def _block_count(n: int, length: int) -> int:
    return max(1, -(-n // length))


def _stretches_that_differ(metric: Metric, baseline: Sample, candidate: Sample, length: int) -> int:
    """Blocks holding a row where the two models' outputs, as the metric sees them, differ."""
    if metric.needs == "own":
        differs = baseline.own[metric.name] != candidate.own[metric.name]
    elif metric.needs == "probabilities" and baseline.proba is not None and candidate.proba is not None:
        differs = (baseline.proba != candidate.proba).any(axis=1)
    else:
        differs = baseline.prediction != candidate.prediction
    return int(np.unique(np.flatnonzero(differs) // length).shape[0])


def _window_sums(column: FloatArray, length: int) -> FloatArray:
    """Sum of `length` consecutive rows from each start, around the end to the beginning."""
    around = np.concatenate((column, column[: length - 1]))
    running = np.concatenate((np.zeros(1), np.cumsum(around)))
    return running[length:] - running[:-length]


def _draws(n: int, blocks: int, resamples: int) -> Iterator[tuple[slice, IntArray]]:
    """Block starts in bounded pieces: (which resamples, their starts). Always the same for the same sizes."""
    generator = np.random.default_rng(SEED)
    piece = max(1, _GATHER // blocks)
    for first in range(0, resamples, piece):
        last = min(first + piece, resamples)
        yield slice(first, last), generator.integers(0, n, size=(last - first, blocks))


def _pair_columns(metric: SumMetric, pair: _Pair) -> Iterator[FloatArray]:
    yield from metric.columns(pair.baseline)
    yield from metric.columns(pair.candidate)


def _gradient(function: Callable[[FloatArray], FloatArray], at: FloatArray, scales: FloatArray) -> FloatArray:
    """Central differences, all coordinates at once; a step is 1e-4 of its column's root mean square."""
    steps = np.diag(1e-4 * scales)
    rise = function(at[:, None] + steps) - function(at[:, None] - steps)
    return np.divide(rise, 2e-4 * scales, out=np.zeros_like(at), where=scales > 0)


def _sum_spread(
    metric: SumMetric, pair: _Pair, change: float, tails: tuple[float, float]
) -> tuple[float, float, float, int]:
    """(low, high, standard error, block length) by bootstrap-t on the sums of each block."""
    n = pair.baseline.y.shape[0]
    moments = np.array([(column.mean(), np.sqrt(np.mean(column**2))) for column in _pair_columns(metric, pair)])
    means, scales = moments[:, 0], moments[:, 1]
    half = means.shape[0] // 2

    def change_of(sums: FloatArray) -> FloatArray:
        return pair.change(metric.value(sums[:half]), metric.value(sums[half:]))

    gradient = np.nan_to_num(_gradient(change_of, means, scales))
    influence = -np.full(n, float(gradient @ means))
    for slope, column in zip(gradient, _pair_columns(metric, pair), strict=True):
        influence += slope * column
    length, widen = block_length(influence)
    blocks = _block_count(n, length)
    if blocks < 2:
        return np.nan, np.nan, np.nan, length
    drawn_rows = blocks * length
    linear = _window_sums(influence, length)
    se = _block_error(linear, blocks, length)
    if se <= 1e-12 * max(1.0, abs(change)):
        return change, change, 0.0, length

    sums, errors = np.empty((2 * half, RESAMPLES)), np.empty(RESAMPLES)
    for which, starts in _draws(n, blocks, RESAMPLES):
        errors[which] = np.sqrt(blocks * linear[starts].var(axis=1, ddof=1)) / drawn_rows
    for row, column in enumerate(_pair_columns(metric, pair)):
        windows = _window_sums(column, length)
        for which, starts in _draws(n, blocks, RESAMPLES):
            sums[row, which] = windows[starts].sum(axis=1) / drawn_rows
    # A resample that happens to draw equal blocks has no spread of its own; it must not count as infinitely sure.
    studentised = (change_of(sums) - change) / np.maximum(errors, se / 4)
    known = studentised[np.isfinite(studentised)]
    if known.shape[0] < 0.95 * RESAMPLES:
        return np.nan, np.nan, se, length
    # Of the studentised change the upper tail bounds the change from below.
    upper, lower = _far_quantile(known, tails[0], blocks - 1), -_far_quantile(-known, tails[1], blocks - 1)
    return change - upper * widen * se, change - lower * widen * se, widen * se, length


def _far_quantile(values: FloatArray, tail: float, freedom: int) -> float:
    """The value above which `tail` lies; beyond what the resamples show, in Student's proportion to the farthest that they do."""
    seen = max(tail, FEWEST_BEYOND / values.shape[0])
    shown = float(np.quantile(values, 1 - seen))
    if seen == tail or shown <= 0:
        return shown
    return shown * t_quantile(1 - tail, freedom) / t_quantile(1 - seen, freedom)


def _influence_spread(
    influence: Callable[[Sample], FloatArray],
    pair: _Pair,
    worth: tuple[float, float],
    change: float,
    tails: tuple[float, float],
) -> tuple[float, float, float, int]:
    """(low, high, standard error, block length) from block sums of each row's influence on the change."""
    n = pair.baseline.y.shape[0]
    theirs, ours = influence(pair.baseline), influence(pair.candidate)
    baseline, candidate = worth
    if pair.relative:
        ours, theirs = ours / abs(baseline), theirs * candidate / (baseline * abs(baseline))
    rows = pair.sign * (ours - theirs)
    length, widen = block_length(rows)
    blocks = _block_count(n, length)
    if blocks < 2 or not np.isfinite(rows).all():
        return np.nan, np.nan, np.nan, length
    sums = _window_sums(rows, length)
    return _student(change, widen * _block_error(sums, blocks, length), blocks, tails, length)


def _block_error(sums: FloatArray, blocks: int, length: int) -> float:
    """Standard error of a mean over `blocks` blocks drawn from all block sums."""
    return float(np.sqrt(blocks * sums.var() * blocks / (blocks - 1)) / (blocks * length))


def _student(
    change: float, se: float, blocks: int, tails: tuple[float, float], length: int
) -> tuple[float, float, float, int]:
    below, above = (t_quantile(1 - tail, blocks - 1) * se for tail in tails)
    return change - below, change + above, se, length


def _weight_spread(
    metric: WeightMetric, pair: _Pair, change: float, tails: tuple[float, float]
) -> tuple[float, float, float, int]:
    """(low, high, standard error, block length) by Student's t on the bootstrap's standard deviation."""
    n = pair.baseline.y.shape[0]
    length, widen = block_length(metric.row_score(pair.candidate) - metric.row_score(pair.baseline))
    blocks = _block_count(n, length)
    if blocks < 2:
        return np.nan, np.nan, np.nan, length
    ours, theirs = metric.prepare(pair.candidate), metric.prepare(pair.baseline)
    values = np.empty((2, WEIGHT_RESAMPLES))
    for which, starts in _draws(n, blocks, WEIGHT_RESAMPLES):
        for number, drawn in zip(range(which.start, which.stop), starts, strict=True):
            # Row i is drawn once for every block that starts at i - length + 1 … i, around the end.
            times = _window_sums(np.roll(np.bincount(drawn, minlength=n), length - 1).astype(np.float64), length)
            values[:, number] = theirs(times), ours(times)
    changes = pair.change(values[0], values[1])
    known = changes[np.isfinite(changes)]
    if known.shape[0] < 0.95 * WEIGHT_RESAMPLES:
        return np.nan, np.nan, np.nan, length
    se = widen * float(known.std(ddof=1) * np.sqrt(blocks / (blocks - 1)))
    return _student(change, se, blocks, tails, length)
