"""Since when has an aspect of a column been different?

The current window is cut into up to `BLOCKS` consecutive blocks of the same number of rows. A block shows the change where its
own distance to the reference is at least half of the whole window's, and at least what counts. The change stays from the first
block behind which all blocks but one show it.
"""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import numpy as np

from tools.drift_distance import Array, Pair, bin_codes, bin_edges, divergence, is_null, noise_of

BLOCKS: Final = 10
BLOCK_ROWS: Final = 80


def since(pair: Pair, times: Array, effect: float, min_effect: float) -> datetime | None:
    """Start of the first block from which the change stays; None where there are too few rows to say.

    Args:
        pair: The aspect, its nulls in place.
        times: Event times of the current rows, seconds since 1970 in UTC; NaN where unknown.
        effect: The aspect's distance over the whole window.
        min_effect: Least distance that counts.
    """
    there = ~is_null(pair.current) & np.isfinite(times)
    order = np.argsort(times[there], kind="stable")
    at, current = times[there][order], pair.current[there][order]
    reference = pair.reference[~is_null(pair.reference)]
    blocks = min(BLOCKS, len(current) // BLOCK_ROWS)
    if blocks < 2 or not len(reference):
        return None
    if pair.names is None:
        edges = bin_edges(reference, current)
        reference, current, size = bin_codes(reference, edges), bin_codes(current, edges), 2 * len(edges) + 3
    else:
        size = len(pair.names)
    before = np.bincount(reference, minlength=size)
    limits = np.linspace(0, len(current), blocks + 1).astype(int)
    shown: list[bool] = []
    for start, end in pairwise(limits.tolist()):
        now = np.bincount(current[start:end], minlength=size)
        distance = np.sqrt(max(float(divergence(before, now)) - noise_of(before + now, end - start), 0.0))
        shown.append(bool(distance >= max(min_effect, effect / 2)))
    for first, own in enumerate(shown):
        if own and shown[first:].count(False) <= 1:
            return datetime.fromtimestamp(float(at[limits[first]]), UTC)
    return None
