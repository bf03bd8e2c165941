"""What is the order of each group's rows worth?

A group is the rows of one query or session. Every metric is a mean over the groups that count, and a group counts where one
order of its rows is worth more than another: it needs two rows, and rows that differ in relevance. All others (one row, nothing
relevant, everything equally relevant) would say 0 or 1 whatever the model does, and hide what it does elsewhere.

Equal scores leave the order open: the value is the mean over all orders of the tied rows, as in scikit-learn's `ndcg_score`. For
average precision, reciprocal rank and the cut-offs the means are closed forms (McSherry and Najork, "Computing information
retrieval performance measures efficiently in the presence of tied scores", ECIR 2008).

Gains are the relevances themselves (linear, as in scikit-learn; not 2^relevance - 1), discounts 1 / log2(place + 1) with places
from 1. The other metrics ask only whether a row is relevant at all (relevance > 0).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranked:
    """Rows in the order of their scores, group by group; groups in the order of their codes.

    Attributes:
        y: (n,) relevance, 0 or more, in the order of rows as given.
        score: (n,) the model's; higher stands first.
        group: (n,) codes; the rows of a group need not stand together.
    """

    y: FloatArray
    score: FloatArray
    group: IntArray

    @cached_property
    def number(self) -> IntArray:
        """(n,) 0 … groups - 1 for each row as given."""
        return np.unique(self.group, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def groups(self) -> int:
        return int(self.number.max()) + 1 if self.number.shape[0] else 0

    @cached_property
    def sizes(self) -> IntArray:
        """(groups,) rows of each."""
        return np.bincount(self.number, minlength=self.groups).astype(np.int64)

    @cached_property
    def relevant(self) -> FloatArray:
        """(groups,) relevant rows of each."""
        return self._sum(self.number, (self.y > 0).astype(np.float64))

    @cached_property
    def differs(self) -> BoolArray:
        """(groups,) whether its rows differ in relevance."""
        return self._ideal[self._ends] < self._ideal[self._starts]

    @cached_property
    def mixed(self) -> BoolArray:
        """(groups,) whether some rows are relevant and some are not."""
        return (self.relevant > 0) & (self.relevant < self.sizes)

    def longer_than(self, cut: int) -> BoolArray:
        """(groups,) whether its rows are mixed, and some of them stand behind the cut in any order."""
        return self.mixed & (self.sizes > cut)

    def share_the_top(self, other: "Ranked") -> BoolArray:
        """(groups,) whether some row has the highest score of its group in both; the rows must be the same."""
        both = (self.score == self._best) & (other.score == other._best)
        return self._sum(self.number, both.astype(np.float64)) > 0

    @cached_property
    def _best(self) -> FloatArray:
        """(n,) the highest score of each row's group."""
        return self.score[self._order][self._starts][self.number]

    # --- values: one for each group, without meaning where the group does not count ------------------------------------

    def ndcg(self, cut: int | None) -> FloatArray:
        """Discounted gain over that of the best order; both up to the cut."""
        discount = np.where(self._within(cut), 1 / np.log2(self._place + 1), 0.0)
        gain = self._sum(self._of, self._share(self._y) * discount)
        return _ratio(gain, self._sum(self._of, self._ideal * discount))

    def average_precision(self, cut: int | None) -> FloatArray:
        """Mean over the relevant rows of the precision at their place; of min(relevant, cut) rows with a cut."""
        hits, size, at = self._hits, self._block_sizes[self._block], self._place_in_block
        others = np.divide((at - 1) * (hits - 1), size - 1, out=np.zeros_like(hits), where=size > 1)
        expected = hits / size * (self._hits_before + 1 + others) / self._place
        found = self._sum(self._of, np.where(self._within(cut) & (hits > 0), expected, 0.0))
        return _ratio(found, self.relevant if cut is None else np.minimum(self.relevant, cut))

    def reciprocal_rank(self, cut: int | None) -> FloatArray:
        """1 / place of the first relevant row; 0 where that is behind the cut."""
        hits, size, at = self._hits, self._block_sizes[self._block], self._place_in_block
        first = (hits > 0) & (self._hits_before == 0) & (at <= size - hits + 1)
        chance = np.zeros_like(hits)
        # Of size rows, hits of them relevant, in any order: the first relevant one at place `at`.
        chance[first] = np.exp(
            _log_choose(size[first] - at[first], hits[first] - 1) - _log_choose(size[first], hits[first])
        )
        return self._sum(self._of, np.where(self._within(cut), chance / self._place, 0.0))

    def found(self, cut: int) -> FloatArray:
        """Relevant rows up to the cut."""
        return self._sum(self._of, np.where(self._within(cut), self._share((self._y > 0).astype(np.float64)), 0.0))

    # --- rows in order of group and score ------------------------------------------------------------------------------

    @cached_property
    def _order(self) -> IntArray:
        order: IntArray = np.lexsort((-self.score, self.number))
        return order

    @cached_property
    def _of(self) -> IntArray:
        """Group number of each row in order."""
        return self.number[self._order]

    @cached_property
    def _y(self) -> FloatArray:
        return self.y[self._order]

    @cached_property
    def _starts(self) -> IntArray:
        """First row of each group."""
        return np.concatenate((np.zeros(1, np.int64), np.cumsum(self.sizes)[:-1])) if self.groups else self.sizes

    @cached_property
    def _ends(self) -> IntArray:
        """Last row of each group."""
        return np.cumsum(self.sizes) - 1

    @cached_property
    def _place(self) -> FloatArray:
        """1 for the first row of a group."""
        place: FloatArray = np.arange(self._of.shape[0], dtype=np.float64)
        return place - self._starts[self._of] + 1

    @cached_property
    def _ideal(self) -> FloatArray:
        """Relevances, group by group, the most relevant first."""
        order: IntArray = np.lexsort((-self.y, self.number))
        return self.y[order]

    @cached_property
    def _block(self) -> IntArray:
        """Number of each row's block of equal scores within a group."""
        score = self.score[self._order]
        new = np.ones(score.shape[0], dtype=np.int64)
        new[1:] = (score[1:] != score[:-1]) | (self._of[1:] != self._of[:-1])
        return np.cumsum(new) - 1

    @cached_property
    def _block_sizes(self) -> FloatArray:
        return np.bincount(self._block).astype(np.float64)

    @cached_property
    def _block_hits(self) -> FloatArray:
        """Relevant rows of each block."""
        return _sums(self._block, (self._y > 0).astype(np.float64))

    @cached_property
    def _place_in_block(self) -> FloatArray:
        starts: FloatArray = np.cumsum(self._block_sizes) - self._block_sizes
        rows: FloatArray = np.arange(self._block.shape[0], dtype=np.float64)
        return rows - starts[self._block] + 1

    @cached_property
    def _hits(self) -> FloatArray:
        """Relevant rows of each row's block."""
        return self._block_hits[self._block]

    @cached_property
    def _hits_before(self) -> FloatArray:
        """Relevant rows of the group that stand before the row's block."""
        before: FloatArray = (np.cumsum(self._block_hits) - self._block_hits)[self._block]
        return before - before[self._starts][self._of]

    def _share(self, values: FloatArray) -> FloatArray:
        """Each row's mean over its block."""
        means: FloatArray = _sums(self._block, values) / self._block_sizes
        return means[self._block]

    def _within(self, cut: int | None) -> BoolArray:
        return np.less_equal(self._place, np.inf if cut is None else cut)

    def _sum(self, number: IntArray, values: FloatArray) -> FloatArray:
        return _sums(number, values, self.groups)


