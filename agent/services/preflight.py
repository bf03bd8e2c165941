"""What can be refused before anything is recorded, taken or moved?"""

from agent.deps import Deps
from agent.services import active, overtaken
from agent.services.champion import find_champion, last_known_good, require_movable
from agent.services.decide import means_of
from agent.services.measure import criteria_of
from agent.services.trust import require_known_store
from tools import windows
from tools.contracts.profile import Profile
from tools.contracts.request import RunOrder
from tools.errors import BadInput, Conflict, NotAllowed
from tools.rollout_plan import require_plannable


def require_sound(deps: Deps, profile: Profile, order: RunOrder) -> None:
    """Refuse an order that could only fail later, after minutes of training or after overtaking somebody.

    Raises:
        BadInput: criteria, window, strategy or version that mean nothing, or a rollout that cannot be planned for the target.
        NotFound: no such version.
        NotAllowed: a rollback in mode `observe`. Conflict: there is nothing to go back to.
    """
    require_movable(profile)
    require_known_store(deps, profile)
    if order.kind == "rollback":
        _require_way_back(deps, profile, order)
        return
    _require_no_rollout(deps, profile)
    require_plannable(profile.rollout, means_of(deps, profile))
    config = order.request.retraining_config
    criteria_of(profile, order.request.deployment_criteria)
    windows.parse_window(config.data_window or profile.data_window, order.as_of)
    windows.parse_strategy(config.validation_strategy or profile.validation_strategy)
    if order.kind == "retrain" and profile.training is None:
        raise BadInput(
            f"profile {profile.id!r} says nothing about training",
            thing="training",
            remedy="add a `training:` section, or hand in a version with `retrain judge`",
        )
    if order.candidate_version is not None:
        _require_candidate(deps, profile, order.candidate_version)


def _require_no_rollout(deps: Deps, profile: Profile) -> None:
    """A rollout whose process is gone still has its weight on the endpoint: one plan a model."""
    under_way = active.find(deps, profile)
    if under_way is None:
        return
    run_id, version = under_way.run.run_id, under_way.plan.candidate_version
    raise Conflict(
        f"run {run_id} is rolling out version {version} of {profile.registered_model!r} ({under_way.run.status})",
        thing="rollout",
        value=run_id,
        remedy=f"`retrain watch` goes on with it, `retrain rollout abort {profile.id}` takes it back",
    )


def _require_candidate(deps: Deps, profile: Profile, version: str) -> None:
    given, champion = deps.registry.get_version(profile.registered_model, version), find_champion(deps, profile)
    if champion is not None and champion.version == given.version:
        raise BadInput(
            f"version {given.version} of {given.name!r} is the champion itself",
            thing="candidate",
            value=given.version,
            remedy="name another version: `retrain history` lists what was champion when",
        )


def _require_no_rollback(deps: Deps, profile: Profile) -> None:
    """A second one would go back from what the first goes back to."""
    for run in deps.store.unfinished(profile.id):
        if run.kind == "rollback" and overtaken.way_back(deps, run.run_id) is not None:
            raise Conflict(
                f"rollback {run.run_id} of {profile.registered_model!r} is not over ({run.status})"
                + (f": {run.error}" if run.error else ""),
                thing="rollback",
                value=run.run_id,
                remedy=f"`retrain watch` or `retrain run --resume {run.run_id}` goes on with it; or name a version with --to",
            )


def _require_way_back(deps: Deps, profile: Profile, order: RunOrder) -> None:
    if profile.mode == "observe":
        raise NotAllowed(
            f"profile {profile.id!r} is in mode observe, which touches nothing: it cannot roll back",
            thing="mode",
            value=profile.mode,
            remedy="set `mode: recommend` or `mode: act` in the profile, or move the alias by hand",
        )
    champion, under_way = find_champion(deps, profile), active.find(deps, profile)
    if order.rollback_to is None:
        _require_no_rollback(deps, profile)
        if under_way is None and last_known_good(deps, profile, champion) is None:
            current = "there is no champion" if champion is None else f"version {champion.version} is champion"
            raise Conflict(
                f"{profile.registered_model!r} has no last known good version to go back to ({current})",
                thing="rollback",
                value=None if champion is None else champion.version,
                remedy=f"`retrain history {profile.id}` lists earlier champions; name one with --to",
            )
        return
    wanted = deps.registry.get_version(profile.registered_model, order.rollback_to)
    if under_way is None and champion is not None and champion.version == wanted.version:
        raise Conflict(
            f"version {wanted.version} of {wanted.name!r} is the champion already",
            thing="--to",
            value=wanted.version,
            remedy="name another version, or leave --to away for the last known good one",
        )
