"""Streams whose truth is known: how they change, and how much.

Rows have six numbers; the label follows from them by weights that turn over time, as the kind says, and a tenth of the labels is wrong.

| kind | the weights |
|---|---|
| `still learning` | never change, but a model of more rows is better: the oracle trains, too |
| `gradual` | turn a little with every block, by 90 degrees over the stream |
| `abrupt` | turn by 60 degrees at once, at three random blocks |
| `seasonal` | swing to and fro by 40 degrees with a period of 10 blocks |
| `no decay` | never change, and the numbers are -1, 0 or 1: what there is to learn the warm-up has taught |
"""

from typing import Any, Final

import numpy as np
import pandas as pd

from evals.decisions.staleness_streams import Stream

NO_DECAY: Final = "no decay"
KINDS: Final = ("still learning", "gradual", "abrupt", "seasonal", NO_DECAY)
ROWS: Final = 400
"""A block."""
WRONG: Final = 0.1


def stream(kind: str, seed: int, blocks: int) -> Stream:
    """One stream of a kind."""
    g = np.random.default_rng([KINDS.index(kind), seed])
    turned = angles(kind, blocks, g)
    n = blocks * ROWS
    x = g.integers(-1, 2, (n, 6)).astype(float) if kind == NO_DECAY else g.normal(size=(n, 6))
    angle = np.repeat(turned, ROWS)
    score = np.cos(angle) * x[:, 0] + np.sin(angle) * x[:, 1] + 0.5 * x[:, 2]
    y = (score > 0).astype(int)
    y = np.where(g.random(n) < WRONG, 1 - y, y)
    frame: Any = pd.DataFrame(x, columns=[f"x{k}" for k in range(6)])
    frame["time"] = pd.date_range("2020-01-01", periods=n, freq="h")
    frame["y"] = y
    return Stream(f"synthetic, {kind}", frame, "time", "y", "classification", tuple(f"x{k}" for k in range(6)))


def angles(kind: str, blocks: int, g: np.random.Generator) -> Any:
    """By how much the weights have turned, block by block, in radians."""
    place = np.arange(blocks)
    if kind == "gradual":
        return np.pi / 2 * place / blocks
    if kind == "abrupt":
        breaks = np.sort(g.choice(np.arange(2, blocks - 2), 3, replace=False))
        return np.pi / 3 * (place[:, None] >= breaks).sum(axis=1)
    if kind == "seasonal":
        return 0.7 * np.sin(2 * np.pi * place / 10)
    return np.zeros(blocks)