def _sums(number: IntArray, values: FloatArray, count: int = 0) -> FloatArray:
    return np.bincount(number, weights=values, minlength=count).astype(np.float64)


Values = Callable[[Ranked, int | None], FloatArray]
"""From rows in order and a cut to one value a group."""


def ndcg(rows: Ranked, cut: int | None) -> FloatArray:
    return rows.ndcg(cut)


def average_precision(rows: Ranked, cut: int | None) -> FloatArray:
    return rows.average_precision(cut)


def reciprocal_rank(rows: Ranked, cut: int | None) -> FloatArray:
    return rows.reciprocal_rank(cut)


def precision_at(rows: Ranked, cut: int | None) -> FloatArray:
    """Share of the first `cut` rows that are relevant."""
    return rows.found(_needed(cut)) / _needed(cut)


def recall_at(rows: Ranked, cut: int | None) -> FloatArray:
    """Share of the relevant rows that stand among the first `cut`."""
    return _ratio(rows.found(_needed(cut)), rows.relevant)


def _needed(cut: int | None) -> int:
    if cut is None:
        raise ValueError("precision and recall of a ranking need a cut")
    return cut


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def _log_choose(n: FloatArray, k: FloatArray) -> FloatArray:
    def log_factorial(x: FloatArray) -> FloatArray:
        return np.asarray(special.gammaln(x + 1), dtype=np.float64)  # pyright: ignore[reportUnknownMemberType]

    return log_factorial(n) - log_factorial(k) - log_factorial(n - k)
