"""What can the change of a share of hits be, where the two models differ on a handful of rows?

With fewer than `FEW` rows that only one model has right, resampling has next to nothing to draw from; with none at all its interval
is a point. Then the change is bounded exactly: with a and b the shares of rows that only the candidate, and only the
champion, has right, the change is a − b, and it lies between L(a) − U(b) and U(a) − L(b), L and U being Clopper and
Pearson's bounds (1934), each at half of the end's error (Bonferroni). That is conservative for independent rows, whatever
their number. It only ever widens an interval, so rows that depend on their neighbours keep what their blocks say.
"""

from typing import Final

from scipy import special  # pyright: ignore[reportMissingTypeStubs]

FEW: Final = 5
"""Rows that only one model has right from which the block intervals were seen to hold what they say."""


def exact_change(wins: int, losses: int, n: int, tails: tuple[float, float]) -> tuple[float, float]:
    """(low, high) of the change of a share of hits.

    Args:
        wins: Rows that only the candidate has right.
        losses: Rows that only the champion has right.
        n: All rows.
        tails: One-sided error of the lower and of the upper end.
    """
    below, above = tails[0] / 2, tails[1] / 2
    return _least(wins, n, below) - _most(losses, n, below), _most(wins, n, above) - _least(losses, n, above)


def _least(hits: int, n: int, tail: float) -> float:
    return 0.0 if hits == 0 else float(special.betaincinv(hits, n - hits + 1, tail))  # pyright: ignore[reportUnknownMemberType]


def _most(hits: int, n: int, tail: float) -> float:
    return 1.0 if hits == n else float(special.betaincinv(hits + 1, n - hits, 1 - tail))  # pyright: ignore[reportUnknownMemberType]
