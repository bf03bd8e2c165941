"""Is there a group of rows that nobody declared and that is surely harmed?

Searched are the values of every feature (numbers in `BINS` bins of equally many rows, missing values a group of their
own) and all pairs of two features' values. Each group with enough rows is tested one-sided, "the loss is at most the slice
margin", on the rows' own gains, with a standard error from sums over blocks of consecutive rows. Holm's procedure over
every group that *could* have been tested keeps the chance of naming any unharmed group, over the whole search, at the error of
one interval's end; so pairs may be looked at where single values look worst, and nowhere else, at no cost in honesty.

A row's gain is in the primary metric's unit where the metric is a mean over rows. Else it is a stand-in of the same scale:
of metrics of labels the accuracy's; of metrics of scores the group's own roc_auc's (`tools.rank_gains`), since where one class is
rare the share of right labels hides a lost order; of a root mean square the squared error's over twice the champion's root; of
r2 the squared error's over the variance of the labels. Of a ranking the gains are the queries', and the features those that have
one value in all rows of a query: what divides the items of one query is no group of queries.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any, Final

import numpy as np

from tools.contracts.comparison import Criteria, Criterion, MetricComparison
from tools.metric_values import FloatArray, IntArray, SumMetric, mean
from tools.metrics import metric_named, noun
from tools.paired_rows import MISSING, AnyArray, PairedRows
from tools.rank_gains import gains_within
from tools.resampling import block_length, t_quantile
from tools.slices import harm_share
from tools.verdicts import metric_of, sample_of, why_not

BINS: Final = 5
MOST_VALUES: Final = 30
"""Values of a categorical feature, the largest first; the others are one group."""
PAIRED_FEATURES: Final = 12
"""Features whose pairs are looked at: those with the worst single values."""
LEAST_ROWS: Final = 100
"""A group's rows: with fewer, a far tail of Student's t says little about gains that are mostly 0."""
MOST_ROWS: Final = 200_000
"""Rows that are searched; more are thinned evenly."""
LEAST_BLOCKS: Final = 15
MOST_FOUND: Final = 5

Gains = Callable[[IntArray, int], FloatArray]
"""From the groups' codes and their number to each row's gain in its group; NaN where the group says nothing."""


@dataclass(frozen=True)
class Feature:
    """One feature's groups: `codes` (n,) into `names`."""

    column: str
    codes: IntArray
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    """One group of rows and what its gains say."""

    parts: tuple[tuple[Feature, int], ...]
    n: int
    gain: float
    se: float
    blocks: int
    p: float
    """Of "the loss is at most the margin"."""


def found_slices(rows: PairedRows, criteria: Criteria) -> tuple[list[MetricComparison], int]:
    """(groups that are surely harmed beyond the slice margin, worst first and at most `MOST_FOUND`; groups that were counted).

    Nothing is searched where the primary metric cannot be measured, or no features are known.
    """
    if not rows.features or why_not(rows, criteria.primary, criteria, models=("baseline", "candidate")) is not None:
        return [], 0
    rows = _thinned(rows)
    gains, name = _gains(rows, criteria)
    searched = rows.features if rows.query is None else _of_queries(rows, criteria)
    features = [_grouped(column, values, column in rows.unnamed) for column, values in searched.items()]
    features = [feature for feature in features if len(feature.names) > 1]
    whole = gains(np.zeros(rows.n, dtype=np.int64), 1)
    if not np.isfinite(whole).all():
        return [], 0  # too few rows of a class
    length, widen = block_length(whole)
    search = _Search(gains, length, widen, max(criteria.min_rows, LEAST_ROWS), criteria.slice_margin)
    singles = {feature.column: list(search.of_one(feature)) for feature in features}
    worst = sorted(features, key=lambda f: min((group.p for group in singles[f.column]), default=1.0))
    pairs = [g for a, b in combinations(worst[:PAIRED_FEATURES], 2) for g in search.of_two(a, b)]
    counted = sum(len(f.names) for f in features)
    counted += sum(len(a.names) * len(b.names) for a, b in combinations(features, 2))
    tested = sorted([g for found in singles.values() for g in found] + pairs, key=lambda group: group.p)
    alpha = (1 - criteria.confidence) / 2
    harmed: list[_Group] = []
    for rank, group in enumerate(tested):
        if group.p > alpha / (counted - rank):
            break
        harmed.append(group)
    named = _without_repeats(harmed)
    return [_told(group, name, counted, criteria) for group in named[:MOST_FOUND]], counted


