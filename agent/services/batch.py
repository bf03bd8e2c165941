"""Score the partitions that are due, outside any rollout."""

from dataclasses import dataclass
from datetime import datetime

from agent.deps import Deps
from agent.services.champion import find_champion
from tools.adapters.batch_target import BatchTargetAdapter, Scored
from tools.errors import BadInput, NotFound


@dataclass(frozen=True)
class Round:
    """What one round of scoring did."""

    scored: Scored
    writer: str | None
    """The version that writes from now on."""
    champion: str | None
    """By the registry."""


def score_due(deps: Deps, model_id: str, until: datetime | None = None) -> Round:
    """Scores what is due. The champion begins to write where nobody does yet.

    Raises:
        BadInput: The model's target is no batch target.
        NotFound: Nobody writes yet, and there is no champion.
        Unavailable: Rows or tables cannot be reached, or scoring failed by no fault of a version.
    """
    profile = deps.load_profile(model_id)
    target = deps.target_of(profile)
    if not isinstance(target, BatchTargetAdapter):
        raise BadInput(
            f"{profile.id} has a target of kind {profile.target.kind}: there are no partitions to score",
            thing="target.kind",
            value=profile.target.kind,
            remedy="target.kind: batch, with output and shadow",
        )
    champion = find_champion(deps, profile)
    if target.writer() is None:
        if champion is None:
            raise NotFound(
                f"{profile.id} has no champion that could score",
                thing="champion",
                remedy="deploy a first version, or set the champion's alias",
            )
        target.begin(champion.version)
    scored = target.score_due(until=until)
    return Round(scored, target.writer(), None if champion is None else champion.version)
