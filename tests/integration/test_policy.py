"""`retrain policy replay` on the records of real runs."""

import pytest

from tests.integration.shop import NOW, Shop

pytestmark = pytest.mark.reliability


@pytest.fixture(scope="module")
def shop(shop: Shop) -> Shop:
    """A model whose better candidate was decided about, and nothing was moved."""
    shop.with_champion("watched", mode="observe")
    assert (
        shop.typed("run", "watched", "--as-of", NOW, "-q", "--json").json["deploymentDecision"]["decision"] == "deploy"
    )
    return shop


def test_recorded_decisions_replay_byte_for_byte(shop: Shop) -> None:
    result = shop.typed("policy", "replay", "watched", "--json", "--exit-code")
    assert (result.code, result.json["flips"], result.json["cannotTell"]) == (0, 0, 0)
    assert [one["same"] for one in result.json["replayed"]] == [True]


def test_changed_policy_shows_each_flip_before_it_is_merged(shop: Shop) -> None:
    (shop.folder / "strict.yaml").write_text("metrics: {primary: {min_improvement: 0.9}}\n")
    result = shop.typed("policy", "replay", "--policy", "strict.yaml", "--exit-code")
    assert result.code == 10
    assert "1 decision replayed, 1 flips, 0 cannot be told" in result.out
    assert "primary_improved" in result.out
    assert "no_gain" in result.out


def test_policy_file_with_a_fault_is_one_clear_error(shop: Shop) -> None:
    (shop.folder / "odd.yaml").write_text("metrics:\n  confidence: 0.99\n")
    result = shop.typed("policy", "replay", "--policy", "odd.yaml")
    assert result.code == 2
    assert "odd.yaml:2" in result.err
    assert "confidence" in result.err
    assert "Traceback" not in result.err
    assert shop.typed("policy", "replay", "--policy", "gone.yaml").code == 3
