"""How likely is what two samples show, when the current window is a random part of both together?

Each test is exact, or has moments that are exact under that, because its p-value is held against 1e-6 and less:

- G (likelihood ratio) over the bins. Mean and variance from `DRAWS` multivariate hypergeometric draws, tail of a gamma
  distribution with these moments whose scale is never below 2. Two bins: Fisher's exact test instead.
- Kolmogorov-Smirnov over the distinct values (numbers only; ties make it careful).
- Mann-Whitney on mid-ranks (numbers only), the one that sees a small shift. Mean, variance and skewness of the rank
  sum are exact with any ties; the tail is Pearson's type III of these three. Left out where fewer than
  `MIN_UNTIED` values of the smaller window are expected outside the largest tie.
- Beyond the range: as many of the largest (or least) values of all lie in the current window by chance (numbers only).
- Fisher's exact test of the categories that moved most, times the number of categories that could have moved as far
  (Tarone 1990; categories only).
- The largest category that only one window has: chance that one as large or larger came to lie there whole
  (categories only).

Two samples are given as counts of the same bins or distinct values.

What was found about the tail at 1e-6, against exact enumeration (tests/unit/test_drift_tails.py): G states the exact p-value
where bins are well filled and up to 25 times more where some are rare, never less than four fifths of it. Mann-Whitney with
a value among many equal ones stays within 0.8 to 4 times Fisher's. Kolmogorov-Smirnov is exact for few rows and within a
tenth from 1,000 against 80 on. A gamma fitted to the Jensen-Shannon divergence, the first choice, was given up: the
probability falls with exp(-G / 2), not with that divergence.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats  # pyright: ignore[reportMissingTypeStubs]

Array = NDArray[Any]

MIN_UNTIED: Final = 10
_EXACT_KS: Final = 25_000
"""Most pairs of rows for Kolmogorov-Smirnov's exact distribution; behind it the approximate one is within a fifth."""
_TOP: Final = 5
_CAP: Final = 0.99
"""p = 1 would outweigh every other test in a Cauchy combination."""
_STATS: Any = stats  # scipy's annotations are partial


def fisher(a: int, n: int, b: int, m: int) -> float:
    """Fisher's exact test, two-sided: `a` of `n` against `b` of `m`."""
    return float(_STATS.fisher_exact([[a, n - a], [b, m - b]]).pvalue)


def cauchy(p_values: Sequence[float], weights: Sequence[float]) -> float:
    """The Cauchy combination of p-values; weights need not sum to one."""
    p = np.clip(np.asarray(p_values, dtype=np.float64), 1e-300, _CAP)
    w = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    # tan loses its digits next to its pole, where it is 1 / (pi p).
    total = float(np.sum(w * np.where(p < 1e-8, 1 / (np.pi * p), np.tan((0.5 - p) * np.pi))))
    return float(1 / (np.pi * total)) if total > 1e8 else float(0.5 - np.arctan(total) / np.pi)


def mann_whitney(c_ref: Array, c_cur: Array) -> float | None:
    """Two-sided p-value from the counts of each distinct value in order; None where ties leave too little to rank."""
    n, m = int(c_ref.sum()), int(c_cur.sum())
    total = n + m
    ties = (c_ref + c_cur).astype(np.float64)
    if min(n, m) * (1 - ties.max() / total) < MIN_UNTIED:
        return None
    ranks = np.cumsum(ties) - (ties - 1) / 2 - (total + 1) / 2
    variance = float((ties * ranks**2).sum()) / total
    third = float((ties * ranks**3).sum()) / total
    spread = n * m / (total - 1) * variance
    skew = n * m * (n - m) / ((total - 1) * (total - 2)) * third / spread**1.5
    z = float((c_cur * ranks).sum()) / np.sqrt(spread)
    if abs(skew) < 1e-3:
        return float(2 * special.ndtr(-abs(z)))
    shape, along = 4 / skew**2, z * np.sign(skew)
    at = max(shape + along * np.sqrt(shape), 0.0)
    return float(min(1.0, 2 * min(special.gammainc(shape, at), special.gammaincc(shape, at))))


def kolmogorov_smirnov(c_ref: Array, c_cur: Array) -> float:
    """Two-sided p-value from the counts of each distinct value in order: exact for the fewest rows."""
    n, m = int(c_ref.sum()), int(c_cur.sum())
    distance = float(np.abs(np.cumsum(c_ref) / n - np.cumsum(c_cur) / m).max())
    stated = float(_STATS.kstwo.sf(distance, max(1, round(n * m / (n + m)))))
    if n * m > _EXACT_KS or stated > 0.2:
        return stated
    order = np.arange(len(c_ref))
    return float(_STATS.ks_2samp(np.repeat(order, c_ref), np.repeat(order, c_cur), method="exact").pvalue)


def beyond_range(c_ref: Array, c_cur: Array) -> float:
    """Two-sided p-value of the current values beyond the reference's least and largest, from counts of distinct values in order.

    That the j largest of all n + m values all lie in the current window has the chance C(m, j) / C(n + m, j); ties make it less.
    """
    n, m = int(c_ref.sum()), int(c_cur.sum())
    there = np.flatnonzero(c_ref)
    beyond = max(int(c_cur[: there[0]].sum()), int(c_cur[there[-1] + 1 :].sum()))
    return float(min(1.0, 2 * np.exp(_log_choose(m, beyond) - _log_choose(n + m, beyond))))


def one_sided_category(a: Array, b: Array) -> float:
    """Two-sided p-value of the largest category that only one window has.

    The chance that any category of at least that size comes to lie whole in that window is at most the sum of theirs.
    """
    both, n, m = a + b, int(a.sum()), int(b.sum())
    least = 1.0
    for own, other, size in ((b, a, m), (a, b, n)):
        largest = int(own[other == 0].max(initial=0))
        if largest:
            sizes = both[(both >= largest) & (both <= size)]
            whole = _log_choose(n + m - sizes, size - sizes) - _log_choose(n + m, size)
            least = min(least, 2 * float(np.exp(whole).sum()))
    return least


def largest_move(a: Array, b: Array) -> float:
    """Least exact p-value of one category against all others, times the number of categories that could reach it."""
    n, m = int(a.sum()), int(b.sum())
    expected = (a + b) * (m / (n + m))
    order = np.argsort(-((b - expected) ** 2 / np.maximum(expected, 1e-9)), kind="stable")[:_TOP]
    least = min(fisher(int(a[i]), n, int(b[i]), m) for i in order)
    # The least p-value a category can have is no less than the chance of its rarer extreme: all or none in the current window.
    both = a + b
    most, fewest = np.minimum(both, m), np.maximum(0, both - n)
    extremes = [_log_choose(both, k) + _log_choose(n + m - both, m - k) - _log_choose(n + m, m) for k in (most, fewest)]
    reachable = int((np.exp(np.minimum(*extremes)) <= least * (1 + 1e-9)).sum())
    return min(1.0, max(reachable, 1) * least)


def _log_choose(n: Any, k: Any) -> Any:
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
