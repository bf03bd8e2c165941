"""The table of tools.nulls, and what is made missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tools.adapters.frames import add_column, with_nulls
from tools.contracts.comparison import Criteria, Criterion
from tools.contracts.training import ScoringResult
from tools.nulls import NullScores, judge_nulls
from tools.paired_rows import PairedRows

NULLS = Criterion(metric="accuracy", role="guardrail", direction="higher", margin=0.05, nulls=True)
CRITERIA = Criteria(primary=Criterion(metric="accuracy", role="primary", direction="higher"), apart=(NULLS,))
SCORED = ScoringResult(status="scored", output="x.parquet", rows=400, statement="400 rows scored.")
RAISED = ScoringResult(status="failed", by_model=True, statement="m could not score (exit code 1): no nulls please.")
FETCH = ScoringResult(status="failed", statement="m could not be fetched: gone.")
SLOW = ScoringResult(status="timed_out", statement="m gave no answer within 0:10:00.")


def rows(share_right: float) -> PairedRows:
    """A champion that is right in 8 of 10 rows."""
    generator = np.random.default_rng(3)
    y = generator.integers(0, 2, 2000)
    sides = [{"prediction": np.where(generator.random(2000) < share, y, 1 - y)} for share in (0.8, share_right)]
    return PairedRows.from_columns(task="classification", y=y, baseline=sides[0], candidate=sides[1])


def judged(champion: ScoringResult, candidate: ScoringResult, paired: PairedRows | None = None) -> Any:
    return judge_nulls(NULLS, CRITERIA, NullScores(champion, candidate, 400, paired))


@pytest.mark.parametrize(
    ("champion", "candidate", "verdict"),
    [
        (SCORED, RAISED, "regressed"),
        (RAISED, SCORED, "improved"),
        (RAISED, RAISED, "non_inferior"),
        (SCORED, SLOW, "no_data"),
        (SLOW, RAISED, "no_data"),
        (RAISED, FETCH, "no_data"),
        (FETCH, SCORED, "no_data"),
        (SCORED, SCORED, "no_data"),
    ],
)
def test_who_answers_decides_where_not_both_do(champion: ScoringResult, candidate: ScoringResult, verdict: str):
    found = judged(champion, candidate)
    assert found.verdict == verdict
    assert found.statement.startswith("accuracy with nulls")


def test_reason_of_a_candidate_that_bears_no_nulls_is_told():
    found = judged(SCORED, RAISED)
    assert found.key == "comparison/accuracy with nulls"
    assert found.statement == (
        "accuracy with nulls (each value missing with chance 0.1, 400 rows): the champion answers, the candidate does not: "
        "m could not score (exit code 1): no nulls please."
    )


@pytest.mark.parametrize(("share", "verdict"), [(0.8, "non_inferior"), (0.6, "regressed"), (0.95, "improved")])
def test_where_both_answer_the_interval_decides(share: float, verdict: str):
    assert judged(SCORED, SCORED, rows(share)).verdict == verdict


def test_each_feature_loses_its_share_and_nothing_else_does(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "a": np.arange(5000, dtype="float64"),
            "n": np.arange(5000),
            "word": pd.Categorical(["x", "y"] * 2500),
            "on": [True, False] * 2500,
            "at": pd.date_range("2026-01-01", periods=5000, freq="h"),
            "y": 1,
        }
    )
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    features = ["a", "n", "word", "on", "at"]
    outs = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    assert [with_nulls(tmp_path / "rows.parquet", features, 0.1, 7, out) for out in outs] == [5000, 5000]
    one, two = (pd.read_parquet(out) for out in outs)
    pd.testing.assert_frame_equal(one, two)
    gone = one.isna().mean()
    assert gone["y"] == 0
    assert all(0.08 < gone[name] < 0.12 for name in features)
    assert one["a"].isna().to_numpy().tolist() != one["n"].isna().to_numpy().tolist()
    kept = one["n"].notna()
    assert (one.loc[kept, "n"].to_numpy() == frame.loc[kept.to_numpy(), "n"].to_numpy()).all()


def test_column_is_put_beside_and_replaced(tmp_path: Path):
    scored, values = tmp_path / "scored.parquet", tmp_path / "values.parquet"
    pd.DataFrame({"prediction": [1, 0]}).to_parquet(scored)
    for given in ([1.0, 2.0], [3.0, 4.0]):
        pd.DataFrame({"value": given}).to_parquet(values)
        add_column(scored, "own:m.py:f", values)
    assert pd.read_parquet(scored).to_dict("list") == {"prediction": [1, 0], "own:m.py:f": [3.0, 4.0]}
