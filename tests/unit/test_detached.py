"""A column that no longer belongs to its rows, and one that stands still: broken data, not a changed world."""

import numpy as np
import pyarrow as pa
import pytest

from tools import drift
from tools.adapters.drift_columns import Windows
from tools.drift import ColumnDrift

NAMES = ("a", "b", "c")


def columns(n: int, seed: int, slope: float = 1.0) -> dict[str, np.ndarray]:
    """`b` goes with `a`; `c` goes with nothing."""
    g = np.random.default_rng(seed)
    a = g.normal(size=n)
    return {"a": a, "b": slope * a + g.normal(size=n), "c": g.normal(size=n)}


def compared(current: dict[str, np.ndarray], n: int = 1_500) -> dict[str, ColumnDrift]:
    windows = Windows(pa.table(columns(n, 0)), pa.table(current))
    found = drift.correct([windows.feature(name, 0.08) for name in NAMES], 0.08, looks=365)
    return {one.column: one for one in windows.detached(found)}


def test_shuffled_values_came_loose_and_the_twin_in_place_did_not() -> None:
    whole = columns(1_500, 1)
    shuffled = whole | {"b": np.random.default_rng(2).permutation(whole["b"])}

    found, twin = compared(shuffled), compared(whole)

    assert (found["b"].outcome, found["b"].drift_type, found["b"].broken) == ("bad", "detached", True)
    assert "rank correlation with a was 0." in found["b"].statement
    assert found["c"].outcome == "ok"
    assert [one.outcome for one in twin.values()] == ["ok"] * 3


def test_a_weaker_relation_is_a_changed_world() -> None:
    weaker = columns(1_500, 1, slope=0.4)

    assert not any(one.drift_type == "detached" for one in compared(weaker).values())


@pytest.mark.parametrize("rows", [0, 1, 150])
def test_few_rows_tell_nothing(rows: int) -> None:
    loose = {name: np.random.default_rng(k).normal(size=rows) for k, name in enumerate(NAMES)}

    assert not any(one.drift_type == "detached" for one in compared(loose).values())


def test_nulls_and_constants_do_no_harm() -> None:
    odd = columns(1_500, 1) | {"a": np.full(1_500, np.nan), "c": np.ones(1_500)}

    found = compared(odd)

    assert (found["a"].drift_type, found["c"].drift_type) == ("null_share", "stuck")


def test_a_number_that_stands_still_is_stuck_and_one_that_moved_is_not() -> None:
    moved, still = columns(1_500, 1), columns(1_500, 1)
    moved["a"] = moved["a"] + 0.5
    still["a"][:1_480] = 0.7

    assert compared(moved)["a"].drift_type == "data_drift"
    assert (compared(still)["a"].drift_type, compared(still)["a"].broken) == ("stuck", True)
