"""What does the interval of one metric's change say?

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

`no_data`: fewer than `min_rows` rows (of a ranking: groups that count, as every `n` is then); fewer than `min_rows / 5` of a
class the metric depends on; a missing prediction or probability; an undefined value; a relative change of a zero baseline. The
point estimate never decides.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from tools.contracts.comparison import Criteria, Criterion, MetricComparison, Verdict
from tools.contracts.request import Unit
from tools.errors import BadInput
from tools.fairness import gap_metric, group_codes
from tools.metrics import IntArray, Metric, Sample, about_one_class, metric_named, noun
from tools.paired_rows import PairedRows
from tools.resampling import Change, paired_change

RARE_SHARE: Final = 5
"""A class needs `min_rows / RARE_SHARE` rows before a metric that depends on it is measured."""


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


def judge(rows: PairedRows, criterion: Criterion, criteria: Criteria) -> MetricComparison:
    """One metric on these rows."""
    reason = why_not(rows, criterion, criteria, models=("baseline", "candidate"))
    n, left_out = rows.counted(metric_of(criterion))
    if reason is not None:
        return no_data(criterion, n, f"{criterion.about}: {reason}")
    return verdict(criterion, change_of(rows, criterion, criteria), n, left_out)


def metric_of(criterion: Criterion) -> Metric:
    """How the criterion's metric is measured."""
    if criterion.group is not None:
        return gap_metric(criterion.metric)
    return metric_named(criterion.metric, criterion.direction)


def change_of(rows: PairedRows, criterion: Criterion, criteria: Criteria) -> Change:
    """The paired change, whatever it is worth."""
    return paired_change(
        metric=metric_of(criterion),
        baseline=sample_of(rows, criterion, criteria, "baseline"),
        candidate=sample_of(rows, criterion, criteria, "candidate"),
        relative=criterion.unit == "relative",
        confidence=criteria.confidence,
        low_tail=criteria.alpha,
    )


def verdict(criterion: Criterion, change: Change, n: int, left_out: int = 0, on: str | None = None) -> MetricComparison:
    """What the change says.

    Args:
        criterion: What was asked.
        change: With its interval.
        n: Rows or groups, or whatever was counted.
        left_out: Groups of a ranking that do not count.
        on: What it rests on, in words, where that is not `n` rows; more rows would tell nothing then.
    """
    if not np.isfinite(change.change):
        reason = (
            "a relative change of a champion's value of 0 does not exist"
            if criterion.unit == "relative" and change.baseline == 0
            else "is undefined on these rows"
        )
        return no_data(criterion, n, f"{criterion.about}: {reason}", change)
    if not (np.isfinite(change.low) and np.isfinite(change.high)):
        return no_data(criterion, n, f"{criterion.about}: too often undefined when rows are resampled", change)
    verdict = verdict_of(criterion, change.low, change.high)
    needed = _rows_needed(criterion, change, n) if verdict == "inconclusive" and on is None else None
    rows = "" if on is not None else noun(metric_of(criterion))
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
        left_out=left_out,
        statement=_statement(criterion, verdict, change, on or _counted(criterion, n, left_out), rows, needed),
    )


def no_data(criterion: Criterion, n: int, statement: str, change: Change | None = None) -> MetricComparison:
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


def why_not(rows: PairedRows, criterion: Criterion, criteria: Criteria, models: tuple[str, ...]) -> str | None:
    """Why the metric cannot be measured on these rows, as half a sentence."""
    metric = metric_of(criterion)
    missing = rows.unmeasured.get(metric.name) or rows.missing(metric.needs, models)
    if missing is None and metric.needs == "own":
        missing = rows.missing_own(metric.name, models)
    if metric.task == "ranking" and missing is not None:
        return missing  # which groups count cannot be told then
    n, left_out = rows.counted(metric)
    if n < criteria.min_rows:
        others = f" ({_no_order(left_out)})" if left_out else ""
        return f"{n} {noun(metric)}{others}, at least {criteria.min_rows} are needed"
    if missing is not None:
        return missing
    if metric.task != "classification":
        return None
    positive = rows.positive_code(criteria.positive_label)
    one_class = _about_one_class(metric, criterion)
    if one_class and len(rows.classes) == 2 and positive is None:
        return f"which of {' and '.join(rows.classes)} is the positive class is unknown; set data.positive_label"
    if one_class and (criteria.positive_label is not None or criterion.group is not None) and positive is None:
        return f"the positive label {criteria.positive_label!r} is not among the classes {', '.join(rows.classes)}"
    if metric.name == "mean_cost":
        try:
            rows.costs(criteria.costs)
        except BadInput as error:
            return error.message
    if not metric.per_class:
        return None
    count, name = rows.rarest_class(positive if one_class else None)
    least = least_of_class(criteria)
    if count < least:
        return f"{count} rows of {name}, at least {least} are needed"
    return None if criterion.group is None else _too_few_groups(rows, criterion, criteria)


