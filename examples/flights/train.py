"""Late or not, or by how many minutes: boosted trees over numbers and categories, nulls left as they are.

Registers nothing: the orchestrator does. `dep_delay` is not among the features, because it is known only after departure.
"""

import argparse
import warnings

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder


warnings.filterwarnings("ignore", message=".*integer column.*")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--training-data", "--target", "--features", "--event-time", "--task"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    rows = pd.read_parquet(given.training_data).sort_values(given.event_time)
    x = rows[given.features.split(",")].copy()
    for name in x.columns:
        numeric = pd.api.types.is_numeric_dtype(x[name])
        x[name] = x[name].astype("float64") if numeric else x[name].astype(object)
    classify = given.task == "classification"
    y = rows[given.target].astype("int64") if classify else rows[given.target].astype("float64")
    settings = {"max_iter": 150, "random_state": 0}
    kind = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    encode = make_column_transformer(
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            make_column_selector(dtype_include=[object, "string"]),
        ),
        remainder="passthrough",
    )
    print(f"training on {len(rows):,} rows", flush=True)
    model = make_pipeline(encode, kind(**settings)).fit(x, y)
    with mlflow.start_run():
        mlflow.log_params({**settings, "task": given.task, "rows": len(rows)})
        mlflow.sklearn.log_model(
            model, name="model", signature=infer_signature(x.head(100), model.predict(x.head(100))), serialization_format="cloudpickle"
        )
    print("model logged", flush=True)


if __name__ == "__main__":
    main()
