"""Is the candidate better than the champion on the same rows, and is nothing that matters worse?

One interval of the change a metric (`tools.resampling` has the method), one verdict an interval. The first line that
holds gives the verdict; `d` is the least gain, `m` the margin, changes are positive when better:

    primary that must gain  improved       low >= d and low > 0
                            regressed      high < 0
                            non_inferior   high < d or high <= 0: no gain of d is to be had, and no loss is shown
                            inconclusive   else
    guardrail, slice, and   improved       low > 0
    primary that must       regressed      high < -m
    not lose                non_inferior   low >= -m
                            inconclusive   else

`no_data`: fewer than `min_rows` rows; fewer than `min_rows / 5` of a class the metric depends on; a missing prediction
or probability; an undefined value; a relative change of a zero baseline. The point estimate never decides.

Slices: every value with at least `min_rows` rows (and classes enough) is a guardrail on the primary metric. "All slices
hold" needs no correction; `regressed` does, since many are looked at: Holm's procedure over all slices on the one-sided
test of change < -margin.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from tools.contracts.comparison import (
    ComparisonResult,
    Contamination,
    Criteria,
    Criterion,
    ErrorBudget,
    MetricComparison,
    Verdict,
)
from tools.contracts.profile import MetricsSpec, ProfileGuardrail, Task
from tools.contracts.request import DeploymentCriteria, GuardrailSpec, Unit
from tools.errors import BadInput
from tools.metrics import METRICS, Metric, Sample, about_one_class, find_metric, measure
from tools.paired_rows import PairedRows, label_text
from tools.resampling import Change, paired_change, t_share

MAX_SLICES_SHOWN: Final = 50
MAX_VALUES_A_COLUMN: Final = 200
"""The largest values of a slice column; further ones are too many to be slices."""
FARTHEST_LOOK: Final = timedelta(days=3_652)
RARE_SHARE: Final = 5
"""A class needs `min_rows / RARE_SHARE` rows before a metric that depends on it is measured."""

__all__ = [
    "METRICS",
    "PairedRows",
    "compare",
    "measure_all",
    "resolve_criteria",
    "unmeasured",
    "verdict_of",
    "with_next_look",
]


def resolve_criteria(
    *, metrics: MetricsSpec, request: DeploymentCriteria | None, task: Task, positive_label: str | int | bool | None
) -> Criteria:
    """What this candidate must show: the profile's demands, overridden by the request's.

    A request's guardrail list replaces the profile's; one named without a margin takes margin and unit from the
    profile's guardrail of that name, else 0. A guardrail on the primary metric itself is dropped: the primary is judged
    anyway. What the profile marks as fixed is never loosened: the stricter demand holds, and `overruled` says so. A
    request that asks for a gain gets one asked for, also where the profile would do without.

    Raises:
        BadInput: Unknown metric, another task's, a contradicting direction, or a guardrail named twice.
    """
    wanted = metrics.primary
    primary = find_metric(wanted.name, task, wanted.direction)
    overruled: list[str] = []
    least = wanted.min_improvement
    if request is not None and request.min_improvement is not None:
        least = request.min_improvement
        if wanted.fixed and least < wanted.min_improvement:
            least = wanted.min_improvement
            overruled.append(
                f"minImprovement {request.min_improvement:g} is less than the {least:g} that the profile fixes"
            )
    own = {find_metric(spec.name, task, spec.direction).name: spec for spec in metrics.guardrails}
    asked = metrics.guardrails
    if request is not None and request.guardrail_metrics is not None:
        asked = request.guardrail_metrics
    guardrails = [_guardrail(spec, own, task) for spec in asked]
    guardrails, held = _hold_fixed(guardrails, own, task)
    overruled += held
    names = [criterion.metric for criterion in guardrails]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(
            f"guardrail {twice[0]!r} is named twice", thing="guardrailMetrics", value=twice[0], remedy="name it once"
        )
    return Criteria(
        primary=Criterion(
            metric=primary.name,
            role="primary",
            direction=primary.direction,
            unit=wanted.unit,
            min_improvement=least,
            margin=wanted.margin if metrics.promote_on == "non_inferior" and least <= 0 else 0.0,
            must="not_lose" if metrics.promote_on == "non_inferior" and least <= 0 else "improve",
        ),
        guardrails=tuple(criterion for criterion in guardrails if criterion.metric != primary.name),
        slice_columns=metrics.slices,
        slice_margin=metrics.slice_margin,
        min_rows=metrics.min_rows,
        confidence=metrics.confidence,
        positive_label=None if positive_label is None else label_text(positive_label),
        overruled=tuple(overruled),
    )


def _hold_fixed(
    asked: Sequence[Criterion], own: Mapping[str, ProfileGuardrail], task: Task
) -> tuple[list[Criterion], list[str]]:
    """The guardrails asked for, none of the profile's fixed ones missing or wider than there."""
    held, overruled = list(asked), list[str]()
    for name, spec in own.items():
        if not spec.fixed:
            continue
        fixed = _guardrail(spec, own, task)
        places = [place for place, one in enumerate(held) if one.metric == name]
        if not places:
            held.append(fixed)
            overruled.append(f"guardrail {name} was left out, and the profile fixes it")
        for place in places:
            one = held[place]
            if one.unit != fixed.unit or one.margin > fixed.margin:
                held[place] = fixed
                overruled.append(
                    f"guardrail {name}: a margin of {one.margin:g} ({one.unit}) was asked, the profile "
                    f"fixes {fixed.margin:g} ({fixed.unit})"
                )
    return held, overruled


