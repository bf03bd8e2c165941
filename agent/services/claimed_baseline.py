"""Do the numbers that others give for the champion agree with those measured on these rows?

They never enter a verdict: both models are always measured anew.
"""

from agent.services import lineage
from agent.state import Findings, Run
from tools.contracts.comparison import ComparisonResult, Criteria
from tools.errors import BadInput
from tools.metrics import in_our_terms

SAME_ROWS = 1e-6
"""On the same rows the same files must give the same number, up to rounding, relative to the larger of it and 1."""


def notes(run: Run, criteria: Criteria, result: ComparisonResult, findings: Findings) -> list[str]:
    """What the request says of the champion and neither these rows nor the registry bear out; and what it asked for in vain."""
    claimed = run.order.request.baseline_model.metrics if run.order.request.baseline_model else None
    told = [*findings.notes, *criteria.overruled]
    measured, recorded = _measured(result), _recorded(run)
    for given, amount in (claimed or {}).items():
        try:
            name, value = in_our_terms(given, amount)
        except BadInput:
            name, value = given, amount
        ours, theirs = measured.get(name), recorded.get(name)
        known = f"; the registry recorded {theirs:.4g} for it" if theirs is not None and _far(theirs, value) else ""
        if ours is None:
            told.append(
                f"baselineModel.metrics.{name} = {value:g} was given but is not among the metrics compared{known}"
            )
        elif _far(ours, value):
            told.append(
                f"baselineModel.metrics.{name} = {value:g} was given; on these rows the champion has {ours:.4g}{known}"
            )
        elif known:
            told.append(f"baselineModel.metrics.{name} = {value:g} was given, which these rows bear out{known}")
    return told


def doubt(run: Run, result: ComparisonResult) -> tuple[str, str] | None:
    """`baseline_metrics_mismatch`: the registry recorded other numbers of the champion on exactly these rows.

    Its files, its data or the record were changed, or it answers differently each time: nothing can be built on that.
    """
    baseline = None if run.champion is None else lineage.read(run.champion).baseline
    whole = result.contamination.champion_rows in (0, None) and result.contamination.candidate_rows in (0, None)
    if baseline is None or baseline.holdout_digest != result.holdout_digest or not whole:
        return None
    if baseline.rows != result.holdout_rows:
        return None
    for name, ours in _measured(result).items():
        theirs = baseline.metrics.get(name)
        if ours is not None and theirs is not None and abs(ours - theirs) > SAME_ROWS * max(1.0, abs(ours)):
            return (
                "baseline_metrics_mismatch",
                f"On exactly these rows the registry recorded {name} {theirs:.6g} for the champion; it has {ours:.6g} now.",
            )
    return None


def _measured(result: ComparisonResult) -> dict[str, float | None]:
    return {m.criterion.about: m.baseline for m in result.metrics if m.criterion.slice_column is None}


def _recorded(run: Run) -> dict[str, float]:
    """What was recorded when the champion was promoted, where the request is about the champion."""
    baseline = None if run.champion is None else lineage.read(run.champion).baseline
    return {} if baseline is None else baseline.metrics


def _far(ours: float, value: float) -> bool:
    return abs(ours - value) > max(0.01, 0.05 * abs(ours))
