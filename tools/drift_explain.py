"""What is it called that an aspect of a column has moved, and what explains it?

Broken data (`null_share`, `infinite`, `unit`) ask for a repair; `new_category` and `vanished_category` name what came
and went where that alone makes at least half of the divergence; `nulls` is a change of the null share too small to be a
broken pipeline; everything else is `data_drift`. A category is named only where many rows share it, so that nothing
personal gets into a report.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

from tools.drift_distance import Array, Pair, divergence, effect_only

AspectType = Literal[
    "data_drift", "null_share", "nulls", "infinite", "unit", "stuck", "new_category", "vanished_category"
]

NULL_RISE: Final = 0.1
"""Least rise of the null share that is called broken data; less is drift like any other."""
UNIT_FACTOR: Final = 8.0
"""Least factor taken for a change of unit. Smaller ones (miles, pounds) look like ordinary drift and are called so."""
MIN_VALUES: Final = 30
STUCK_SHARE: Final = 0.95
"""Share of one value from which a number stands still; before, it may have had the rest of the rows at most."""
STUCK_FROM: Final = 10
"""Different values of a number that varies."""
EXPECTED: Final = 5
"""Rows of a category to be expected in the window that has none, for it to count as new or vanished."""
NAMED: Final = 3
"""Categories named at most."""
NAMED_ROWS: Final = 10
NAMED_SHARE: Final = 0.01
_LONGEST: Final = 40
_ROUND_FACTORS: Final = (10.0, 12.0, 24.0, 60.0, 100.0, 1_000.0, 3_600.0, 10_000.0, 86_400.0, 1e6, 1e9)


def explain(pair: Pair, effect: float, min_effect: float) -> tuple[AspectType, str]:
    """Type and reason of an aspect that has moved by `effect`."""
    if pair.name == "nulls":
        before, after = float(pair.reference.mean()), float(pair.current.mean())
        moved = f"nulls {'rose' if after > before else 'fell'} from {before:.1%} to {after:.1%}"
        return ("null_share" if after - before >= NULL_RISE else "nulls"), moved
    if pair.names is None:
        return _explain_numbers(pair, effect, min_effect)
    return _explain_categories(pair, pair.names, effect)


def _explain_numbers(pair: Pair, effect: float, min_effect: float) -> tuple[AspectType, str]:
    before, after = float(np.isinf(pair.reference).mean()), float(np.isinf(pair.current).mean())
    if after > before and _flag_divergence(before, after) >= min_effect**2:
        return "infinite", f"infinite values rose from {before:.1%} to {after:.1%}"
    if pair.name != "values":
        return "data_drift", _moved(pair)
    stuck = _stuck(pair)
    if stuck is not None:
        return "stuck", stuck
    factor = _unit_factor(pair, effect, min_effect)
    if factor is not None:
        return "unit", f"the same shape multiplied by about {factor:.3g}: a change of unit?"
    return "data_drift", _moved(pair)


def _stuck(pair: Pair) -> str | None:
    """Said of a number that varied and now stands still."""
    before, now = pair.reference[np.isfinite(pair.reference)], pair.current[np.isfinite(pair.current)]
    if min(len(before), len(now)) < MIN_VALUES or len(np.unique(before)) < STUCK_FROM:
        return None
    values, counts = np.unique(now, return_counts=True)
    value, share = float(values[counts.argmax()]), float(counts.max() / len(now))
    earlier = float((before == value).mean())
    if share < STUCK_SHARE or earlier > 1 - STUCK_SHARE:
        return None
    return f"{share:.1%} of the values are {value:.4g} now, {earlier:.1%} before"


def _moved(pair: Pair) -> str:
    """The medians, which no outlier moves."""
    ref, cur = pair.reference[np.isfinite(pair.reference)], pair.current[np.isfinite(pair.current)]
    if not len(ref) or not len(cur):
        return ""
    of = "" if pair.name == "values" else f" of {pair.name}"
    return f"median{of} {np.median(ref):.4g} before, {np.median(cur):.4g} now"


def _explain_categories(pair: Pair, names: Sequence[str], effect: float) -> tuple[AspectType, str]:
    a, b = (np.bincount(side, minlength=len(names)) for side in (pair.reference, pair.current))
    # Where a handful was to be expected: a rare category that was not drawn has not vanished.
    n, m = int(a.sum()), int(b.sum())
    new, gone = (a == 0) & (b * n >= EXPECTED * m), (b == 0) & (a * m >= EXPECTED * n)
    new, gone = new & (b > 0), gone & (a > 0)
    share_new, share_gone = float(b[new].sum() / b.sum()), float(a[gone].sum() / a.sum())
    least = effect**2 / 2
    by_new, by_gone = _flag_divergence(0.0, share_new), _flag_divergence(share_gone, 0.0)
    what = "" if pair.name == "values" else f"{pair.name}: "
    if by_new >= max(least, by_gone):
        return "new_category", f"{what}new {_named(new, b, names)}, {share_new:.1%} of the current rows"
    if by_gone >= least:
        return "vanished_category", f"{what}vanished {_named(gone, a, names)}, {share_gone:.1%} of the reference rows"
    p, q = a / a.sum(), b / b.sum()
    top = int(np.argmax(np.abs(q - p)))
    return "data_drift", f"{what}{_named(np.arange(len(names)) == top, a + b, names)} from {p[top]:.1%} to {q[top]:.1%}"


def _named(which: Array, rows: Array, names: Sequence[str]) -> str:
    places = np.flatnonzero(which)
    common = (rows[places] >= NAMED_ROWS) & (rows[places] >= NAMED_SHARE * rows.sum())
    shown = places[common][np.argsort(-rows[places[common]], kind="stable")][:NAMED]
    listed = ", ".join(repr(_short(names[int(i)])) for i in shown)
    rest = len(places) - len(shown)
    if not listed:
        return f"{rest} rare categories" if rest > 1 else "a rare category"
    return f"{listed} and {rest} more" if rest else listed


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _flag_divergence(before: float, after: float) -> float:
    return float(divergence(np.array([before, 1 - before]), np.array([after, 1 - after])))


def _unit_factor(pair: Pair, effect: float, min_effect: float) -> float | None:
    """The large factor that, taken out, explains at least half of the distance; the shape may have moved besides."""
    finite: list[Array] = [side[np.isfinite(side)] for side in (pair.reference, pair.current)]
    ref, cur = finite
    sizes: list[Any] = [np.abs(side[side != 0]) for side in finite]
    if min(len(size) for size in sizes) < MIN_VALUES:
        return None
    seen = float(np.median(sizes[1]) / np.median(sizes[0]))
    if not np.isfinite(seen) or seen <= 0 or max(seen, 1 / seen) < UNIT_FACTOR:
        return None
    left = max(min_effect, effect / 2)
    near = [f for r in _ROUND_FACTORS for f in (r, 1 / r) if 0.5 < seen / f < 2]
    # A round factor first: discrete values only fall back on their places when divided by the exact one.
    for factor in (*sorted(near, key=lambda f: abs(np.log(seen / f))), seen):
        if effect_only(Pair("values", ref, cur / factor)) < left:
            return factor
    return None
