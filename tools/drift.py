"""Has this column changed between two windows: by how much, and is it more than chance?

Effect and significance are both asked for. A test alone flags every large window, a distance alone flags every small
one: the Jensen-Shannon distance of two samples of the same distribution is well above zero when a sample is small.

* Effect: Jensen-Shannon divergence in bits over bins, less its mean under no drift, then the square root: 0 to 1.
  Bins of a numeric column are the reference's deciles, with a bin of its own for a value that fills a decile; bins of
  any other column are its categories. Nulls and both infinities are bins, so a change of the null share is drift.
* Under no drift, the current window is a random part of both windows together: its bin counts are multivariate
  hypergeometric. `PERMUTATIONS` draws give the mean to subtract and, by a gamma distribution of the same mean and
  variance, a p-value with a smooth tail. Numeric columns also take the Kolmogorov-Smirnov test with nulls ordered
  first; the smaller of both p-values is doubled.
* Many columns: Holm's correction, so that the chance of one false column in the whole table stays below `ALPHA`.

Rows are taken as independent; consecutive rows of a time series are less informative than the p-value believes, which
is what the least effect is for. The same input gives the same answer: the draws have a fixed seed.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats  # pyright: ignore[reportMissingTypeStubs]

from tools.contracts.base import Contract
from tools.contracts.evidence import Outcome

Kind = Literal["numeric", "categorical", "boolean"]
DriftType = Literal["data_drift", "null_share", "infinite", "unit", "vanished", "type_change", "not_comparable"]

ALPHA: Final = 0.05
MIN_ROWS: Final = 30
PERMUTATIONS: Final = 300
BINS: Final = 10
MAX_CATEGORIES: Final = 2_000
"""The most frequent of both windows together stand alone; the rest share one bin."""
NULL_RISE: Final = 0.1
"""Least rise of the null share that is called broken data; less is drift like any other."""
UNIT_FACTOR: Final = 8.0
"""Least factor taken for a change of unit. Smaller ones (miles, pounds) look like ordinary drift and are called so."""
_ROUND_FACTORS: Final = (10.0, 12.0, 24.0, 60.0, 100.0, 1_000.0, 3_600.0, 10_000.0, 86_400.0, 1e6, 1e9)
_STATS: Any = stats  # scipy's annotations are partial
_NULL: Final = "\x00null"
_NOISE: Final = 0.5
"""Mean distance under no drift above which the bins are too many for the rows."""


class ColumnDrift(Contract):
    """What was found out about one column."""

    column: str
    drift_type: DriftType
    outcome: Outcome
    """`bad`: drifted, both significant and large enough. `could_not_tell`: large but not significant, or too few rows.
    `could_not_measure`: nothing to compare."""
    effect: float | None = None
    """Distance 0 to 1, corrected for sample size."""
    p_value: float | None = None
    method: str = ""
    reference_rows: int = 0
    current_rows: int = 0
    statement: str


class _Null(NamedTuple):
    """The divergence under no drift, and where the observed one stands."""

    effect: float
    p_value: float
    noise: float


def column_drift(
    reference: NDArray[Any],
    current: NDArray[Any],
    kind: Kind,
    min_effect: float,
    *,
    column: str = "column",
    alpha: float = ALPHA,
    min_rows: int = MIN_ROWS,
) -> ColumnDrift:
    """Compares one column of two windows. The p-value is not yet corrected for other columns: see `correct`.

    Args:
        reference: Values of the reference window; one dimension. None and NaN are nulls.
        current: Values of the current window.
        kind: `numeric` arrays are read as floats; everything else as text.
        min_effect: Least distance, 0 to 1, that counts.
        column: Its name, for the statement.
        alpha: Significance level.
        min_rows: Fewer rows in either window give `could_not_tell`.
    """
    n, m = len(reference), len(current)
    if n == 0 or m == 0:
        which = "reference" if n == 0 else "current"
        return _unmeasured(column, n, m, f"{column}: the {which} window has no rows, drift was not measured.")
    if min(n, m) < min_rows:
        return ColumnDrift(
            column=column,
            drift_type="data_drift",
            outcome="could_not_tell",
            reference_rows=n,
            current_rows=m,
            statement=f"{column}: {n} reference and {m} current rows; at least {min_rows} each are needed.",
        )
    ref, cur = (
        (_as_floats(reference), _as_floats(current)) if kind == "numeric" else (_as_text(reference), _as_text(current))
    )
    ref_null, cur_null = _null_share(ref), _null_share(cur)
    if ref_null == cur_null == 1.0:
        return _unmeasured(column, n, m, f"{column}: all values are null in both windows, nothing to compare.")
    found = _compare(ref, cur)
    if cur_null == 1.0:
        return ColumnDrift(
            column=column,
            drift_type="null_share",
            outcome="bad",
            effect=found.effect,
            method=_method(ref),
            reference_rows=n,
            current_rows=m,
            statement=f"{column}: all {m} current values are null, against {ref_null:.1%} in the reference.",
        )
    outcome = _outcome(found.effect, found.p_value, min_effect, alpha)
    if found.noise > _NOISE and outcome == "ok":
        outcome = "could_not_tell"
    drift_type, why = _explain(ref, cur, min_effect) if outcome == "bad" else ("data_drift", "")
    return ColumnDrift(
        column=column,
        drift_type=drift_type,
        outcome=outcome,
        effect=found.effect,
        p_value=found.p_value,
        method=_method(ref),
        reference_rows=n,
        current_rows=m,
        statement=_statement(column, outcome, found.effect, found.p_value, min_effect, why),
    )


def vanished(column: str, reference_rows: int, current_rows: int) -> ColumnDrift:
    """The current window has no such column."""
    return ColumnDrift(
        column=column,
        drift_type="vanished",
        outcome="bad",
        method="schema",
        reference_rows=reference_rows,
        current_rows=current_rows,
        statement=f"{column}: the column is gone from the current window.",
    )


def type_changed(column: str, before: str, after: str, reference_rows: int, current_rows: int) -> ColumnDrift:
    """The column holds another kind of value than before."""
    return ColumnDrift(
        column=column,
        drift_type="type_change",
        outcome="bad",
        method="schema",
        reference_rows=reference_rows,
        current_rows=current_rows,
        statement=f"{column}: the type changed from {before} to {after}.",
    )


def not_comparable(column: str, why: str, reference_rows: int, current_rows: int) -> ColumnDrift:
    """The reference lacks the column, or its type has no distance."""
    return _unmeasured(column, reference_rows, current_rows, f"{column}: {why}, drift was not measured.")


def correct(columns: Sequence[ColumnDrift], min_effect: float, alpha: float = ALPHA) -> tuple[ColumnDrift, ...]:
    """Holm's correction over all columns that were tested; outcomes are judged again with the corrected p-values.

    Args:
        columns: Results of `column_drift` with uncorrected p-values, and the others, which pass unchanged.
        min_effect: As given to `column_drift`.
        alpha: Chance of one false column or more in the table.
    """
    tested = [(i, c.p_value) for i, c in enumerate(columns) if c.p_value is not None]
    tested.sort(key=lambda item: item[1])
    adjusted: dict[int, float] = {}
    highest = 0.0
    for rank, (i, p_value) in enumerate(tested):
        highest = max(highest, min(1.0, p_value * (len(tested) - rank)))
        adjusted[i] = highest
    return tuple(_judge_again(c, adjusted[i], min_effect, alpha) if i in adjusted else c for i, c in enumerate(columns))


def share_drifted(columns: Sequence[ColumnDrift]) -> float | None:
    """Drifted columns as a share of those decided (`ok` or `bad`); None when none was."""
    decided = [c for c in columns if c.outcome in ("ok", "bad")]
    return sum(c.outcome == "bad" for c in decided) / len(decided) if decided else None


def _judge_again(column: ColumnDrift, p_value: float, min_effect: float, alpha: float) -> ColumnDrift:
    if column.outcome != "bad" or column.effect is None:
        return column.model_copy(update={"p_value": p_value})
    outcome = _outcome(column.effect, p_value, min_effect, alpha)
    if outcome == "bad":
        return column.model_copy(update={"p_value": p_value})
    statement = _statement(column.column, outcome, column.effect, p_value, min_effect, "")
    return column.model_copy(
        update={"p_value": p_value, "outcome": outcome, "drift_type": "data_drift", "statement": statement}
    )


def _outcome(effect: float, p_value: float, min_effect: float, alpha: float) -> Outcome:
    if effect < min_effect:
        return "ok"
    return "bad" if p_value < alpha else "could_not_tell"


def _statement(column: str, outcome: Outcome, effect: float, p_value: float, min_effect: float, why: str) -> str:
    numbers = f"distance {effect:.3f} (least that counts {min_effect:g}), p {p_value:.2g}"
    if outcome == "bad":
        return f"{column}: drifted, {numbers}{'; ' + why if why else ''}."
    if outcome == "could_not_tell":
        return f"{column}: could not tell, {numbers}: too few rows for what was seen."
    return f"{column}: no drift, {numbers}."


def _unmeasured(column: str, n: int, m: int, statement: str) -> ColumnDrift:
    return ColumnDrift(
        column=column,
        drift_type="not_comparable",
        outcome="could_not_measure",
        reference_rows=n,
        current_rows=m,
        statement=statement,
    )


def _method(values: NDArray[Any]) -> str:
    return "jensen-shannon; permutation and ks" if _is_numeric(values) else "jensen-shannon; permutation"


def _is_numeric(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "f"


def _as_floats(values: NDArray[Any]) -> NDArray[Any]:
    return (
        np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        if values.dtype.kind == "O"
        else values.astype(np.float64)
    )


def _as_text(values: NDArray[Any]) -> NDArray[Any]:
    return np.array([_NULL if v is None or v != v else str(v) for v in values], dtype=np.str_)


def _null_share(values: NDArray[Any]) -> float:
    nulls = np.isnan(values) if _is_numeric(values) else values == _NULL
    return float(nulls.mean())


def _compare(ref: NDArray[Any], cur: NDArray[Any]) -> _Null:
    if not _is_numeric(ref):
        return _against_no_drift(*_counts(ref, cur))
    found = _against_no_drift(*_counts(_bins(ref, ref), _bins(cur, ref)))
    return found._replace(p_value=min(1.0, 2 * min(found.p_value, _ks(ref, cur))))


def _bins(values: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    """Bin numbers: between and on the reference's deciles, then -inf, +inf and null."""
    finite = reference[np.isfinite(reference)]
    edges = np.unique(np.quantile(finite, np.arange(1, BINS) / BINS)) if len(finite) else np.empty(0)
    # Left plus right: odd numbers are values exactly on an edge, which is where a value that repeats itself lies.
    codes = np.searchsorted(edges, values, side="left") + np.searchsorted(edges, values, side="right")
    last = 2 * len(edges)
    codes[np.isneginf(values)] = last + 1
    codes[np.isposinf(values)] = last + 2
    codes[np.isnan(values)] = last + 3
    return codes


