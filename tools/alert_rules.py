"""Which of a plan's triggers can Prometheus watch too, and how are they written for it?

A rule here reads counters over a window, so it is coarser than the looks of `tools/canary.py`. It therefore asks for more: the
worsening must exceed the margin by `Z` standard errors, on enough samples of both versions, for as many looks as the metric's
`failure_limit` lets pass. Missing series are an alert of their own that rolls nothing back: no data is never harm.
"""

import re
from datetime import timedelta
from typing import Any, Final, NamedTuple

import yaml

from tools import monitoring
from tools.contracts.rollout import RolloutMetric, RolloutPlan
from tools.errors import BadInput

Z: Final = 4.0
"""Standard errors beyond the margin. A rule is evaluated again and again, unlike a test that is done once."""
WINDOW: Final = timedelta(minutes=5)
"""Least window; longer where a metric's interval is."""
SLOW_SHARE: Final = 0.05
"""Of the champion's answers are slow by definition: what `tools.canary.SLOW` leaves. Written anew, for that module loads numpy."""
ACTION: Final = "rollback"


class SeriesNames(NamedTuple):
    """Names of the counters and of the label that tells versions apart: those of the embedded Envoy."""

    label: str = "envoy_cluster_name"
    server: str = "version_{version}"
    """The label of a version's own server. Envoy writes `_` for `:` in the names of clusters."""
    answering: str = "version_{version}(_else_.+)?"
    """Pattern of the label wherever a version answers: its share of the traffic goes to it and a stand-in, mirrored requests and
    the stable version's to the server alone. Envoy counts answers where the route sent the request."""
    answers: str = "envoy_cluster_upstream_rq_completed"
    failures: str = 'envoy_cluster_upstream_rq_xx{{{selector},envoy_response_code_class="5"}}'
    """With its selector: the class is a label of its own."""
    milliseconds: str = "envoy_cluster_upstream_rq_time"
    """A histogram: `_count` and `_bucket`."""
    healthy: str = "envoy_cluster_membership_healthy"


ENVOY: Final = SeriesNames()


class Exported(NamedTuple):
    """The rule file, and what of the plan it cannot watch."""

    text: str
    left_out: tuple[str, ...]


def export(plan: RolloutPlan, *, model_id: str, run_id: str, names: SeriesNames = ENVOY) -> Exported:
    """A Prometheus rule file for the plan's triggers.

    Args:
        plan: As stored; its digest stands in every label, so that an alert of another plan moves nothing.
        model_id: Profile id.
        run_id: The run that does the rollout.
        names: Of the series.

    Raises:
        BadInput: The plan names no candidate yet.
    """
    if plan.candidate_version is None:
        raise BadInput("the plan names no candidate version", thing="plan", remedy="register the candidate first")
    labels = {
        "retraining_model": model_id,
        "retraining_run": run_id,
        "retraining_plan": plan.digest,
        "retraining_version": plan.candidate_version,
    }
    server, answering = _server(names, plan.candidate_version), _answering(names, plan.candidate_version)
    unhealthy = f"max({names.healthy}{{{server}}}) < 1"
    rules = [_rule("RetrainingCandidateUnhealthy", unhealthy, 30, labels, _HEALTH, acts=True)]
    left_out: list[str] = []
    watched = {trigger.metric for trigger in monitoring.triggers(plan)}
    for metric in plan.metrics:
        expression = _expression(names, plan, metric)
        if expression is None:
            left_out.append(metric.name)
            continue
        told = f"{metric.name} of version {plan.candidate_version} is worse than that of version {plan.last_known_good} by more than "
        told += f"{metric.margin:g} and {Z:g} standard errors."
        held_for = int(metric.interval.total_seconds() * metric.failure_limit)
        name = f"Retraining{metric.name.title().replace('_', '')}Harmful"
        rules.append(_rule(name, expression, held_for, labels, told, acts=metric.name in watched))
    # Sums, so that both sides lose their labels: one alert, not two.
    silent = f"absent(sum({names.healthy}{{{server}}})) or absent(sum({names.answers}{{{answering}}}))"
    rules.append(_rule("RetrainingNoData", silent, 300, labels, _SILENT, acts=False))
    left_out.append("traffic")
    group = {
        "name": f"retraining.{model_id}.{run_id}",
        "interval": _duration(min(monitoring.look_interval(plan), timedelta(minutes=1))),
        "rules": rules,
    }
    head = f"# Rollout {run_id} of {model_id}, plan {plan.digest}.\n"
    head += f"# Watched by `retrain watch` alone: {', '.join(left_out)}.\n"
    return Exported(head + yaml.safe_dump({"groups": [group]}, sort_keys=False, width=200), tuple(left_out))


