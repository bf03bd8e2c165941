"""`retrain labels add` and `retrain serving copy` on a workspace whose servers answered and whose labels come by file."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from agent.bootstrap import build
from agent.entrypoints.cli.app import app
from agent.entrypoints.cli.render import SCREEN
from agent.settings import Settings
from agent.workspace import load_workspace
from tests.answers import answer, written
from tools.errors import RetrainingError

PROFILE = """\
registered_model: fraud
task: classification
data: {source: rows.parquet, event_time: at, target: label, features: [a]}
metrics: {primary: {name: accuracy}}
target: {kind: serving, answers: logged}
"""
OWN = "rollout: {labels: {source: truth, request_id: id, label: y, time: told}}\n"
START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def screen() -> Iterator[None]:
    """The process's screen as a new process finds it."""
    SCREEN.json, SCREEN.quiet, SCREEN.workspace = False, False, None
    yield
    SCREEN.json, SCREEN.quiet, SCREEN.workspace = False, False, None


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n", encoding="utf-8")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "fraud.yaml").write_text(PROFILE + OWN, encoding="utf-8")
    served = tmp_path / ".retraining" / "serving" / "fraud"
    rows = [answer(number, "6", at=START.timestamp() + number) for number in range(3)]
    written(served, "6", rows, "1")
    return tmp_path


def retrain(shop: Path, *arguments: str) -> Result:
    SCREEN.json = False
    return CliRunner().invoke(app, [*arguments, "-w", str(shop)], catch_exceptions=False)


def test_labels_are_added_to_the_users_table_and_join_the_servers_answers_there(shop: Path) -> None:
    (shop / "in.csv").write_text("request_id,label,at\nq0,good,2026-03-01\nq1,poor,2026-03-02\nlost,good,2026-03-01\n")

    first, again = (
        json.loads(retrain(shop, "labels", "add", "fraud", str(shop / "in.csv"), "--json").stdout) for _ in range(2)
    )

    assert (first, again) == ({"added": 3, "known": 0, "dropped": 0}, {"added": 0, "known": 3, "dropped": 0})
    assert sorted(pd.read_parquet(shop / "truth")["id"]) == ["lost", "q0", "q1"]
    opened = build(load_workspace(shop / "retraining.yaml"), Settings())
    profile = opened.deps.load_profile("fraud")
    log = opened.deps.traffic_log_of(profile, opened.deps.target_of(profile))
    assert log is not None
    seen = log.observations(["6"], START, START + timedelta(hours=12), 10)
    assert seen.label.tolist() == ["good", None, None], "q1's label was not known yet"


def test_a_look_and_the_command_copy_each_answer_once(shop: Path) -> None:
    opened = build(load_workspace(shop / "retraining.yaml"), Settings())
    profile = opened.deps.load_profile("fraud")
    log = opened.deps.traffic_log_of(profile, opened.deps.target_of(profile))
    assert log is not None
    log.observations(["6"], START, START + timedelta(days=1), 10)
    assert sorted(pd.read_parquet(shop / "logged")["request_id"]) == ["q0", "q1", "q2"]

    written(shop / ".retraining" / "serving" / "fraud", "6", [answer(3, "6")], "1")
    assert "bytes of answers are not in target.answers yet" in retrain(shop, "serving", "status", "fraud").stdout
    shown = json.loads(retrain(shop, "serving", "copy", "fraud", "--json").stdout)

    assert shown == {"added": 1, "known": 0, "odd": 0, "gaps": []}
    assert "copied 0 answers; 0 were there already" in retrain(shop, "serving", "copy", "fraud").stdout
    assert len(pd.read_parquet(shop / "logged")) == 4
    assert "bytes of answers" not in retrain(shop, "serving", "status", "fraud").stdout


def test_copying_without_a_table_says_what_to_write(shop: Path) -> None:
    (shop / "profiles" / "fraud.yaml").write_text(PROFILE.replace(", answers: logged", ""), encoding="utf-8")

    with pytest.raises(RetrainingError, match="names no table for the answers") as refused:
        retrain(shop, "serving", "copy", "fraud")

    assert refused.value.thing == "target.answers"


@pytest.mark.parametrize("source", ["logged.csv", "logged/*.parquet", "spark:logged", "s3://bucket/logged"])
def test_a_table_that_cannot_be_written_is_refused_when_the_profile_is_read(shop: Path, source: str) -> None:
    text = PROFILE.replace("answers: logged", f'answers: "{source}"')
    (shop / "profiles" / "fraud.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(RetrainingError, match="answers cannot be written there"):
        retrain(shop, "serving", "copy", "fraud")
