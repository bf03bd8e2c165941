"""Is a difference there, looked at as often as one likes? Betting e-processes and the confidence sequences that follow from them.

A gambler starts with 1 and bets a share `x` of his wealth on each difference `d` being larger than `null`: his wealth is multiplied
by `1 + x (d - null) / bound`, where `bound` is the most that a round can lose. If the mean of `d`, given all before it, is at most
`null`, his wealth is a non-negative supermartingale, and it ever reaches `1 / alpha` with a probability of at most alpha (Ville's
inequality), whenever one looks. The wealth is a mixture over fixed shares, so it needs no tuning (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", 2024).

Rows that depend on those before them break the premise. So each round's bet is tempered: the logarithm of its factor is divided by
the variance inflation that the rounds before it showed (batch means at several lengths). For independent rows that keeps the
guarantee, since a power below 1 of a supermartingale is one; for dependent rows it is an approximation, measured by
`python -m evals.decisions.canary`.
"""

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARES: Final = np.array([0.03, 0.08, 0.13, 0.22, 0.35, 0.6, 0.9])
WEIGHTS: Final = np.array([0.02, 0.13, 0.20, 0.30, 0.29, 0.03, 0.03])
"""Shares of wealth that are bet, and how the first stake is spread over them: most of it where rates of 1 to 10 % that grow by a
fifth to the double are found soonest."""
BATCHES: Final = (4, 8, 16, 32, 64, 128, 256)
"""Lengths of the batches, in rounds, by which dependence is estimated."""
LEAST_BATCHES: Final = 10
UNSEEN: Final = 96
"""Rounds at the start in which nothing is bet: dependence must have had its chance to show."""
CHUNK: Final = 32
"""Rounds after which dependence is estimated again."""
SURPRISE: Final = 2.5
"""Standard errors beyond which batch means count as more spread than independent rows would make them."""
STEPS: Final = 30
"""Halvings of the range in which a confidence bound is sought."""


class Rounds(NamedTuple):
    """Differences in the order of play."""

    d: Floats
    """Candidate less champion, each in [-1, 1]."""
    tempered: Floats
    """What the logarithm of each round's factor is divided by, known before the round."""


def rounds_of(d: Floats) -> Rounds:
    """The differences with what tempers the bets on them."""
    return Rounds(d, inflation(d))


def inflation(d: Floats) -> Floats:
    """Variance inflation by dependence, for each round from the rounds before it; 1 where none shows.

    Batch means of independent values have the variance of one value divided by the batch's length. The largest ratio that exceeds
    this by `SURPRISE` standard errors counts. Cost: linear in the rounds.
    """
    n = len(d)
    starts = np.arange(0, n, CHUNK)
    worst = np.ones(len(starts))
    s1, s2 = np.concatenate([[0.0], np.cumsum(d)]), np.concatenate([[0.0], np.cumsum(d * d)])
    seen = np.maximum(starts, 1)
    variance = np.maximum(s2[starts] / seen - (s1[starts] / seen) ** 2, 0.0)
    for length in BATCHES:
        ends = np.arange(length, n + 1, length)
        means = (s1[ends] - s1[ends - length]) / length
        m1, m2 = (np.concatenate([[0.0], np.cumsum(means**power)]) for power in (1, 2))
        count = starts // length
        many = np.maximum(count, 2)
        spread = np.maximum(m2[count] / many - (m1[count] / many) ** 2, 0.0) * many / (many - 1)
        ratio = np.divide(spread * length, variance, out=np.ones(len(starts)), where=variance > 0)
        error = np.sqrt(2.0 / (many - 1))
        shows = (count >= LEAST_BATCHES) & (ratio > 1 + SURPRISE * error)
        # A first sight of dependence is noisy: a part of its own error is added.
        worst = np.maximum(worst, np.where(shows, ratio * (1 + error), 1.0))
    worst[starts < UNSEEN] = np.inf
    return np.repeat(worst, CHUNK)[:n]