_HEALTH: Final = "The candidate's server fails its health check."
_SILENT: Final = "The series of the candidate are missing: it is not watched. Nothing is rolled back for want of data."


def _rule(name: str, expression: str, seconds: int, labels: dict[str, str], told: str, *, acts: bool) -> dict[str, Any]:
    action = {"severity": "page", "retraining_action": ACTION} if acts else {"severity": "ticket"}
    rule: dict[str, Any] = {"alert": name, "expr": expression}
    if seconds:
        rule["for"] = f"{seconds}s"
    return {**rule, "labels": {**labels, **action}, "annotations": {"summary": told}}


def _server(names: SeriesNames, version: str) -> str:
    return f'{names.label}="{_quoted(names.server.format(version=version))}"'


def _answering(names: SeriesNames, version: str) -> str:
    return f'{names.label}=~"{_quoted(names.answering.format(version=re.escape(version)))}"'


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _expression(names: SeriesNames, plan: RolloutPlan, metric: RolloutMetric) -> str | None:
    """None where the endpoint counts nothing of the kind: predictions and labels are not among its series."""
    if plan.last_known_good is None or plan.candidate_version is None:
        return None
    window = _duration(max(WINDOW, metric.interval))
    sides = [_answering(names, version) for version in (plan.candidate_version, plan.last_known_good)]
    if metric.name == "errors":
        return _errors(names, sides, metric, window)
    return _latency(names, sides, metric, window) if metric.name == "latency_ms" else None


def _errors(names: SeriesNames, sides: list[str], metric: RolloutMetric, window: str) -> str:
    counts = [f"sum(increase({names.answers}{{{side}}}[{window}]))" for side in sides]
    # A class that never occurred has no series: that is none, where there are answers at all.
    failed = [f"(sum(increase({names.failures.format(selector=side)}[{window}])) or vector(0))" for side in sides]
    shares = [f"({bad} / {count})" for bad, count in zip(failed, counts, strict=True)]
    errors = [f"{p} * (1 - {p}) / {n}" for p, n in zip(shares, counts, strict=True)]
    gap = f"{shares[0]} - {shares[1]} - {Z:g} * sqrt({' + '.join(errors)}) > {metric.margin!r}"
    return f"({gap}) and {_enough(counts, metric)}"


def _latency(names: SeriesNames, sides: list[str], metric: RolloutMetric, window: str) -> str:
    """The plan's unit, a share of slow answers, by the histogram: at a bound that at most `SLOW_SHARE` of the champion's answers
    exceed, the candidate's share beyond it is no larger than its share beyond the champion's quantile. So what lies between two
    bounds is not seen, and what is seen is there. The champion's quantile is that of the window, and failed answers count."""
    counts = [f"sum(increase({names.milliseconds}_count{{{side}}}[{window}]))" for side in sides]
    within = [f"sum by (le) (increase({names.milliseconds}_bucket{{{side}}}[{window}]))" for side in sides]
    fast = [f"({bucket} / scalar({count}))" for bucket, count in zip(within, counts, strict=True)]
    errors = (
        f"(1 - {fast[0]}) * {fast[0]} / scalar({counts[0]}) + {SLOW_SHARE * (1 - SLOW_SHARE)!r} / scalar({counts[1]})"
    )
    gap = f"1 - {fast[0]} - {SLOW_SHARE!r} - {Z:g} * sqrt({errors}) > {metric.margin!r}"
    # At any of the bounds, and without their label: one alert.
    return f"max(({gap}) and (1 - {fast[1]} <= {SLOW_SHARE!r})) and {_enough(counts, metric)}"


def _enough(counts: list[str], metric: RolloutMetric) -> str:
    return " and ".join(f"({count} >= {metric.min_samples})" for count in counts)


def _duration(time: timedelta) -> str:
    return f"{max(1, int(time.total_seconds()))}s"
