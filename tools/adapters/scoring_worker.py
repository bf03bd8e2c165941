# pyright: basic
"""Stand-alone: score rows with one model. Started as a file with a job's JSON; imports nothing of ours.

How an answer is read, by what `predict` of the pyfunc gives for n rows:

- n values, or one column: the predictions.
- a frame with a column `prediction`: that column.
- classification, n × k numbers: probabilities. The classes are the model's `classes_`, else a frame's column names, else
  0 … k-1; the prediction is the likeliest class.
- classification, n numbers between 0 and 1 that are not all whole: probabilities of class 1, cut at one half, where the
  classes are two (a booster's answer).

Probabilities are taken from `predict_proba` where the model under the pyfunc has it. It must run under older Pythons too.
"""

import json
import sys
import time
import warnings
from typing import Any

BATCH = 50_000
OBJECT_NUMBERS = ("decimal", "integer", "floating", "mixed-integer-float", "boolean")
NUMBERS = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}


class Refused(Exception):
    """The model or its answer is not usable; the message is all that is said."""


def main(path: str) -> None:
    warnings.filterwarnings("ignore")
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    import mlflow.pyfunc
    import pandas as pd

    frame = pd.read_parquet(job["rows"], columns=list(dict.fromkeys(job["features"])))
    model = mlflow.pyfunc.load_model(job["model"])
    schema = model.metadata.get_input_schema()
    if schema is not None and schema.has_input_names():
        frame = as_signed(frame, schema)
    if "calls" in job:
        save_times(model, frame, schema, job)
        return
    parts = list(batches(frame, schema))
    notes: list = []
    given = whole([checked(model.predict(part), len(part)) for part in parts])
    out = read(given, probabilities(model, parts, job["task"], notes), job["task"], notes)
    out.to_parquet(job["output"], index=False)
    with open(job["told"], "w", encoding="utf-8") as file:
        json.dump(notes, file)


def save_times(model: Any, frame: Any, schema: Any, job: dict) -> None:
    """Milliseconds of each single-row prediction, as JSON; the first ones, which fill caches, are left out."""
    if not len(frame):
        raise Refused("there are no rows to time a prediction with")
    singles = list(batches(frame, schema, 1))
    for number in range(job["warm_up"]):
        model.predict(singles[number % len(singles)])
    times = []
    for number in range(job["calls"]):
        row = singles[number % len(singles)]
        start = time.perf_counter_ns()
        model.predict(row)
        times.append((time.perf_counter_ns() - start) / 1e6)
    with open(job["times"], "w", encoding="utf-8") as file:
        json.dump(times, file)


def batches(frame: Any, schema: Any, size: int = 0) -> Any:
    """At most `size` rows (`BATCH`, if 0) at a time; as an array where the model was logged with one."""
    size = size or BATCH
    kind = None
    if schema is not None and schema.is_tensor_spec() and not schema.has_input_names():
        kind = schema.numpy_types()[0]
    for start in range(0, max(len(frame), 1), size):
        part = frame.iloc[start : start + size]
        yield part if kind is None else part.to_numpy(dtype=kind)


def checked(given: Any, rows: int) -> Any:
    """An answer as a frame or array of `rows` rows."""
    import numpy as np
    import pandas as pd

    if isinstance(given, pd.Series):
        given = given.to_numpy()
    if not isinstance(given, pd.DataFrame):
        given = given.toarray() if hasattr(given, "toarray") else np.asarray(given)
    if given.ndim not in (1, 2) or len(given) != rows:
        found = len(given) if given.ndim else "one"
        raise Refused(f"predict gave {found} answers for {rows} rows (shape {given.shape})")
    return given


def whole(parts: list) -> Any:
    """The batches' answers as one."""
    import numpy as np
    import pandas as pd

    if isinstance(parts[0], pd.DataFrame):
        return pd.concat(parts, ignore_index=True)
    return np.concatenate(parts)


