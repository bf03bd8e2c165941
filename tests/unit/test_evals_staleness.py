"""The staleness eval stays runnable, part by part, and on data of anybody's own."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evals.decisions.evidently_default import flagged
from evals.decisions.staleness import main
from evals.decisions.staleness_nights import Year, _others
from evals.decisions.staleness_shifts import _threshold


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """A stream with a number, a category and nulls, whose label follows the number; as options."""
    g = np.random.default_rng(0)
    n = 16_000
    x = g.normal(size=n)
    table = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=n, freq="h"),
            "x": x,
            "z": np.where(g.random(n) < 0.1, np.nan, g.normal(size=n)),
            "kind": g.choice(["a", "b", "c"], n),
            "good": (x + g.normal(size=n) > 0).astype(int),
        }
    )
    file = tmp_path / "own.parquet"
    table.to_parquet(file, index=False)
    return ["--stream", str(file), "--time", "when", "--target", "good"]


LONG = [pytest.param(part, marks=pytest.mark.reliability) for part in ("nights", "estimates", "validation")]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["traps", "drift", "shifts", *LONG])
def test_quick_run_of_each_part_measures_a_stream_of_ones_own(part: str, own: list[str], tmp_path: Path):
    file = tmp_path / "found.json"
    assert main([*own, "--quick", "--part", part, "--json", str(file)]) == 0
    found = json.loads(file.read_text())["rows"]
    assert found
    assert {tuple(row) for row in found} == {("name", "value", "low", "high", "n", "target", "met")}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--time", "nope"], "no column 'nope'"),
        (["--stream", "gone.parquet"], "no stream gone.parquet"),
        (["--drop", "x,nope"], "no column 'nope'"),
    ],
)
def test_stream_that_cannot_be_used_is_named(
    change: list[str], says: str, own: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main([*own, *change, "--quick", "--part", "traps"]) == 2
    assert says in capsys.readouterr().err


def test_alert_that_stays_is_one_episode():
    assert Year.episodes(()) == ()
    assert Year.episodes((3, 4, 5, 9, 11, 12)) == (3, 9, 11)


def test_evidently_default_flags_by_distance_from_a_thousand_rows_on():
    g = np.random.default_rng(0)
    small = pd.Series(g.normal(size=80))
    assert flagged(pd.Series(g.normal(size=5_000)), small)  # undrifted: the distance of few rows is large
    assert not flagged(pd.Series(g.normal(size=900)), small)


def test_evidently_default_counts_values_not_rows_towards_its_thousand():
    g = np.random.default_rng(1)
    values = g.normal(size=1_100)
    values[:150], values[150:200] = np.nan, np.inf
    small = pd.Series(g.normal(size=80))
    assert flagged(pd.Series(g.normal(size=1_100)), small)
    assert not flagged(pd.Series(values), small)


def test_stream_too_short_for_a_part_is_named_and_breaks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    g = np.random.default_rng(0)
    n = 1_200
    when = pd.date_range("2024-01-01", periods=n, freq="h")
    table = pd.DataFrame({"when": when, "kind": g.choice(["a", "b"], n), "good": g.integers(0, 3, n)})
    file = tmp_path / "short.parquet"
    table.to_parquet(file, index=False)
    parts = [word for part in ("drift", "shifts", "nights") for word in ("--part", part)]
    assert main(["--stream", str(file), "--time", "when", "--target", "good", "--quick", *parts]) == 0
    told = capsys.readouterr().out
    assert "short: cells that no part of it fills: 1,100 × 80, 200 × 300" in told
    assert "0.25 sd: not measured" in told
    assert "short: a year of nights not measured: 1,200 rows, 5,179 are needed" in told


def test_wrong_labels_are_of_another_class():
    y = np.repeat([0, 1, 2], 50)
    other = _others(y, np.random.default_rng(0))
    assert (other != y).all()
    assert set(other) == {0, 1, 2}


def test_threshold_flags_no_more_undrifted_draws_than_the_other_judge():
    scores = np.array([0.5, 0.1, 0.2, 0.9, 0.3])
    assert (scores < _threshold(scores, np.array([True, False, True, False, False]))).sum() == 2
    assert (scores < _threshold(scores, np.zeros(5, bool))).sum() == 0
    assert (scores < _threshold(scores, np.ones(5, bool))).all()
