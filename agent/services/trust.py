"""Does this store know the registry beside it? A fresh store must not forget everything silently."""

from agent.deps import Deps
from tools.contracts.profile import Profile
from tools.errors import BadInput, NotFound

STORE_TAG = "retraining.store"


def require_known_store(deps: Deps, profile: Profile) -> None:
    """Refuse an empty run store beside a registry that bears our tags for this model.

    Raises:
        BadInput: with the two remedies: bring the store back, or adopt the registry's state on purpose.
    """
    if not deps.store.is_empty() or deps.store.champions(profile.registered_model):
        return
    try:
        versions = deps.registry.list_versions(profile.registered_model)
    except NotFound:
        return
    strangers = {v.tags[STORE_TAG] for v in versions if STORE_TAG in v.tags} - {deps.store.identity()}
    if strangers:
        raise BadInput(
            f"the run store is empty, but versions of {profile.registered_model!r} bear the tags of another store: "
            "its runs, reviews, rollouts and champion history would be forgotten",
            thing="store",
            value=", ".join(sorted(strangers)),
            remedy="point `store:` in retraining.yaml to the store that made them; or, if it is lost for good, "
            f"`retrain init {profile.id} --adopt` takes the registry's present state over",
        )
