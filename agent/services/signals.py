"""What do the answers and labels so far say about the plan's metrics?"""

from datetime import datetime

from agent.deps import Deps
from agent.state import Run
from tools.contracts.rollout import RolloutPlan, RolloutStatus, SignalVerdict
from tools.errors import RetrainingError

MOST_ROWS = 100_000
"""First answers of each version that a look reads whole; of each doubling beyond, half as many more."""


def read(deps: Deps, run: Run, plan: RolloutPlan, status: RolloutStatus) -> tuple[SignalVerdict, ...]:
    """A verdict on each metric of the plan; `error` on all of them where the log could not be read.

    A canary is judged on what both versions answered since it began. A rollout at once has no champion beside it: the
    champion's answers of as long before as the plan may last are held against it.
    """
    if not plan.metrics or plan.candidate_version is None or plan.last_known_good is None:
        return ()
    log = deps.traffic_log_of(run.profile, deps.target_of(run.profile))
    if log is None:
        return tuple(_unread(plan, "there is no log of answers any more"))
    from tools.canary import judge

    now = deps.clock()
    try:
        observations = log.observations(
            (plan.last_known_good, plan.candidate_version), _since(plan, status, now), now, MOST_ROWS
        )
    except RetrainingError as failure:
        deps.progress(f"the log of answers could not be read: {failure.message}")
        return tuple(_unread(plan, failure.message))
    return judge(
        metrics=plan.metrics,
        observations=observations,
        champion=plan.last_known_good,
        candidate=plan.candidate_version,
        alpha=plan.alpha,
        task=run.profile.task,
    )


def _since(plan: RolloutPlan, status: RolloutStatus, now: datetime) -> datetime:
    began = min(status.started_at or now, now)
    return began if plan.strategy == "canary" else began - plan.max_duration


def _unread(plan: RolloutPlan, why: str) -> list[SignalVerdict]:
    return [
        SignalVerdict(name=metric.name, outcome="error", critical=metric.critical, statement=f"{metric.name}: {why}")
        for metric in plan.metrics
    ]
