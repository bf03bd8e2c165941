"""Is performance estimated without labels worth more than the last measurement, and does it say so where it is not?

A champion is trained on the first fifth of a stream; the next twentieth is its baseline. The rest comes in blocks of a
hundredth, whose labels are known two blocks later. Each block is estimated from the baseline rows and the labelled rows of the
recent window (twelve blocks), as `retrain check` does it, and so is the label `reliable`; then the block's labels are looked at.
Beside the estimate stands 'as last measured': the metric on the newest block whose labels were known.

Differences are of absolute errors, paired by block; intervals are of a circular block bootstrap over the blocks in time order.
The target is about the estimates that had been labelled reliable: met where they beat 'as last measured' by the whole interval,
or where no block had been; missed where they lost by the whole interval. What all blocks give stands beside it.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from evals.decisions.staleness_streams import EXAMPLES, Asked, Stream, from_file
from evals.report import Row, share
from tools.contracts.comparison import Criteria
from tools.contracts.profile import MetricsSpec, PrimaryMetric
from tools.criteria import resolve_criteria
from tools.estimation import NotEstimated, estimate
from tools.scored_rows import ScoredRows

TRAINING, BASELINE, BLOCK = 0.2, 0.05, 0.01
"""Shares of the stream."""
WINDOW, DELAY = 12, 2
"""In blocks."""
BASELINE_ROWS, WINDOW_ROWS = 20_000, 50_000
RESAMPLES: Final = 4_000
QUICK_ROWS: Final = 30_000
TARGET: Final = "below 0, or labelled unreliable"
METRICS: Final = {"classification": ("accuracy", "roc_auc"), "regression": ("mean_absolute_error",)}


@dataclass(frozen=True)
class Looked:
    """One block: both guesses' absolute errors, and the label that the estimate bore before the truth was known."""

    estimated: float
    last: float
    reliable: bool | None


def rows(asked: Asked) -> list[Row]:
    """Five rows a stream and metric."""
    found: list[Row] = []
    for stream in _with_regression(asked.streams):
        scored = _scored(replace(stream, frame=stream.frame.head(QUICK_ROWS)) if asked.quick else stream)
        for metric in METRICS[stream.task]:
            looked = looks(scored, criteria_of(stream, metric), 8 if asked.quick else 1)
            found += _report(f"{stream.name} {metric}", looked)
    return found


def looks(scored: ScoredRows, criteria: Criteria, coarse: int = 1) -> list[Looked]:
    """Every block behind the first whole window, in time order; looks at every `coarse`-th only."""
    size = max(60, int(BLOCK * scored.n))
    start = int((TRAINING + BASELINE) * scored.n)
    baseline = _evenly(int(TRAINING * scored.n), start, BASELINE_ROWS)
    found: list[Looked] = []
    for begin in range(start + WINDOW * size, scored.n - size + 1, size * coarse):
        known = begin - DELAY * size
        recent = _evenly(begin - WINDOW * size, known, WINDOW_ROWS)
        block, last = scored.at(slice(begin, begin + size)), scored.at(slice(known - size, known))
        made = estimate(
            history=scored.at(np.r_[baseline, recent]),
            recent=block,
            criteria=criteria,
            delay=float(scored.time[begin] - scored.time[known]),
        )
        truth, before = block.value(criteria), last.value(criteria)
        if isinstance(made, NotEstimated) or not np.isfinite([truth, before]).all():
            continue
        found.append(Looked(abs(made.value - truth), abs(before - truth), made.reliable))
    return found


def _report(name: str, looked: list[Looked]) -> list[Row]:
    trusted = [look for look in looked if look.reliable]
    gain = _mean(f"{name}: estimate less 'as last measured'", [look.estimated - look.last for look in looked])
    apart = _mean(
        f"{name}: the same where the estimate was labelled reliable", [look.estimated - look.last for look in trusted]
    )
    return [
        _mean(f"{name}: error of the estimate", [look.estimated for look in looked]),
        _mean(f"{name}: error of 'as last measured'", [look.last for look in looked]),
        gain,
        replace(apart, target=TARGET, met=_met(gain, apart)),
        share(f"{name}: blocks labelled reliable", len(trusted), len(looked)),
    ]


def _met(gain: Row, apart: Row) -> bool | None:
    if gain.n and not apart.n:
        return True
    if apart.low is None or apart.high is None:
        return None
    return True if apart.high < 0 else False if apart.low > 0 else None


def _mean(name: str, values: list[float]) -> Row:
    """Mean with the interval of a circular block bootstrap; neighbours in time resemble each other."""
    n = len(values)
    if n < 5:
        return Row(name, float(np.mean(values)) if values else float("nan"), n=n)
    length = max(1, round(n ** (1 / 3)))
    generator = np.random.default_rng(0)
    begins = generator.integers(0, n, (RESAMPLES, -(-n // length)))
    places = (begins[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :n] % n
    low, high = np.quantile(np.asarray(values)[places].mean(axis=1), [0.025, 0.975])
    return Row(name, float(np.mean(values)), float(low), float(high), n)


def _with_regression(streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
    """Beside the flights' label stands the same stream as a regression."""
    if not any(stream.name == "flights" for stream in streams):
        return streams
    path = EXAMPLES / "flights" / "nyc_flights.parquet"
    drop = ("dep_delay", "late", "tailnum")
    return (*streams, from_file(path, "event_time", "arr_delay", drop, "flights as a regression"))


def _scored(stream: Stream) -> ScoredRows:
    """The whole stream as the champion of its first fifth scores it."""
    features = np.column_stack([numbers(stream.frame[name]) for name in stream.features])
    first = int(TRAINING * len(features))
    time = stream.frame[stream.time].astype("datetime64[us]").astype("int64").to_numpy() / 1e6
    if stream.task == "regression":
        y: Any = stream.frame[stream.target].to_numpy(dtype=float)
        model: Any = HistGradientBoostingRegressor(max_iter=60, random_state=0).fit(features[:first], y[:first])
        outputs = {"prediction": model.predict(features)}
    else:
        y = pd.factorize(stream.frame[stream.target], sort=True)[0]
        model = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(features[:first], y[:first])
        proba = model.predict_proba(features)
        outputs = {"prediction": model.predict(features)}
        outputs |= {f"proba:{name}": proba[:, code] for code, name in enumerate(model.classes_)}
    return ScoredRows.from_columns(task=stream.task, y=y, outputs=outputs, time=time, features=features)


def numbers(column: Any) -> Any:
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=float, na_value=np.nan)
    return pd.factorize(column, sort=True)[0].astype(float)


def criteria_of(stream: Stream, metric: str) -> Criteria:
    spec = MetricsSpec(primary=PrimaryMetric(name=metric))
    return resolve_criteria(metrics=spec, request=None, task=stream.task, positive_label=None)


def _evenly(first: int, behind: int, most: int) -> Any:
    return np.unique(np.linspace(first, behind - 1, min(most, behind - first)).astype(int))
