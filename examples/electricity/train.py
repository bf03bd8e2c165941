"""Train boosted trees on the rows handed in, log the model. Registers nothing: the orchestrator does."""

import argparse
import importlib.metadata
import logging
import os
import warnings

# A few thousand rows: more threads than one wait for each other longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score

PACKAGES = ("mlflow", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle")
SETTINGS = {"max_iter": 120, "learning_rate": 0.08, "l2_regularization": 1.0, "random_state": 0}


def main() -> None:
    warnings.filterwarnings("ignore", message=".*integer column.*")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser()
    for name in ("--training-data", "--target", "--features", "--event-time"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    rows = pd.read_parquet(given.training_data).sort_values(given.event_time)
    times = rows[given.event_time]
    print(f"training on {len(rows):,} rows, {times.min()} to {times.max()}", flush=True)
    x, y = rows[given.features.split(",")].astype("float64"), rows[given.target].astype("int64").to_numpy()
    cut = int(len(rows) * 0.9)
    probe = HistGradientBoostingClassifier(**SETTINGS).fit(x[:cut], y[:cut])
    model = HistGradientBoostingClassifier(**SETTINGS).fit(x, y)
    with mlflow.start_run():
        mlflow.log_params({**SETTINGS, "rows": len(rows)})
        mlflow.log_metric("last_tenth_accuracy", accuracy_score(y[cut:], probe.predict(x[cut:])))
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(x.head(100), model.predict(x.head(100))),
            input_example=x.head(3),
            # The trees are no type that skops trusts by itself.
            serialization_format="cloudpickle",
            # Named outright: inferring them loads the model once more in another process.
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES],
        )
    print("model logged", flush=True)


if __name__ == "__main__":
    main()
