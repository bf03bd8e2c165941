"""A ranking's profile: what it must name, and what is refused, with a remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.profiles import load_profile
from agent.workspace import Workspace
from tools.errors import BadInput, outcome_of

RANKING = """\
registered_model: shop.search
task: ranking
data:
  source: rows.parquet
  event_time: at
  group: query
  target: clicked
  features: [a, b]
metrics:
  primary: {name: "ndcg@10"}
  guardrails: [{name: "precision@3", margin: 0.02}, mrr]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "profiles").mkdir()
    return Workspace(
        root=tmp_path,
        tracking_uri="x",
        registry_uri="x",
        store="sqlite://",
        profiles_dir=tmp_path / "profiles",
        work_dir=tmp_path / ".retraining",
    )


def refused(workspace: Workspace, text: str) -> BadInput:
    (workspace.profiles_dir / "search.yaml").write_text(text)
    with pytest.raises(BadInput) as raised:
        load_profile(workspace, "search")
    assert outcome_of(raised.value).exit_code == 2
    return raised.value


def test_a_ranking_names_its_group_and_ranking_metrics(workspace: Workspace) -> None:
    (workspace.profiles_dir / "search.yaml").write_text(RANKING)
    profile = load_profile(workspace, "search").profile
    assert (profile.task, profile.data.group) == ("ranking", "query")


@pytest.mark.parametrize(
    ("was", "instead", "said", "remedy"),
    [
        pytest.param("  group: query\n", "", "a ranking needs `group`", "add data.group", id="no group"),
        pytest.param(
            "ranking", "regression", "`group` is for rankings", "take data.group away", id="group of a regression"
        ),
        pytest.param("group: query", "group: clicked", "group 'clicked' is the target", "", id="group is the target"),
        pytest.param(
            "group: query", "group: at", "group 'at' is the target or the event time", "", id="group is the time"
        ),
        pytest.param(
            '"ndcg@10"', "accuracy", "is for classification, the model is for ranking", "ndcg@10", id="its metric"
        ),
        pytest.param('"ndcg@10"', '"ndcg@0"', "is no metric", "any whole number", id="place 0"),
    ],
)
def test_what_a_ranking_cannot_be_is_refused(
    workspace: Workspace, was: str, instead: str, said: str, remedy: str
) -> None:
    error = refused(workspace, RANKING.replace(was, instead))
    assert said in str(error)
    assert remedy in str(error)


@pytest.mark.parametrize("task", ["forecasting", "Forecast", "time-series"])
def test_forecasting_is_refused_with_what_to_do_instead(workspace: Workspace, task: str) -> None:
    error = refused(workspace, RANKING.replace("task: ranking", f"task: {task}").replace("  group: query\n", ""))
    assert f"search.yaml:2: task = '{task}': forecasting by series is not judged yet" in str(error)
    assert "write task: regression with one row a series and time" in str(error)


def test_forecasting_ends_the_command_with_its_exit_code_and_no_traceback(workspace: Workspace) -> None:
    root = workspace.root
    (root / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    (workspace.profiles_dir / "search.yaml").write_text(RANKING.replace("task: ranking", "task: forecasting"))
    done = subprocess.run(
        [sys.executable, "-m", "agent.entrypoints.cli.app", "profile", "show", "search"],
        cwd=root,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "forecasting by series is not judged yet" in done.stderr
    assert "Traceback" not in done.stderr