def _thinned(rows: PairedRows) -> PairedRows:
    """Rankings are left whole: their rows hang together."""
    if rows.n <= MOST_ROWS or rows.query is not None:
        return rows
    kept = np.linspace(0, rows.n - 1, MOST_ROWS).astype(np.int64)
    return replace(
        rows.at(kept), features={name: column[kept] for name, column in rows.features.items()}, unnamed=rows.unnamed
    )


def _gains(rows: PairedRows, criteria: Criteria) -> tuple[Gains, str]:
    """(from groups to each row's gain, positive is better; what it is a gain of)."""

    def always(gain: FloatArray) -> Gains:
        return lambda codes, count: gain

    primary = metric_of(criteria.primary)
    sides = [sample_of(rows, criteria.primary, criteria, which) for which in ("baseline", "candidate")]
    if isinstance(primary, SumMetric) and primary.value is mean:
        theirs, ours = (list(primary.columns(side))[1] for side in sides)
        return always(ours - theirs if primary.direction == "higher" else theirs - ours), primary.name
    if rows.task == "classification" and not isinstance(primary, SumMetric):
        first, second = sides
        return lambda codes, count: gains_within(first, second, codes, count), "roc_auc"
    if rows.task == "classification":
        theirs, ours = ((side.prediction == side.y).astype(np.float64) for side in sides)
        return always(ours - theirs), "accuracy"
    theirs, ours = ((side.prediction - side.y) ** 2 for side in sides)
    if primary.name == "r2":
        return always((theirs - ours) / max(float(rows.y.var()), 1e-300)), primary.name
    if primary.name == "root_mean_squared_error":
        return always((theirs - ours) / max(2 * float(np.sqrt(theirs.mean())), 1e-300)), primary.name
    return always(np.sqrt(theirs) - np.sqrt(ours)), "mean_absolute_error"


def _of_queries(rows: PairedRows, criteria: Criteria) -> dict[str, AnyArray]:
    """Of a ranking, whose gains are the queries': the features that have one value in all rows of each query that counts."""
    metric, sample = metric_of(criteria.primary), sample_of(rows, criteria.primary, criteria, "baseline")
    if not isinstance(metric, SumMetric) or metric.counts is None:
        return {}
    number, kept = sample.ranked.number, metric.counts(sample.ranked)
    first = np.unique(number, return_index=True)[1]
    judged = kept[number]
    found: dict[str, AnyArray] = {}
    for column, values in rows.features.items():
        one, all_ = values[first][number][judged], values[judged]
        same = (one == all_) | (
            (one != one) & (all_ != all_)
        )  # a missing number is no number's equal, not even its own
        if bool(same.all()):
            found[column] = values[first][kept]
    return found


# --- groups --------------------------------------------------------------------------------------------------------


