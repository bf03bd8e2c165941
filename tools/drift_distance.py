"""How far apart are two samples, and how likely is that by chance alone?

* **Effect.** Jensen-Shannon divergence in bits of the shares a bin, less its mean under no drift, then the square root:
  0 to 1. Bins of numbers are deciles of both windows together, with a bin of its own for a value that fills a decile,
  and one for each infinity; bins of anything else are its categories. Nulls are no bin: they are compared apart.
* **No drift** means that the current window is a random part of both windows together. Three tests hold that against
  the data, each exact or with moments that are exact under it:
  - G (likelihood ratio) over the bins. Mean and variance from `DRAWS` multivariate hypergeometric draws, tail of a gamma
    distribution with these moments whose scale is never below 2. Two bins: Fisher's exact test instead.
  - Kolmogorov-Smirnov over the distinct values (numbers only; ties make it careful).
  - Mann-Whitney on mid-ranks (numbers only), the one that sees a small shift. Mean, variance and skewness of the rank
    sum are exact with any ties; the tail is Pearson's type III of these three. Left out where fewer than
    `MIN_UNTIED` values of the smaller window are expected outside the largest tie.
  - Fisher's exact test of the categories that moved most, times the number of categories (categories only).
* **One p-value** from them by the Cauchy combination, which holds for tests that depend on each other.

What was found about the tail at 1e-6, against exact enumeration (tests/unit/test_drift_tails.py): G states the exact p-value
where bins are well filled and up to 25 times more where some are rare, never less than four fifths of it. Mann-Whitney with
a value among many equal ones stays within 0.8 to 4 times Fisher's. Kolmogorov-Smirnov is exact for few rows and within a tenth from
1,000 against 80 on. The former tail, a gamma fitted to the
Jensen-Shannon divergence, was given up: the probability falls with exp(-G / 2), not with that divergence.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats  # pyright: ignore[reportMissingTypeStubs]

Array = NDArray[Any]

DRAWS: Final = 300
BINS: Final = 10
MAX_CATEGORIES: Final = 2_000
"""The most frequent of both windows together stand alone; the rest share one bin."""
MIN_UNTIED: Final = 10
_WEIGHTS: Final = {"mann-whitney": 0.4, "ks": 0.4, "g": 0.2}
_TOP: Final = 5
_EXACT_KS: Final = 25_000
"""Most pairs of rows for Kolmogorov-Smirnov's exact distribution; behind it the approximate one is within a fifth."""
_CAP: Final = 0.99
"""p = 1 would outweigh every other test in a Cauchy combination."""
_STATS: Any = stats  # scipy's annotations are partial


class Pair(NamedTuple):
    """One aspect of a column in both windows, row by row."""

    name: str
    """`values`, `nulls`, or a descriptor such as `hour` or `length`."""
    reference: Array
    """Floats, NaN for null; or codes from 0, -1 for null."""
    current: Array
    names: Sequence[str] | None = None
    """What the codes stand for; None for numbers."""


class Found(NamedTuple):
    """Two samples compared."""

    effect: float
    p_value: float
    noise: float
    """Mean distance that two samples of this size have under no drift."""
    method: str


class _Null(NamedTuple):
    """Divergence and G under no drift, and where the observed ones stand."""

    effect: float
    p_value: float
    noise: float


def is_null(values: Array) -> Array:
    """Mask of nulls in either coding."""
    return np.isnan(values) if values.dtype.kind == "f" else values < 0


def nulls(pair: Pair) -> Pair:
    """The null share of a pair as an aspect of its own."""
    return Pair(
        "nulls", is_null(pair.reference).astype(np.int64), is_null(pair.current).astype(np.int64), ("no", "yes")
    )


def without_nulls(pair: Pair) -> Pair:
    """Only the rows that hold a value."""
    return pair._replace(
        reference=pair.reference[~is_null(pair.reference)], current=pair.current[~is_null(pair.current)]
    )


def compare(pair: Pair) -> Found:
    """Compares two samples without nulls, neither of them empty."""
    if pair.names is not None:
        return _compare_codes(*counts(pair))
    return _compare_numbers(pair.reference, pair.current)


def effect_only(pair: Pair) -> float:
    """The effect without the tests; for explanations, which compare many variants."""
    return _against_no_drift(*counts(pair)).effect


def counts(pair: Pair) -> tuple[Array, Array]:
    """Counts a bin in either window; categories that are rare in both together share one bin."""
    if pair.names is None:
        edges = bin_edges(pair.reference, pair.current)
        codes = [bin_codes(side, edges) for side in (pair.reference, pair.current)]
        size = 2 * len(edges) + 3
    else:
        codes, size = [pair.reference, pair.current], len(pair.names)
    return lump(*(np.bincount(side, minlength=size) for side in codes))


def lump(a: Array, b: Array) -> tuple[Array, Array]:
    """Leaves empty bins out and pools the rarest beyond `MAX_CATEGORIES`."""
    seen = (a + b) > 0
    a, b = a[seen], b[seen]
    if len(a) <= MAX_CATEGORIES:
        return a, b
    order = np.argsort(-(a + b), kind="stable")
    keep, rest = order[: MAX_CATEGORIES - 1], order[MAX_CATEGORIES - 1 :]
    return np.append(a[keep], a[rest].sum()), np.append(b[keep], b[rest].sum())


