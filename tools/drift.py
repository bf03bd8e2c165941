"""Has this column changed between two windows: by how much, and is it more than chance?

Effect and significance are both asked for. A test alone flags every large window, a distance alone flags every small
one: the distance of two samples of the same distribution is well above zero when a sample is small. Both stand in
`tools.drift_distance`.

* A column has **aspects**, each compared apart: its values, the share of nulls, and for times and texts descriptors
  instead of values (`tools.drift_aspects`). It is as bad as its worst aspect.
* **Many columns:** Holm's correction over all aspects of all columns.
* **Many nights:** the corrected p-value is held against `ALPHA / looks`, so that over `looks` checks of an undrifted
  table the chance of one false column or more stays below `ALPHA`. Large but not significant is `could_not_tell`.
* **The data set:** the share of drifted columns among those decided, weighed by the champion's importance where known.

Rows are taken as independent; consecutive rows of a time series are less informative than the p-value believes, which
is what the least effect is for. The same input gives the same answer: the draws have a fixed seed.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tools import drift_distance, drift_explain
from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.evidence import Outcome
from tools.drift_distance import Pair
from tools.drift_explain import AspectType
from tools.drift_signals import BROKEN_DATA, p_told

Kind = Literal["numeric", "categorical", "boolean"]
DriftType = Literal[AspectType, "detached", "vanished", "type_change", "not_comparable"]

ALPHA: Final = 0.05
MIN_ROWS: Final = 30
_NOISE: Final = 0.5
"""Mean distance under no drift above which the bins are too many for the rows."""
_RANK: Final[dict[Outcome, int]] = {"ok": 0, "could_not_measure": 1, "could_not_tell": 2, "bad": 3}


class Aspect(Contract):
    """What was found out about one aspect of a column."""

    name: str
    """`values`, `nulls`, or a descriptor such as `hour` or `length`."""
    drift_type: AspectType
    """What it is called where it is bad."""
    outcome: Outcome
    effect: float | None = None
    p_value: float | None = None
    noise: float = 0.0
    method: str = ""
    why: str = ""
    """What explains it, where it is bad."""


class ColumnDrift(Contract):
    """What was found out about one column; the numbers are those of its worst aspect."""

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
    aspects: tuple[Aspect, ...] = ()
    weight: float | None = None
    """Share of the champion's importance, where the model gives one."""
    since: UtcDatetime | None = None
    """Start of the first block of the current window from which the change stays."""

    @property
    def worst(self) -> Aspect | None:
        """The aspect that the column is judged by; None where it was not tested."""
        return _worst(self.aspects) if self.aspects else None

    @property
    def broken(self) -> bool:
        """Whether the data are broken, rather than the world moved."""
        return self.outcome == "bad" and self.drift_type in BROKEN_DATA


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
    numbers = kind == "numeric"
    pair = Pair("values", _as_floats(reference), _as_floats(current)) if numbers else coded(reference, current)
    return measure(column, [pair], min_effect, alpha=alpha, min_rows=min_rows)


def coded(reference: NDArray[Any], current: NDArray[Any]) -> Pair:
    """The values of both windows as codes of their texts; None and NaN are nulls."""
    both = [*reference, *current]
    null = np.array([v is None or v != v for v in both], dtype=bool)
    names, inverse = np.unique(np.array([str(v) for v in both], dtype=np.str_), return_inverse=True)
    codes = np.where(null, -1, inverse.reshape(-1)).astype(np.int64)
    return Pair("values", codes[: len(reference)], codes[len(reference) :], [str(n) for n in names])


