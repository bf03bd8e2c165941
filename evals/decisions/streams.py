"""Candidates of known kind on a real stream: trained later, label-noised, random, and the champion itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tools.comparison import compare, measure_all
from tools.contracts.comparison import Contamination, Criteria
from tools.contracts.profile import MetricsSpec, PrimaryMetric, ProfileGuardrail, Task
from tools.criteria import resolve_criteria
from tools.paired_rows import PairedRows
from tools.policy import PolicyInput, decide

KINDS = ("trained later", "trained later, 30 % of labels noise", "random", "same as champion")
HOLDOUT_SHARES = (0.01, 0.05)
NOISE = 0.3
MOST_CLASSES = 20
"""A numeric target with more distinct values is a regression."""


@dataclass(frozen=True)
class Duel:
    """One decision, and what the rows behind the holdout say."""

    kind: str
    holdout: int
    decision: str
    higher: bool
    """The candidate's point was better on the holdout: what a naive gate would deploy."""
    later_change: float
    """Change of the primary metric, positive when better, on as many rows behind the holdout as it has."""


def duels(path: Path, time: str, target: str, drop: tuple[str, ...], quick: bool) -> Iterator[Duel]:
    """Champion of the first fifth against each kind, at several places of the stream and two holdout sizes."""
    table = _load(path, time, target)
    columns = [name for name in table.columns if name not in {time, target, *drop}]
    features = np.column_stack([_numeric(table[name]) for name in columns])
    y, task = _target(table[target])
    criteria = _criteria(task, y)
    n = y.shape[0]
    fifth = n // 5
    champion = _fit(task, features[:fifth], y[:fifth])
    g = np.random.default_rng(0)
    for place in (0.5,) if quick else (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85):
        for size in HOLDOUT_SHARES:
            start, length = int(place * n), int(size * n)
            training = slice(start - fifth, start)
            sets = [slice(start, start + length), slice(start + length, start + 2 * length)]
            for kind in KINDS:
                model = champion if kind == KINDS[3] else _candidate(kind, task, features[training], y[training], g)
                now, later = [
                    _rows(task, features[part], y[part], champion, model, g if kind == "random" else None)
                    for part in sets
                ]
                yield _duel(kind, criteria, now, later)


def _duel(kind: str, criteria: Criteria, now: PairedRows, later: PairedRows) -> Duel:
    clean = Contamination(candidate="clean", champion="clean")
    result = compare(rows=now, criteria=criteria, contamination=clean, holdout_digest="eval")
    inputs = PolicyInput(training_status="given", comparison=result, has_champion=True, can_split=True)
    sign = 1 if criteria.primary.direction == "higher" else -1
    name = criteria.primary.metric
    after = [
        measure_all(rows=later, criteria=criteria, which=which).get(name, np.nan) for which in ("candidate", "baseline")
    ]
    return Duel(
        kind=kind,
        holdout=now.n,
        decision=decide(inputs).decision,
        higher=(result.primary.change or 0.0) > 0,
        later_change=sign * (after[0] - after[1]),
    )


def _load(path: Path, time: str, target: str) -> Any:
    table: Any = pd.read_csv(path, parse_dates=[time]) if path.suffix == ".csv" else pd.read_parquet(path)
    return table[table[target].notna()].sort_values(time, kind="stable").reset_index(drop=True)


def _numeric(column: Any) -> Any:
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=float, na_value=np.nan)
    return pd.factorize(column, sort=True)[0].astype(float)


def _target(column: Any) -> tuple[Any, Task]:
    if pd.api.types.is_float_dtype(column) and column.nunique() > MOST_CLASSES:
        return column.to_numpy(dtype=float), "regression"
    return pd.factorize(column, sort=True)[0], "classification"


def _criteria(task: Task, y: Any) -> Criteria:
    if task == "regression":
        spec = MetricsSpec(
            primary=PrimaryMetric(name="mean_absolute_error", unit="relative", min_improvement=0.01),
            guardrails=(ProfileGuardrail(name="root_mean_squared_error", margin=0.02, unit="relative"),),
        )
    else:
        spec = MetricsSpec(
            primary=PrimaryMetric(name="accuracy", min_improvement=0.01),
            guardrails=(
                ProfileGuardrail(name="log_loss", margin=0.02),
                ProfileGuardrail(name="balanced_accuracy", margin=0.02),
            ),
        )
    return resolve_criteria(metrics=spec, request=None, task=task, positive_label=None)


def _fit(task: Task, x: Any, y: Any) -> Any:
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(max_iter=60, random_state=0).fit(x, y)


def _candidate(kind: str, task: Task, x: Any, y: Any, g: np.random.Generator) -> Any:
    if kind == KINDS[1]:
        y = np.where(g.random(y.shape[0]) < NOISE, g.permutation(y), y)
    return _fit(task, x, y)


def _rows(task: Task, x: Any, y: Any, champion: Any, model: Any, shuffled: np.random.Generator | None) -> PairedRows:
    sides = [_scores(task, champion, x), _scores(task, model, x)]
    if shuffled is not None:  # random: the right shares of each answer, given to the wrong rows
        order = shuffled.permutation(y.shape[0])
        sides[1] = {name: column[order] for name, column in sides[1].items()}
    return PairedRows.from_columns(task=task, y=y, baseline=sides[0], candidate=sides[1])


def _scores(task: Task, model: Any, x: Any) -> dict[str, Any]:
    found = {"prediction": model.predict(x)}
    if task == "classification":
        proba = model.predict_proba(x)
        found |= {f"proba:{name}": proba[:, code] for code, name in enumerate(model.classes_)}
    return found
