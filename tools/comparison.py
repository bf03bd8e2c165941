"""Is the candidate better than the champion on the same rows, and is nothing that matters worse?

`tools.criteria` says what must be shown, `tools.verdicts` what an interval says, `tools.slices` what groups of rows say.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from tools.agreement import agreement
from tools.contracts.comparison import ComparisonResult, Contamination, Criteria, ErrorBudget, MetricComparison
from tools.found_slices import found_slices
from tools.metrics import measure
from tools.paired_rows import PairedRows
from tools.slices import slices
from tools.verdicts import judge, metric_of, no_data, sample_of, why_not

FARTHEST_LOOK: Final = timedelta(days=3_652)


def compare(
    *,
    rows: PairedRows,
    criteria: Criteria,
    contamination: Contamination,
    holdout_digest: str,
    doubts: Sequence[tuple[str, str]] = (),
    failures: Sequence[str] = (),
    budget: ErrorBudget | None = None,
    apart: Sequence[MetricComparison] = (),
    sources: Mapping[str, str] | None = None,
) -> ComparisonResult:
    """All verdicts on the rows that are left after contaminated ones were dropped.

    Args:
        rows: Both models' outputs in time order.
        criteria: From `resolve_criteria`.
        contamination: As found by the caller; `could_not_check` for either model is added to the doubts.
        holdout_digest: Of the rows.
        doubts: (code, sentence) pairs found before the duel.
        failures: Why something could not be scored.
        budget: What this look at the holdout may spend; exhausted, it is a doubt, and the intervals are a first look's.
        apart: Verdicts on `criteria.apart`; one that is missing here is `no_data`.
        sources: Users' own metrics to the sha256 of their files.
    """
    if budget is not None and budget.exhausted:
        doubts = (*doubts, ("needs_fresh_labels", budget.statement))
    criteria = at_look(criteria, budget)
    doubts = (*doubts, *_strange_classes(rows))
    judged = [judge(rows, criterion, criteria) for criterion in (criteria.primary, *criteria.guardrails)]
    given = {item.criterion: item for item in apart}
    judged += [given.get(c) or no_data(c, 0, f"{c.about}: it was not measured") for c in criteria.apart]
    judged = [_from_source(item, sources or {}) for item in judged]
    found, searched = found_slices(rows, criteria) if criteria.search_slices else ([], 0)
    result = _result(
        rows.n, criteria, (*judged, *slices(rows, criteria), *found), contamination, holdout_digest, doubts, failures
    )
    return result.model_copy(
        update={"budget": budget, "agreement": agreement(rows), "groups_searched": searched or None}
    )


def _strange_classes(rows: PairedRows) -> list[tuple[str, str]]:
    """`classes_differ`: one model answers in classes that neither the labels nor the other model know, such as yes for 1."""
    return [
        (
            "classes_differ",
            f"The {who} answers {', '.join(map(repr, names[:5]))}{' and more' if len(names) > 5 else ''}, which no label of these "
            "rows and no answer of the other model is.",
        )
        for who, names in rows.strange.items()
        if names
    ]


def at_look(criteria: Criteria, budget: ErrorBudget | None) -> Criteria:
    """The criteria with the error that this look at the holdout may spend; a first look's where it is exhausted."""
    if budget is None or budget.exhausted:
        return criteria
    return criteria.model_copy(update={"alpha": min(budget.alpha, (1 - criteria.confidence) / 2)})


def _from_source(item: MetricComparison, sources: Mapping[str, str]) -> MetricComparison:
    digest = sources.get(item.criterion.metric)
    return item if digest is None else item.model_copy(update={"source_digest": digest})


def unmeasured(
    *,
    criteria: Criteria,
    holdout_rows: int,
    contamination: Contamination,
    holdout_digest: str,
    reason: str,
    doubts: Sequence[tuple[str, str]] = (),
    failures: Sequence[str] = (),
) -> ComparisonResult:
    """The result of a duel that could not take place: `no_data` for every metric, with the reason."""
    every = (criteria.primary, *criteria.guardrails, *criteria.apart)
    metrics = tuple(no_data(criterion, 0, f"{criterion.about}: {reason}") for criterion in every)
    return _result(holdout_rows, criteria, metrics, contamination, holdout_digest, doubts, failures)


def with_next_look(result: ComparisonResult, rows_a_day: float, last: datetime) -> ComparisonResult:
    """Says of every undecided metric by when enough rows will have come.

    Args:
        result: From `compare`.
        rows_a_day: Labelled rows a day of the holdout.
        last: Time of its last row.
    """
    return result.model_copy(update={"metrics": tuple(_next_look(m, rows_a_day, last) for m in result.metrics)})


def _next_look(item: MetricComparison, rows_a_day: float, last: datetime) -> MetricComparison:
    if item.rows_needed is None or rows_a_day <= 0:
        return item
    days = (item.rows_needed - item.n) / rows_a_day
    if days > FARTHEST_LOOK / timedelta(days=1):
        said, by = "which do not come within ten years at the rate of this holdout", None
    else:
        by = last + timedelta(days=days)
        said = f"which at {rows_a_day:,.4g} a day are there by {by:%Y-%m-%d}"
    return item.model_copy(update={"tells_by": by, "statement": f"{item.statement.removesuffix('.')}, {said}."})


def measure_all(*, rows: PairedRows, criteria: Criteria, which: str = "candidate") -> dict[str, float]:
    """One model's value of every primary and guardrail metric that can be measured; the others are left out."""
    values: dict[str, float] = {}
    for criterion in (criteria.primary, *criteria.guardrails):
        if why_not(rows, criterion, criteria, models=(which,)) is None:
            value = measure(metric_of(criterion), sample_of(rows, criterion, criteria, which))
            if np.isfinite(value):
                values[criterion.about] = value
    return values


def _result(
    rows: int,
    criteria: Criteria,
    metrics: tuple[MetricComparison, ...],
    contamination: Contamination,
    holdout_digest: str,
    doubts: Sequence[tuple[str, str]],
    failures: Sequence[str],
) -> ComparisonResult:
    every = dict(doubts)
    unchecked = [who for who in ("candidate", "champion") if getattr(contamination, who) == "could_not_check"]
    if unchecked:
        every.setdefault(
            "contamination_unchecked",
            f"Whether the {' and the '.join(unchecked)} trained on holdout rows could not be checked.",
        )
    return ComparisonResult(
        metrics=metrics,
        holdout_rows=rows,
        holdout_digest=holdout_digest,
        contamination=contamination,
        doubts=tuple(every),
        doubt_statements=tuple(every.values()),
        failures=tuple(failures),
    )
