"""What the tests of the machine remember of forests: an answer is reused for equal numbers, and for nothing else."""

import numpy as np
import pytest

from tests import remembered
from tools import label_noise, leakage


def numbers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(seed)
    return g.normal(size=(60, 2)), g.integers(0, 2, 60).astype(float)


@pytest.mark.parametrize(("module", "name"), remembered.FORESTS, ids=lambda value: getattr(value, "__name__", value))
def test_remembered_answer_is_the_rules_own_and_the_rule_is_put_back(module: object, name: str) -> None:
    rule = getattr(module, name)
    table, labels = numbers(1)
    expected = rule(table, labels)

    with remembered.forests():
        asked = getattr(module, name)
        assert asked is not rule
        for _ in range(2):
            for got, wanted in zip(asked(table, labels), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)

    assert getattr(module, name) is rule


def test_other_numbers_or_options_get_an_answer_of_their_own() -> None:
    with remembered.forests():
        table, labels = numbers(2)
        first = leakage.by_trees(table, labels)
        changed = labels.copy()
        changed[0] = 1 - changed[0]

        assert not np.array_equal(leakage.by_trees(table, changed), first)
        two, three = (label_noise.class_shares(table, labels, folds=folds)[0] for folds in (2, 3))
        assert not np.array_equal(two, three)


def test_caller_that_writes_into_an_answer_spoils_no_later_one() -> None:
    with remembered.forests():
        table, labels = numbers(3)
        first = leakage.by_trees(table, labels)
        kept = first.copy()
        first[:] = 7.0

        np.testing.assert_array_equal(leakage.by_trees(table, labels), kept)
