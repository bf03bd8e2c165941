"""The eval of when to retrain runs, on its own streams and on anybody's."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evals.decisions import when

pytestmark = pytest.mark.reliability


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAINING_EVAL_CACHE", str(tmp_path / "cache"))


def test_the_quick_run_measures_every_target(tmp_path: Path) -> None:
    assert when.main(["--quick", "--workers", "1", "--json", str(tmp_path / "rows.json")]) == 0

    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    targets = [row for row in rows if row["target"]]
    assert {"at most 6.5%", "2 of 3", "at most 5%", "at most 1", "at least 95%"} <= {row["target"] for row in targets}
    assert all(row["value"] is not None for row in rows)
    assert any("ADWIN" in row["name"] for row in rows)


def test_a_stream_of_anybodys_own_runs_whatever_its_types(tmp_path: Path) -> None:
    g = np.random.default_rng(0)
    n = 1_600
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2024", periods=n, freq="h", tz="Europe/Berlin").astype(str),
            "number": np.where(g.random(n) < 0.2, np.nan, g.normal(size=n)),
            "kind": pd.Categorical(g.choice(["a", "b", "c"], n)),
            "text": pd.Series(g.choice(["x", "y"], n)).where(g.random(n) >= 0.1),
            "flag": pd.array(g.random(n) < 0.5, dtype="boolean"),
            "seen": pd.date_range("2023", periods=n, freq="D").where(g.random(n) < 0.9),
            "nothing": [None] * n,
        }
    )
    frame["price"] = frame["number"].fillna(0) * 3 + g.normal(size=n)
    frame.to_parquet(tmp_path / "own.parquet")

    run = ["--stream", str(tmp_path / "own.parquet"), "--time", "when", "--target", "price", "--quick"]
    assert when.main([*run, "--json", str(tmp_path / "rows.json")]) == 0

    names = [row["name"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]]
    assert any(name.startswith("own: ours less") for name in names)


def test_a_stream_that_cannot_be_used_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert when.main(["--stream", str(tmp_path / "gone.parquet"), "--target", "y"]) == 2
    assert when.main(["--stream", str(tmp_path / "gone.parquet")]) == 2
    assert "--target" in capsys.readouterr().err