def _counts(ref: NDArray[Any], cur: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Counts a bin in either window; bins that are rare in both together share one."""
    names, codes = np.unique(np.concatenate([ref, cur]), return_inverse=True)
    a = np.bincount(codes[: len(ref)], minlength=len(names))
    b = np.bincount(codes[len(ref) :], minlength=len(names))
    if len(names) <= MAX_CATEGORIES:
        return a, b
    order = np.argsort(-(a + b), kind="stable")
    keep, rest = order[: MAX_CATEGORIES - 1], order[MAX_CATEGORIES - 1 :]
    return np.append(a[keep], a[rest].sum()), np.append(b[keep], b[rest].sum())


def _divergence(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Jensen-Shannon divergence in bits of counts along the last axis."""
    p = a / a.sum(axis=-1, keepdims=True)
    q = b / b.sum(axis=-1, keepdims=True)

    def entropy(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(special.entr(x)).sum(axis=-1) / np.log(2)

    return np.maximum(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2, 0.0)


def _against_no_drift(a: NDArray[Any], b: NDArray[Any]) -> _Null:
    pooled = a + b
    observed = float(_divergence(a, b))
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_hypergeometric(pooled, int(b.sum()), size=PERMUTATIONS, method="marginals")
    null = _divergence(pooled - drawn, drawn)
    mean, variance = float(null.mean()), float(null.var())
    effect = float(np.sqrt(max(observed - mean, 0.0)))
    noise = float(np.sqrt(mean))
    if variance < 1e-18:  # one bin only, or every value its own: the draws cannot differ
        return _Null(effect, 1.0, noise)
    return _Null(effect, float(_STATS.gamma.sf(observed, mean**2 / variance, scale=variance / mean)), noise)


def _ks(ref: NDArray[Any], cur: NDArray[Any]) -> float:
    """Kolmogorov-Smirnov on ranks: nulls, -inf, finite values, +inf."""
    both = np.concatenate([ref, cur])
    order = np.unique(both[~np.isnan(both)])
    ranks = np.where(np.isnan(both), -1, np.searchsorted(order, both))
    return float(_STATS.ks_2samp(ranks[: len(ref)], ranks[len(ref) :], method="asymp").pvalue)


def _explain(ref: NDArray[Any], cur: NDArray[Any], min_effect: float) -> tuple[DriftType, str]:
    """Is the change one of broken data?"""
    before, after = _null_share(ref), _null_share(cur)
    if after - before >= NULL_RISE and _flag_effect(before, after) >= min_effect:
        return "null_share", f"nulls rose from {before:.1%} to {after:.1%}"
    if not _is_numeric(ref):
        return "data_drift", ""
    before, after = float(np.isinf(ref).mean()), float(np.isinf(cur).mean())
    if after > before and _flag_effect(before, after) >= min_effect:
        return "infinite", f"infinite values rose from {before:.1%} to {after:.1%}"
    factor = _unit_factor(ref, cur, min_effect)
    if factor is not None:
        return "unit", f"the same shape multiplied by about {factor:.3g}: a change of unit?"
    return "data_drift", ""


def _flag_effect(before: float, after: float) -> float:
    return float(np.sqrt(_divergence(np.array([before, 1 - before]), np.array([after, 1 - after]))))


def _unit_factor(ref: NDArray[Any], cur: NDArray[Any], min_effect: float) -> float | None:
    """The large factor that, taken out, explains at least half of the distance; the shape may have moved besides."""
    ref, cur = ref[np.isfinite(ref)], cur[np.isfinite(cur)]
    ref_size, cur_size = np.abs(ref[ref != 0]), np.abs(cur[cur != 0])
    if len(ref_size) < MIN_ROWS or len(cur_size) < MIN_ROWS:
        return None
    seen = float(np.median(cur_size) / np.median(ref_size))
    if max(seen, 1 / seen) < UNIT_FACTOR:
        return None
    left = max(min_effect, _compare(ref, cur).effect / 2)
    near = [f for r in _ROUND_FACTORS for f in (r, 1 / r) if 0.5 < seen / f < 2]
    # A round factor first: discrete values only fall back on their places when divided by the exact one.
    for factor in (*sorted(near, key=lambda f: abs(np.log(seen / f))), seen):
        if _compare(ref, cur / factor).effect < left:
            return factor
    return None
