"""What is held, by whom and why, and who may let it go?

Held is a model after a rollback, everything (`retrain pause --all`), or one rollout. A hold stops what goes on by itself; it never
stops a rollback, nor harm that a look finds from going back.
"""

from collections.abc import Collection
from typing import Final

from agent.deps import Deps
from agent.services import reviews
from tools.contracts.profile import Profile
from tools.contracts.request import RunOrder
from tools.contracts.run import Hold
from tools.errors import BadInput, Conflict, NotAllowed

ALL: Final = "all"
TRIGGERS: Final = "triggers"
"""Of every profile."""


def of_model(name: str) -> str:
    """The scope of a registered model."""
    return f"model:{name}"


def of_triggers(profile_id: str) -> str:
    """The scope of one profile's triggers."""
    return f"{TRIGGERS}:{profile_id}"


def of_rollout(run_id: str) -> str:
    """The scope of the rollout that a run does."""
    return f"rollout:{run_id}"


def found(deps: Deps, *scopes: str) -> Hold | None:
    """The hold in force under the first of these scopes that has one."""
    in_force = {hold.scope: hold for hold in deps.store.holds()}
    return next((in_force[scope] for scope in scopes if scope in in_force), None)


def put(deps: Deps, scope: str, why: str, *, by: str | None = None, run_id: str | None = None) -> Hold:
    """Set a hold, or return the one that stands. Anybody may stop things; `by` is the OS user where absent.

    Raises:
        BadInput: no reason.
    """
    _require_reason(why)
    person = reviews.os_user() if by is None else by
    return deps.store.set_hold(Hold(scope=scope, why=why, by=person, run_id=run_id, at=deps.clock()))


def release(deps: Deps, scope: str, why: str, *, approvers: Collection[str], by: str | None = None) -> Hold:
    """Let go what is held. `by` is the OS user here; other doors hand in whom they authenticated.

    Raises:
        BadInput: no reason. NotAllowed: not an approver. NotFound: nothing is held under that scope.
    """
    _require_reason(why)
    person = reviews.os_user() if by is None else by
    if person not in approvers:
        raise NotAllowed(
            f"{person!r} may not release {scope!r}; approvers: {', '.join(sorted(approvers)) or 'nobody'}",
            thing="approver",
            value=person,
            remedy="ask one of them, or add the name to `review.approvers` in the profile",
        )
    return deps.store.release_hold(scope, person, why, deps.clock())


def end_rollout(deps: Deps, run_id: str) -> None:
    """A rollout that is over is held by nobody any more, neither by its plan nor by a person."""
    scope = of_rollout(run_id)
    if found(deps, scope) is not None:
        deps.store.release_hold(scope, "policy", "the rollout is over", deps.clock())


def require_free(deps: Deps, profile: Profile, order: RunOrder) -> None:
    """Refuse a run that a hold forbids, before anything is recorded. A rollback is always allowed.

    On a held model a person may still train and judge; `why_no_rollout` then keeps the result from production.

    Raises:
        Conflict: names who holds it, why, and what to do.
    """
    if order.kind == "rollback":
        return
    require_going_on(deps, "no run starts")
    hold = found(deps, of_model(profile.registered_model))
    if hold is None:
        return
    if _by_a_person(order):
        deps.progress(
            f"{_told(hold, profile)}: this run may train and judge, but nothing is rolled out until it is released"
        )
        return
    config = order.request.retraining_config
    raise Conflict(
        f"{_told(hold, profile)}; a run by trigger {config.trigger_source or config.trigger!r} is refused",
        thing="hold",
        value=hold.scope,
        remedy=_release_command(profile),
    )


def require_going_on(deps: Deps, what: str) -> None:
    """Raises `Conflict` while everything is paused."""
    hold = found(deps, ALL)
    if hold is not None:
        raise Conflict(
            f"everything is paused by {hold.by} since {hold.at:%Y-%m-%d %H:%M} UTC ({hold.why}): {what}",
            thing="hold",
            value=ALL,
            remedy='`retrain resume --all --reason "…"` goes on; a rollback is allowed meanwhile',
        )


def why_no_rollout(deps: Deps, profile: Profile) -> str | None:
    """Why a rollout of this model may not start; None where it may."""
    hold = found(deps, of_model(profile.registered_model))
    return None if hold is None else f"{_told(hold, profile)} ({_release_command(profile)})"


def on_rollout(deps: Deps, profile: Profile, run_id: str) -> Hold | None:
    """The hold that keeps a rollout under way where it is; harm still takes it back."""
    return found(deps, ALL, of_rollout(run_id), of_model(profile.registered_model))


def _by_a_person(order: RunOrder) -> bool:
    config = order.request.retraining_config
    return config.trigger == "manual" and config.trigger_source is None


def _told(hold: Hold, profile: Profile) -> str:
    return f"{profile.registered_model!r} is held by {hold.by} since {hold.at:%Y-%m-%d %H:%M} UTC: {hold.why}"


def _release_command(profile: Profile) -> str:
    return f'`retrain release {profile.id} --reason "…"` by an approver lets it go'


def _require_reason(why: str) -> None:
    if not why.strip():
        raise BadInput("a hold is set and released with a reason", thing="reason", value=why, remedy='--reason "…"')
