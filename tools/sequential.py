"""Is a difference there, looked at as often as one likes? Betting e-processes and the confidence sequences that follow from them.

A gambler starts with 1 and bets a share `x` of his wealth on each difference `d` being larger than `null`: his wealth is multiplied
by `1 + x (d - null) / bound`, where `bound` is the most that a round can lose. If the mean of `d`, given all before it, is at most
`null`, his wealth is a non-negative supermartingale, and it ever reaches `1 / alpha` with a probability of at most alpha (Ville's
inequality), whenever one looks. The wealth is a mixture over fixed shares, so it needs no tuning (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", 2024).

Harm may begin late. Who has bet since the beginning has lost most of his wealth by then, and a sudden rise looks like dependence. So
a part of the stake is kept for gamblers who begin later, one at each chunk; each goes by the dependence that was seen before he
began, and their stakes sum to that part. A sum of such wealths has the same guarantee.

Rows that depend on those before them break the premise. So each round's bet is tempered: the logarithm of its factor is divided by
the variance inflation that the rounds before it showed (batch means at several lengths). For independent rows that keeps the
guarantee, since a power below 1 of a supermartingale is one; for dependent rows it is an approximation, measured by
`python -m evals.decisions.canary`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARES: Final = np.array([0.03, 0.08, 0.13, 0.22, 0.35, 0.6, 0.9])
WEIGHTS: Final = np.array([0.02, 0.11, 0.20, 0.25, 0.40, 0.01, 0.01])
"""Shares of wealth that are bet, and how the first stake is spread over them: most of it where rates of 1 to 10 % that grow by a
fifth to the double are found soonest."""
BATCHES: Final = (4, 8, 16, 32, 64, 128, 256)
"""Lengths of the batches, in rounds, by which dependence is estimated."""
LEAST_BATCHES: Final = 10
UNSEEN: Final = 128
"""Rounds at the start in which nothing is bet: dependence must have had its chance to show."""
CHUNK: Final = 32
"""Rounds after which dependence is estimated again."""
SURPRISE: Final = 2.5
"""Standard errors beyond which batch means count as more spread than independent rows would make them."""
MANY: Final = 8192
"""Rounds beyond which a confidence bound is sought at the ends of chunks."""
FEW: Final = 256
"""Different values of the differences up to which they are counted instead of gone through."""
FINE: Final = 0.02
"""A confidence bound is sought to this part of its distance from the mean."""
LATE: Final = 0.05
"""Part of the stake kept for gamblers who begin later."""
FIRST_LATE: Final = 10
"""Chunks before the first of them: he goes by the dependence seen in these."""

DOUBTED: Final = 8.0
DOUBT: Final = 20.0
"""Dependence that is taken for granted before any difference was seen, and how many differences count as much as that."""
NOBODY: Final = -1e9
"""Logarithm of a wealth that nobody owns: as good as minus infinity, and can be reckoned with."""


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


def log_wealth(rounds: Rounds, null: float | Floats, bound: float | Floats) -> Floats:
    """Logarithm of the wealth after each round of who bets that the mean exceeds `null`, from the first round on.

    Args:
        rounds: In order.
        null: Largest mean that is no harm; one, or one a round.
        bound: The most that `null - d` can be; more than 0.
    """
    if not len(rounds.d):
        return np.array([], dtype=np.float64)
    return _mixed(np.cumsum(_factors(rounds, null, bound) / rounds.tempered, axis=1))


def log_wealth_from_any_start(rounds: Rounds, null: float | Floats, bound: float | Floats) -> Floats:
    """The same with the gamblers who begin later. What these own counts at the end of each whole chunk."""
    if not len(rounds.d):
        return np.array([], dtype=np.float64)
    factors = _factors(rounds, null, bound)
    total = _mixed(np.cumsum(factors / rounds.tempered, axis=1)) + np.log1p(-LATE)
    chunks = len(rounds.d) // CHUNK
    if chunks > FIRST_LATE:
        ends = np.arange(1, chunks + 1) * CHUNK - 1
        gains = factors[:, : chunks * CHUNK].reshape(len(SHARES), chunks, CHUNK).sum(axis=2)
        total[ends] = np.logaddexp(total[ends], np.log(LATE) + _late(gains, _doubted(rounds, ends)))
    return total


def _factors(rounds: Rounds, null: float | Floats, bound: float | Floats) -> Floats:
    """(shares, rounds)"""
    return np.log1p(np.outer(SHARES, (rounds.d - null) / bound))


def _mixed(paths: Floats) -> Floats:
    paths = paths + np.log(WEIGHTS)[:, None]
    top = paths.max(axis=0)
    return top + np.log(np.exp(paths - top).sum(axis=0))


def _doubted(rounds: Rounds, ends: NDArray[np.intp]) -> Floats:
    """What tempers who begins with each chunk: the dependence seen before, as far as enough differences were seen to know it."""
    squares = rounds.d * rounds.d
    many = np.cumsum(squares) / np.maximum(np.maximum.accumulate(squares), 1e-12)
    before = np.concatenate([[0.0], many[ends[:-1]]])
    seen = rounds.tempered[ends]
    known = np.isfinite(seen)
    return np.where(known, (DOUBT * DOUBTED + np.where(known, seen, 1.0) * before) / (DOUBT + before), np.inf)


def _late(gains: Floats, tempered: Floats) -> Floats:
    """Logarithm of what all who begin later own at the end of each chunk.

    Args:
        gains: (shares, chunks) untempered.
        tempered: Of each chunk, known before it. Kept by who begins with it, rounded up to a power of the root of 2.
    """
    count = gains.shape[1]
    before = np.hstack([np.zeros((len(gains), 1)), np.cumsum(gains, axis=1)])
    stake = np.full(count, NOBODY)
    # 1 / log2(j + 1) falls from 1 to 0, so its steps sum to 1, and they fall slowly.
    later = np.arange(2, count - FIRST_LATE + 3, dtype=np.float64)
    kept: Floats = 1 / np.log2(later)
    stake[FIRST_LATE:] = np.log(kept[:-1] - kept[1:])
    level = np.full(count, -1)
    known = np.isfinite(tempered)
    level[known] = np.ceil(2 * np.log2(tempered[known])).astype(int)
    owned = np.full(count, NOBODY)
    for each in np.unique(level[FIRST_LATE:]):
        if each < 0:
            continue
        power = 2.0 ** (-each / 2)
        begun = np.where(level == each, stake, NOBODY) - power * before[:, :-1]
        stakes: Floats = np.logaddexp.accumulate(begun, axis=1)  # pyright: ignore[reportUnknownMemberType]
        owned = np.logaddexp(owned, _mixed(power * before[:, 1:] + stakes))
    return owned


def evidence_above(rounds: Rounds, null: float) -> float:
    """Largest log-wealth so far against "the mean is at most `null`"; 0 at the start. What was shown once stays shown."""
    if null >= 1:
        return 0.0
    return float(max(log_wealth(rounds, null, 1.0 + null).max(initial=0.0), 0.0))


def evidence_below(rounds: Rounds, null: float) -> float:
    """Largest log-wealth so far against "the mean is at least `null`"."""
    return evidence_above(mirror(rounds), -null)


def evidence_of_harm(rounds: Rounds, null: float | Floats) -> float:
    """Largest log-wealth so far against "the mean was never above `null`", whenever harm began."""
    known = np.minimum(null, 1.0 - 1e-6)
    return float(max(log_wealth_from_any_start(rounds, known, 1.0 + known).max(initial=0.0), 0.0))


def mirror(rounds: Rounds) -> Rounds:
    """The rounds of who bets the other way."""
    return Rounds(-rounds.d, rounds.tempered)


def joined(shared: Rounds, alone: Rounds) -> Rounds:
    """Rounds of one kind, then of another: what tempered the first tempers the second at least as much."""
    before = shared.tempered[-1] if len(shared.tempered) else np.inf
    if not np.isfinite(before):
        tempered = alone.tempered
    else:
        tempered = np.maximum(np.where(np.isfinite(alone.tempered), alone.tempered, 1.0), before)
    return Rounds(np.concatenate([shared.d, alone.d]), np.concatenate([shared.tempered, tempered]))


def bounds(rounds: Rounds, alpha: float) -> tuple[float, float]:
    """Confidence sequence of the mean: each side holds at all looks together with a probability of 1 - alpha."""
    return _lower(rounds, alpha), -_lower(mirror(rounds), alpha)


def upper_bound(values: Floats, alpha: float) -> float:
    """Upper confidence bound of the mean of values in [0, 1], at any time."""
    return min(1.0, max(0.0, -_lower(mirror(rounds_of(values)), alpha)))


def _lower(rounds: Rounds, alpha: float) -> float:
    """The largest mean that is excluded from below. Wealth falls as `null` grows, so the range is widened, then halved.

    Of many rounds only the ends of chunks are looked at: that keeps the guarantee, and needs the values of a chunk, not their order.
    """
    if not len(rounds.d):
        return -1.0
    evidence = _evidence_by_chunks(rounds) if len(rounds.d) > MANY else partial(evidence_above, rounds)
    enough, most = -np.log(alpha), 1.0 - 1e-9
    high = min(float(rounds.d.mean()), most)
    step = 1 / np.sqrt(len(rounds.d))
    while high < most and evidence(high) >= enough:
        high = min(high + step, most)
    low = high - step
    while low > -1 and evidence(low) < enough:
        high, step = low, 2 * step
        low = high - step
    if low <= -1:
        low = -1.0
    width = max(high - low, step)
    while high - low > FINE * width:
        middle = (low + high) / 2
        if middle > -1 and evidence(middle) >= enough:
            low = middle
        else:
            high = middle
    return low


def _evidence_by_chunks(rounds: Rounds) -> Callable[[float], float]:
    """`evidence_above` as of the ends of chunks, for one `null` after another.

    Differences of answers that are right or wrong have few values: how often each comes in a chunk is counted once.
    """
    starts = np.arange(0, len(rounds.d), CHUNK)
    tempered = rounds.tempered[starts]
    values, place = np.unique(rounds.d, return_inverse=True)
    few = len(values) <= FEW
    chunk = np.arange(len(rounds.d)) // CHUNK
    counts = np.bincount(chunk * len(values) + place, minlength=len(starts) * len(values)) if few else None

    def gains(null: float) -> Floats:
        bound = 1.0 + null
        if counts is None:
            return np.add.reduceat(_factors(rounds, null, bound), starts, axis=1)
        each: Floats = np.log1p(np.outer(SHARES, (values - null) / bound))
        return each @ counts.reshape(len(starts), len(values)).T.astype(np.float64)

    return lambda null: float(max(_mixed(np.cumsum(gains(null) / tempered, axis=1)).max(), 0.0))


class Matching(NamedTuple):
    """Who is compared with whom, where two arms of unequal size come in one order."""

    ours: NDArray[np.intp]
    """The candidate's rows that were matched, in order."""
    theirs: NDArray[np.intp]
    our_cuts: NDArray[np.intp]
    """Where the rows of each round begin."""
    their_cuts: NDArray[np.intp]
    ends: NDArray[np.intp]
    """Row with which each round is known."""

    def differences(self, values: Floats) -> Floats:
        """Candidate's mean less champion's mean, a round each."""
        return _means(values[self.ours], self.our_cuts) - _means(values[self.theirs], self.their_cuts)


