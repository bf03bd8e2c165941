"""The decision eval stays runnable, and its reports say what they should."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from evals.decisions import gate_ranking
from evals.decisions.gate import main
from evals.decisions.gate_cases import BAD, Job, case
from evals.decisions.gate_models import Recipe, predictions
from evals.decisions.gate_rivals import RIVALS, Holdout
from evals.decisions.gate_truth import truth
from evals.decisions.gate_worlds import World, world
from evals.decisions.simulated import World as Simulated
from evals.decisions.simulated import draw
from evals.decisions.staleness_streams import Stream
from evals.report import Row, at_least, at_most, commit, machine, publish, wilson
from tools.contracts.comparison import ComparisonResult, Contamination, Criterion, MetricComparison, Role
from tools.contracts.request import Direction


@pytest.mark.reliability
def test_quick_run_measures_intervals_and_decisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "gate.json"
    assert main(["--quick", "--part", "simulated", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert set(found) == {"machine", "commit", "rows", "quick"}
    assert {tuple(row) for row in found["rows"]} == {("name", "value", "low", "high", "n", "target", "met")}
    names = [row["name"] for row in found["rows"]]
    assert any(name.startswith("coverage: f1") for name in names)
    assert any(name.startswith("no change") and name.endswith("deployed") for name in names)
    assert any(name.startswith("better by 5 points") for name in names)
    assert any(name.startswith("no change, 1,000 attempts") for name in names)
    assert "| what | value |" in capsys.readouterr().out


def own_stream(n: int = 4_000) -> pd.DataFrame:
    """The first months know the opposite of what follows; a category, nulls, an infinity and odd names beside it."""
    g = np.random.default_rng(0)
    x = g.standard_normal(n)
    sign = np.where(np.arange(n) < n // 4, 1, -1)
    noise = g.standard_normal(n)
    empty, unknown = g.random(n) < 0.05, g.random(n) < 0.1
    return pd.DataFrame(
        {
            "when it was": pd.date_range("2024-01-01", periods=n, freq="h"),
            "x, scaled": np.where(empty, np.nan, x),
            "carrier": pd.Series(g.choice(["AA", "UA"], n)).mask(unknown),
            "an infinity": np.where(np.arange(n) == 17, np.inf, noise),
            "late": np.where(x * sign + 0.5 * noise > 0, "yes", "no"),
            "delay": 10 * x * sign + noise,
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("target", ["late", "delay"])
def test_stream_of_ones_own_is_decided_on(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file, report = tmp_path / "a stream.csv", tmp_path / "rows.json"
    own_stream().to_csv(file, index=False)
    other = "delay" if target == "late" else "late"
    asked = ["--quick", "--stream", str(file), "--time", "when it was", "--target", target, "--drop", other]
    assert main([*asked, "--json", str(report), "--cache", str(tmp_path / "kept")]) == 0
    values = {row["name"]: row["value"] for row in json.loads(report.read_text())["rows"]}
    assert values["good, fresher window: deployed or canary"] == 1
    assert values["bad, stale training window: deployed"] == 0
    assert ("bad, calibration broken: deployed" in values) == (target == "late")
    assert list((tmp_path / "kept").glob("*.npz"))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--time", "when it was"], "--stream needs --time and --target"),
        (["--time", "when it was", "--target", "lat"], "no column 'lat'"),
        (["--time", "when it was", "--target", "late", "--drop", "nothing"], "no column 'nothing'"),
        (["--time", "carrier", "--target", "late"], "column 'carrier' of own.csv does not hold times"),
        (["--time", "when it was", "--target", "same"], "target 'same' of own.csv has a single value"),
        (["--time", "when it was", "--target", "late", "--plot", "safety.txt"], "must end in .png"),
        (["--time", "when it was", "--target", "later"], "never occurs in the first half"),
    ],
)
def test_bad_input_is_told_in_one_line(asked: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "own.csv"
    later = np.where(np.arange(4_000) > 3_000, "new", own_stream()["late"])
    own_stream().assign(same=1, later=later).to_csv(file, index=False)
    with pytest.raises(SystemExit) as ended:
        main(["--quick", "--stream", str(file), *asked])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("rows", [500, 2_000])
def test_too_few_rows_are_told(rows: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "short.parquet"
    own_stream(rows).to_parquet(file)
    with pytest.raises(SystemExit):
        main(["--quick", "--stream", str(file), "--time", "when it was", "--target", "late"])
    assert f"{rows:,} labelled rows" in capsys.readouterr().err


@pytest.mark.reliability
def test_quick_run_on_the_shipped_streams_shows_every_kind_and_rival(tmp_path: Path):
    report = tmp_path / "rows.json"
    assert main(["--quick", "--part", "streams", "--json", str(report), "--cache", str(tmp_path)]) == 0
    names = [row["name"] for row in json.loads(report.read_text())["rows"]]
    for kind in BAD[:4]:
        assert f"bad, {kind}: deployed" in names
    assert {f"bad deployed by '{name}'" for name in RIVALS} <= set(names)
    assert any(name.startswith("apart, leaky feature") for name in names)


# --- what the eval rests on ------------------------------------------------------------------------------------------


def a_world() -> World:
    frame = own_stream()
    features = ("x, scaled", "carrier", "an infinity")
    return world(Stream("own", frame, "when it was", "late", "classification", features))


def test_holdout_and_truth_share_no_row_and_both_lie_behind_the_history():
    here = a_world()
    holdout, rest = here.split(here.holdouts[2], np.random.default_rng(0))
    assert sorted([*holdout, *rest]) == list(range(here.period))
    assert len(holdout) == pytest.approx(here.holdouts[2], abs=48)
    assert here.history + here.period == len(here.y) == 4_000


def test_predictions_are_found_again_and_another_recipe_is_another_model(tmp_path: Path):
    here = a_world()
    first, _ = predictions(here, Recipe(), tmp_path)
    again, _ = predictions(here, Recipe(), tmp_path)
    other, _ = predictions(here, Recipe(seed=1), tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    assert (first == again).all()
    assert (first != other).any()


def test_broken_slice_is_broken_nowhere_else_and_calibration_keeps_the_ranking(tmp_path: Path):
    here = a_world()
    broken = case(here, Job(0, "bad", BAD[0], 2, 0), tmp_path)
    whole, _ = predictions(here, Recipe(rows_seed=2_100, seed=2_100), tmp_path)  # the candidate before it was broken
    assert 0 < broken.harmed.mean() < 1
    assert (broken.candidate == whole)[~broken.harmed].all()
    assert (broken.candidate != whole)[broken.harmed].any()
    moved = case(here, Job(0, "bad", BAD[3], 2, 0), tmp_path)
    told = truth("roc_auc", here.truth_y, moved.champion, moved.candidate, here.stretch)
    loss = truth("log_loss", here.truth_y, moved.champion, moved.candidate, here.stretch)
    assert loss.high < 0
    assert abs(told.change) < 0.02


def test_truth_agrees_with_scikit_learn():
    g = np.random.default_rng(1)
    y = g.integers(0, 2, 5_000)
    p, q = (np.clip(0.5 + (y - 0.5) * strength + g.normal(0, 0.2, 5_000), 0.01, 0.99) for strength in (0.3, 0.5))
    a, b = (np.column_stack([1 - s, s]) for s in (p, q))
    stretch = np.arange(5_000) // 125
    auc = truth("roc_auc", y, a, b, stretch)
    assert auc.change == pytest.approx(roc_auc_score(y, q) - roc_auc_score(y, p))
    assert auc.low < auc.change < auc.high
    loss = truth("log_loss", y, a, b, stretch)
    assert loss.change == pytest.approx(1 - log_loss(y, q) / log_loss(y, p))


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_truth_of_equal_models_is_inside_its_error_about_as_often_as_it_says(metric: str):
    held = 0
    for seed in range(200):
        g = np.random.default_rng(seed)
        y = g.integers(0, 2, 1_000)
        sides = [np.clip(0.5 + (y - 0.5) * 0.4 + g.normal(0, 0.2, 1_000), 0.01, 0.99) for _ in range(2)]
        a, b = (np.column_stack([1 - s, s]) for s in sides)
        held += not truth(metric, y, a, b, np.arange(1_000) // 25).told
    assert 180 <= held <= 199


def seen(change: float, loss: float = 0.0) -> Holdout:
    """Values as measured on a holdout: AUC 0.8 against 0.8 + change, log-loss 0.5 against 0.5 + loss."""

    def item(metric: str, role: Role, direction: Direction, baseline: float, candidate: float, **more: Any):
        criterion = Criterion(metric=metric, role=role, direction=direction, **more)
        gain = candidate - baseline if direction == "higher" else (baseline - candidate) / baseline
        return MetricComparison(
            criterion=criterion,
            verdict="inconclusive",
            baseline=baseline,
            candidate=candidate,
            change=gain,
            statement="",
        )

    auc = item("roc_auc", "primary", "higher", 0.8, 0.8 + change, min_improvement=0.005)
    guard = item("log_loss", "guardrail", "lower", 0.5, 0.5 + loss, margin=0.03, unit="relative")
    result = ComparisonResult(
        metrics=(auc, guard),
        holdout_rows=4,
        holdout_digest="d",
        contamination=Contamination(candidate="clean", champion="clean"),
    )
    y = np.array([0, 1, 0, 1])
    p = np.column_stack([[0.6, 0.4, 0.7, 0.2], [0.4, 0.6, 0.3, 0.8]])
    return Holdout(result, y, p, p)


@pytest.mark.parametrize(
    ("change", "loss", "deployed"),
    [
        (0.002, 0.0, {"metric is higher"}),
        (0.02, 0.0, {*RIVALS} - {"paired test alone"}),
        (0.02, 0.1, {"metric is higher", "+0.5 point"}),
        (-0.02, 0.0, set()),
    ],
)
def test_rivals_follow_their_rules(change: float, loss: float, deployed: set[str]):
    assert {name for name, rule in RIVALS.items() if rule(seen(change, loss))} == deployed


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_simulated_models_have_the_accuracy_they_claim(rho: float):
    rows = draw(Simulated(n=100_000, rho=rho, champion=0.8, candidate=0.85), seed=0)
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


@pytest.mark.reliability
def test_quick_run_measures_rankings(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "ranking.json"
    assert gate_ranking.main(["--quick", "--json", str(file)]) == 0
    values = {row["name"]: row["value"] for row in json.loads(file.read_text())["rows"]}
    assert sum(name.startswith("coverage: ") for name in values) == 40
    assert all(value == 0 for name, value in values.items() if name.startswith("worse") and name.endswith("canary"))
    assert any(value > 0.5 for name, value in values.items() if name.startswith("better") and name.endswith("canary"))
    assert "| what | value |" in capsys.readouterr().out