def measure(
    column: str, pairs: Sequence[Pair], min_effect: float, *, alpha: float = ALPHA, min_rows: int = MIN_ROWS
) -> ColumnDrift:
    """Compares the aspects of one column, and the share of nulls of the first; p-values are not yet corrected.

    Args:
        column: Its name.
        pairs: One or more aspects of both windows, row by row.
        min_effect: Least distance, 0 to 1, that counts.
        alpha: Significance level.
        min_rows: Fewer rows in either window, or fewer values beside nulls, give `could_not_tell`.
    """
    n, m = len(pairs[0].reference), len(pairs[0].current)
    if n == 0 or m == 0:
        which = "reference" if n == 0 else "current"
        return not_comparable(column, f"the {which} window has no rows", n, m)
    if min(n, m) < min_rows:
        few = f"{column}: {n} reference and {m} current rows; at least {min_rows} each are needed."
        return _plain(column, "data_drift", "could_not_tell", few, n, m)
    missing = drift_distance.nulls(pairs[0])
    if missing.reference.all() and missing.current.all():
        return not_comparable(column, "all values are null in both windows, nothing to compare", n, m)
    found = [_aspect(missing, min_effect, alpha, 1)] if missing.reference.any() or missing.current.any() else []
    found += [_aspect(drift_distance.without_nulls(pair), min_effect, alpha, min_rows) for pair in pairs]
    blank = ColumnDrift(
        column=column, drift_type="data_drift", outcome="ok", reference_rows=n, current_rows=m, statement=column
    )
    return _judged(blank, found, min_effect)


def vanished(column: str, reference_rows: int, current_rows: int) -> ColumnDrift:
    """The current window has no such column."""
    gone = f"{column}: the column is gone from the current window."
    return _plain(column, "vanished", "bad", gone, reference_rows, current_rows, "schema")


def type_changed(column: str, before: str, after: str, reference_rows: int, current_rows: int) -> ColumnDrift:
    """The column holds another kind of value than before."""
    changed = f"{column}: the type changed from {before} to {after}."
    return _plain(column, "type_change", "bad", changed, reference_rows, current_rows, "schema")


def not_comparable(column: str, why: str, reference_rows: int, current_rows: int) -> ColumnDrift:
    """The reference lacks the column, or its type has no distance."""
    statement = f"{column}: {why}, drift was not measured."
    return _plain(column, "not_comparable", "could_not_measure", statement, reference_rows, current_rows)


def correct(
    columns: Sequence[ColumnDrift], min_effect: float, alpha: float = ALPHA, *, looks: int = 1
) -> tuple[ColumnDrift, ...]:
    """Holm's correction over all aspects that were tested; outcomes are judged again with the corrected p-values.

    Args:
        columns: Results of `measure` with uncorrected p-values, and the others, which pass unchanged.
        min_effect: As given to `measure`.
        alpha: Chance of one false column or more in the table, over all looks.
        looks: How often the same check is made; 1 for a check that stands alone.
    """
    places = [(i, j) for i, c in enumerate(columns) for j, a in enumerate(c.aspects) if a.p_value is not None]
    places.sort(key=lambda place: columns[place[0]].aspects[place[1]].p_value or 0.0)
    found = [list(c.aspects) for c in columns]
    highest = 0.0
    for rank, (i, j) in enumerate(places):
        aspect = found[i][j]
        highest = max(highest, min(1.0, (aspect.p_value or 0.0) * (len(places) - rank)))
        outcome = _outcome(aspect.effect or 0.0, highest, aspect.noise, min_effect, alpha / looks)
        found[i][j] = aspect.model_copy(update={"p_value": highest, "outcome": outcome})
    return tuple(_judged(c, a, min_effect) if a else c for c, a in zip(columns, found, strict=True))


def weigh(columns: Sequence[ColumnDrift], importance: Mapping[str, float] | None) -> tuple[ColumnDrift, ...]:
    """Gives each column its share of the champion's importance; no weights where none are known or all are zero.

    A column that the model says nothing about weighs as much as the least of the others. Negative weights (a
    permutation importance may be one) are zero.
    """
    known = {k: max(v, 0.0) for k, v in (importance or {}).items() if isfinite(v)}
    least = min((known[c.column] for c in columns if c.column in known), default=0.0)
    weights = [known.get(c.column, least) for c in columns]
    total = sum(weights)
    if total <= 0:
        return tuple(columns)
    return tuple(c.model_copy(update={"weight": w / total}) for c, w in zip(columns, weights, strict=True))


