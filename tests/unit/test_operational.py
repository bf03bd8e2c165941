"""Latency and size by the rule: exact sizes, and an interval of the median that holds without a distribution."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.contracts.comparison import Criterion
from tools.contracts.measuring import TimingResult
from tools.operational import MIN_CALLS, judge_latency, judge_size, median_interval, pairs_needed


def criterion(metric: str = "latency_ms", **changes: Any) -> Criterion:
    given = {"metric": metric, "role": "guardrail", "direction": "lower", "unit": "relative", "margin": 0.1}
    return Criterion.model_validate(given | changes)


def timing(champion: list[float], candidate: list[float], calls: int = 50) -> TimingResult:
    return TimingResult(
        champion_ms=tuple((value,) * calls for value in champion),
        candidate_ms=tuple((value,) * calls for value in candidate),
    )


@pytest.mark.parametrize(("confidence", "pairs"), [(0.9, 5), (0.95, 6), (0.99, 8), (0.999, 11), (0.96875, 6)])
def test_pairs_needed_are_the_fewest_whose_extremes_hold_the_median(confidence: float, pairs: int):
    assert pairs_needed(confidence) == pairs
    assert median_interval(list(range(pairs)), confidence) == (0, pairs - 1)
    assert median_interval(list(range(pairs - 1)), confidence) is None


def test_order_statistics_are_those_of_the_sign_test():
    # n = 20 at 0.95: the 6th and the 15th, as tables of the sign test have it (0.9586).
    assert median_interval(list(range(1, 21)), 0.95) == (6, 15)
    assert median_interval(list(range(1, 9)), 0.95) == (1, 8)
    assert median_interval(list(range(1, 10)), 0.95) == (2, 8)


@pytest.mark.parametrize("draw", ["normal", "cauchy", "exponential"])
def test_interval_holds_the_median_as_often_as_it_says(draw: str):
    generator = np.random.default_rng(1)
    rows = {
        "normal": generator.normal(size=(4000, 8)),
        "cauchy": generator.standard_cauchy(size=(4000, 8)),
        "exponential": generator.exponential(size=(4000, 8)) - np.log(2),
    }[draw]
    found = [median_interval(row.tolist(), 0.95) for row in rows]
    held = np.mean([low <= 0 <= high for low, high in (one for one in found if one is not None)])
    assert len(found) == 4000
    # 8 changes: the extremes hold it with 1 - 2^-7.
    assert held == pytest.approx(1 - 2**-7, abs=0.006)


CASES = [
    ("as fast", [1.0] * 8, [1.0] * 8, "non_inferior"),
    ("a little slower", [1.0] * 8, [1.05 + 0.001 * k for k in range(8)], "non_inferior"),
    ("surely slower", [1.0] * 8, [1.2 + 0.01 * k for k in range(8)], "regressed"),
    ("faster", [1.0] * 8, [0.7 + 0.01 * k for k in range(8)], "improved"),
    ("noisy", [1.0, 2.0] * 4, [2.0, 1.0] * 4, "inconclusive"),
    ("too few processes", [1.0] * 5, [1.0] * 5, "no_data"),
]


@pytest.mark.parametrize(("name", "champion", "candidate", "verdict"), CASES, ids=[case[0] for case in CASES])
def test_latency_is_judged_by_the_common_table(name: str, champion: Any, candidate: Any, verdict: str):
    found = judge_latency(criterion(), timing(champion, candidate), 0.95)
    assert found.verdict == verdict
    assert found.rows_needed is None


def test_latency_says_medians_percentiles_calls_and_processes():
    found = judge_latency(criterion(), timing([2.0] * 8, [3.0] * 8), 0.95)
    assert (found.baseline, found.candidate, found.change, found.low, found.high) == (2.0, 3.0, -0.5, -0.5, -0.5)
    assert found.statement == (
        "latency_ms: 2 (champion) against 3 (candidate) by medians of 400 single-row predictions of each in 8 processes "
        "(95th percentiles 2 and 3), change for the better -50.00% [-50.00%, -50.00%], a loss of 10.00% is accepted: "
        "regressed."
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            TimingResult(fault="the candidate could not be timed: boom"),
            "latency_ms: the candidate could not be timed: boom.",
        ),
        (TimingResult(), "latency_ms: 0 pairs of processes, at least 6 are needed at confidence 0.95."),
        (
            timing([1.0] * 8, [1.0] * 8, MIN_CALLS - 1),
            "latency_ms: 29 predictions timed in a process, at least 30 are needed.",
        ),
        (timing([0.0] * 8, [1.0] * 8), "latency_ms: a relative change of a champion's value of 0 does not exist."),
    ],
)
def test_latency_that_is_not_there_is_no_data_with_the_reason(given: TimingResult, says: str):
    found = judge_latency(criterion(), given, 0.95)
    assert (found.verdict, found.statement, found.low) == ("no_data", says, None)


def test_size_is_exact():
    found = judge_size(criterion("model_size_mb"), 2_000_000, 2_200_000)
    assert (found.verdict, found.baseline, found.candidate) == ("non_inferior", 2.0, 2.2)
    assert found.low == found.high == found.change == pytest.approx(-0.1)
    assert judge_size(criterion("model_size_mb"), 2_000_000, 2_200_001).verdict == "regressed"
    assert judge_size(criterion("model_size_mb", unit="absolute", margin=0.0), 5, 5).verdict == "non_inferior"


@pytest.mark.parametrize(("champion", "candidate", "who"), [(None, 5, "champion"), (5, None, "candidate")])
def test_size_that_is_not_known_is_no_data(champion: Any, candidate: Any, who: str):
    found = judge_size(criterion("model_size_mb"), champion, candidate)
    assert (found.verdict, found.statement) == ("no_data", f"model_size_mb: the size of the {who} is not known.")


def test_size_of_nothing_has_no_relative_change():
    assert judge_size(criterion("model_size_mb"), 0, 5).verdict == "no_data"


@given(
    st.lists(st.floats(0.01, 1e3), min_size=6, max_size=12),
    st.lists(st.floats(0.01, 1e3), min_size=6, max_size=12),
    st.floats(1.0, 10.0),
)
def test_a_slower_candidate_is_never_judged_better(champion: list[float], candidate: list[float], times: float):
    order = ["regressed", "inconclusive", "non_inferior", "improved"]
    before = judge_latency(criterion(), timing(champion, candidate, 30), 0.95)
    after = judge_latency(criterion(), timing(champion, [value * times for value in candidate], 30), 0.95)
    assert order.index(after.verdict) <= order.index(before.verdict)