def log_wealth(rounds: Rounds, null: float, bound: float) -> Floats:
    """Logarithm of the wealth after each round of who bets that the mean exceeds `null`.

    Args:
        rounds: In order.
        null: Largest mean that is no harm.
        bound: The most that `null - d` can be; more than 0.
    """
    if not len(rounds.d):
        return np.array([], dtype=np.float64)
    factors = np.log1p(np.outer(SHARES / bound, rounds.d - null))
    paths = np.cumsum(factors / rounds.tempered, axis=1) + np.log(WEIGHTS)[:, None]
    top = paths.max(axis=0)
    return top + np.log(np.exp(paths - top).sum(axis=0))


def evidence_above(rounds: Rounds, null: float) -> float:
    """Largest log-wealth so far against "the mean is at most `null`"; 0 at the start. What was shown once stays shown."""
    if null >= 1:
        return 0.0
    return float(max(log_wealth(rounds, null, 1.0 + null).max(initial=0.0), 0.0))


def evidence_below(rounds: Rounds, null: float) -> float:
    """Largest log-wealth so far against "the mean is at least `null`"."""
    return evidence_above(Rounds(-rounds.d, rounds.tempered), -null)


def bounds(rounds: Rounds, alpha: float) -> tuple[float, float]:
    """Confidence sequence of the mean: each side holds at all looks together with a probability of 1 - alpha."""
    return _lower(rounds, alpha), -_lower(Rounds(-rounds.d, rounds.tempered), alpha)


def _lower(rounds: Rounds, alpha: float) -> float:
    """The largest mean that is excluded from below. Wealth falls as `null` grows, so halving finds it."""
    low, high, enough = -1.0, 1.0, -np.log(alpha)
    if evidence_above(rounds, -1.0 + 1e-9) < enough:
        return -1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if evidence_above(rounds, middle) >= enough else (low, middle)
        if high - low < 1e-5:
            break
    return low


def matched(values: Floats, candidate: NDArray[np.bool_]) -> Floats:
    """Differences between two arms of unequal size, whose rows come in one order.

    A chunk is closed as soon as the smaller arm has `CHUNK` rows in it, and is cut into that many rounds, over which the larger
    arm's rows are spread evenly. Who is matched with whom depends on counts alone, never on values. Rows of a chunk that is
    not closed wait; behind the last row of the champion nothing closes any more, see `last_shared`.

    Args:
        values: In [0, 1], in order.
        candidate: Whose row each is.

    Returns:
        Candidate's mean less champion's mean, a round each.
    """
    ours, theirs = np.cumsum(candidate), np.cumsum(~candidate)
    edges = [0]
    while True:
        begin = edges[-1]
        had = (ours[begin - 1], theirs[begin - 1]) if begin else (0, 0)
        closing = max(np.searchsorted(ours, had[0] + CHUNK), np.searchsorted(theirs, had[1] + CHUNK))
        if closing >= len(values):
            break
        edges.append(int(closing) + 1)
    found: list[Floats] = []
    for begin, end in pairwise(edges):
        mine = candidate[begin:end]
        found.append(_spread(values[begin:end][mine]) - _spread(values[begin:end][~mine]))
    return np.concatenate(found) if found else np.array([], dtype=np.float64)


def _spread(values: Floats) -> Floats:
    """Means of `CHUNK` consecutive parts of nearly equal size."""
    cuts = (np.arange(CHUNK) * len(values)) // CHUNK
    return np.add.reduceat(values, cuts) / np.diff(np.append(cuts, len(values)))


def last_shared(candidate: NDArray[np.bool_]) -> int:
    """Rows up to and with the champion's last one; the candidate is alone behind it."""
    (theirs,) = np.nonzero(~candidate)
    return int(theirs[-1]) + 1 if len(theirs) else 0


def one_sided_upper(values: Floats, alpha: float) -> float:
    """Upper confidence bound of the mean of values in [0, 1], at any time."""
    rounds = rounds_of(values)
    low, high, enough = float(values.mean()), 1.0, -np.log(alpha)
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _falls_short(rounds, middle) >= enough else (middle, high)
        if high - low < 1e-5:
            break
    return high


def _falls_short(rounds: Rounds, mean: float) -> float:
    """Largest log-wealth against "the mean is at least `mean`" of values in [0, 1]."""
    return float(
        log_wealth(Rounds(-rounds.d, rounds.tempered), -mean, 1.0 - mean if mean < 1 else 1e-9).max(initial=0.0)
    )