def share_drifted(columns: Sequence[ColumnDrift]) -> float | None:
    """Drifted columns as a share of those decided (`ok` or `bad`), weighed where weights are known; None when none was."""
    weights = [1.0 if c.weight is None else c.weight for c in columns]
    decided = sum(w for c, w in zip(columns, weights, strict=True) if c.outcome in ("ok", "bad"))
    drifted = sum(w for c, w in zip(columns, weights, strict=True) if c.outcome == "bad")
    return min(1.0, drifted / decided) if decided > 0 else None


def _aspect(pair: Pair, min_effect: float, alpha: float, min_rows: int) -> Aspect:
    n, m = len(pair.reference), len(pair.current)
    if min(n, m) < min_rows:
        why = f"{n} reference and {m} current values beside nulls"
        return Aspect(name=pair.name, drift_type="data_drift", outcome="could_not_tell", why=why)
    found = drift_distance.compare(pair)
    outcome = _outcome(found.effect, found.p_value, found.noise, min_effect, alpha)
    drift_type, why = drift_explain.explain(pair, found.effect, min_effect) if outcome == "bad" else ("data_drift", "")
    return Aspect(
        name=pair.name,
        drift_type=drift_type,
        outcome=outcome,
        effect=min(found.effect, 1.0),
        p_value=found.p_value,
        noise=found.noise,
        method=found.method,
        why=why,
    )


def _outcome(effect: float, p_value: float, noise: float, min_effect: float, level: float) -> Outcome:
    if effect < min_effect:
        return "could_not_tell" if noise > _NOISE else "ok"
    return "bad" if p_value < level else "could_not_tell"


def _worst(aspects: Sequence[Aspect]) -> Aspect:
    return max(
        aspects, key=lambda a: (_RANK[a.outcome], a.outcome == "bad" and a.drift_type in BROKEN_DATA, a.effect or 0.0)
    )


def _judged(column: ColumnDrift, aspects: Sequence[Aspect], min_effect: float) -> ColumnDrift:
    worst = _worst(aspects)
    drift_type = worst.drift_type if worst.outcome == "bad" else "data_drift"
    return column.model_copy(
        update={
            "drift_type": drift_type,
            "outcome": worst.outcome,
            "effect": worst.effect,
            "p_value": worst.p_value,
            "method": worst.method,
            "aspects": tuple(aspects),
            "statement": _statement(column.column, worst, aspects, min_effect),
        }
    )


def _statement(column: str, worst: Aspect, aspects: Sequence[Aspect], min_effect: float) -> str:
    if worst.effect is None or worst.p_value is None:
        return f"{column}: could not tell, {worst.why}: too few to compare."
    of = "" if worst.name == "values" else f"{worst.name}, "
    numbers = f"{of}distance {worst.effect:.3f} (least that counts {min_effect:g}), {p_told(worst.p_value)}"
    if worst.outcome == "bad":
        whys = [a.why for a in (worst, *aspects) if a.outcome == "bad" and a.why]
        return f"{column}: drifted, {numbers}{''.join(f'; {why}' for why in dict.fromkeys(whys))}."
    if worst.outcome == "could_not_tell":
        return f"{column}: could not tell, {numbers}: too few rows for what was seen."
    return f"{column}: no drift, {numbers}."


def _plain(
    column: str, drift_type: DriftType, outcome: Outcome, statement: str, n: int, m: int, method: str = ""
) -> ColumnDrift:
    return ColumnDrift(
        column=column,
        drift_type=drift_type,
        outcome=outcome,
        method=method,
        reference_rows=n,
        current_rows=m,
        statement=statement,
    )


def _as_floats(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "O":
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return values.astype(np.float64)
