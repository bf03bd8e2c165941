# pyright: basic
"""Stand-alone: score rows with one model. Started as a file with a job's JSON; imports nothing of ours."""

import json
import sys
import warnings


def main(path):
    warnings.filterwarnings("ignore")
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    import mlflow.pyfunc
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(job["rows"], columns=list(dict.fromkeys(job["features"])))
    model = mlflow.pyfunc.load_model(job["model"])
    schema = model.metadata.get_input_schema()
    if schema is not None and schema.has_input_names():
        frame = as_signed(frame, schema)
    predicted = model.predict(frame)
    out = {}
    if isinstance(predicted, pd.DataFrame):
        predicted = predicted["prediction"] if "prediction" in predicted.columns else predicted.iloc[:, 0]
    predicted = np.asarray(predicted)
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        predicted = predicted[:, 0]
    if predicted.ndim != 1 or len(predicted) != len(frame):
        raise SystemExit(f"predict gave an answer of shape {predicted.shape} for {len(frame)} rows")
    out["prediction"] = predicted
    raw = model.get_raw_model() if hasattr(model, "get_raw_model") else None
    if job["task"] == "classification" and hasattr(raw, "predict_proba") and hasattr(raw, "classes_"):
        shares = np.asarray(raw.predict_proba(frame))
        if shares.shape != (len(frame), len(raw.classes_)):
            raise SystemExit(f"predict_proba gave an answer of shape {shares.shape} for {len(frame)} rows")
        for number, name in enumerate(raw.classes_):
            out[f"proba:{name}"] = shares[:, number]
    pd.DataFrame(out).to_parquet(job["output"], index=False)


def as_signed(frame, schema):
    """Columns in the signature's order and, where nothing is lost, in its types."""
    kinds = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}
    names = [name for name in schema.input_names() if name in frame.columns]
    frame = frame[names].copy()
    for spec in schema.inputs:
        if spec.name not in frame.columns:
            continue
        kind = getattr(spec.type, "name", "")
        column = frame[spec.name]
        if kind in kinds and str(column.dtype) != kinds[kind] and not (kind in ("long", "integer", "boolean") and column.isna().any()):
            frame[spec.name] = column.astype(kinds[kind])
        elif kind == "string":
            frame[spec.name] = column.astype(object).where(column.notna(), None)
    return frame


if __name__ == "__main__":
    main(sys.argv[1])
