"""Two classifiers of known accuracies on rows in time order, from Parquet files to intervals: ours, and scipy's bootstrap."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evals.speed._measured import Cost, measured

COLUMNS = ("region", "channel")
"""Slice columns, ten values each."""
FEATURES = 10
"""Columns of the holdout that no metric looks at: a file of real rows has some."""


def write(given: dict[str, Any]) -> Cost:
    """The three files that a run hands to its comparison: holdout rows and each model's scores."""
    import pandas as pd

    from evals.decisions.simulated import World, draw

    folder, n = Path(given["folder"]), int(given["rows"])

    def task() -> dict[str, Any]:
        g = np.random.default_rng(n)
        rows = draw(World(n=n, champion=0.80, candidate=0.803), seed=1)
        words = np.array([f"{name}-{value}" for name in COLUMNS for value in range(10)], dtype=object)
        holdout: dict[str, Any] = {f"x{i}": g.standard_normal(n) for i in range(FEATURES)}
        holdout |= {name: words[10 * i + g.integers(0, 10, n)] for i, name in enumerate(COLUMNS)}
        holdout["__row_hash"] = [f"{value:032x}" for value in range(n)]
        holdout["y"] = rows.y.astype(np.int64)
        pd.DataFrame(holdout).to_parquet(folder / "holdout.parquet", index=False)
        for side, prediction, proba in (
            ("champion", rows.baseline_prediction, rows.baseline_proba),
            ("candidate", rows.candidate_prediction, rows.candidate_proba),
        ):
            assert proba is not None
            scores = {"prediction": prediction.astype(np.int64), "proba:0": proba[:, 0], "proba:1": proba[:, 1]}
            pd.DataFrame(scores).to_parquet(folder / f"{side}.parquet", index=False)
        return {}

    return measured(task)


def read(given: dict[str, Any]) -> Cost:
    """From files to paired rows, as the evaluation step does it."""
    return measured(lambda: {"rows": _paired_rows(Path(given["folder"])).n})


def duel(given: dict[str, Any]) -> Cost:
    """`tools.comparison.compare` for each list of metrics (primary first), slices in it; reading goes before."""
    from evals.decisions.simulated import demands
    from tools.comparison import compare
    from tools.contracts.comparison import Contamination

    rows = _paired_rows(Path(given["folder"]))
    clean = Contamination(candidate="clean", champion="clean")

    def task() -> dict[str, Any]:
        widths: dict[str, float] = {}
        intervals = 0
        for primary, *guardrails in given["duels"]:
            criteria = demands(primary, **dict.fromkeys(guardrails, 0.05))
            criteria = criteria.model_copy(update={"slice_columns": COLUMNS})
            found = compare(rows=rows, criteria=criteria, contamination=clean, holdout_digest="eval")
            for item in found.metrics:
                assert item.low is not None
                assert item.high is not None
                intervals += 1
                widths[item.key.removeprefix("comparison/")] = item.high - item.low
        return {"intervals": intervals, "widths": widths}

    return measured(task)


def _paired_rows(folder: Path) -> Any:
    from tools.adapters.frames import paired_rows

    files = [str(folder / f"{name}.parquet") for name in ("holdout", "champion", "candidate")]
    return paired_rows(
        [(files[0], files[1], files[2])],
        target="y",
        task="classification",
        slices=COLUMNS,
        drop=[set()],
        scored_out=folder / "scored.parquet",
    )


# --- scipy ---------------------------------------------------------------------------------------------------------

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Rival:
    """How scipy's bootstrap is called for a metric: on which arrays, with which statistic."""

    data: Callable[[Arrays], Sequence[Any]]
    statistic: Callable[..., Any]
    vectorized: bool = True


def _mean(values: Any, axis: int = -1) -> Any:
    return np.mean(values, axis=axis)


def _f1(y: Any, theirs: Any, ours: Any, axis: int = -1) -> Any:
    def score(told: Any) -> Any:
        both, either = (y & told).sum(axis=axis), y.sum(axis=axis) + told.sum(axis=axis)
        return 2 * both / either

    return score(ours) - score(theirs)


def _log_losses(arrays: Arrays) -> Sequence[Any]:
    def loss(p: Any) -> Any:
        return -np.log(np.where(arrays["y"], p, 1 - p))

    return (loss(arrays["champion:p"]) - loss(arrays["candidate:p"]),)


def _ranked(function: Callable[[Any, Any], float]) -> Rival:
    def change(y: Any, theirs: Any, ours: Any) -> float:
        return function(y, ours) - function(y, theirs)

    return Rival(lambda a: (a["y"], a["champion:p"], a["candidate:p"]), change, vectorized=False)


def _rival(metric: str) -> Rival:
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        # A paired change of a mean is the mean of differences: one array to draw from instead of two.
        "accuracy": Rival(
            lambda a: ((a["candidate"] == a["y"]).astype(np.float64) - (a["champion"] == a["y"]),), _mean
        ),
        "log_loss": Rival(_log_losses, _mean),
        "f1": Rival(lambda a: (a["y"], a["champion"], a["candidate"]), _f1),
        "roc_auc": _ranked(roc_auc_score),
        "average_precision": _ranked(average_precision_score),
    }[metric]


def scipy_bootstrap(given: dict[str, Any]) -> Cost:
    """`scipy.stats.bootstrap` of one metric over all rows or one slice's; told are its seconds for `resamples`.

    Timed are 1 and `timed` resamples; further ones are taken to cost what the average one between did.
    """
    from time import process_time

    import pandas as pd
    from scipy.stats import bootstrap

    folder = Path(given["folder"])
    frame = pd.read_parquet(folder / "holdout.parquet", columns=["y", COLUMNS[0]])
    kept = frame[COLUMNS[0]] == f"{COLUMNS[0]}-0" if given["slice"] else np.ones(len(frame), dtype=bool)
    arrays: dict[str, Any] = {"y": frame["y"].to_numpy()[kept] > 0}
    for side in ("champion", "candidate"):
        scores = pd.read_parquet(folder / f"{side}.parquet", columns=["prediction", "proba:1"])
        arrays[side] = scores["prediction"].to_numpy()[kept] > 0
        arrays[f"{side}:p"] = scores["proba:1"].to_numpy()[kept]
    rival = _rival(given["metric"])
    data = tuple(rival.data(arrays))
    batch = max(1, 1_000_000 // data[0].shape[0])

    def once(resamples: int) -> tuple[Any, float]:
        begun = process_time()
        found = bootstrap(
            data,
            rival.statistic,
            n_resamples=resamples,
            batch=batch,
            vectorized=rival.vectorized,
            paired=len(data) > 1,
            method="percentile",
            rng=np.random.default_rng(given["seed"]),
        )
        return found, process_time() - begun

    def task() -> dict[str, Any]:
        first = once(1)[1]
        found, spent = once(given["timed"])
        each = max(spent - first, 0.0) / (given["timed"] - 1)
        interval = found.confidence_interval
        return {
            "rows": int(data[0].shape[0]),
            "drawn": given["timed"],
            "cpu": first + each * (given["resamples"] - 1),
            "width": float(interval.high - interval.low),
        }

    return measured(task)


TASKS: dict[str, Callable[[dict[str, Any]], Cost]] = {
    "duel_write": write,
    "duel_read": read,
    "duel": duel,
    "duel_scipy": scipy_bootstrap,
}
