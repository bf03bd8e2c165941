# pyright: basic
"""What the model-evaluator says beside the metrics: gaps between groups, thresholds, what errors cost, where they are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tools.contracts.peers import EvaluationRequest
from tools.paired_rows import MISSING, label_text

GRID: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Thresholds on the positive class's probability that are looked at."""
MOST_PATTERNS: Final = 5


def fairness(
    rows: Any,
    asked: EvaluationRequest,
    truth: Sequence[str],
    told: Sequence[str],
    positive: str | None,
    notes: list[str],
) -> dict[str, dict[str, float]]:
    """Fairlearn's gaps, over groups with rows enough; what cannot be measured is noted."""
    import fairlearn.metrics as fl
    import numpy as np

    functions: dict[str, Callable[..., Any]] = {
        "demographic_parity_difference": fl.demographic_parity_difference,
        "equal_opportunity_difference": fl.equal_opportunity_difference,
        "equalized_odds_difference": fl.equalized_odds_difference,
    }
    found: dict[str, dict[str, float]] = {}
    is_one, said_one = np.array([t == positive for t in truth]), np.array([t == positive for t in told])
    for check in asked.evaluation_config.fairness:
        reason = (
            f"there is no metric {check.metric!r}"
            if check.metric not in functions
            else f"there is no column {check.column!r}"
            if check.column not in rows.columns
            else "which class is positive is unknown"
            if positive is None
            else None
        )
        if reason is None:
            groups = rows[check.column].map(lambda value: label_text(value) or MISSING).to_numpy(dtype=object)
            kept = np.isin(groups.astype(str), _large(groups, is_one, check))
            if len(set(groups[kept])) >= 2:
                value = functions[check.metric](is_one[kept], said_one[kept], sensitive_features=groups[kept])
                found.setdefault(check.column, {})[check.metric] = float(value)
                continue
            reason = "fewer than two groups have rows enough"
        notes.append(f"{check.metric} between the groups of {check.column} was not measured: {reason}")
    return found


def _large(groups: Any, is_one: Any, check: Any) -> list[str]:
    import numpy as np

    names, where, sizes = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    ones = np.bincount(where, weights=is_one, minlength=len(names))
    enough = sizes >= check.min_rows
    if check.metric != "demographic_parity_difference":
        enough &= ones >= check.min_class_rows
    if check.metric == "equalized_odds_difference":
        enough &= sizes - ones >= check.min_class_rows
    return [str(name) for name in names[enough]]


def thresholds(
    truth: Sequence[str], stated: Any, positive: str, costs: Mapping[str, Mapping[str, float]] | None, negative: str
) -> dict[str, Any]:
    """Precision and recall of the positive class at each threshold, and the best one: the cheapest where costs are
    known, else that of the highest f1."""
    import numpy as np

    is_one, stated = np.array([t == positive for t in truth]), np.asarray(stated, dtype=float)
    table: dict[str, dict[str, float]] = {}
    worth: dict[float, float] = {}
    for bar in GRID:
        flagged = stated >= bar
        both, wrong, missed = ((flagged & is_one).sum(), (flagged & ~is_one).sum(), (~flagged & is_one).sum())
        if both + wrong == 0 or both + missed == 0:
            continue
        table[f"{bar:g}"] = {"precision": float(both / (both + wrong)), "recall": float(both / (both + missed))}
        worth[bar] = float(2 * both / (2 * both + wrong + missed))
        if costs:
            right = (~flagged & ~is_one).sum()
            paid = {(positive, positive): both, (negative, positive): wrong}
            paid |= {(positive, negative): missed, (negative, negative): right}
            worth[bar] = -float(sum(costs.get(true, {}).get(said, 0.0) * n for (true, said), n in paid.items()))
    if not worth:
        return {}
    best = max(worth, key=lambda bar: (worth[bar], -abs(bar - 0.5)))
    return {"optimalThreshold": best, "thresholdMetrics": table}


def costs_of(
    asked: EvaluationRequest, classes: Sequence[str], positive: str | None
) -> dict[str, dict[str, float]] | None:
    """Of `businessContext`: its `costs`, else its costs of false positives and false negatives; None without."""
    context = asked.business_context or {}
    if isinstance(context.get("costs"), Mapping):
        return {
            label_text(true): {label_text(told): float(cost) for told, cost in row.items()}
            for true, row in context["costs"].items()
        }
    given = {name: context.get(name) for name in ("falsePositiveCost", "falseNegativeCost")}
    if positive is None or len(classes) != 2 or not all(isinstance(cost, int | float) for cost in given.values()):
        return None
    negative = next(name for name in classes if name != positive)
    return {
        negative: {positive: float(given["falsePositiveCost"])},  # type: ignore[arg-type]
        positive: {negative: float(given["falseNegativeCost"])},  # type: ignore[arg-type]
    }


def impact(
    asked: EvaluationRequest, truth: Sequence[str], told: Sequence[str], costs: Mapping[str, Mapping[str, float]] | None
) -> dict[str, float] | None:
    """`expectedCost` of these rows in all; `costReduction` as a share of `businessContext.currentCost`, where that is told."""
    if not costs:
        return None
    total = float(sum(costs.get(t, {}).get(p, 0.0) for t, p in zip(truth, told, strict=True)))
    now = (asked.business_context or {}).get("currentCost")
    found = {"expectedCost": total}
    if isinstance(now, int | float) and now > 0:
        found["costReduction"] = 1 - total / float(now)
    return found


def patterns(rows: Any, asked: EvaluationRequest, truth: Sequence[str], told: Sequence[str]) -> list[dict[str, Any]]:
    """The slice values with the highest error rates, of those that err more often than the whole."""
    import numpy as np

    wrong = np.array([t != p for t, p in zip(truth, told, strict=True)], dtype=float)
    found: list[dict[str, Any]] = []
    for spec in asked.evaluation_config.slices:
        if spec.column not in rows.columns:
            continue
        texts = rows[spec.column].map(lambda value: label_text(value) or MISSING).to_numpy(dtype=str)
        names, where, sizes = np.unique(texts, return_inverse=True, return_counts=True)
        rates = np.bincount(where, weights=wrong) / sizes
        found += [
            {"pattern": f"{spec.column} = {name}", "errorRate": float(rate), "count": int(size)}
            for name, rate, size in zip(names.tolist(), rates.tolist(), sizes.tolist(), strict=True)
            if rate > wrong.mean()
        ]
    return sorted(found, key=lambda one: -one["errorRate"])[:MOST_PATTERNS]
