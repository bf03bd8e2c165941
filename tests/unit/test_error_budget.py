"""The error that all looks at the same rows may spend together."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.contracts.comparison import Look, Span
from tools.error_budget import budget

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def a_look(run: int, first: float, days: float = 14, alpha: float = 0.0, **changes: object) -> Look:
    spans = (Span(start=START + first * DAY, end=START + (first + days) * DAY),)
    given: dict[str, object] = {
        "model_name": "m",
        "run_id": f"r{run}",
        "digest": f"d{run}",
        "spans": spans,
        "at": START,
    }
    return Look.model_validate(given | {"alpha": alpha} | changes)


def spend(looks: list[Look], confidence: float = 0.95, most: int = 20) -> list[Look]:
    """Each look with what it spent after those before it."""
    done: list[Look] = []
    for look in looks:
        found = budget(look, done, confidence=confidence, most=most)
        done.append(look.model_copy(update={"alpha": found.alpha}))
    return done


def test_first_look_is_the_two_sided_interval_itself():
    found = budget(a_look(1, 0), [], confidence=0.95, most=20)
    assert (found.look, found.alpha, found.exhausted) == (1, pytest.approx(0.025), False)


def test_a_thousand_looks_at_the_same_rows_never_spend_more_than_the_budget():
    spent = spend([a_look(k, 0) for k in range(1_000)], most=10_000)
    assert sum(look.alpha for look in spent) <= 0.05
    assert [look.alpha for look in spent] == sorted((look.alpha for look in spent), reverse=True)


def test_looks_beyond_the_last_ask_for_fresh_labels():
    spent = spend([a_look(k, 0) for k in range(4)], most=3)
    assert [look.alpha > 0 for look in spent] == [True, True, True, False]
    found = budget(a_look(9, 0), spent[:3], confidence=0.95, most=3)
    assert found.exhausted
    assert "needs fresh labels" in found.statement


def test_fresh_rows_have_a_budget_of_their_own_and_one_shared_hour_has_not():
    first = spend([a_look(1, 0)])
    assert budget(a_look(2, 14.001), first, confidence=0.95, most=20).look == 1
    assert budget(a_look(2, 13.96), first, confidence=0.95, most=20).look == 2


def test_unknown_times_and_the_same_digest_count_as_the_same_rows():
    first = spend([a_look(1, 0)])
    assert budget(a_look(2, 400, spans=()), first, confidence=0.95, most=20).look == 2
    assert budget(a_look(2, 400, digest="d1"), first, confidence=0.95, most=20).look == 2


def test_a_resumed_run_is_no_second_look():
    first = spend([a_look(1, 0)])
    assert budget(a_look(1, 0), first, confidence=0.95, most=20).look == 1


@given(starts=st.lists(st.integers(0, 60), min_size=1, max_size=25), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_whatever_the_order_rows_are_looked_at_no_row_is_judged_beyond_the_budget(starts: list[int], confidence: float):
    spent = spend([a_look(k, first) for k, first in enumerate(starts)], confidence, most=100)
    for day in range(80):
        on_this_day = [
            look.alpha for look in spent if any(s.start <= START + (day + 0.5) * DAY <= s.end for s in look.spans)
        ]
        assert sum(on_this_day) <= (1 - confidence) + 1e-12


def test_budget_that_was_spent_at_a_looser_level_leaves_less():
    loose = a_look(1, 0, alpha=0.04)
    assert budget(a_look(2, 0), [loose], confidence=0.95, most=20).alpha == pytest.approx(0.05 / 6)
    assert budget(a_look(2, 0), [a_look(1, 0, alpha=0.049)], confidence=0.95, most=20).alpha == pytest.approx(0.001)
    assert budget(a_look(2, 0), [a_look(1, 0, alpha=0.06)], confidence=0.95, most=20).exhausted
