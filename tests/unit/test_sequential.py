"""Wealth is a supermartingale under the null, and grows where there is something to win."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import sequential
from tools.sequential import (
    CHUNK,
    LATE,
    UNSEEN,
    Rounds,
    bounds,
    evidence_above,
    evidence_below,
    evidence_of_harm,
    inflation,
    log_wealth,
    log_wealth_from_any_start,
    matched,
)


def fair(d: np.ndarray) -> Rounds:
    """Bets that nothing tempers."""
    return Rounds(d, np.ones(len(d)))


@given(
    null=st.floats(-0.9, 0.9),
    share=st.floats(0, 1),
    history=st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_next_round_at_the_null_wins_nothing_on_average_whatever_came_before(
    null: float, share: float, history: list[float]
) -> None:
    """The two-point differences -1 and 1 with the mean `null`: the expected wealth after the round is the wealth before it."""
    up, before = (1 + null) / 2, np.array(history)

    def wealth(last: list[float]) -> float:
        path = log_wealth(fair(np.array([*before, *last])), null, 1 + null)
        return float(np.exp(path[-1])) if len(path) else 1.0

    expected = up * wealth([1.0]) + (1 - up) * wealth([-1.0])
    assert expected == pytest.approx(wealth([]), rel=1e-9)


def test_wealth_reaches_one_over_alpha_in_at_most_alpha_of_harmless_streams() -> None:
    g = np.random.default_rng(1)
    alarms = sum(
        evidence_above(sequential.rounds_of((g.random(2000) < 0.1).astype(float) - (g.random(2000) < 0.1)), 0.0)
        >= np.log(20)
        for _ in range(300)
    )
    assert alarms <= 0.05 * 300 + 2 * (0.05 * 0.95 * 300) ** 0.5


def test_harm_is_found_and_the_same_rows_the_other_way_round_are_none() -> None:
    g = np.random.default_rng(2)
    d = (g.random(4000) < 0.2).astype(float) - (g.random(4000) < 0.1)
    rounds = sequential.rounds_of(d)

    assert evidence_above(rounds, 0.0) > np.log(20)
    assert evidence_below(rounds, 0.0) < np.log(20)
    assert evidence_above(rounds, 0.2) < np.log(20)
    low, high = bounds(rounds, 0.05)
    assert 0 < low < 0.1 < high < 0.2


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=400), st.integers(1, 400))
@settings(max_examples=40, deadline=None)
def test_evidence_found_by_an_earlier_look_is_never_lost(values: list[float], cut: int) -> None:
    d = np.array(values)
    assert evidence_above(sequential.rounds_of(d), 0.0) >= evidence_above(sequential.rounds_of(d[:cut]), 0.0) - 1e-9


def test_dependence_tempers_bets_and_independence_does_not() -> None:
    g = np.random.default_rng(3)
    independent = (g.random(6000) < 0.1).astype(float) - (g.random(6000) < 0.1)
    tied = np.repeat(independent[:1200], 5)

    assert np.isinf(inflation(tied)[:UNSEEN]).all()
    assert np.median(inflation(independent)[UNSEEN:]) == 1.0
    assert np.median(inflation(tied)[1000:]) > 3.0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_arms_of_any_size_are_matched_round_by_round_without_looking_at_values(share: float) -> None:
    g = np.random.default_rng(4)
    candidate = g.random(8000) < share
    values = np.where(candidate, 1.0, 0.25)

    d = matched(values, candidate)

    assert np.allclose(d, 0.75)
    assert len(d) % CHUNK == 0
    assert len(d) >= 0.8 * min(candidate.sum(), (~candidate).sum()) - 2 * CHUNK


def test_chunk_that_is_not_closed_waits_and_one_arm_alone_gives_no_round() -> None:
    assert len(matched(np.ones(31 * 2), np.arange(62) % 2 == 0)) == 0
    assert len(matched(np.ones(500), np.ones(500, dtype=bool))) == 0
    assert len(log_wealth(fair(np.array([])), 0.0, 1.0)) == 0
    assert evidence_above(sequential.rounds_of(np.array([])), 0.0) == 0.0


def differing(n: int, theirs: float, ours: float, begins: int, seed: int = 5) -> Rounds:
    """Independent answers; the candidate's go wrong from `begins` on."""
    g = np.random.default_rng(seed)
    bad = g.random(n) < np.where(np.arange(n) < begins, theirs, ours)
    return sequential.rounds_of(bad.astype(float) - (g.random(n) < theirs))


def test_stakes_of_all_who_ever_begin_are_no_more_than_one() -> None:
    """Where nobody wins or loses, all own what they began with."""
    owned = np.exp(log_wealth_from_any_start(Rounds(np.zeros(200 * CHUNK), np.ones(200 * CHUNK)), 0.0, 1.0))
    ends = owned[CHUNK - 1 :: CHUNK]
    assert owned.max() <= 1.0
    assert np.isclose(owned[0], 1 - LATE)
    assert (np.diff(ends) >= -1e-12).all()
    assert ends[-1] > 1 - LATE


def test_wealth_of_all_who_ever_begin_is_at_most_one_on_average_without_harm() -> None:
    last = np.array(
        [np.exp(log_wealth_from_any_start(differing(960, 0.2, 0.2, 0, seed), 0.0, 1.0)[-1]) for seed in range(600)]
    )
    assert last.mean() <= 1 + 2 * last.std() / len(last) ** 0.5


@pytest.mark.parametrize("healthy", [1_000, 10_000, 50_000])
def test_harm_that_begins_late_is_found_within_hundreds_of_requests_and_not_before(healthy: int) -> None:
    before, after = differing(healthy, 0.01, 1.0, healthy), differing(healthy + 320, 0.01, 1.0, healthy)

    assert evidence_of_harm(before, 0.02) < np.log(20)
    assert evidence_of_harm(after, 0.02) >= np.log(20)
    assert evidence_above(after, 0.02) < np.log(20), "who began at the start has lost too much to tell"


def test_late_beginners_do_not_take_repeated_requests_for_harm() -> None:
    """Rare errors that come five at a time: too few are seen early to know that they do."""
    alarms = 0
    for seed in range(150):
        g = np.random.default_rng(seed)
        bad, theirs = (np.repeat(g.random(2000) < 0.01, 5).astype(float) for _ in range(2))
        alarms += evidence_of_harm(sequential.rounds_of(bad - theirs), 0.0) >= np.log(20)
    assert alarms <= 0.05 * 150 + 2 * (0.05 * 0.95 * 150) ** 0.5


def test_what_the_champion_answered_alone_before_is_matched_with_nobody() -> None:
    candidate = np.concatenate([np.zeros(5000, dtype=bool), np.arange(640) % 2 == 1])
    values = np.concatenate([np.ones(4999), np.zeros(641)])
    assert not matched(values, candidate).any()


@pytest.mark.parametrize("values", ["few", "many"])
def test_bounds_of_many_rounds_hold_and_are_little_wider_than_those_of_every_round(
    values: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = np.random.default_rng(5)
    d = g.binomial(1, 0.12, 20_005) - g.binomial(1, 0.1, 20_005) if values == "few" else g.uniform(-0.8, 0.84, 20_005)
    rounds = sequential.rounds_of(d.astype(np.float64))
    by_chunks = bounds(rounds, 0.05)
    monkeypatch.setattr(sequential, "MANY", len(d))
    exact = bounds(rounds, 0.05)

    assert by_chunks[0] <= 0.02 <= by_chunks[1]
    assert np.allclose(by_chunks, exact, atol=0.2 * (exact[1] - exact[0]))