def matching(candidate: NDArray[np.bool_]) -> Matching:
    """Rows in chunks, cut into rounds.

    A chunk is closed as soon as the smaller arm has `CHUNK` rows in it, and is cut into that many rounds, over which the larger
    arm's rows are spread evenly. Who is matched with whom depends on counts alone, never on values. What the champion answered
    before the candidate's first row is left out, but for one: it is of another time. Rows of a chunk that is not closed wait;
    behind the last row of the champion nothing closes any more, see `last_shared`.

    Args:
        candidate: Whose row each is, in order.
    """
    ours, theirs = np.cumsum(candidate), np.cumsum(~candidate)
    first = max(0, int(np.argmax(candidate)) - 1) if candidate.any() else len(candidate)
    edges = [first]
    while edges[-1] < len(candidate):
        begin = edges[-1]
        had = (ours[begin - 1], theirs[begin - 1]) if begin else (0, 0)
        closing = max(np.searchsorted(ours, had[0] + CHUNK), np.searchsorted(theirs, had[1] + CHUNK))
        if closing >= len(candidate):
            break
        edges.append(int(closing) + 1)
    used = slice(edges[0], edges[-1])
    (mine,), (other,) = np.nonzero(candidate[used]), np.nonzero(~candidate[used])
    at = np.array(edges, dtype=np.intp)
    return Matching(
        mine + first,
        other + first,
        _cuts(np.searchsorted(mine, at - first)),
        _cuts(np.searchsorted(other, at - first)),
        np.repeat(at[1:] - 1, CHUNK),
    )


def matched(values: Floats, candidate: NDArray[np.bool_]) -> Floats:
    """Differences between two arms of unequal size, whose rows come in one order; `values` in [0, 1]. See `matching`."""
    return matching(candidate).differences(values)


def _cuts(edges: NDArray[np.intp]) -> NDArray[np.intp]:
    """Each chunk in `CHUNK` consecutive parts of nearly equal size."""
    sizes = np.diff(edges)
    return (edges[:-1, None] + (np.arange(CHUNK)[None, :] * sizes[:, None]) // CHUNK).ravel()


def _means(values: Floats, cuts: NDArray[np.intp]) -> Floats:
    if not len(cuts):
        return np.array([], dtype=np.float64)
    return np.add.reduceat(values, cuts) / np.diff(np.append(cuts, len(values)))


def last_shared(candidate: NDArray[np.bool_]) -> int:
    """Rows up to and with the champion's last one; the candidate is alone behind it."""
    (theirs,) = np.nonzero(~candidate)
    return int(theirs[-1]) + 1 if len(theirs) else 0
