"""Rules that call a canary harmful, as the number of requests an arm after which each first does; None where it never does.

Each takes the champion's and the candidate's answers (True is bad), in order, and looks as its users do.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from scipy.stats import mannwhitneyu, norm

from tools import sequential
from tools.canary import FOR_THE_BOUND

ALPHA: Final = 0.05
LOOK: Final = 100
"""Requests an arm between two looks of who peeks."""
TEN_LOOKS: Final = 10

Rule = Callable[[np.ndarray, np.ndarray], int | None]


def ours(champion: np.ndarray, candidate: np.ndarray) -> int | None:
    """The product's own, one critical metric, margin 0, looked at after every request."""
    n = len(champion)
    values = np.empty(2 * n)
    values[0::2], values[1::2] = champion, candidate
    mine = np.arange(2 * n) % 2 == 1
    rounds = sequential.rounds_of(sequential.matched(values, mine))
    enough = -np.log(ALPHA * (1 - FOR_THE_BOUND))
    return _first(sequential.log_wealth_from_any_start(rounds, 0.0, 1.0) >= enough, sequential.CHUNK)


def mixture(champion: np.ndarray, candidate: np.ndarray) -> int | None:
    """Betting with a uniform mixture over shares, row against row, blind to dependence."""
    d = candidate.astype(float) - champion
    shares = np.linspace(0.02, 0.98, 25)
    paths = np.cumsum(np.log1p(np.outer(shares, d)), axis=1)
    top = paths.max(axis=0)
    wealth = top + np.log(np.exp(paths - top).mean(axis=0))
    return _first(wealth >= -np.log(ALPHA))


def betting(champion: np.ndarray, candidate: np.ndarray) -> int | None:
    """Betting with the share that would have been best so far (aGRAPA), row against row, blind to dependence."""
    d = candidate.astype(float) - champion
    k = np.arange(1, len(d) + 1)
    mean = (0.0 + np.cumsum(d)) / (k + 1)
    square = (0.25 + np.cumsum(d * d)) / (k + 1)
    share = np.clip(np.concatenate([[0.0], (mean / square)[:-1]]), 0.0, 0.75)
    return _first(np.cumsum(np.log1p(share * d)) >= -np.log(ALPHA))


def peeking(champion: np.ndarray, candidate: np.ndarray) -> int | None:
    """A one-sided z test of two shares at every look."""
    return next((n for n in range(LOOK, len(champion) + 1, LOOK) if _z(champion[:n], candidate[:n]) < ALPHA), None)


def one_look(champion: np.ndarray, candidate: np.ndarray) -> int | None:
    """The same test, once, at the end."""
    return len(champion) if _z(champion, candidate) < ALPHA else None


def kayenta(champion: np.ndarray, candidate: np.ndarray) -> int | None:
    """Mann-Whitney on the shares of a hundred requests each, at 98 %, ten looks; two-sided, and high counts."""
    per_look = len(champion) // TEN_LOOKS
    for look in range(1, TEN_LOOKS + 1):
        n = look * per_look // LOOK * LOOK
        a, b = (arm[:n].reshape(-1, LOOK).mean(axis=1) for arm in (champion, candidate))
        if len(a) < 2 or (np.ptp(a) == 0 and np.ptp(b) == 0):
            continue
        if b.mean() > a.mean() and mannwhitneyu(b, a, alternative="two-sided").pvalue < 0.02:
            return n
    return None


RULES: Final[dict[str, Rule]] = {
    "ours": ours,
    "mixture e-process": mixture,
    "betting e-process": betting,
    "z test, peeking every 100": peeking,
    "z test, one look at the end": one_look,
    "Kayenta's rule, ten looks": kayenta,
}


def _first(crossed: np.ndarray, step: int = 1) -> int | None:
    """The first crossing, as of the end of its step: what is matched in chunks is known when the chunk is closed."""
    found = np.nonzero(crossed)[0]
    return None if not len(found) else int((found[0] // step + 1) * step)


def _z(champion: np.ndarray, candidate: np.ndarray) -> float:
    n = len(champion)
    pooled = (champion.sum() + candidate.sum()) / (2 * n)
    if pooled in (0.0, 1.0):
        return 1.0
    return float(norm.sf((candidate.mean() - champion.mean()) / np.sqrt(2 * pooled * (1 - pooled) / n)))
