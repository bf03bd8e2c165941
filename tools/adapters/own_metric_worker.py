# pyright: basic
"""Stand-alone: call a user's metric on scored rows. Started as a file with a job's JSON; imports nothing of ours."""

import importlib.util
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any


class Refused(Exception):
    """The function or its answer is not usable; the message is all that is said."""


def main(path: str) -> None:
    warnings.filterwarnings("ignore")
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    import pandas as pd

    rows = pd.read_parquet(job["rows"], columns=list(dict.fromkeys([*job["features"], job["target"]])))
    scored = pd.read_parquet(job["scored"])
    for name in scored.columns:
        if name == "prediction" or str(name).startswith("proba:"):
            rows[name] = scored[name].to_numpy()
    function = found(job["file"], job["root"], job["function"])
    count = len(rows)
    values = numbers(function(rows), count, job["function"])
    pd.DataFrame({"value": values}).to_parquet(job["output"], index=False)


def found(file: str, root: str, name: str) -> Any:
    """The function, with its file's folder and the workspace to import from."""
    sys.path[:0] = [str(Path(file).parent), root]
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise Refused(f"{Path(file).name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        own = [
            key
            for key, item in vars(module).items()
            if callable(item) and not key.startswith("_") and getattr(item, "__module__", "") == module.__name__
        ]
        there = f"it has {', '.join(own[:8])}" if own else "it has none"
        raise Refused(f"there is no function {name!r} in {Path(file).name}; {there}")
    return function


def numbers(given: Any, rows: int, name: str) -> Any:
    """(rows,) finite numbers, or why not."""
    import numpy as np

    column = given.to_numpy() if hasattr(given, "to_numpy") else np.asarray(given)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim == 0:
        raise Refused(
            f"{name} gave one value for all rows ({str(given)[:40]}); it must give one number a row, whose mean is the "
            "metric: without them its change cannot be given an interval"
        )
    if column.ndim != 1 or column.shape[0] != rows:
        shape = " × ".join(map(str, column.shape))
        raise Refused(f"{name} gave {shape} values for {rows} rows; it must give one number a row")
    text = column.dtype.kind == "O" and any(isinstance(value, (str, bytes)) for value in column)
    if text or column.dtype.kind not in "biufO":
        raise Refused(f"{name} gave values that are no numbers, such as {str(column[0])[:40]!r}")
    try:
        column = column.astype("float64")
    except (TypeError, ValueError) as error:
        raise Refused(f"{name} gave values that are no numbers: {error}") from error
    bad = int((~np.isfinite(column)).sum())
    if bad:
        raise Refused(f"{name} gave {bad} values that are no finite number, in {rows} rows")
    return column


def run(path: str) -> int:
    """The exit code; what went wrong is the last line said."""
    said = ""
    try:
        main(path)
    except Refused as refused:
        said = str(refused)
    except BaseException:  # noqa: BLE001 - the user's code
        said = traceback.format_exc()
    sys.stdout.flush()
    print(said, file=sys.stderr, flush=True)  # noqa: T201
    return 1 if said else 0


if __name__ == "__main__":
    # At once: threads that libraries left behind may abort an orderly end, and the reason would be lost.
    os._exit(run(sys.argv[1]))
