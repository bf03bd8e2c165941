"""Twenty lying, broken or slow peers at real addresses: each costs a review, says why, and its honest twin deploys."""

from pathlib import Path

import pytest

from evals.decisions.doors_peers import INJECTED, LIES, Lie, run_with

each = pytest.mark.parametrize("lie", LIES, ids=[lie.id for lie in LIES])


def test_there_are_twenty_different_lies() -> None:
    assert len({lie.id for lie in LIES}) == len({(lie.role, lie.named, lie.id) for lie in LIES}) == 20
    assert all((lie.says is None) != (lie.does is None) for lie in LIES)


@each
def test_a_lie_deploys_nothing_and_its_fault_is_named(lie: Lie, tmp_path: Path) -> None:
    told = run_with(lie, tmp_path, lying=True)

    assert not told.bold
    assert lie.named in told.sentences
    assert INJECTED not in told.sentences
    if lie.role == "model-evaluator":
        disagrees = lie.id == "another value than ours"
        assert (told.decision, told.codes) == ("manual_review", ("peer_disagrees" if disagrees else "peer_unmeasured",))
    else:
        assert (told.decision, told.codes) == ("reject", ("could_not_measure",))


@each
def test_the_same_peer_without_the_lie_goes_through(lie: Lie, tmp_path: Path) -> None:
    told = run_with(lie, tmp_path, lying=False)

    assert (told.decision, told.moved) == ("deploy", True)
    assert lie.named not in told.sentences