def _grouped(column: str, values: AnyArray, unnamed: bool) -> Feature:
    """Numbers with many values in bins, all else by value. `unnamed` columns' values are not shown."""
    kind = np.asarray(values).dtype.kind
    if kind in "fiu" and np.unique(values[np.isfinite(values)] if kind == "f" else values).shape[0] > 2 * BINS:
        return _binned(column, np.asarray(values, dtype=np.float64))
    texts = np.asarray(values).astype(str)
    distinct, where, counts = np.unique(texts, return_inverse=True, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    place = np.full(distinct.shape[0], kept.shape[0], dtype=np.int64)
    place[kept] = np.arange(kept.shape[0])
    names = [
        f"a value of {int(counts[i]):,} rows (data.public does not name the column)" if unnamed else str(distinct[i])
        for i in kept
    ]
    others = ["(one of the rarer values)"] if distinct.shape[0] > kept.shape[0] else []
    return Feature(column, place[where], (*names, *others))


def _binned(column: str, values: FloatArray) -> Feature:
    known = np.isfinite(values)
    edges = np.unique(np.quantile(values[known], np.arange(1, BINS) / BINS))
    codes = np.searchsorted(edges, values, side="right").astype(np.int64)
    shown = [f"{edge:.4g}" for edge in edges.tolist()]
    names = [
        f"under {shown[0]}",
        *(f"{a} to {b}" for a, b in pairwise(shown)),
        f"{shown[-1]} or more",
    ]
    codes[~known] = len(names)
    return Feature(column, codes, (*names, MISSING) if not known.all() else tuple(names))


# --- tests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Search:
    gains: Gains
    length: int
    widen: float
    least: int
    margin: float

    def of_one(self, feature: Feature) -> Iterator[_Group]:
        for code, *tested in self._test(feature.codes, len(feature.names)):
            yield _Group(((feature, code),), *tested)

    def of_two(self, first: Feature, second: Feature) -> Iterator[_Group]:
        width = len(second.names)
        for code, *tested in self._test(first.codes * width + second.codes, len(first.names) * width):
            yield _Group(((first, code // width), (second, code % width)), *tested)

    def _test(self, codes: IntArray, count: int) -> Iterator[tuple[Any, ...]]:
        """(code, rows, mean gain, standard error, blocks, p) of each group with rows enough."""
        n = codes.shape[0]
        blocks = -(-n // self.length)
        cell: IntArray = codes * blocks + np.arange(n, dtype=np.int64) // self.length
        rows = np.bincount(cell, minlength=count * blocks).reshape(count, blocks).astype(np.float64)
        sums = np.bincount(cell, weights=self.gains(codes, count), minlength=count * blocks).reshape(count, blocks)
        sizes, inside = rows.sum(axis=1), (rows > 0).sum(axis=1)
        known = np.isfinite(sums).all(axis=1)
        enough = np.flatnonzero((sizes >= self.least) & (inside >= LEAST_BLOCKS) & known)
        size, held = sizes[enough], inside[enough]
        average = sums[enough].sum(axis=1) / size
        apart = sums[enough] - average[:, None] * rows[enough]
        errors = self.widen * np.sqrt((apart**2).sum(axis=1) * held / (held - 1)) / size
        columns = (enough, size, average, errors, held)
        for code, n_rows, gain, se, inside_of in zip(*(a.tolist() for a in columns), strict=True):
            yield code, int(n_rows), gain, se, inside_of, harm_share(gain, se, inside_of, self.margin)


def _without_repeats(harmed: list[_Group]) -> list[_Group]:
    """A pair says nothing new where one of its two values is harmed as a whole."""
    whole = {(f.column, code) for group in harmed if len(group.parts) == 1 for f, code in group.parts}
    kept = [
        group
        for group in harmed
        if len(group.parts) == 1 or not any((f.column, code) in whole for f, code in group.parts)
    ]
    return sorted(kept, key=lambda group: (group.gain, group.p))


def _told(group: _Group, name: str, counted: int, criteria: Criteria) -> MetricComparison:
    metric = metric_named(name, criteria.primary.direction)
    what = noun(metric)
    columns = " & ".join(feature.column for feature, _ in group.parts)
    values = " & ".join(feature.names[code] for feature, code in group.parts)
    criterion = Criterion(
        metric=name,
        role="found_slice",
        direction=metric.direction,
        margin=criteria.slice_margin,
        slice_column=columns,
        slice_value=values,
    )
    reach = t_quantile((1 + criteria.confidence) / 2, group.blocks - 1) * group.se
    return MetricComparison(
        criterion=criterion,
        verdict="regressed",
        change=group.gain,
        low=group.gain - reach,
        high=group.gain + reach,
        n=group.n,
        statement=(
            f"{criterion.about}: change for the better {group.gain:+.4g} [{group.gain - reach:+.4g}, "
            f"{group.gain + reach:+.4g}] on {group.n:,} {what}, found among {counted:,} groups and surely beyond the "
            f"accepted loss of {criteria.slice_margin:.4g} for all that were looked at: regressed."
        ),
    )
