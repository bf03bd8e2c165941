"""How much better does one of two models rank the rows of each group among themselves?

Of every group at once: DeLong's structural components (1988) within the group, so that a group's mean gain is the change of
its own roc_auc and the rows' deviations from it are their first-order influences. Other groups' rows play no part: a group
whose order is lost does not make the rest look harmed.
"""

from typing import Final

import numpy as np

from tools.metric_values import FloatArray, IntArray, Sample

LEAST_OF_CLASS: Final = 30
"""Rows of each class that a group needs: with fewer, a far tail of its roc_auc is not Student's."""


def gains_within(baseline: Sample, candidate: Sample, codes: IntArray, count: int) -> FloatArray:
    """(n,) each row's gain within its group; NaN in groups with too few rows of a class.

    Args:
        baseline: The champion's outputs.
        candidate: The candidate's, row for row.
        codes: (n,) group of each row, 0 … count-1.
        count: Groups.
    """
    positives = range(baseline.classes) if baseline.positive is None else (baseline.positive,)
    return np.mean([_of_class(baseline, candidate, code, codes, count) for code in positives], axis=0)


def _of_class(baseline: Sample, candidate: Sample, positive: int, codes: IntArray, count: int) -> FloatArray:
    one = baseline.y == positive
    sizes = np.bincount(codes, minlength=count).astype(np.float64)
    ones: FloatArray = np.bincount(codes, weights=one, minlength=count).astype(np.float64)
    enough = (ones >= LEAST_OF_CLASS) & (sizes - ones >= LEAST_OF_CLASS)
    of_class = np.where(one, ones[codes], (sizes - ones)[codes])
    change = np.zeros(one.shape[0])
    for side, sign in ((candidate, 1.0), (baseline, -1.0)):
        if side.proba is not None:
            change += sign * _placed(one, side.proba[:, positive], codes, sizes, ones)
    with np.errstate(divide="ignore", invalid="ignore"):
        auc = np.bincount(codes, weights=np.where(one, change, 0.0), minlength=count) / ones
        influence = (change - auc[codes]) * sizes[codes] / of_class
    return np.where(enough[codes], auc[codes] + influence, np.nan)


def _placed(
    one: np.ndarray[tuple[int], np.dtype[np.bool_]],
    score: FloatArray,
    codes: IntArray,
    sizes: FloatArray,
    ones: FloatArray,
) -> FloatArray:
    """(n,) share of the other class's rows of the group that each row stands on the right side of; ties count half."""
    order = np.lexsort((score, codes))
    group, sorted_score, sorted_one = codes[order], score[order], one[order]
    starts = np.concatenate(([0], np.flatnonzero((np.diff(group) != 0) | (np.diff(sorted_score) != 0)) + 1))
    run = np.cumsum(np.bincount(starts, minlength=order.shape[0])) - 1
    ends = np.concatenate((starts[1:], [order.shape[0]]))
    first = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)[group]
    placed = np.empty(order.shape[0])
    for kind, mine, others in ((True, sorted_one, sizes - ones), (False, ~sorted_one, ones)):
        running = np.concatenate(([0.0], np.cumsum(sorted_one != kind)))
        below = (running[starts] + running[ends])[run] / 2 - running[first]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = below / others[group]
        placed[order[mine]] = (share if kind else 1 - share)[mine]
    return np.nan_to_num(placed)