def _guardrail(spec: GuardrailSpec, own: Mapping[str, ProfileGuardrail], task: Task) -> Criterion:
    metric = find_metric(spec.name, task, spec.direction)
    margin, unit = spec.margin, spec.unit
    if margin is None and metric.name in own:
        margin, unit = own[metric.name].margin, own[metric.name].unit
    return Criterion(metric=metric.name, role="guardrail", direction=metric.direction, unit=unit, margin=margin or 0.0)


def verdict_of(criterion: Criterion, low: float, high: float) -> Verdict:
    """The table at the top of this module, for an interval of the change (positive is better)."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return "no_data"
    if criterion.must_gain:
        if low >= criterion.min_improvement and low > 0:
            return "improved"
        if high < 0:
            return "regressed"
        return "non_inferior" if high < criterion.min_improvement or high <= 0 else "inconclusive"
    if low > 0:
        return "improved"
    if high < -criterion.margin:
        return "regressed"
    return "non_inferior" if low >= -criterion.margin else "inconclusive"


def compare(
    *,
    rows: PairedRows,
    criteria: Criteria,
    contamination: Contamination,
    holdout_digest: str,
    doubts: Sequence[tuple[str, str]] = (),
    failures: Sequence[str] = (),
    budget: ErrorBudget | None = None,
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
    """
    if budget is not None and budget.exhausted:
        doubts = (*doubts, ("needs_fresh_labels", budget.statement))
    elif budget is not None:
        criteria = criteria.model_copy(update={"alpha": min(budget.alpha, (1 - criteria.confidence) / 2)})
    judged = [_judge(rows, criterion, criteria) for criterion in (criteria.primary, *criteria.guardrails)]
    result = _result(
        rows.n, criteria, (*judged, *_slices(rows, criteria)), contamination, holdout_digest, doubts, failures
    )
    return result.model_copy(update={"budget": budget})


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
    metrics = tuple(
        _no_data(criterion, 0, f"{criterion.metric}: {reason}")
        for criterion in (criteria.primary, *criteria.guardrails)
    )
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
        metric = METRICS[criterion.metric]
        if _why_not(rows, metric, criteria, models=(which,)) is None:
            value = measure(metric, _sample(rows, metric, criteria, which))
            if np.isfinite(value):
                values[criterion.metric] = value
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


# --- one metric ----------------------------------------------------------------------------------------------------


def _judge(rows: PairedRows, criterion: Criterion, criteria: Criteria) -> MetricComparison:
    metric = METRICS[criterion.metric]
    reason = _why_not(rows, metric, criteria, models=("baseline", "candidate"))
    if reason is not None:
        return _no_data(criterion, rows.n, f"{_subject(criterion)}: {reason}")
    return _verdict(criterion, _change(rows, metric, criterion, criteria), rows.n)


def _change(rows: PairedRows, metric: Metric, criterion: Criterion, criteria: Criteria) -> Change:
    return paired_change(
        metric=metric,
        baseline=_sample(rows, metric, criteria, "baseline"),
        candidate=_sample(rows, metric, criteria, "candidate"),
        relative=criterion.unit == "relative",
        confidence=criteria.confidence,
        low_tail=criteria.alpha,
    )


def _verdict(criterion: Criterion, change: Change, n: int) -> MetricComparison:
    if not np.isfinite(change.change):
        reason = (
            "a relative change of a champion's value of 0 does not exist"
            if criterion.unit == "relative" and change.baseline == 0
            else "is undefined on these rows"
        )
        return _no_data(criterion, n, f"{_subject(criterion)}: {reason}", change)
    if not (np.isfinite(change.low) and np.isfinite(change.high)):
        return _no_data(criterion, n, f"{_subject(criterion)}: too often undefined when rows are resampled", change)
    verdict = verdict_of(criterion, change.low, change.high)
    needed = _rows_needed(criterion, change, n) if verdict == "inconclusive" else None
    return MetricComparison(
        criterion=criterion,
        verdict=verdict,
        baseline=change.baseline,
        candidate=change.candidate,
        change=change.change,
        low=change.low,
        high=change.high,
        n=n,
        rows_needed=needed,
        statement=_statement(criterion, verdict, change, n, needed),
    )


