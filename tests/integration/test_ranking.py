"""A small real ranking project: a pointwise regressor of scikit-learn as the ranker, trained, judged and promoted by the commands."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.integration.shop import NOW, Shop
from tests.streams import queries

pytestmark = pytest.mark.reliability

TRAIN = """
import argparse, importlib.metadata, sys
import mlflow, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

parser = argparse.ArgumentParser()
for name in ("--training-data", "--target", "--features", "--event-time", "--group", "--behave"):
    parser.add_argument(name)
given = parser.parse_args()
rows = pd.read_parquet(given.training_data)
x, y = rows[given.features.split(",")].astype("float64"), rows[given.target].astype("float64")
if given.group:  # as a listwise trainer would want it: the rows of a query together, and their sizes
    rows = rows.sort_values(given.group, kind="stable")
    sizes = rows.groupby(given.group, sort=False).size()
    print("groups", len(sizes), flush=True)
model = LinearRegression().fit(x, y)
with mlflow.start_run():
    if given.group:
        mlflow.log_metric("groups", len(sizes))
    logged = mlflow.sklearn.log_model(
        model, name="model", signature=infer_signature(x.head(), model.predict(x.head())),
        pip_requirements=[f"{n}=={importlib.metadata.version(n)}" for n in ("mlflow", "scikit-learn")],
        serialization_format="cloudpickle",
    )
print(logged.model_uri, flush=True)
"""

PROJECT = """name: search
entry_points:
  main:
    parameters: {training_data: path, target: string, features: string, event_time: string, group: string}
    command: "python train.py --training-data {training_data} --target {target} --features {features}
      --event-time {event_time} --group {group}"
"""

PROFILE = """registered_model: {registered}
mode: act
task: ranking
data:
  source: rows.parquet
  event_time: at
  group: query
  target: y
  features: [a, b, c]
  key: [query, at]
  label_maturity: 1d
data_window: 60d
validation_strategy: latest:20d
metrics:
  primary: {{name: "ndcg@3", min_improvement: 0.02}}
  guardrails: [{{name: mean_reciprocal_rank, margin: 0.05}}, {{name: ndcg, margin: 0.05}}]
training: {{kind: project, uri: ., time_limit: 120s}}
triggers: {{recent: 20d, drift: null}}
validation: {{allow_leak: [a, b]}}
review: {{approvers: [], expires_after: 7d}}
"""


class Search(Shop):
    """The shop's workspace with queries instead of rows, and a ranker instead of a classifier."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "MLproject").write_text(PROJECT)
        (folder / "train.py").write_text(TRAIN)
        queries().to_parquet(folder / "rows.parquet", index=False)

    def profile(self, name: str, **changes: Any) -> str:
        (self.folder / "profiles" / f"{name}.yaml").write_text(PROFILE.format(registered=name, **changes))
        return name


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Search:
    return Search(tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="module")
def output(search: Search) -> dict[str, Any]:
    """Of the run that trained version 2."""
    search.with_champion("search")
    result = search.typed("run", "search", "--as-of", NOW, "--json", "-q")
    assert result.code == 0, result.err
    return result.json


def test_a_real_ranker_is_trained_judged_and_promoted(search: Search, output: dict[str, Any]) -> None:
    assert output["deploymentDecision"]["decision"] == "deploy"
    assert search.champion("search") == "2"
    comparison = output["comparison"]
    assert comparison["verdicts"]["ndcg@3"] == "improved"
    assert comparison["newModelMetrics"]["ndcg@3"] > comparison["baselineMetrics"]["ndcg@3"] + 0.1
    # The pipeline was told the group: 40 days of twelve queries a day, less the day whose labels are not known yet.
    assert 450 <= output["retrainingResult"]["trainingMetrics"]["groups"] <= 480
    assert "groups" in output["deploymentDecision"]["rationale"]

    # The promoted version is held against its own record, group by group.
    later = search.typed("check", "search", "--as-of", NOW, "--json", "-q")
    signals = {signal["rule"]: signal for signal in later.json["staleness"]["signals"]}
    assert signals["performance"]["outcome"] in ("ok", "could_not_tell")
    assert "recent groups" in signals["performance"]["statement"]


@pytest.mark.usefixtures("output")
def test_the_same_ranker_trained_again_is_not_promoted(search: Search) -> None:
    """The honest twin: on the same rows there is nothing more to learn, and nothing moves."""
    assert search.champion("search") == "2"
    result = search.typed("run", "search", "--as-of", NOW, "--json", "-q")
    assert result.code == 0, result.err
    assert result.json["deploymentDecision"]["decision"] == "reject"
    assert result.json["comparison"]["verdicts"]["ndcg@3"] == "non_inferior"
    assert search.champion("search") == "2"


@pytest.mark.usefixtures("output")
def test_validation_says_what_is_wrong_with_the_groups(search: Search) -> None:
    rows = pd.read_parquet(search.folder / "rows.parquet")
    try:
        rows.assign(y=-rows["y"]).to_parquet(search.folder / "rows.parquet", index=False)
        result = search.typed("validation", "check", "search", "--as-of", NOW, "--json", "-q")
    finally:
        rows.to_parquet(search.folder / "rows.parquet", index=False)
    found = [c for c in result.json["checks"] if c["name"] == "relevance"]
    assert [c["result"] for c in found] == ["fail"]
    assert "lie below 0" in found[0]["statement"]
