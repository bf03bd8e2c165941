"""Is any group of rows worse off?

Declared slices: every value with at least `min_rows` rows (and classes enough) is a guardrail on the primary metric. "All
slices hold" needs no correction; `regressed` does, since many are looked at: Holm's procedure over all slices on the
one-sided test of change < -margin. A ranking's group belongs to a slice with those of its rows that have its value: with all of
them where the column is the query's, and as the order among them where it is the item's.
"""

from typing import Final

import numpy as np

from tools.contracts.comparison import Criteria, Criterion, MetricComparison
from tools.paired_rows import PairedRows
from tools.resampling import t_share
from tools.verdicts import change_of, metric_of, verdict, why_not

MAX_SLICES_SHOWN: Final = 50
MAX_VALUES_A_COLUMN: Final = 200
"""The largest values of a slice column; further ones are too many to be slices."""


def slices(rows: PairedRows, criteria: Criteria) -> list[MetricComparison]:
    """Worst first, at most `MAX_SLICES_SHOWN`; regressions by Holm over all that were measured."""
    judged: list[tuple[MetricComparison, float]] = []
    for column in criteria.slice_columns:
        for value, part in rows.parts(column, criteria.min_rows, MAX_VALUES_A_COLUMN):
            criterion = Criterion(
                metric=criteria.primary.metric,
                role="slice",
                direction=criteria.primary.direction,
                margin=criteria.slice_margin,
                slice_column=column,
                slice_value=value,
            )
            if why_not(part, criterion, criteria, models=("baseline", "candidate")) is not None:
                continue  # too few of a class to be a slice; anything else shows in the primary as well
            change = change_of(part, criterion, criteria)
            counted = part.counted(metric_of(criterion))
            p = harm_share(change.change, change.se, change.blocks, criteria.slice_margin)
            judged.append((verdict(criterion, change, *counted), p))
    return sorted(_holm(judged, (1 - criteria.confidence) / 2), key=_harm)[:MAX_SLICES_SHOWN]


def harm_share(change: float, se: float, blocks: int, margin: float) -> float:
    """One-sided p of "the loss is at most the margin": small when the slice is surely harmed."""
    if not np.isfinite(change) or blocks < 2:
        return 1.0
    distance = change + margin
    if se <= 0:
        return 1.0 if distance >= 0 else 0.0
    return t_share(distance / se, blocks - 1)


def _holm(judged: list[tuple[MetricComparison, float]], alpha: float) -> list[MetricComparison]:
    """Keeps `regressed` for slices that Holm's step-down procedure rejects; the others become `inconclusive`."""
    order = sorted(range(len(judged)), key=lambda i: judged[i][1])
    kept: list[MetricComparison] = []
    stopped = False
    for rank, index in enumerate(order):
        item, share = judged[index]
        stopped = stopped or share > alpha / (len(judged) - rank)
        if stopped and item.verdict == "regressed":
            item = item.model_copy(
                update={
                    "verdict": "inconclusive",
                    "statement": item.statement.replace(
                        ": regressed.", f": worse on its own, not when {len(judged)} slices are looked at."
                    ),
                }
            )
        kept.append(item)
    return kept


def _harm(item: MetricComparison) -> tuple[int, float, str]:
    rank = {"regressed": 0, "inconclusive": 1, "non_inferior": 2, "improved": 2, "no_data": 3}[item.verdict]
    return rank, item.low if item.low is not None else 0.0, item.key
