"""Column drift: what must be flagged, what must not, and what cannot be told."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tools.drift import (
    Aspect,
    ColumnDrift,
    Kind,
    column_drift,
    correct,
    not_comparable,
    share_drifted,
    type_changed,
    vanished,
    weigh,
)

LEAST = 0.15


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def nulls(values: np.ndarray, share: float) -> np.ndarray:
    """Every 1/share-th value becomes null."""
    out = values.astype(object)
    out[:: max(1, round(1 / share))] = None
    return out


def test_undrifted_small_window_against_large_reference_is_not_flagged():
    # Evidently's defaults flag 15 to 18 of 20 such columns, six seeds of six.
    for seed in range(6):
        generator = rng(seed)
        columns = [
            column_drift(generator.normal(size=1_100), generator.normal(size=80), "numeric", LEAST) for _ in range(20)
        ]
        assert [c.outcome for c in correct(columns, LEAST)].count("bad") == 0


def test_shift_of_one_standard_deviation_is_flagged_in_the_same_small_window():
    generator = rng()
    columns = [
        column_drift(generator.normal(size=1_100), generator.normal(1.0, size=80), "numeric", LEAST) for _ in range(20)
    ]
    assert {c.outcome for c in correct(columns, LEAST)} == {"bad"}


@dataclass(frozen=True)
class Case:
    id: str
    reference: np.ndarray
    current: np.ndarray
    kind: Kind
    drift_type: str


NORMAL = rng(1).normal(50, 5, 2_000)
LATER = rng(2).normal(50, 5, 1_000)
CITY = rng(3).choice(["a", "b", "c"], 2_000, p=[0.6, 0.3, 0.1]).astype(object)
CITY_LATER = rng(4).choice(["a", "b", "c"], 1_000, p=[0.6, 0.3, 0.1]).astype(object)
FLAG = rng(5).random(2_000) < 0.2
COUNTS = rng(6).poisson(6, 2_000).astype(float) + 1
ONE_HUGE = np.append(rng(7).normal(55, 5, 999), 1e6)

DRIFTED = [
    Case("shifted", NORMAL, LATER + 5, "numeric", "data_drift"),
    Case("one outlier hides no shift", NORMAL, ONE_HUGE, "numeric", "data_drift"),
    Case("wider", NORMAL, rng(8).normal(50, 10, 1_000), "numeric", "data_drift"),
    Case("constant moved down", np.full(500, 5.0), np.full(500, 3.0), "numeric", "data_drift"),
    Case("a third null", NORMAL, nulls(LATER, 1 / 3), "numeric", "null_share"),
    Case("half the categories null", CITY, nulls(CITY_LATER, 0.5), "categorical", "null_share"),
    Case("all null", NORMAL, np.full(1_000, np.nan), "numeric", "null_share"),
    Case("all null categories", CITY, np.full(1_000, None, dtype=object), "categorical", "null_share"),
    Case("infinities", NORMAL, np.where(np.arange(1_000) % 3 == 0, np.inf, LATER), "numeric", "infinite"),
    Case("kilo left out", NORMAL, LATER * 1_000, "numeric", "unit"),
    Case("seconds for hours", COUNTS, (rng(9).poisson(6, 1_000) + 1) * 3_600.0, "numeric", "unit"),
    Case("another unit of values that also moved", NORMAL, (LATER + 3) * 1_000, "numeric", "unit"),
    Case("a few more nulls", NORMAL, nulls(LATER, 0.09), "numeric", "nulls"),
    Case("twice as much", NORMAL, LATER * 2, "numeric", "data_drift"),
    Case("cents to euros", NORMAL, LATER / 100, "numeric", "unit"),
    Case("new category", CITY, np.where(np.arange(1_000) % 2 == 0, "new", CITY_LATER), "categorical", "new_category"),
    Case("flag more often", FLAG, rng(10).random(1_000) < 0.6, "boolean", "data_drift"),
    Case("nulls filled", nulls(NORMAL, 0.5), LATER, "numeric", "nulls"),
    Case("nulls only before", np.full(500, np.nan), LATER, "numeric", "nulls"),
    Case("category gone", CITY, CITY_LATER[CITY_LATER != "b"], "categorical", "vanished_category"),
]

SAME = [
    Case("numeric", NORMAL, LATER, "numeric", "data_drift"),
    Case("same null share", nulls(NORMAL, 1 / 3), nulls(LATER, 1 / 3), "numeric", "data_drift"),
    Case("one outlier", NORMAL, np.append(LATER[:-1], 1e6), "numeric", "data_drift"),
    Case("few infinities", NORMAL, np.append(LATER[:-1], np.inf), "numeric", "data_drift"),
    Case("categories", CITY, CITY_LATER, "categorical", "data_drift"),
    Case("flags", FLAG, rng(11).random(1_000) < 0.2, "boolean", "data_drift"),
    Case("constant", np.full(500, 5.0), np.full(500, 5.0), "numeric", "data_drift"),
    Case("counts", COUNTS, rng(12).poisson(6, 1_000).astype(float) + 1, "numeric", "data_drift"),
    Case("small shift", NORMAL, LATER + 0.5, "numeric", "data_drift"),
]


@pytest.mark.parametrize("case", DRIFTED, ids=lambda c: c.id)
def test_change_is_drift_and_is_named(case: Case):
    found = correct([column_drift(case.reference, case.current, case.kind, LEAST)], LEAST)[0]
    assert (found.outcome, found.drift_type) == ("bad", case.drift_type), found
    assert found.effect is not None
    assert LEAST <= found.effect <= 1


@pytest.mark.parametrize("case", SAME, ids=lambda c: c.id)
def test_same_distribution_is_no_drift(case: Case):
    found = correct([column_drift(case.reference, case.current, case.kind, LEAST)], LEAST)[0]
    assert (found.outcome, found.drift_type) == ("ok", "data_drift"), found


@pytest.mark.parametrize(("n", "m"), [(29, 500), (500, 29), (5, 5)])
def test_fewer_than_thirty_rows_could_not_tell_even_a_huge_shift(n: int, m: int):
    found = column_drift(np.zeros(n), np.ones(m), "numeric", LEAST, column="x")
    assert (found.outcome, found.effect, found.p_value) == ("could_not_tell", None, None)
    assert str(n) in found.statement


def test_thirty_rows_tell_a_huge_shift():
    assert column_drift(np.zeros(30), np.ones(30), "numeric", LEAST).outcome == "bad"


@pytest.mark.parametrize(("n", "m", "which"), [(0, 100, "reference"), (100, 0, "current")])
def test_no_rows_could_not_be_measured(n: int, m: int, which: str):
    found = column_drift(np.zeros(n), np.zeros(m), "numeric", LEAST, column="x")
    assert (found.outcome, found.drift_type) == ("could_not_measure", "not_comparable")
    assert which in found.statement


def test_all_null_in_both_windows_could_not_be_measured():
    assert column_drift(np.full(99, np.nan), np.full(99, np.nan), "numeric", LEAST).outcome == "could_not_measure"


def test_identifiers_that_never_repeat_could_not_be_told():
    reference = np.array([f"id-{i}" for i in range(1_000)], dtype=object)
    current = np.array([f"id-{i}" for i in range(5_000, 6_000)], dtype=object)
    assert column_drift(reference, current, "categorical", LEAST).outcome == "could_not_tell"


def test_large_but_insignificant_change_could_not_be_told():
    reference = np.array(["a", "b"] * 20, dtype=object)
    current = np.array(["a"] * 22 + ["b"] * 10, dtype=object)
    found = column_drift(reference, current, "categorical", 0.1)
    assert found.p_value is not None
    assert (found.p_value > 0.05, found.outcome) == (True, "could_not_tell"), found
    again = column_drift(np.tile(reference, 20), np.tile(current, 20), "categorical", 0.1)
    assert again.outcome == "bad"


def test_same_input_gives_the_same_answer():
    first = column_drift(NORMAL, LATER + 1, "numeric", LEAST)
    assert first == column_drift(NORMAL, LATER + 1, "numeric", LEAST)


def test_none_and_nan_are_the_same_null():
    with_none = NORMAL.astype(object)
    with_none[:100] = None
    with_nan = NORMAL.copy()
    with_nan[:100] = np.nan
    assert column_drift(with_none, LATER, "numeric", LEAST) == column_drift(with_nan, LATER, "numeric", LEAST)


def measured(name: str, p_value: float, effect: float = 0.4) -> ColumnDrift:
    outcome: Any = "bad" if p_value < 0.05 and effect >= LEAST else "ok" if effect < LEAST else "could_not_tell"
    aspect = Aspect(name="values", drift_type="data_drift", outcome=outcome, effect=effect, p_value=p_value)
    return ColumnDrift(
        column=name,
        drift_type="data_drift",
        outcome=outcome,
        effect=effect,
        p_value=p_value,
        statement=name,
        aspects=(aspect,),
    )


def test_holm_multiplies_by_the_columns_that_are_left_and_never_falls():
    corrected = correct([measured("a", 0.04), measured("b", 0.01), measured("c", 0.02)], LEAST)
    assert [c.p_value for c in corrected] == pytest.approx([0.04, 0.03, 0.04])
    assert [c.outcome for c in corrected] == ["bad", "bad", "bad"]


def test_column_that_was_significant_alone_is_not_among_many():
    corrected = correct([measured("a", 0.04), *(measured(str(i), 0.9, 0.01) for i in range(9))], LEAST)
    assert (corrected[0].outcome, corrected[0].p_value) == ("could_not_tell", pytest.approx(0.4))
    assert {c.outcome for c in corrected[1:]} == {"ok"}


def test_untested_columns_pass_the_correction_unchanged():
    others = [vanished("a", 9, 9), type_changed("b", "int64", "string", 9, 9), not_comparable("c", "why", 9, 9)]
    assert correct(others, LEAST) == tuple(others)
    assert [c.outcome for c in others] == ["bad", "bad", "could_not_measure"]


def test_share_counts_decided_columns_only():
    columns = [
        measured("a", 0.001),
        measured("b", 0.9, 0.01),
        measured("c", 0.9, 0.3),
        not_comparable("d", "why", 9, 9),
    ]
    assert share_drifted(columns) == 0.5


def test_column_that_is_significant_tonight_is_not_over_a_year_of_nights():
    tonight = [measured("a", 0.001)]
    assert [correct(tonight, LEAST, looks=n)[0].outcome for n in (1, 365)] == ["bad", "could_not_tell"]
    assert correct([measured("a", 1e-6)], LEAST, looks=365)[0].outcome == "bad"


def test_share_weighs_columns_by_importance():
    columns = [measured("a", 0.001), measured("b", 0.9, 0.01), measured("c", 0.9, 0.01)]
    assert share_drifted(weigh(columns, {"a": 0.8, "b": 0.1, "c": 0.1})) == pytest.approx(0.8)
    assert share_drifted(weigh(columns, {"a": 0.02, "b": 0.9, "c": 0.08})) == pytest.approx(0.02)


@pytest.mark.parametrize("importance", [None, {}, {"a": 0.0}, {"a": float("nan")}, {"a": -1.0}])
def test_without_known_importance_every_column_counts_the_same(importance: dict[str, float] | None):
    columns = [measured("a", 0.001), measured("b", 0.9, 0.01)]
    assert share_drifted(weigh(columns, importance)) == 0.5


def test_ten_thousand_categories_are_compared_and_named_where_one_came():
    g = rng(20)
    names = np.array([f"id{i}" for i in range(10_000)], dtype=object)
    before, after = g.choice(names, 20_000), g.choice(names, 5_000)
    assert column_drift(before, after, "categorical", LEAST).outcome in ("ok", "could_not_tell")
    after[:2_500] = "fresh"
    found = correct([column_drift(before, after, "categorical", LEAST)], LEAST, looks=365)[0]
    assert (found.outcome, found.drift_type) == ("bad", "new_category")
    assert "`fresh`" in found.statement


def test_share_is_unknown_without_a_decided_column():
    assert share_drifted([not_comparable("d", "why", 9, 9), measured("c", 0.9, 0.3)]) is None


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_false_alarms_stay_below_the_level(kind: Kind):
    generator = rng(99)
    alarms = 0
    for _ in range(200):
        if kind == "numeric":
            a, b = generator.normal(size=300), generator.normal(size=60)
        else:
            a, b = generator.choice(list("abcdef"), 300), generator.choice(list("abcdef"), 60)
        found = column_drift(a, b, kind, 1e-9)
        alarms += found.p_value is not None and found.p_value < 0.05
    assert alarms <= 20  # 5 % of 200 is 10; 20 lies beyond the 99.8th percentile
