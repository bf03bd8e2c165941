"""How do things stand beside runs and reviews, and what keeps them still? The part of the desk that a conversation needs.

Which models there are, who is champion, where a rollback would lead, what is held; and pausing and letting go.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from agent.deps import silent
from agent.profiles import list_profiles
from agent.services import active, holds
from agent.services.champion import find_champion, last_known_good
from tools.contracts.access import AT_HOME, Caller, Scope
from tools.contracts.profile import Profile
from tools.contracts.run import Hold
from tools.errors import NotAllowed, RetrainingError

if TYPE_CHECKING:
    from agent.bootstrap import App


class Standing(NamedTuple):
    """One model, now."""

    profile: Profile
    champion: str | None
    """Version in production; None where there is none."""
    way_back: str | None
    """Version that a rollback would go to."""


class Standings:
    """See the module. Takes who asks, as the desk does."""

    def __init__(self, app: "App", model_of: Callable[[Caller, str], str]) -> None:
        """
        Args:
            app: Services.
            model_of: The id of a profile that the caller may touch; refuses any other.
        """
        self._app, self._model_of = app, model_of

    def models(self, caller: Caller) -> Sequence[str]:
        """Ids of the profiles that he may touch. Scope `read`."""
        require(caller, "read")
        return [entry.id for entry in list_profiles(self._app.workspace) if may_touch(caller, entry.id)]

    def of(self, caller: Caller, model_id: str) -> Standing:
        """A model's profile, champion and way back. Scope `read`.

        Raises:
            NotAllowed: it is none of his. BadInput: there is no such profile.
        """
        require(caller, "read")
        deps = self._app.deps
        profile = deps.load_profile(self._model_of(caller, model_id))
        champion = find_champion(deps, profile)
        rollout = active.find(deps, profile)
        # In mid-rollout the champion was never replaced: it is the way back itself.
        taking = rollout is not None and champion is not None and champion.version != rollout.plan.candidate_version
        back = champion if taking else last_known_good(deps, profile, champion)
        return Standing(profile, champion and champion.version, back and back.version)

    def holds(self, caller: Caller) -> Sequence[Hold]:
        """What is held, of what he may touch. Scope `read`."""
        require(caller, "read")
        found = self._app.deps.store.holds()
        if caller.models is None:
            return found
        own = {holds.of_model(self._app.deps.load_profile(model).registered_model) for model in caller.models}
        return [hold for hold in found if hold.scope in own | {holds.ALL}]

    def pause(self, caller: Caller, why: str) -> Hold:
        """Stop all but rollbacks, as `retrain pause --all`. At home alone, and scope `run`."""
        require(caller, "run")
        _require_home(caller, 'retrain pause --all --reason "…"')
        return holds.put(self._app.deps, holds.ALL, why, by=caller.name)

    def release(self, caller: Caller, why: str, model_id: str | None = None) -> Hold:
        """Let a model, or everything, go on. At home alone, and an approver.

        Raises:
            NotAllowed: not an approver, an agent, or at another door. NotFound: nothing is held.
        """
        require(caller, "review")
        what = "resume --all" if model_id is None else f"release {model_id}"
        _require_home(caller, f'retrain {what} --reason "…"')
        deps = self._app.deps
        if model_id is None:
            return holds.release(deps, holds.ALL, why, approvers=all_approvers(self._app), by=caller.name)
        profile = deps.load_profile(self._model_of(caller, model_id))
        scope = holds.of_model(profile.registered_model)
        return holds.release(deps, scope, why, approvers=profile.review.approvers, by=caller.name)


def all_approvers(app: "App", tell: Callable[[str], None] = silent) -> set[str]:
    """Who may answer for any profile; one that cannot be read names nobody."""
    known: set[str] = set()
    for entry in list_profiles(app.workspace):
        try:
            known |= set(app.deps.load_profile(entry.id).review.approvers)
        except RetrainingError as error:
            tell(f"profile {entry.id!r} cannot be read: {error.message}")
    return known


def may_touch(caller: Caller, profile_id: str) -> bool:
    """Whether a profile is among those that he may touch."""
    return caller.models is None or profile_id in caller.models


def require(caller: Caller, scope: Scope) -> None:
    """Raises `NotAllowed` where the scope is missing."""
    if scope not in caller.scopes:
        raise NotAllowed(
            f"{caller.name!r} may not {scope.replace('_', ' ')}: the scope {scope!r} is missing",
            thing="scope",
            value=scope,
            remedy="use a key that has it",
        )


def _require_home(caller: Caller, command: str) -> None:
    if caller.door not in AT_HOME or caller.kind != "person":
        raise NotAllowed(
            "pausing and letting go is for people at a terminal of this machine",
            thing="door",
            value=caller.door,
            remedy=f"`{command}` there",
        )
