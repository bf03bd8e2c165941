"""Late or not, or by how many minutes: boosted trees over numbers and categories, nulls left as they are.

Registers nothing: the orchestrator does. `dep_delay` is refused: it is known only after departure.
"""

import argparse
import importlib.metadata
import logging
import os
import warnings

# Threads that wait actively starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

PACKAGES = ("mlflow", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle")
SETTINGS = {"max_iter": 150, "random_state": 0}
KNOWN_ONLY_AFTERWARDS = {"dep_delay"}


def new_model(task: str, texts: list[str]) -> Pipeline:
    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    # A carrier or airport that training never saw, like a missing one, is a missing value to the trees.
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"), max_categories=250)
    encode = make_column_transformer((codes, texts), remainder="passthrough", verbose_feature_names_out=False)
    return make_pipeline(encode.set_output(transform="pandas"), kind(**SETTINGS, categorical_features=texts))


def main() -> None:
    warnings.filterwarnings("ignore", message=".*integer column.*")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser()
    for name in ("--training-data", "--target", "--features", "--event-time", "--task"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    features = given.features.split(",")
    if leaks := KNOWN_ONLY_AFTERWARDS & set(features):
        raise SystemExit(f"{', '.join(leaks)} is known only after departure: leave it out of the features")
    rows = pd.read_parquet(given.training_data).sort_values(given.event_time)
    print(f"training on {len(rows):,} rows", flush=True)
    x = rows[features]
    texts = [name for name in features if not pd.api.types.is_numeric_dtype(x[name])]
    x = x.astype({name: object if name in texts else "float64" for name in features})
    late = given.task == "classification"
    y = rows[given.target].astype("int64" if late else "float64").to_numpy()
    cut = int(len(rows) * 0.9)
    probe = new_model(given.task, texts).fit(x[:cut], y[:cut])
    if late:
        measured = {"last_tenth_roc_auc": roc_auc_score(y[cut:], probe.predict_proba(x[cut:])[:, 1])}
    else:
        measured = {"last_tenth_mean_absolute_error": mean_absolute_error(y[cut:], probe.predict(x[cut:]))}
    model = new_model(given.task, texts).fit(x, y)
    with mlflow.start_run():
        mlflow.log_params({**SETTINGS, "task": given.task, "rows": len(rows)})
        mlflow.log_metrics(measured)
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(x.head(1000), model.predict(x.head(1000))),
            input_example=x.head(3),
            serialization_format="cloudpickle",
            # Named outright: inferring them loads the model once more in another process.
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES],
        )
    print("model logged", flush=True)


if __name__ == "__main__":
    main()
