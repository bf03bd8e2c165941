"""Which decision is meant, when somebody asks why?"""

from typing import Any, Final

from agent.deps import Deps
from tools.contracts.record import DecisionRecord
from tools.contracts.run import RunRecord
from tools.errors import Conflict, NotFound

_MOST: Final = 1000
"""Runs of a model that are looked through."""


def decided(deps: Deps, what: str, version: str | None = None) -> tuple[RunRecord, DecisionRecord]:
    """A run and what its decision rested on.

    Args:
        deps: Store and profiles.
        what: A run's id, or a model, whose newest decision is meant.
        version: Of a model: the decision about this candidate.

    Raises:
        NotFound: No such run or model, or no decision about that version. Conflict: the run has decided nothing.
    """
    try:
        runs = [deps.store.get_run(what)]
    except NotFound:
        runs = list(deps.store.list_runs(deps.load_profile(what).id, _MOST))
    if version is not None:
        runs = [run for run in runs if _candidate(run) == version.removeprefix("v")]
    found = next((run for run in runs if run.decision_record is not None), None)
    if found is None and version is None and len(runs) == 1:
        raise Conflict(
            f"run {runs[0].run_id} ({runs[0].status}) has decided nothing: there is nothing to explain",
            thing="run",
            value=runs[0].run_id,
            remedy=f"`retrain runs show {runs[0].run_id}` tells how far it came",
        )
    if found is None or found.decision_record is None:
        about = "" if version is None else f" about version {version}"
        raise NotFound(
            f"no decision{about} of {what} is on record",
            thing="model",
            value=what,
            remedy="`retrain runs list` shows what there is",
        )
    return found, DecisionRecord.model_validate(found.decision_record)


def _candidate(run: RunRecord) -> str | None:
    """The version that a run judged, as its output names it."""
    result: dict[str, Any] | None = (run.output or {}).get("retrainingResult")
    return None if result is None else str(result.get("newModelVersion"))
