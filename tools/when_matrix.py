"""A history as a whole matrix: measured where it was, expected where it was not."""

from math import floor

import numpy as np

from tools.when_decay import decay
from tools.when_history import Floats, Known


def whole_blocks(coming: float) -> float:
    """End of the block that `coming` lies in."""
    return float(floor(coming + 1e-9) + 1)


def dense(known: Known) -> Floats:
    """[s, t] up to the last measured block; what nobody measured is what the learned decay expects beside the block's own cells."""
    blocks = round(float(known.t.max())) + 1
    s, t = np.round(known.s).astype(int), np.round(known.t).astype(int)
    matrix = np.full((blocks, blocks), np.nan)
    inside = (s >= 0) & (s < t)
    matrix[s[inside], t[inside]] = known.loss[inside]
    if np.isfinite(matrix[np.triu_indices(blocks, 1)]).all():
        return matrix
    learned = decay(known)
    parts = known.loss - learned.loss(known.s, known.t)
    level = np.full(blocks, float(parts.mean()))
    for block in np.unique(t):
        level[block] = float(parts[t == block].mean())
    rows, columns = np.triu_indices(blocks, 1)
    expected = level[columns] + learned.loss(rows.astype(float), columns.astype(float))
    matrix[rows, columns] = np.where(np.isfinite(matrix[rows, columns]), matrix[rows, columns], expected)
    return matrix
