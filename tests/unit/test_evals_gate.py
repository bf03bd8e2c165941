"""The decision eval stays runnable, and its reports say what they should."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evals.decisions import gate_ranking
from evals.decisions.gate import main
from evals.decisions.simulated import World, draw
from evals.report import Row, at_least, at_most, commit, machine, publish, wilson


@pytest.mark.slow
def test_quick_run_measures_intervals_and_decisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "gate.json"
    assert main(["--quick", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert set(found) == {"machine", "commit", "rows", "quick"}
    assert {tuple(row) for row in found["rows"]} == {("name", "value", "low", "high", "n", "target", "met")}
    names = [row["name"] for row in found["rows"]]
    assert any(name.startswith("coverage: f1") for name in names)
    assert any(name.startswith("no change") and name.endswith("deployed") for name in names)
    assert any(name.startswith("better by 5 points") for name in names)
    assert any(name.startswith("no change, 1,000 attempts") for name in names)
    assert "| what | value |" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("target", ["late", "delay"])
def test_stream_of_ones_own_is_decided_on(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    g = np.random.default_rng(0)
    n = 4000
    x = g.standard_normal(n)
    drifting = np.where(np.arange(n) < n // 4, 1, -1)  # the champion's months know the opposite of what follows
    table = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=n, freq="h"),
            "x": x,
            "carrier": g.choice(["AA", "UA"], n),
            "late": np.where(x * drifting > 0, "yes", "no"),
            "delay": 10 * x * drifting + g.standard_normal(n),
        }
    )
    other = "delay" if target == "late" else "late"
    file = tmp_path / "stream.parquet"
    table.to_parquet(file)
    report = tmp_path / "rows.json"
    asked = ["--quick", "--stream", str(file), "--time", "when", "--target", target, "--drop", other]
    assert main([*asked, "--json", str(report)]) == 0
    values = {row["name"]: row["value"] for row in json.loads(report.read_text())["rows"]}
    assert values["trained later: deploy"] > 0
    assert values["same as champion: deploy"] == values["same as champion: canary"] == 0


def test_stream_without_its_columns_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--stream", "data.parquet"])
    assert "--stream needs --time and --target" in capsys.readouterr().err


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_simulated_models_have_the_accuracy_they_claim(rho: float):
    rows = draw(World(n=100_000, rho=rho, champion=0.8, candidate=0.85), seed=0)
    assert (rows.baseline_prediction == rows.y).mean() == pytest.approx(0.80, abs=0.01)
    assert (rows.candidate_prediction == rows.y).mean() == pytest.approx(0.85, abs=0.01)


def test_target_is_met_or_missed_only_where_the_interval_says_so():
    assert at_most("bad", 0, 1000, 0.01).met is True
    assert at_most("bad", 100, 1000, 0.01).met is False
    assert at_most("bad", 0, 10, 0.01).met is None
    assert at_least("good", 990, 1000, 0.8).met is True
    assert at_least("good", 9, 10, 0.8).met is None
    assert wilson(0, 0) == (0.0, 1.0)


def test_report_omits_nan_and_names_no_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "rows.json"
    publish([Row("nothing", float("nan"), n=0, target="any")], file)
    found = json.loads(file.read_text())
    assert found["rows"][0]["value"] is None
    assert found["commit"] == commit()
    assert found["machine"] == machine()
    assert "cores" in machine()
    assert "cannot tell" in capsys.readouterr().out


@pytest.mark.slow
def test_quick_run_measures_rankings(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "ranking.json"
    assert gate_ranking.main(["--quick", "--json", str(file)]) == 0
    values = {row["name"]: row["value"] for row in json.loads(file.read_text())["rows"]}
    assert sum(name.startswith("coverage: ") for name in values) == 40
    assert all(value == 0 for name, value in values.items() if name.startswith("worse") and name.endswith("canary"))
    assert any(value > 0.5 for name, value in values.items() if name.startswith("better") and name.endswith("canary"))
    assert "| what | value |" in capsys.readouterr().out
