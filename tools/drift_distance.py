"""How far apart are two samples, and how likely is that by chance alone?

* **Effect.** Jensen-Shannon divergence in bits of the shares a bin, less its mean under no drift, then the square root:
  0 to 1. Bins of numbers are deciles of both windows together, with a bin of its own for a value that fills a decile,
  and one for each infinity; bins of anything else are its categories. Nulls are no bin: they are compared apart.
* **No drift** means that the current window is a random part of both windows together. Tests hold that against the data
  (`tools.drift_tails`), and the Cauchy combination, which holds for tests that depend on each other, makes one p-value of them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from tools.drift_tails import (
    Array,
    beyond_range,
    cauchy,
    fisher,
    kolmogorov_smirnov,
    largest_move,
    mann_whitney,
    one_sided_category,
)

DRAWS: Final = 300
BINS: Final = 10
MAX_CATEGORIES: Final = 2_000
"""The most frequent of both windows together stand alone; the rest share one bin."""
_WEIGHTS: Final = {"mann-whitney": 0.4, "ks": 0.4, "g": 0.2, "range": 0.2}


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
    tests = {
        "g": found.p_value,
        "ks": kolmogorov_smirnov(c_ref, c_cur),
        "mann-whitney": mann_whitney(c_ref, c_cur),
        "range": beyond_range(c_ref, c_cur),
    }
    used = {name: p for name, p in tests.items() if p is not None}
    p_value = cauchy(list(used.values()), [_WEIGHTS[name] for name in used])
    return Found(found.effect, p_value, found.noise, f"jensen-shannon; {', '.join(used)}")


def _compare_codes(a: Array, b: Array) -> Found:
    found = _against_no_drift(a, b)
    if len(a) <= 2:
        return Found(*found, "jensen-shannon; fisher")
    p_value = cauchy([found.p_value, largest_move(a, b), one_sided_category(a, b)], [1, 1, 1])
    return Found(found.effect, p_value, found.noise, "jensen-shannon; g, fisher, one-sided category")


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
