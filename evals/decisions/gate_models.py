"""How are candidates and champions made? Recipes, trained once and kept by the hash of recipe and data."""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from evals.decisions.gate_worlds import World

METHOD: Final = "1"
"""Part of every cached name: another way to train must not find the old predictions."""
ITERATIONS: Final = 50
POOL: Final = 1.5
"""Ordinary training sets are drawn from the last (or, when stale, the first) rows of the history, this many times their size."""
LEAK_WRONG: Final = 0.05


@dataclass(frozen=True)
class Recipe:
    """Everything a model depends on beside the data."""

    window: Literal["recent", "old"] = "recent"
    size: float = 1.0
    """Share of an ordinary training set."""
    noise: float = 0.0
    """Share of labels that are other rows'."""
    columns: float = 1.0
    """Share of the features."""
    iterations: int = ITERATIONS
    rows_seed: int = 0
    seed: int = 0
    bootstrap: int | None = None
    """Seed of a draw with replacement from the rows."""
    leak: bool = False
    """One more feature tells the label, in training and holdout; in production it is empty."""
    skew: float = 0.0
    """Share of the features that reach the model in production on the wrong rows."""


def predictions(world: World, recipe: Recipe, cache: Path) -> tuple[Any, Any]:
    """(outputs on the period as a holdout shows them, as production gives them): (period, k) or (period,)."""
    text = json.dumps(asdict(recipe), sort_keys=True)
    key = hashlib.sha256(f"{METHOD}|{world.digest}|{text}".encode()).hexdigest()
    file = cache / f"{key}.npz"
    if file.is_file():
        with np.load(file) as kept:
            shown, real = kept["shown"], kept["real"]
    else:
        shown, real = _trained(world, recipe)
        shown, real = shown.astype(np.float32), real.astype(np.float32)
        _keep(file, shown, real)
    shown = shown.astype(np.float64)
    return shown, (real.astype(np.float64) if real.size else shown)


def _keep(file: Path, shown: Any, real: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".npz")
    os.close(handle)
    np.savez(name, shown=shown, real=real)
    os.replace(name, file)


def _trained(world: World, recipe: Recipe) -> tuple[Any, Any]:
    g = np.random.default_rng(recipe.rows_seed)
    pool = min(int(POOL * world.training), world.history)
    first = 0 if recipe.window == "old" else world.history - pool
    count = max(40, int(recipe.size * world.training))
    places = np.sort(first + g.permutation(pool)[:count])
    if recipe.bootstrap is not None:
        places = np.sort(np.random.default_rng(recipe.bootstrap).choice(places, len(places)))
    own = np.random.default_rng([recipe.seed, 1])
    kept = own.permutation(world.x.shape[1])[: max(1, round(recipe.columns * world.x.shape[1]))]
    x, y = world.x[:, kept], world.y
    if recipe.leak:
        x = np.column_stack([x, _leak(y, world.task, own)])
    if world.task == "classification":  # a small draw of a rare class still needs a row of each
        missing = np.setdiff1d(y[: world.history], y[places])
        places = np.r_[places, [int(np.flatnonzero(y[: world.history] == code)[0]) for code in missing]].astype(int)
    labels = y[places]
    if recipe.noise:
        labels = np.where(own.random(len(labels)) < recipe.noise, own.permutation(labels), labels)
    regression = world.task == "regression"
    kind: Any = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    model = kind(
        max_iter=recipe.iterations, max_features=_tried(x.shape[1]), early_stopping=False, random_state=recipe.seed
    )
    period = x[world.history :]
    with threadpool_limits(1):
        model.fit(x[places], labels)
        shown = _outputs(model, period, world)
        real = np.empty(0)
        if recipe.leak or recipe.skew:
            real = _outputs(model, _in_production(period, recipe, own), world)
    return shown, real


def _tried(columns: int) -> float:
    """Share of the features that a split may choose from: without a choice, two seeds make the same model."""
    return 0.7 if columns > 4 else 0.5


def _leak(y: Any, task: str, g: np.random.Generator) -> Any:
    if task == "regression":
        return y + g.standard_normal(len(y)) * y.std() / 3
    return np.where(g.random(len(y)) < LEAK_WRONG, g.permutation(y), y).astype(float)


def _in_production(period: Any, recipe: Recipe, g: np.random.Generator) -> Any:
    period = period.copy()
    if recipe.leak:
        period[:, -1] = np.nan
    if recipe.skew:
        for column in g.permutation(period.shape[1])[: max(1, round(recipe.skew * period.shape[1]))]:
            period[:, column] = g.permutation(period[:, column])
    return period


def _outputs(model: Any, x: Any, world: World) -> Any:
    if world.task == "regression":
        return model.predict(x)
    found = np.zeros((len(x), int(world.y.max()) + 1))
    found[:, model.classes_] = model.predict_proba(x)
    return found