def bin_edges(reference: Array, current: Array) -> Array:
    """Deciles of both windows together."""
    both = np.concatenate([reference, current])
    finite = both[np.isfinite(both)]
    return np.unique(np.quantile(finite, np.arange(1, BINS) / BINS)) if len(finite) else np.empty(0)


def bin_codes(values: Array, edges: Array) -> Array:
    """Bin numbers: between and on the edges, then -inf and +inf."""
    # Left plus right: odd numbers are values exactly on an edge, which is where a value that repeats itself lies.
    codes = np.searchsorted(edges, values, side="left") + np.searchsorted(edges, values, side="right")
    last = 2 * len(edges)
    codes[np.isneginf(values)] = last + 1
    codes[np.isposinf(values)] = last + 2
    return codes


def divergence(a: Array, b: Array) -> Array:
    """Jensen-Shannon divergence in bits of counts along the last axis."""
    p = a / a.sum(axis=-1, keepdims=True)
    q = b / b.sum(axis=-1, keepdims=True)

    def entropy(x: Array) -> Array:
        return np.asarray(special.entr(x)).sum(axis=-1) / np.log(2)

    return np.maximum(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2, 0.0)


def noise_of(a: Array, m: int) -> float:
    """Mean divergence of `m` rows from counts `a` when nothing moved; first order, for blocks of a window."""
    return (int((a > 0).sum()) - 1) / (8 * np.log(2)) * (1 / max(int(a.sum()), 1) + 1 / max(m, 1))


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


def _compare_numbers(ref: Array, cur: Array) -> Found:
    ref, cur = np.sort(ref), np.sort(cur)
    both = np.concatenate([ref, cur])
    both.sort()
    distinct = both[np.append(True, both[1:] != both[:-1])]
    c_ref, c_cur = (np.diff(np.searchsorted(side, distinct, side="right"), prepend=0) for side in (ref, cur))
    edges = bin_edges(ref, cur)
    codes = bin_codes(distinct, edges)
    binned = [np.bincount(codes, weights=c, minlength=2 * len(edges) + 3).astype(np.int64) for c in (c_ref, c_cur)]
    found = _against_no_drift(*lump(*binned))
    if len(distinct) <= 2:
        return Found(*found, "jensen-shannon; fisher")
    tests = {"g": found.p_value, "ks": kolmogorov_smirnov(c_ref, c_cur), "mann-whitney": mann_whitney(c_ref, c_cur)}
    used = {name: p for name, p in tests.items() if p is not None}
    p_value = cauchy(list(used.values()), [_WEIGHTS[name] for name in used])
    return Found(found.effect, p_value, found.noise, f"jensen-shannon; {', '.join(used)}")


def _compare_codes(a: Array, b: Array) -> Found:
    found = _against_no_drift(a, b)
    if len(a) <= 2:
        return Found(*found, "jensen-shannon; fisher")
    p_value = cauchy([found.p_value, _largest_move(a, b)], [1, 1])
    return Found(found.effect, p_value, found.noise, "jensen-shannon; g, fisher")


def _largest_move(a: Array, b: Array) -> float:
    """Least exact p-value of one category against all others, times the number of categories."""
    n, m = int(a.sum()), int(b.sum())
    expected = (a + b) * (m / (n + m))
    order = np.argsort(-((b - expected) ** 2 / np.maximum(expected, 1e-9)), kind="stable")[:_TOP]
    return min(1.0, len(a) * min(fisher(int(a[i]), n, int(b[i]), m) for i in order))


def _likelihood_ratio(a: Array, b: Array) -> Array:
    """G of two rows of counts along the last axis."""

    def information(x: Array) -> Array:
        return np.asarray(special.xlogy(x, x)).sum(axis=-1)

    n, m = a.sum(axis=-1), b.sum(axis=-1)
    of_sizes = special.xlogy(n + m, n + m) - special.xlogy(n, n) - special.xlogy(m, m)
    return np.maximum(2 * (information(a) + information(b) - information(a + b) + of_sizes), 0.0)


def _against_no_drift(a: Array, b: Array) -> _Null:
    pooled = a + b
    if len(pooled) < 2:
        return _Null(0.0, 1.0, 0.0)
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_hypergeometric(pooled, int(b.sum()), size=DRAWS, method="marginals")
    null = divergence(pooled - drawn, drawn)
    mean = float(null.mean())
    effect, noise = float(np.sqrt(max(float(divergence(a, b)) - mean, 0.0))), float(np.sqrt(mean))
    if len(pooled) == 2:
        return _Null(effect, fisher(int(a[0]), int(a.sum()), int(b[0]), int(b.sum())), noise)
    ratios = _likelihood_ratio(pooled - drawn, drawn)
    centre, variance = float(ratios.mean()), float(ratios.var())
    if variance < 1e-12:  # every value its own: the draws cannot differ
        return _Null(effect, 1.0, noise)
    scale = max(2.0, variance / centre)
    return _Null(effect, float(special.gammaincc(centre / scale, float(_likelihood_ratio(a, b)) / scale)), noise)
