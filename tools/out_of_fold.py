# pyright: basic
"""What can be foretold of a column, or of a label, from rows that were not looked at? And how well does a number rank?

Everything is deterministic and runs on one thread: others may be busy on this machine.
"""

from math import sqrt
from typing import Final

import numpy as np

from tools.sampled_rows import BoolArray, FloatArray

DEPENDENCE: Final = 4.0
"""Rows in time order repeat each other: intervals are as wide as for a quarter of them."""
FOLDS: Final = 5
BINS: Final = 32


def auc(score: FloatArray, event: BoolArray) -> float:
    """Probability that a row with the event scores higher than one without; ties count half."""
    from scipy.stats import rankdata

    ones = int(event.sum())
    zeros = len(event) - ones
    if ones == 0 or zeros == 0:
        return 0.5
    return float((rankdata(score)[event].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def auc_error(area: float, event: BoolArray) -> float:
    """Hanley and McNeil's standard error, for rows that repeat each other."""
    ones, zeros = max(int(event.sum()) / DEPENDENCE, 2.0), max(int((~event).sum()) / DEPENDENCE, 2.0)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (ones - 1) * (q1 - area**2) + (zeros - 1) * (q2 - area**2)
    return sqrt(max(variance, 1e-6) / (ones * zeros))


def score_of(values: FloatArray, event: BoolArray, is_code: bool) -> FloatArray:
    """The feature as a number that ranks the event: its own rank, or the share of the event in its bin where that does
    better (categories, nulls that tell, humps)."""
    binned = _by_bin(values, event, is_code)
    if is_code:
        return binned
    ranked = ranks(values)
    area = auc(ranked, event)
    if area < 0.5:
        ranked, area = -ranked, 1 - area
    return ranked if area >= auc(binned, event) - 0.03 else binned


def ranks(values: FloatArray) -> FloatArray:
    from scipy.stats import rankdata

    out = np.zeros(len(values))
    known = ~np.isnan(values)
    if known.any():
        out[known] = (rankdata(values[known]) - 0.5) / known.sum() - 0.5
    return out


def _by_bin(values: FloatArray, event: BoolArray, is_code: bool) -> FloatArray:
    """Share of the event in the feature's bin among the rows of other folds: never from the row itself."""
    known = ~np.isnan(values)
    bins = np.full(len(values), 0)
    if is_code:
        bins[known] = values[known].astype(int) + 1
    else:
        bins[known] = np.minimum((ranks(values)[known] + 0.5) * BINS, BINS - 1).astype(int) + 1
    folds, mean, out = _folds(len(values)), float(event.mean()), np.zeros(len(values))
    for fold in range(FOLDS):
        rest = folds != fold
        rows = np.bincount(bins[rest], minlength=int(bins.max()) + 1)
        hits = np.bincount(bins[rest], weights=event[rest].astype(float), minlength=len(rows))
        out[~rest] = ((hits + 10 * mean) / (rows + 10))[bins[~rest]]
    return out


def _folds(rows: int) -> "np.ndarray":
    """Blocks in time order."""
    return np.arange(rows) * FOLDS // max(rows, 1)


def by_line(table: FloatArray, wanted: FloatArray) -> FloatArray:
    """Out-of-fold predictions by ridge regression."""
    folds, out = _folds(len(wanted)), np.zeros(len(wanted))
    centred = table - table.mean(axis=0)
    for fold in range(FOLDS):
        rest = folds != fold
        x, mean = centred[rest], float(wanted[rest].mean())
        weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (wanted[rest] - mean))
        out[~rest] = centred[~rest] @ weights + mean
    return out


def by_trees(table: FloatArray, wanted: FloatArray) -> FloatArray:
    """Out-of-fold predictions by randomised trees, on one thread: others may be busy."""
    from sklearn.ensemble import ExtraTreesRegressor

    folds, out = _folds(len(wanted)), np.zeros(len(wanted))
    for fold in range(FOLDS):
        rest = folds != fold
        trees = ExtraTreesRegressor(20, min_samples_leaf=5, max_features=0.5, random_state=0, n_jobs=1)
        out[~rest] = trees.fit(table[rest], wanted[rest]).predict(table[~rest])
    return out


def class_shares(table: FloatArray, labels: FloatArray, *, folds: int = 3) -> tuple[FloatArray, "np.ndarray"]:
    """(probability of each class out of fold, code of each row's own class)."""
    from sklearn.ensemble import ExtraTreesClassifier

    classes, coded = np.unique(labels, return_inverse=True)
    shares, of = np.zeros((len(labels), len(classes))), _shuffled(len(labels), folds)
    for fold in range(folds):
        rest = of != fold
        model = ExtraTreesClassifier(40, min_samples_leaf=3, random_state=0, n_jobs=1).fit(table[rest], coded[rest])
        shares[np.ix_(~rest, model.classes_)] = model.predict_proba(table[~rest])
    return shares, coded


def misses(table: FloatArray, labels: FloatArray, *, folds: int = 3) -> FloatArray:
    """Label minus what a model of the other rows foretells."""
    from sklearn.ensemble import ExtraTreesRegressor

    missed, of = np.zeros(len(labels)), _shuffled(len(labels), folds)
    for fold in range(folds):
        rest = of != fold
        model = ExtraTreesRegressor(40, min_samples_leaf=3, random_state=0, n_jobs=1).fit(table[rest], labels[rest])
        missed[~rest] = labels[~rest] - model.predict(table[~rest])
    return missed


def _shuffled(rows: int, folds: int) -> "np.ndarray":
    return np.random.default_rng(0).permutation(rows) % folds
