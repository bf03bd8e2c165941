"""Which rules watch a rollout, and does one of them fire? What is shown to people and exported is what runs.

A condition is `LEFT OP RIGHT`. LEFT is `healthy`, `observed_weight`, or `outcome`, what the looks so far say together about the
metric against the last known good version (`tools/canary.py`); OP is == or !=; RIGHT is true, false, `weight` (the percent that
was set), `harmful` or `safe`. What is unknown on either side gives neither true nor false.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from tools.contracts.rollout import MonitoringRule, RolloutPlan, SignalVerdict
from tools.errors import BadInput

LOOK_AGAIN: Final = timedelta(minutes=1)
"""Between looks where the plan has nothing to go by."""
_CONDITION: Final = re.compile(r"(healthy|observed_weight|outcome) (==|!=) (true|false|weight|harmful|safe)")


def checks(plan: RolloutPlan) -> tuple[MonitoringRule, ...]:
    """What must hold while the plan runs and bakes."""
    every = look_interval(plan)
    told = (
        MonitoringRule(
            metric="health", condition="healthy == true", interval=every, statement="The target reports good health."
        ),
        MonitoringRule(
            metric="traffic",
            condition="observed_weight == weight",
            interval=every,
            statement="The target serves the share it was told to.",
        ),
    )
    return told + tuple(
        MonitoringRule(
            metric=metric.name,
            condition="outcome == safe",
            interval=metric.interval,
            statement=f"{metric.name} has worsened by no more than {metric.margin:g} against version {plan.last_known_good}.",
        )
        for metric in plan.metrics
    )


def triggers(plan: RolloutPlan) -> tuple[MonitoringRule, ...]:
    """What rolls back, each by itself: bad health, another share than was set, harm in a critical metric."""
    every = look_interval(plan)
    told = (
        MonitoringRule(
            metric="health", condition="healthy == false", interval=every, statement="The target reports bad health."
        ),
        MonitoringRule(
            metric="traffic",
            condition="observed_weight != weight",
            interval=every,
            statement="The target serves another share than it was told to.",
        ),
    )
    return told + tuple(
        MonitoringRule(
            metric=metric.name,
            condition="outcome == harmful",
            interval=metric.interval,
            statement=f"{metric.name} has surely worsened by more than {metric.margin:g} against version "
            f"{plan.last_known_good}.",
        )
        for metric in plan.metrics
        if metric.critical
    )


def look_interval(plan: RolloutPlan) -> timedelta:
    """The shortest interval of the plan's metrics."""
    return min((metric.interval for metric in plan.metrics), default=LOOK_AGAIN)


def fires(rule: MonitoringRule, values: Mapping[str, Any]) -> bool | None:
    """Whether the condition holds; None where a side of it is unknown.

    Args:
        rule: A check or a trigger.
        values: `healthy`, `observed_weight`, `weight`, and for a metric's rule its `outcome`; None is unknown.

    Raises:
        BadInput: The condition is no condition.
    """
    read = _CONDITION.fullmatch(rule.condition)
    if read is None:
        raise BadInput(
            f"rule for {rule.metric}: cannot read {rule.condition!r}",
            thing="condition",
            value=rule.condition,
            remedy="write `LEFT OP RIGHT`, e.g. `outcome == harmful`",
        )
    left, sign, right = read.groups()
    wanted: Any = values.get("weight") if right == "weight" else {"true": True, "false": False}.get(right, right)
    known = values.get(left)
    if known is None or wanted is None:
        return None
    return (known == wanted) is (sign == "==")


def outcome(verdict: SignalVerdict | None) -> str | None:
    """The value of a metric's rule; None where nothing could be told for want of data or of a look."""
    return None if verdict is None or verdict.outcome in ("no_data", "error") else verdict.outcome
