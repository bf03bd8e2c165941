"""Is the candidate slower or larger than the champion accepts?

Guardrails in the profile's words, judged by the same table as every other (`tools.verdicts`); lower is better.

- `model_size_mb`: bytes of the model's files as fetched, in millions. Exact, so the interval is the change itself.
- `latency_ms`: single-row predictions, timed in short processes of champion and candidate in turn, so that a busy machine hits
  both. A process's figure is the median of its calls. The interval is that of the median of the paired changes by order
  statistics (the sign test turned round): of `k` changes in ascending order, the `r`-th and the `k + 1 - r`-th hold their
  median with probability `1 - 2 P(Binomial(k, 1/2) < r)`, whatever their distribution; `r` is the largest that keeps the
  confidence. What is assumed is that one pair of processes says nothing about the next.

`no_data`: sizes that are not known, fewer than `MIN_CALLS` calls a process, fewer pairs than the confidence needs, a process
that failed, a relative change of a zero. The holdout's error budget is not spent: no label is looked at.
"""

from collections.abc import Sequence
from math import ceil, comb, log2
from typing import Final

import numpy as np

from tools.contracts.comparison import Criterion, MetricComparison
from tools.contracts.measuring import TimingResult
from tools.resampling import Change
from tools.verdicts import no_data, verdict

CALLS: Final = 200
"""Timed predictions a process."""
WARM_UP: Final = 30
"""Predictions before them."""
MIN_CALLS: Final = 30
MORE_PAIRS: Final = 2
"""Beyond what the confidence needs: one pair that was disturbed does not widen the interval to it."""
ROWS: Final = 200
"""Different rows that are predicted in turn."""
MB: Final = 1_000_000


def pairs_needed(confidence: float) -> int:
    """Least pairs of processes whose extremes hold the median with this confidence: 2^(1 - k) <= 1 - confidence."""
    return ceil(1 + log2(1 / (1 - confidence)) - 1e-9)


def median_interval(changes: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """(low, high) of the median, free of any distribution; None where the changes are too few for the confidence."""
    k, ordered = len(changes), sorted(changes)
    below, best = 0.0, 0
    for rank in range(1, k // 2 + 1):
        below += comb(k, rank - 1) / 2**k
        if 2 * below > 1 - confidence + 1e-12:
            break
        best = rank
    return None if best == 0 else (ordered[best - 1], ordered[k - best])


def judge_size(criterion: Criterion, champion: int | None, candidate: int | None) -> MetricComparison:
    """The change of the model's size.

    Args:
        criterion: A guardrail on `model_size_mb`.
        champion: Bytes; None where not known.
        candidate: Bytes.
    """
    unknown = [who for who, size in (("champion", champion), ("candidate", candidate)) if size is None]
    if champion is None or candidate is None:
        return no_data(criterion, 0, f"{criterion.about}: the size of the {' and the '.join(unknown)} is not known")
    before, after = champion / MB, candidate / MB
    change = _change(before, after, criterion)
    exact = Change(before, after, change, change, change, 0.0, 0, 0)
    return verdict(criterion, exact, 0, on="by the files as fetched")


def judge_latency(criterion: Criterion, timing: TimingResult, confidence: float) -> MetricComparison:
    """The change of the time that a single-row prediction takes.

    Args:
        criterion: A guardrail on `latency_ms`.
        timing: Milliseconds a call, by process.
        confidence: Of the two-sided interval.
    """
    pairs = min(len(timing.champion_ms), len(timing.candidate_ms))
    calls = [len(process) for process in (*timing.champion_ms, *timing.candidate_ms)]
    needed = pairs_needed(confidence)
    reason = timing.fault
    if reason is None and pairs < needed:
        reason = f"{pairs} pairs of processes, at least {needed} are needed at confidence {confidence:g}"
    if reason is None and min(calls) < MIN_CALLS:
        reason = f"{min(calls)} predictions timed in a process, at least {MIN_CALLS} are needed"
    if reason is not None:
        return no_data(criterion, 0, f"{criterion.about}: {reason}")
    sides = [timing.champion_ms[:pairs], timing.candidate_ms[:pairs]]
    medians = [[float(np.median(process)) for process in side] for side in sides]
    changes = [_change(before, after, criterion) for before, after in zip(*medians, strict=True)]
    interval = median_interval(changes, confidence) if np.isfinite(changes).all() else None
    low, high = (np.nan, np.nan) if interval is None else interval
    before, after = (float(np.median(side)) for side in medians)
    made = Change(before, after, float(np.median(changes)), low, high, np.nan, 0, pairs)
    late = [float(np.quantile(np.concatenate(side), 0.95)) for side in sides]
    total = sum(map(len, sides[0]))
    basis = (
        f"by medians of {total:,} single-row predictions of each in {pairs} processes "
        f"(95th percentiles {late[0]:.4g} and {late[1]:.4g})"
    )
    return verdict(criterion, made, total, on=basis)


def _change(before: float, after: float, criterion: Criterion) -> float:
    """Positive when better, in the criterion's unit; NaN for a share of 0."""
    gain = before - after
    if criterion.unit == "absolute":
        return gain
    return gain / before if before > 0 else float("nan")
