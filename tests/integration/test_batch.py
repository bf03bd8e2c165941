"""A batch rollout on real data with real models: shadow, promotion on a boundary, rollback that scores again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.bootstrap import App, bootstrap
from agent.demo import IMPROVE_AT, first_model, lay_out, make_champion
from agent.requests import request_from_flags
from agent.services import batch

MODEL = "electricity"
TARGET = """
target:
  kind: batch
  partition: P1D
  output: predictions
  shadow: predictions-shadow
  partitions: 3
rollout:
  risk: high
  step_pause: 0s
  promote_on: no_harm
  max_duration: 20d
  bake: 2d
  metrics:
    - {name: missing_values, margin: 0.01, min_samples: 100}
    - {name: quality, margin: 0.2, min_samples: 100}
"""


class Calendar:
    """A clock in the year of the data."""

    def __init__(self) -> None:
        self.now = datetime.fromisoformat(IMPROVE_AT).replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def app(tmp_path: Path, calendar: Calendar) -> App:
    lay_out(tmp_path)
    profile = tmp_path / "profiles" / f"{MODEL}.yaml"
    profile.write_text(profile.read_text(encoding="utf-8") + TARGET, encoding="utf-8")
    made = bootstrap(environ={}, start=tmp_path, workspace=tmp_path, clock=calendar)
    make_champion(made, first_model(made))
    return made


def days_by_version(folder: Path) -> dict[str, int]:
    """Partitions of the output by the version that wrote them."""
    import pandas as pd

    frame = pd.concat(pd.read_parquet(file) for file in sorted(folder.rglob("*.parquet")))
    return frame.groupby("model_version")["partition_start"].nunique().to_dict()


@pytest.mark.reliability
def test_champion_writes_the_last_whole_partition_and_each_that_closes(
    app: App, calendar: Calendar, tmp_path: Path
) -> None:
    batch.score_due(app.deps, MODEL)
    assert days_by_version(tmp_path / "predictions") == {"1": 1}
    calendar.now += timedelta(days=1)
    batch.score_due(app.deps, MODEL)
    batch.score_due(app.deps, MODEL)

    assert days_by_version(tmp_path / "predictions") == {"1": 2}
    assert not (tmp_path / "predictions-shadow").exists()


@pytest.mark.reliability
def test_candidate_is_tried_in_the_shadow_promoted_on_a_boundary_and_taken_back(
    app: App, calendar: Calendar, tmp_path: Path
) -> None:
    batch.score_due(app.deps, MODEL)
    calendar.now += timedelta(days=1)
    batch.score_due(app.deps, MODEL)
    # The last whole day before it began to write, and the day since.
    assert days_by_version(tmp_path / "predictions") == {"1": 2}

    as_of = calendar.now.date().isoformat()
    output: dict[str, Any] = app.runs.start(
        app.order("retrain", request_from_flags(MODEL, trigger="drift", as_of=as_of))
    )
    kinds = [step["kind"] for step in output["deploymentDecision"]["rolloutPlan"]["steps"]]
    assert (output["deploymentDecision"]["decision"], kinds[0], kinds[-1]) == ("canary", "set_mirror", "bake")
    for _ in range(20):
        if output["status"] != "parked":
            break
        calendar.now += timedelta(days=1)
        output = app.runs.resume(output["runId"])
    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("promoted", "proved"), output["rollout"]
    wrote = days_by_version(tmp_path / "predictions")
    assert set(wrote) == {"1", "2"}
    assert wrote["1"] >= 3
    # The one that proved it, and those of the bake.
    assert wrote["2"] >= 3
    assert set(days_by_version(tmp_path / "predictions-shadow")) == {"2"}

    back = app.runs.start(app.order("rollback", request_from_flags(MODEL), reason="odd prices"))

    assert (back["rollout"]["phase"], back["rollout"]["proof"]) == ("rolled_back", "proved"), back["rollout"]
    assert set(days_by_version(tmp_path / "predictions")) == {"1"}


@pytest.mark.slow
def test_digest_on_record_in_the_registry_is_the_one_that_scoring_asks_for(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    (tmp_path / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n", encoding="utf-8")
    (tmp_path / "profiles").mkdir()
    profile = (
        "registered_model: prices\ntask: regression\nmetrics: {primary: {name: mae}}\n"
        "data: {source: rows.parquet, event_time: at, target: y, features: [x], key: [id]}\n"
    )
    (tmp_path / "profiles" / "prices.yaml").write_text(profile + TARGET.partition("rollout:")[0], encoding="utf-8")
    made = bootstrap(environ={}, start=tmp_path, workspace=tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db", f"sqlite:///{tmp_path}/mlflow.db")
    client.create_registered_model("prices")
    for digest in ("as registered", None):
        version = client.create_model_version("prices", str(tmp_path))
        if digest is not None:
            client.set_model_version_tag("prices", version.version, "retraining.artifact_digest", digest)

    target: Any = made.deps.target_of(made.deps.load_profile("prices"))

    assert [target._digest_of(version) for version in ("1", "2")] == ["as registered", None]
