"""Exact bounds of the change of a share of hits, where few rows tell two models apart."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tools.exact_counts import exact_change
from tools.metric_values import Sample
from tools.metrics import METRICS
from tools.resampling import Change, paired_change

TAILS = (0.025, 0.025)


def change(differing: int, *, noise: float = 0.1, n: int = 300) -> Change:
    """The candidate mends `differing` rows; `noise` sets its probabilities apart."""
    y = np.tile([0.0, 1.0], n // 2)
    theirs = np.where(np.arange(n) % 5 == 0, 1 - y, y)
    ours = theirs.copy()
    ours[np.flatnonzero(theirs != y)[:differing]] = y[np.flatnonzero(theirs != y)[:differing]]
    sides = [
        Sample(y=y, prediction=p, proba=np.column_stack((1 - p, p)) * (1 - e) + e / 2, classes=2)
        for p, e in ((theirs, 0.1), (ours, 0.1 + noise))
    ]
    return paired_change(
        metric=METRICS["accuracy"], baseline=sides[0], candidate=sides[1], relative=False, confidence=0.95
    )


def test_bounds_are_clopper_pearsons_at_half_the_error_of_an_end():
    low, high = exact_change(3, 1, 200, TAILS)
    wins, losses = (binomtest(k, 200).proportion_ci(0.975, method="exact") for k in (3, 1))

    assert (low, high) == pytest.approx((wins.low - losses.high, wins.high - losses.low))


def test_turning_the_models_round_turns_the_interval_round():
    low, high = exact_change(4, 0, 100, TAILS)

    assert exact_change(0, 4, 100, TAILS) == pytest.approx((-high, -low))


def test_two_models_that_happen_to_have_the_same_rows_right_are_not_surely_alike():
    found = change(0)

    assert (found.low, found.high) == pytest.approx(exact_change(0, 0, 300, TAILS))
    assert found.low < -0.01 < 0.01 < found.high


def test_a_model_is_surely_as_good_as_itself():
    found = change(0, noise=0.0)

    assert (found.low, found.high) == (0.0, 0.0)


def test_few_mended_rows_only_widen_an_interval():
    low, high = exact_change(2, 0, 300, TAILS)
    found = change(2)

    assert found.low <= low
    assert found.high >= high
