"""A workspace of generated models with one trivial champion: a threshold on one column, so that no model is timed.

All profiles share the one registered version and its recorded training rows; their data are files of their own, hard-linked from
a few that differ in seed. Reading, sampling, scoring and comparing are done anew for each.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from evals.speed._tables import BEGIN, FIFTY, TWENTY, Layout, write

LAYOUTS: Final = {"fifty": FIFTY, "twenty": TWENTY}
DAYS: Final = 400
TRAINED_DAYS: Final = 300
"""The champion knows the first of them."""
NAME: Final = "speed"

PROFILE = """registered_model: {name}
task: classification
data:
  source: {source}
  event_time: at
  target: y
  features: [{features}]
  text: [{text}]
  key: [at]
  label_maturity: 1d
  positive_label: 1
metrics:
  primary: {{name: accuracy}}
scoring: {{time_limit: 30m}}
validation: {{max_seconds: 3600}}
"""


def lay_out(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """`given`: rows, layout (a name), profiles, distinct (data files), trained_rows (at most, for the record of them).

    Returns:
        The as-of time of the data, as text.
    """
    layout = LAYOUTS[given["layout"]]
    (folder / "profiles").mkdir(parents=True)
    (folder / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n", encoding="utf-8")
    sources = [
        write(folder / f"source-{seed}.parquet", given["rows"], layout, days=DAYS, seed=seed + 1)
        for seed in range(given["distinct"])
    ]
    for number in range(given["profiles"]):
        source = f"data-{number:03}.parquet"
        os.link(sources[number % len(sources)], folder / source)
        (folder / "profiles" / f"m{number:03}.yaml").write_text(_profile(source, layout), encoding="utf-8")
    _champion(folder, layout)
    return {"as_of": (BEGIN + timedelta(days=DAYS)).isoformat()}


def _profile(source: str, layout: Layout) -> str:
    return PROFILE.format(
        name=NAME, source=source, features=", ".join(layout.names("all")), text=", ".join(layout.names("text"))
    )


def _champion(folder: Path, layout: Layout) -> None:
    """Log, register and adopt the model, as `retrain init --adopt` does where the training window is tagged."""
    from agent.bootstrap import bootstrap
    from agent.services import adopt

    app = bootstrap(environ={}, start=folder)
    deps, profile = app.deps, app.deps.load_profile("m000")
    version = deps.registry.register(NAME, _log_model(folder, layout), None, {})
    deps.registry.set_alias(NAME, profile.champion.value, version.version)
    end = BEGIN + timedelta(days=TRAINED_DAYS)
    rows = deps.data.write_labelled(profile.data, None, end, end, deps.run_dir("first") / "training.parquet")
    until = datetime.fromtimestamp((BEGIN + timedelta(days=DAYS)).timestamp(), UTC)
    adopt.adopt(deps, profile, version=version, training=rows, as_of=until, by="evals")


def _log_model(folder: Path, layout: Layout) -> str:
    """The URI of a decision stump on `num_00`, signed with all columns."""
    import importlib.metadata

    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeClassifier

    sample = write(folder / "sample.parquet", 2_000, layout)
    frame = pd.read_parquet(sample)
    sample.unlink()
    x, y = frame[list(layout.names("all"))], frame["y"]
    chosen = ColumnTransformer([("lead", SimpleImputer(), [layout.names("numeric")[0]])])
    model = make_pipeline(chosen, DecisionTreeClassifier(max_depth=1)).fit(x, y)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    experiment = mlflow.create_experiment("speed", artifact_location=(folder / "artifacts").as_uri())
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in ("mlflow", "scikit-learn")]
    with mlflow.start_run(experiment_id=experiment):
        logged = mlflow.sklearn.log_model(  # pyright: ignore[reportPrivateImportUsage]
            model,
            name="model",
            signature=infer_signature(x, model.predict(x)),
            pip_requirements=pinned,
            serialization_format="cloudpickle",
        )
    return logged.model_uri


def environment(root: Path) -> dict[str, str]:
    """For commands of ours in processes of their own."""
    return {**os.environ, "PYTHONPATH": str(root), "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}


RETRAIN: Final = (sys.executable, "-m", "agent.entrypoints.cli.app")
