"""Which recorded decisions would another policy have made otherwise?"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from agent.deps import Deps
from agent.marked_yaml import read
from tools.contracts.record import DecisionRecord
from tools.errors import BadInput
from tools.replay import PolicyChange, Replayed, replay

MOST = 100_000
"""Recorded decisions looked at."""


def replay_all(deps: Deps, model: str | None, change: PolicyChange | None) -> Sequence[Replayed]:
    """Every recorded decision of a model, or of all, newest first."""
    runs = deps.store.list_runs(None if model is None else deps.load_profile(model).id, MOST)
    records = [run.decision_record for run in runs if run.decision_record is not None]
    return [replay(DecisionRecord.model_validate(record), change) for record in records]


def read_change(path: Path) -> PolicyChange:
    """A policy file: the parts of a profile's `metrics` and `rollout` that recorded intervals can be judged by.

    Raises:
        BadInput: A field that is not known, or a value out of its bounds; names file, line and field.
        NotFound: There is no such file.
    """
    document = read(path)
    try:
        return PolicyChange.model_validate(document.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"{document.where(first['loc'])}: {field}: {first['msg'].lower()}",
            thing=field,
            value=first.get("input"),
            remedy="metrics.primary.min_improvement|margin, metrics.guardrails[].name|margin, metrics.promote_on, "
            "metrics.on_inconclusive, metrics.slice_margin, metrics.allow_first_model and rollout.risk can be replayed",
        ) from None