def _no_data(criterion: Criterion, n: int, statement: str, change: Change | None = None) -> MetricComparison:
    def known(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return MetricComparison(
        criterion=criterion,
        verdict="no_data",
        baseline=None if change is None else known(change.baseline),
        candidate=None if change is None else known(change.candidate),
        n=n,
        statement=statement + ".",
    )


def _why_not(rows: PairedRows, metric: Metric, criteria: Criteria, models: tuple[str, ...]) -> str | None:
    """Why the metric cannot be measured on these rows, as half a sentence."""
    if rows.n < criteria.min_rows:
        return f"{rows.n} rows, at least {criteria.min_rows} are needed"
    missing = rows.missing(metric.needs, models)
    if missing is not None:
        return missing
    if metric.task != "classification":
        return None
    positive = rows.positive_code(criteria.positive_label)
    if about_one_class(metric) and len(rows.classes) == 2 and positive is None:
        return f"which of {' and '.join(rows.classes)} is the positive class is unknown; set data.positive_label"
    if about_one_class(metric) and criteria.positive_label is not None and positive is None:
        return f"the positive label {criteria.positive_label!r} is not among the classes {', '.join(rows.classes)}"
    if not metric.per_class:
        return None
    count, name = rows.rarest_class(positive if about_one_class(metric) else None)
    least = max(1, criteria.min_rows // RARE_SHARE)
    return None if count >= least else f"{count} rows of {name}, at least {least} are needed"


def _sample(rows: PairedRows, metric: Metric, criteria: Criteria, which: str) -> Sample:
    positive = rows.positive_code(criteria.positive_label) if about_one_class(metric) else None
    return rows.sample(which, positive)


def _rows_needed(criterion: Criterion, change: Change, n: int) -> int | None:
    """n × (half-width / distance to the bar)²: the interval shrinks with the root of the rows."""
    bar = criterion.bar
    distance = abs(change.change - bar)
    half = change.change - change.low if change.change > bar else change.high - change.change
    if distance <= 0 or half <= distance:
        return None
    return int(min(np.ceil(n * (half / distance) ** 2), 10**12))


def _subject(criterion: Criterion) -> str:
    where = "" if criterion.slice_column is None else f" where {criterion.slice_column} is {criterion.slice_value}"
    return f"{criterion.metric}{where}"


def _amount(value: float, unit: Unit) -> str:
    return f"{value:+.2%}" if unit == "relative" else f"{value:+.4g}"


def _statement(criterion: Criterion, verdict: Verdict, change: Change, n: int, needed: int | None) -> str:
    unit = criterion.unit
    gains = criterion.must_gain
    bar = (
        f"a gain of {_amount(criterion.min_improvement, unit)} is asked"
        if gains
        else f"a loss of {_amount(criterion.margin, unit).lstrip('+')} is accepted"
    )
    meaning = {
        "improved": "improved",
        "regressed": "regressed",
        "non_inferior": "no such gain is to be had, and no loss is shown" if gains else "holds",
        "inconclusive": "these rows cannot tell",
        "no_data": "not measured",
    }[verdict]
    more = "" if needed is None else f"; about {needed:,} rows would tell"
    amounts = [_amount(value, unit) for value in (change.change, change.low, change.high)]
    return (
        f"{_subject(criterion)}: {change.baseline:.4g} (champion) against {change.candidate:.4g} (candidate) "
        f"on {n:,} rows, change for the better {amounts[0]} [{amounts[1]}, {amounts[2]}], {bar}: {meaning}{more}."
    )


# --- slices --------------------------------------------------------------------------------------------------------


def _slices(rows: PairedRows, criteria: Criteria) -> list[MetricComparison]:
    """Worst first, at most `MAX_SLICES_SHOWN`; regressions by Holm over all that were measured."""
    metric = METRICS[criteria.primary.metric]
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
            if _why_not(part, metric, criteria, models=("baseline", "candidate")) is not None:
                continue  # too few of a class to be a slice; anything else shows in the primary as well
            change = _change(part, metric, criterion, criteria)
            judged.append((_verdict(criterion, change, part.n), _share_of_harm(change, criteria.slice_margin)))
    return sorted(_holm(judged, (1 - criteria.confidence) / 2), key=_harm)[:MAX_SLICES_SHOWN]


def _share_of_harm(change: Change, margin: float) -> float:
    """One-sided p of "the loss is at most the margin": small when the slice is surely harmed."""
    if not np.isfinite(change.change) or change.blocks < 2:
        return 1.0
    distance = change.change + margin
    if change.se <= 0:
        return 1.0 if distance >= 0 else 0.0
    return t_share(distance / change.se, change.blocks - 1)


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
