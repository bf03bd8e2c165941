"""The eval of the canary stays runnable, and its rule is the product's own."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evals.decisions import canary
from evals.decisions.canary_rules import RULES, ours
from tools.canary import judge
from tools.contracts.rollout import RolloutMetric


@pytest.mark.slow
def test_quick_run_measures_every_rule(tmp_path: Path) -> None:
    assert canary.main(["--quick", "--json", str(tmp_path / "rows.json")]) == 0
    names = [row["name"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]]
    for rule in RULES:
        assert f"false alarms, independent, p 0.1: {rule}" in names
    assert any("labels 1,000 requests late" in name for name in names)
    assert "false alarms, whole rollouts, five critical signals" in names


def test_stream_of_ones_own_is_read_and_a_missing_column_named(tmp_path: Path) -> None:
    g = np.random.default_rng(1)
    pd.DataFrame({"t": range(4000), "bad": (g.random(4000) < 0.1).astype(int)}).to_parquet(tmp_path / "own.parquet")

    rows = canary.own_stream(tmp_path / "own.parquet", "t", "bad", 2)

    assert [row.name for row in rows[:1]] == ["false alarms, own.parquet: ours"]
    with pytest.raises(SystemExit, match="no column 'nothing'"):
        canary.own_stream(tmp_path / "own.parquet", "t", "nothing", 2)


def test_rule_that_is_measured_says_what_the_product_says() -> None:
    """Found by the rule after n requests: the product's look finds it then too, and not a chunk before."""
    g = np.random.default_rng(3)
    rows = canary._labelled(3000, 0.10, 0.18, 0, g)
    wrong = (rows.prediction != rows.label).astype(bool)
    found = ours(wrong[0::2], wrong[1::2])
    assert found is not None

    def outcome(requests: int) -> str:
        seen = rows.of(np.arange(len(rows)) < 2 * requests)
        metric = RolloutMetric(name="quality", margin=0.0, min_samples=1)
        (verdict,) = judge(
            metrics=(metric,), observations=seen, champion="1", candidate="2", alpha=0.05, task="classification"
        )
        return verdict.outcome

    assert (outcome(found - 32), outcome(found)) == ("inconclusive", "harmful")
