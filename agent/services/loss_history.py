"""What was measured of a model so far: its losses block by block, and its trainings. `tools.when` weighs by it.

Each look at the champion scores its recent rows and its baseline rows; cut into blocks they are losses of that version. Reports of
runs keep them, so a history grows with the runs, and a version's baseline rows stand beside its predecessor's last recent ones.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import floor
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from agent.deps import Deps
from agent.services import lineage
from agent.services.measure import criteria_of
from agent.services.recent import FAULTS
from agent.state import Run
from tools.contracts.when import LossCell, LossHistory, PastTraining
from tools.scored_rows import ScoredRows

MIN_ROWS: Final = 30
"""Rows (of a ranking: groups) of a block whose loss is measured."""
MOST_CELLS: Final = 104
"""Latest blocks that one look measures."""
MOST_RUNS: Final = 500


def measure(run: Run, rows: ScoredRows | None) -> tuple[LossCell, ...]:
    """The champion's loss on each whole block of labelled rows that it was not trained on."""
    trained = None if run.champion is None else lineage.read(run.champion).training_end
    if run.champion is None or trained is None or rows is None or not rows.n:
        return ()
    criteria, length = criteria_of(run.profile), run.profile.when.block.total_seconds()
    sign = -1.0 if criteria.primary.direction == "higher" else 1.0
    numbers = np.floor(rows.time / length).astype(np.int64)
    last = floor(run.order.as_of.timestamp() / length)
    found: list[LossCell] = []
    for number in np.unique(numbers)[-MOST_CELLS:].tolist():
        start = datetime.fromtimestamp(number * length, UTC)
        if number >= last or start < trained:
            continue  # not over yet, or partly trained on
        try:
            part = rows.at(numbers == number)
            n = part.counted(criteria)
            value = part.value(criteria) if n >= MIN_ROWS else float("nan")
        except FAULTS:
            continue
        if np.isfinite(value):
            end = datetime.fromtimestamp((number + 1) * length, UTC)
            found.append(
                LossCell(
                    version=run.champion.version, trained_until=trained, start=start, end=end, loss=sign * value, n=n
                )
            )
    return tuple(found)


def history(
    deps: Deps, run: Run, latest: Sequence[LossCell], labelled_until: datetime | None, earlier: Sequence[LossCell] = ()
) -> LossHistory:
    """Everything on record about this model's losses.

    Args:
        deps: The store is read.
        run: Names profile and champion.
        latest: Just measured; these hold where a run measured the same block before.
        labelled_until: Latest event time with a mature label.
        earlier: Losses kept elsewhere than in runs.
    """
    profile, cells, trainings = run.profile, list[LossCell](earlier), list[PastTraining]()
    for record in reversed(deps.store.list_runs(profile.id, MOST_RUNS)):
        output: dict[str, Any] = record.output or {}
        if record.run_id == run.run_id or record.created_at > deps.clock():
            continue
        looked: dict[str, Any] = output.get("staleness") or {}
        made: dict[str, Any] = output.get("retrainingResult") or {}
        rollout: dict[str, Any] = output.get("rollout") or {}
        cells += _cells(looked.get("losses") or ())
        if made.get("status") == "trained":
            seconds = made.get("seconds")
            moved = rollout.get("phase") == "promoted"
            trainings.append(
                PastTraining(at=record.created_at, minutes=None if seconds is None else seconds / 60, deployed=moved)
            )
    as_of = run.order.as_of
    known = [cell for cell in (*cells, *latest) if cell.end <= as_of and cell.end - cell.start == profile.when.block]
    champion = None if run.champion is None else lineage.read(run.champion)
    metric = criteria_of(profile).primary.metric
    return LossHistory(
        metric=metric,
        block=profile.when.block,
        version=None if champion is None else champion.version,
        trained_until=None if champion is None else champion.training_end,
        labelled_until=None if labelled_until is None else min(labelled_until, as_of),
        baseline=None if champion is None or champion.baseline is None else champion.baseline.metrics.get(metric),
        cells=tuple(known),
        trainings=tuple(trainings),
    )


def _cells(kept: Sequence[Any]) -> list[LossCell]:
    found: list[LossCell] = []
    for one in kept:
        try:
            found.append(LossCell.model_validate(one))
        except ValidationError:
            continue  # of another program's version: no evidence
    return found
