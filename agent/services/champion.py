"""Which version is in production, which is the way back, and how does production move?"""

from agent.deps import Deps
from agent.services import overtaken
from agent.services.effects import Result, once
from tools.contracts.profile import Profile
from tools.contracts.run import ChampionEvent
from tools.contracts.training import ModelVersion
from tools.errors import BadInput, Conflict, NotFound


def find_champion(deps: Deps, profile: Profile) -> ModelVersion | None:
    """The version in production, found as the profile says; None where there is none yet."""
    name, rule = profile.registered_model, profile.champion
    if rule.by == "alias":
        return deps.registry.by_alias(name, rule.value)
    if rule.by == "stage":
        return deps.registry.by_stage(name, rule.value)
    if rule.by == "version":
        return deps.registry.get_version(name, rule.value)
    key, _, value = rule.value.partition("=")
    found = deps.registry.find_by_tag(name, key, value)
    if len(found) > 1:
        versions = ", ".join(version.version for version in found)
        raise BadInput(
            f"versions {versions} of {name!r} all bear the tag {rule.value!r}; one champion is expected",
            thing="champion",
            value=rule.value,
            remedy="leave the tag on one version",
        )
    return found[0] if found else None


def last_known_good(deps: Deps, profile: Profile, champion: ModelVersion | None) -> ModelVersion | None:
    """The version to go back to from `champion`: by alias, else the newest earlier champion of the history.

    A version that was rolled back from, and not deployed again since, is no good one.
    """
    name = profile.registered_model
    current = None if champion is None else champion.version
    marked = deps.registry.by_alias(name, profile.champion.last_known_good_alias)
    if marked is not None and marked.version != current:
        return marked
    seen, distrusted = {current}, set[str | None]()
    for event in deps.store.champions(name):
        if event.version not in seen and event.version not in distrusted:
            try:
                return deps.registry.get_version(name, event.version)
            except NotFound:
                pass
        seen.add(event.version)
        if event.how == "rolled_back" and event.previous not in seen:
            distrusted.add(event.previous)
    return None


def require_movable(profile: Profile) -> None:
    """Refuse to act where the profile finds the champion by something the orchestrator cannot move."""
    if profile.mode != "observe" and profile.champion.by in ("stage", "version"):
        raise BadInput(
            f"profile {profile.id!r} finds its champion by {profile.champion.by}, which cannot be moved",
            thing="champion.by",
            value=profile.champion.by,
            remedy="use `by: alias` (or tag), or `mode: observe`",
        )


def move_champion(
    deps: Deps,
    run_id: str,
    effect: str,
    profile: Profile,
    *,
    expected: str | None,
    to: str,
    event: ChampionEvent,
) -> Result:
    """Move production to version `to`, once, after re-reading that `expected` is still the champion.

    Raises:
        Conflict: somebody else moved it meanwhile.
    """
    name = profile.registered_model

    def found() -> Result | None:
        now = find_champion(deps, profile)
        return {"version": to} if now is not None and now.version == to else None

    def act() -> Result:
        now = find_champion(deps, profile)
        current = None if now is None else now.version
        if current != expected:
            raise Conflict(
                f"the champion of {name!r} is version {current}, not {expected} as this run found it",
                thing="champion",
                value=current,
                remedy="somebody else moved it: start a new run against the present champion",
            )
        _point(deps, profile, current, to)
        late = overtaken.by_rollback(deps, profile.id, run_id)
        if late is not None:
            rollback, back = late
            if back != to:
                _point(deps, profile, to, back)
            raise overtaken.stop(rollback, f"made version {to} champion")
        return {"version": to}

    result = once(deps, run_id, effect, {"from": expected, "to": to}, act, found)
    deps.store.record_champion(event)
    return result


def _point(deps: Deps, profile: Profile, current: str | None, to: str) -> None:
    """The alias, or the tag, from one version to another."""
    name, rule = profile.registered_model, profile.champion
    if rule.by == "alias":
        deps.registry.set_alias(name, rule.value, to)
        return
    key, _, value = rule.value.partition("=")
    if current is not None:
        deps.registry.set_tags(name, current, {key: f"was {value}"})
    deps.registry.set_tags(name, to, {key: value})