def probabilities(model: Any, parts: list, task: str, notes: list) -> Any:
    """(classes, n × k) of the model under the pyfunc; None where it knows no classes."""
    import numpy as np

    if task != "classification":
        return None
    try:
        raw = model.get_raw_model()
    except (NotImplementedError, AttributeError):
        return None
    if not hasattr(raw, "classes_"):
        return None
    classes = list(raw.classes_)
    if not hasattr(raw, "predict_proba"):
        return classes, None
    try:
        shares = np.concatenate([np.asarray(raw.predict_proba(part)) for part in parts])
    except Exception as error:  # noqa: BLE001 - the user's code; predictions stand without probabilities
        notes.append(f"no probabilities: predict_proba raised {type(error).__name__}: {error}")
        return classes, None
    rows = sum(len(part) for part in parts)
    if shares.shape != (rows, len(classes)):
        raise Refused(f"predict_proba gave shape {shares.shape} for {rows} rows and {len(classes)} classes")
    return classes, shares


def read(given: Any, raw: Any, task: str, notes: list) -> Any:
    """Columns `prediction` and `proba:<class>`; see the module's docstring."""
    import numpy as np
    import pandas as pd

    names = None
    if isinstance(given, pd.DataFrame):
        if "prediction" in given.columns:
            given = given[["prediction"]]
        names = list(given.columns)
        given = given.to_numpy()
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    classes, shares = raw if raw is not None else (None, None)
    if given.ndim == 2:
        if task != "classification" or given.dtype.kind not in "fiub":
            raise Refused(f"predict gave {given.shape[1]} columns a row, and one value was asked for")
        classes = classes or (names if names else list(range(given.shape[1])))
        if len(classes) != given.shape[1]:
            raise Refused(f"predict gave {given.shape[1]} columns for {len(classes)} classes")
        shares = given.astype("float64")
        given = np.asarray(classes)[shares.argmax(axis=1)]
        notes.append("the columns of predict were read as probabilities of " + ", ".join(map(str, classes))[:80])
    elif task == "classification" and shares is None and is_share(given) and (classes is None or len(classes) == 2):
        classes = classes or [0, 1]
        shares = np.column_stack([1.0 - given, given])
        given = np.asarray(classes)[(given >= 0.5).astype(int)]
        notes.append(f"the values of predict were read as probabilities of class {classes[1]}")
    out = {"prediction": plain(given)}
    if classes is not None and shares is not None:
        for number, name in enumerate(classes):
            out[f"proba:{name}"] = shares[:, number]
    return pd.DataFrame(out)


def is_share(given: Any) -> bool:
    """Numbers between 0 and 1 that cannot be labels."""
    import numpy as np

    if given.dtype.kind != "f" or not len(given) or not np.isfinite(given).all():
        return False
    return bool(((given >= 0) & (given <= 1)).all() and (given != np.round(given)).any())


def plain(given: Any) -> Any:
    """Objects of one kind as that kind: Parquet wants a type a column."""
    import pandas as pd

    column = pd.Series(given)
    return column.infer_objects() if column.dtype == object else column


def as_signed(frame: Any, schema: Any) -> Any:
    """Columns in the signature's order and, where nothing is lost, in its types."""
    required = [spec.name for spec in schema.inputs if getattr(spec, "required", True)]
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise Refused(f"the model's signature asks for {', '.join(missing)}, which is not among the profile's features")
    out = frame[[name for name in schema.input_names() if name in frame.columns]].copy()
    for spec in schema.inputs:
        if spec.name in out.columns:
            out[spec.name] = as_typed(out[spec.name], getattr(spec.type, "name", ""))
    return out


def as_typed(column: Any, kind: str) -> Any:
    """A column in a signature's type, or as it was where a value would change: MLflow then says what does not fit."""
    import pandas as pd

    if kind == "string":
        return column.astype(object).where(column.notna(), None)
    if kind == "datetime" and getattr(column.dtype, "tz", None) is not None:
        return column.dt.tz_convert("UTC").dt.tz_localize(None)
    if kind not in NUMBERS or str(column.dtype) == NUMBERS[kind]:
        return column
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) not in OBJECT_NUMBERS:
        return column  # text that looks like a number is no number
    gaps = column.isna()
    if gaps.any() and kind not in ("double", "float"):
        return column
    try:
        cast = column.astype(NUMBERS[kind])
        back = cast.astype("float64" if column.dtype == object else column.dtype)
        same = (back == column.astype(back.dtype)).fillna(False) | gaps
    except (TypeError, ValueError, OverflowError):
        return column
    # A float signature is the precision that the model was trained in: the digits beyond it were never seen.
    return cast if kind == "float" or bool(same.all()) else column


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Refused as refused:
        sys.exit(str(refused))
