"""Which rollout of a model is under way? Read from the recorded effects, so that a killed run is seen too."""

from collections.abc import Iterator
from typing import NamedTuple

from agent.deps import Deps
from tools.contracts.profile import Profile
from tools.contracts.rollout import RolloutPlan
from tools.contracts.run import RunRecord


class ActiveRollout(NamedTuple):
    """A run whose plan was stored and neither promoted nor taken back."""

    run: RunRecord
    plan: RolloutPlan


def plan_of(deps: Deps, run_id: str) -> RolloutPlan | None:
    """The newest plan of the run; None where there is none, or its candidate has become champion."""
    effects = {effect.name: effect for effect in deps.store.effects(run_id)}
    attempts = [int(name.removeprefix("plan-")) for name in effects if name.startswith("plan-")]
    if not attempts:
        return None
    promoted = effects.get(f"promote-{max(attempts)}")
    if promoted is not None and promoted.status == "done":
        return None
    return RolloutPlan.model_validate(effects[f"plan-{max(attempts)}"].intent)


def find(deps: Deps, profile: Profile) -> ActiveRollout | None:
    """The rollout of this model that is under way, whoever runs it and even where its process is gone."""
    return next((found for found in all_of(deps, profile.id) if found.run.model_name == profile.registered_model), None)


def all_of(deps: Deps, model_id: str | None = None) -> Iterator[ActiveRollout]:
    """All rollouts under way, newest first."""
    for record in deps.store.unfinished(model_id):
        plan = plan_of(deps, record.run_id)
        if plan is not None:
            yield ActiveRollout(record, plan)
