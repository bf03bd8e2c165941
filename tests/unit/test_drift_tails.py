"""P-values are held against 0.05 / 365 / columns, about 1e-6: there the stated ones against exact ones, not simulated ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import special

from tools import drift_distance
from tools.drift_tails import beyond_range, fisher, kolmogorov_smirnov, largest_move, mann_whitney, one_sided_category

LEVELS = (1e-3, 1e-6)


@dataclass(frozen=True)
class Bins:
    """Rows of three categories in both windows together, and rows of the current window."""

    pooled: tuple[int, int, int]
    current: int


THREE_BINS = [
    Bins((300, 400, 480), 80),
    Bins((100, 100, 80), 80),
    Bins((40, 60, 1_080), 80),
    Bins((10, 10, 1_160), 80),
    Bins((5, 5, 50_070), 80),
    Bins((60, 80, 5_160), 300),
]


def every_outcome(case: Bins) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the current window that can come about, and the logarithm of their probability."""

    def choose(n: Any, k: Any) -> Any:
        return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)

    first, second, third = case.pooled
    x, y = (side.ravel() for side in np.meshgrid(np.arange(first + 1), np.arange(second + 1)))
    z = case.current - x - y
    possible = (z >= 0) & (z <= third)
    x, y, z = x[possible], y[possible], z[possible]
    chance = choose(first, x) + choose(second, y) + choose(third, z) - choose(sum(case.pooled), case.current)
    return np.stack([x, y, z], axis=1), chance


@pytest.mark.parametrize("case", THREE_BINS, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_likelihood_ratio_promises_no_more_than_the_exact_tail(case: Bins, level: float):
    current, chance = every_outcome(case)
    pooled = np.array(case.pooled)
    ratios = drift_distance._likelihood_ratio(pooled - current, current)  # pyright: ignore[reportPrivateUsage]
    order = np.argsort(-ratios, kind="stable")
    tail = np.cumsum(np.exp(chance[order]))
    last = int(np.searchsorted(tail, level)) - 1
    seen = current[order[last]]
    stated = drift_distance._against_no_drift(pooled - seen, seen).p_value  # pyright: ignore[reportPrivateUsage]
    assert tail[last] / 1.2 <= stated <= 40 * tail[last]


@pytest.mark.parametrize(
    ("n", "m", "positive"),
    [(1_100, 80, 200), (1_100, 80, 230), (5_000, 300, 300), (50_000, 80, 20_000), (200, 5_000, 400), (5_000, 80, 800)],
)
@pytest.mark.parametrize("level", LEVELS)
def test_rank_test_of_a_value_among_many_equal_ones_agrees_with_fisher(n: int, m: int, positive: int, level: float):
    for b in range(positive * m // (n + m), min(positive, m) + 1):
        stated = mann_whitney(np.array([n - positive + b, positive - b]), np.array([m - b, b]))
        assert stated is not None
        if stated < level:
            exact = fisher(positive - b, n, b, m)
            assert exact / 1.3 <= stated <= 4 * exact
            return
    raise AssertionError("no outcome is that unlikely")


def paths_beyond(n: int, m: int, distance: float) -> float:
    """Exact chance of a Kolmogorov-Smirnov distance of at least `distance` without ties: shares of paths on the lattice."""
    inside = np.zeros(m + 1)
    for i in range(n + 1):
        for j in range(m + 1):
            if abs(i / n - j / m) >= distance - 1e-9:
                inside[j] = 0.0
            elif i + j == 0:
                inside[j] = 1.0
            else:
                above, left = inside[j], inside[j - 1] if j else 0.0
                inside[j] = above * i / (i + j) + left * j / (i + j)
    return 1 - float(inside[m])


@pytest.mark.parametrize(
    ("n", "m", "most"), [(30, 30, 1.01), (100, 100, 1.01), (200, 80, 1.01), (400, 80, 1.3), (1_000, 80, 1.1)]
)
@pytest.mark.parametrize("level", LEVELS)
def test_kolmogorov_smirnov_is_close_to_the_exact_tail(n: int, m: int, most: float, level: float):
    for ahead in range(m + 1):  # rows of the current window before the first of the reference's
        stated = kolmogorov_smirnov(np.array([0, n]), np.array([ahead, m - ahead]))
        if stated < level:
            exact = paths_beyond(n, m, ahead / m)
            assert exact / most <= stated <= max(most, 1.2) * exact
            return
    raise AssertionError("no distance is that unlikely")


@pytest.mark.parametrize(("n", "m"), [(200, 80), (1_000, 300), (200, 2_000)])
@pytest.mark.parametrize("test", [beyond_range, one_sided_category, largest_move], ids=lambda test: test.__name__)
def test_undrifted_draws_are_flagged_no_more_often_than_stated(n: int, m: int, test: Any):
    g = np.random.default_rng(1)
    weights = 1 / np.arange(1, 61)
    found: list[float] = []
    for _ in range(1_000):
        rows = g.choice(60, n + m, p=weights / weights.sum())
        a, b = (np.bincount(side, minlength=60) for side in (rows[:n], rows[n:]))
        found.append(test(a[a + b > 0], b[a + b > 0]))
    for level in (0.2, 0.05, 0.01):
        assert np.mean(np.array(found) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 1_000)


def test_category_that_is_new_and_values_beyond_the_range_are_unlikely_in_exact_numbers():
    a, b = np.array([100, 100, 0]), np.array([38, 38, 4])
    whole = np.prod([(80 - i) / (280 - i) for i in range(4)])
    large = [special.comb(280 - 138, 80 - 138) / special.comb(280, 80)] * 2
    assert one_sided_category(a, b) == pytest.approx(2 * (whole + sum(large)), rel=1e-9)
    assert beyond_range(a, b) == pytest.approx(2 * whole, rel=1e-9)
    assert beyond_range(np.array([50, 50]), np.array([40, 40])) == 1.0


def test_rare_categories_that_could_not_have_moved_as_far_are_no_handicap():
    a, b = np.array([500, 500]), np.array([130, 70])
    rare = np.ones(200, int)
    alone, among = largest_move(a, b), largest_move(np.r_[a, rare], np.r_[b, 0 * rare])
    assert alone < 1e-3
    assert among < 10 * alone