def _too_few_groups(rows: PairedRows, criterion: Criterion, criteria: Criteria) -> str | None:
    if criterion.group not in rows.slices:
        return f"column {criterion.group!r} is not in the holdout"
    groups = int(_group_codes(rows, criterion, criteria).max(initial=-1)) + 1
    if groups >= 2:
        return None
    return (
        f"{groups} of its groups have at least {criteria.min_rows} rows (and {least_of_class(criteria)} of each class that the "
        "rates are about); two are needed"
    )


def least_of_class(criteria: Criteria) -> int:
    """Rows of a class that a metric which depends on it needs."""
    return max(1, criteria.min_rows // RARE_SHARE)


def _about_one_class(metric: Metric, criterion: Criterion) -> bool:
    return criterion.group is not None or about_one_class(metric)


def _group_codes(rows: PairedRows, criterion: Criterion, criteria: Criteria) -> IntArray:
    positive = rows.positive_code(criteria.positive_label)
    return group_codes(
        rows.slices[criterion.group or ""],
        rows.y,
        -1 if positive is None else positive,
        criterion.metric,
        criteria.min_rows,
        least_of_class(criteria),
    )


def sample_of(rows: PairedRows, criterion: Criterion, criteria: Criteria, which: str) -> Sample:
    """One model's side, with what the metric needs beside outputs and labels."""
    metric = metric_of(criterion)
    positive = rows.positive_code(criteria.positive_label) if _about_one_class(metric, criterion) else None
    sample = rows.sample(which, positive)
    if metric.name == "mean_cost":
        sample = replace(sample, costs=rows.costs(criteria.costs))
    if criterion.group is not None:
        sample = replace(sample, group=_group_codes(rows, criterion, criteria))
    return sample


def _rows_needed(criterion: Criterion, change: Change, n: int) -> int | None:
    """n × (half-width / distance to the bar)²: the interval shrinks with the root of the rows."""
    bar = criterion.bar
    distance = abs(change.change - bar)
    half = change.change - change.low if change.change > bar else change.high - change.change
    if distance <= 0 or half <= distance:
        return None
    return int(min(np.ceil(n * (half / distance) ** 2), 10**12))


def _amount(value: float, unit: Unit) -> str:
    return f"{value:+.2%}" if unit == "relative" else f"{value:+.4g}"


def _no_order(left_out: int) -> str:
    return f"{left_out:,} more are left out: every order of their rows is worth the same"


def _counted(criterion: Criterion, n: int, left_out: int) -> str:
    others = f" ({_no_order(left_out)})" if left_out else ""
    return f"on {n:,} {noun(metric_of(criterion))}{others}"


def _statement(
    criterion: Criterion, verdict: Verdict, change: Change, on: str, counted: str, needed: int | None
) -> str:
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
        "inconclusive": f"these {counted} cannot tell" if counted else "that cannot tell",
        "no_data": "not measured",
    }[verdict]
    more = "" if needed is None else f"; about {needed:,} {counted} would tell"
    amounts = [_amount(value, unit) for value in (change.change, change.low, change.high)]
    return (
        f"{criterion.about}: {change.baseline:.4g} (champion) against {change.candidate:.4g} (candidate) "
        f"{on}, change for the better {amounts[0]} [{amounts[1]}, {amounts[2]}], {bar}: {meaning}{more}."
    )
