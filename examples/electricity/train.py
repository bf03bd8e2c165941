"""Train boosted trees on the rows handed in, log the model. Registers nothing: the orchestrator does."""

import argparse
import warnings

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score


warnings.filterwarnings("ignore", message=".*integer column.*")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--training-data", "--target", "--features", "--event-time"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    rows = pd.read_parquet(given.training_data).sort_values(given.event_time)
    columns = given.features.split(",")
    x, y = rows[columns].astype("float64"), rows[given.target].astype("int64").to_numpy()
    cut = int(len(rows) * 0.9)
    settings = {"max_iter": 120, "learning_rate": 0.08, "l2_regularization": 1.0, "random_state": 0}
    print(f"training on {len(rows):,} rows, {rows[given.event_time].min()} to {rows[given.event_time].max()}", flush=True)
    probe = HistGradientBoostingClassifier(**settings).fit(x[:cut], y[:cut])
    model = HistGradientBoostingClassifier(**settings).fit(x, y)
    with mlflow.start_run():
        mlflow.log_params({**settings, "rows": len(rows)})
        mlflow.log_metric("last_tenth_accuracy", accuracy_score(y[cut:], probe.predict(x[cut:])))
        mlflow.sklearn.log_model(
            model, name="model", signature=infer_signature(x.head(100), model.predict(x.head(100))), serialization_format="cloudpickle"
        )
    print("model logged", flush=True)


if __name__ == "__main__":
    main()
