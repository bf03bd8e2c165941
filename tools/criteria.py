"""What must a candidate show? The profile's demands, overridden by the request's, never looser than what is fixed."""

from collections.abc import Mapping, Sequence

from tools.contracts.comparison import Criteria, Criterion
from tools.contracts.profile import MetricsSpec, ProfileGuardrail, Task
from tools.contracts.request import DeploymentCriteria, Direction, GuardrailSpec
from tools.errors import BadInput
from tools.metric_names import OPERATIONAL, Named, find_named
from tools.own_metrics import is_own
from tools.paired_rows import label_text


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
    primary = find_named(wanted.name, task, wanted.direction, primary=True)
    known: dict[str, Direction] = {
        spec.name: spec.direction for spec in (wanted, *metrics.guardrails) if spec.direction is not None
    }
    overruled: list[str] = []
    least = wanted.min_improvement
    if request is not None and request.min_improvement is not None:
        least = request.min_improvement
        if wanted.fixed and least < wanted.min_improvement:
            least = wanted.min_improvement
            overruled.append(
                f"minImprovement {request.min_improvement:g} is less than the {least:g} that the profile fixes"
            )
    own = {find_named(spec.name, task, spec.direction).name: spec for spec in metrics.guardrails}
    asked = metrics.guardrails
    if request is not None and request.guardrail_metrics is not None:
        asked = request.guardrail_metrics
        _refuse_code(asked, known)
    guardrails = [_guardrail(spec, own, task, known) for spec in asked]
    guardrails, held = _hold_fixed(guardrails, own, task)
    guardrails = [criterion for criterion in guardrails if criterion.metric != primary.name]
    overruled += held
    names = [criterion.metric for criterion in guardrails]
    apart = [criterion for criterion in guardrails if criterion.metric in OPERATIONAL]
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
        guardrails=(
            *(criterion for criterion in guardrails if criterion not in apart),
            *_fairness(metrics, task),
        ),
        apart=(*apart, *_with_nulls(metrics, primary)),
        slice_columns=metrics.slices,
        slice_margin=metrics.slice_margin,
        min_rows=metrics.min_rows,
        confidence=metrics.confidence,
        search_slices=metrics.search_slices,
        costs=_costs(metrics, names=(primary.name, *names)),
        positive_label=None if positive_label is None else label_text(positive_label),
        overruled=tuple(overruled),
    )


def _with_nulls(metrics: MetricsSpec, primary: Named) -> list[Criterion]:
    if metrics.null_margin is None:
        return []
    return [
        Criterion(
            metric=primary.name,
            role="guardrail",
            direction=primary.direction,
            margin=metrics.null_margin,
            nulls=True,
        )
    ]


def _refuse_code(asked: Sequence[GuardrailSpec], known: Mapping[str, Direction]) -> None:
    """A request may come from anywhere: it names no file of the workspace to be run but what the profile declares."""
    for spec in asked:
        if is_own(spec.name) and spec.name not in known:
            raise BadInput(
                f"guardrail {spec.name!r} is a function that the profile does not declare",
                thing="guardrailMetrics",
                value=spec.name,
                remedy="declare it under metrics.guardrails of the profile; a request can then name it",
            )


def _fairness(metrics: MetricsSpec, task: Task) -> list[Criterion]:
    if metrics.fairness and task != "classification":
        raise BadInput(
            f"metrics.fairness compares rates of a predicted class, the model is for {task}",
            thing="metrics.fairness",
            value=metrics.fairness[0].metric,
            remedy="declare the column under metrics.slices: each group is then a guardrail of its own",
        )
    return [
        Criterion(metric=spec.metric, role="guardrail", direction="lower", margin=spec.margin, group=spec.column)
        for spec in metrics.fairness
    ]


def _costs(metrics: MetricsSpec, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """By text of the labels.

    Raises:
        BadInput: `mean_cost` is among the metrics and there are no costs.
    """
    if "mean_cost" in names and not metrics.costs:
        raise BadInput(
            "the metric mean_cost needs metrics.costs",
            thing="metrics.costs",
            value="(none)",
            remedy="write what each error costs, for example costs: {1: {0: 100}, 0: {1: 5}} (true class, predicted class)",
        )
    return {
        label_text(true): {label_text(told): cost for told, cost in row.items()} for true, row in metrics.costs.items()
    }


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


def _guardrail(
    spec: GuardrailSpec,
    own: Mapping[str, ProfileGuardrail],
    task: Task,
    known: Mapping[str, Direction] | None = None,
) -> Criterion:
    metric = find_named(spec.name, task, spec.direction, known=known)
    margin, unit = spec.margin, spec.unit
    if margin is None and metric.name in own:
        margin, unit = own[metric.name].margin, own[metric.name].unit
    return Criterion(metric=metric.name, role="guardrail", direction=metric.direction, unit=unit, margin=margin or 0.0)
