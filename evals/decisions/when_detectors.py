"""When does a drift detector of `river` fire on a model's errors? ADWIN, DDM, KSWIN and Page-Hinkley, a few settings each.

A detector is fed with a model's errors on the blocks behind its training, row by row, and begins anew with a new model. So when it
fires depends on the model and the setting alone. Rows are thinned to `ROWS` a block (KSWIN, whose every step is a test, to fewer).
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from evals.decisions.when_matrices import Matrix
from tools.when_history import Floats

ROWS: Final = 200
KSWIN_ROWS: Final = 40


def _adwin(delta: float) -> Callable[[], Any]:
    from river import drift

    return lambda: drift.ADWIN(delta=delta)


def _ddm(level: float) -> Callable[[], Any]:
    from river.drift.binary import DDM

    return lambda: DDM(drift_threshold=level, warning_threshold=level * 2 / 3)


def _kswin(alpha: float) -> Callable[[], Any]:
    from river import drift

    return lambda: drift.KSWIN(alpha=alpha, window_size=100, stat_size=30, seed=0)


def _page_hinkley(threshold: float) -> Callable[[], Any]:
    from river import drift

    return lambda: drift.PageHinkley(threshold=threshold, mode="up")


SETTINGS: Final[dict[str, tuple[int, tuple[Callable[[], Any], ...]]]] = {
    "ADWIN": (ROWS, tuple(_adwin(delta) for delta in (0.2, 0.02, 0.002, 0.0001))),
    "DDM": (ROWS, tuple(_ddm(level) for level in (2.0, 2.5, 3.0, 4.0))),
    "KSWIN": (KSWIN_ROWS, tuple(_kswin(alpha) for alpha in (0.05, 0.005, 0.0005))),
    "Page-Hinkley": (ROWS, tuple(_page_hinkley(threshold) for threshold in (5.0, 15.0, 50.0, 150.0))),
}
"""Rows a block, and settings from touchy to calm; the third or so is the default."""


def first_alarms(matrix: Matrix, detector: str) -> Floats:
    """[setting, model]: the block in which it first fires; infinity where it never does."""
    rows, settings = SETTINGS[detector]
    size = matrix.rows.shape[2]
    kept = np.linspace(0, size - 1, min(rows, size)).astype(int)
    found = np.full((len(settings), matrix.blocks), np.inf)
    binary = bool(np.isin(matrix.rows[0, 1], (0.0, 1.0)).all())
    for k, made in enumerate(settings):
        for s in range(matrix.blocks - 1):
            found[k, s] = _first(
                made(), matrix.rows[s, s + 1 :, kept].T, s + 1, whether=detector == "DDM" and not binary
            )
    return found


def _first(detector: Any, blocks: Any, begin: int, *, whether: bool) -> float:
    """DDM counts mistakes: of a regression, errors above the model's first block's median."""
    level = float(np.median(blocks[0])) if whether else 0.0
    for number, block in enumerate(blocks):
        for value in block.tolist():
            detector.update(value > level if whether else value)
            if detector.drift_detected:
                return float(begin + number)
    return float("inf")
