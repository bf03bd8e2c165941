"""How does a version that somebody else made become one we can prove, and go back to?"""

from datetime import datetime, timedelta
from pathlib import Path

from agent.deps import Deps
from agent.services import baseline as baselines
from agent.services import lineage
from agent.services.champion import find_champion
from agent.services.measure import measured
from tools.contracts.base import Contract
from tools.contracts.evidence import DatasetRef
from tools.contracts.profile import Profile
from tools.contracts.run import ChampionEvent
from tools.contracts.training import ModelVersion
from tools.errors import NotFound

JUST_AFTER = timedelta(microseconds=1)
"""Windows are half-open: this past a window's last row makes it part of the window."""


class Adopted(Contract):
    """What was recorded."""

    version: str
    golden_rows: int
    training_rows: int | None
    """Absent where the version's training window is not known: contamination cannot be checked for it."""


def adopt(
    deps: Deps,
    profile: Profile,
    *,
    version: ModelVersion | None = None,
    training: DatasetRef | None = None,
    as_of: datetime | None = None,
    by: str,
) -> Adopted:
    """Record golden rows, artifact digest and, where known, the training rows of the champion (or of `version`).

    Args:
        training: rows it was trained on; else read from the tags `retraining.training_start` and `_end`, if it has them.
        as_of: 'now' of the data; the clock's where absent.

    Raises:
        NotFound: the profile's rule finds no champion. Unavailable: the version cannot be loaded and scored.
    """
    found = version or find_champion(deps, profile)
    if found is None:
        raise NotFound(
            f"no champion of {profile.registered_model!r} by {profile.champion.by} {profile.champion.value!r}",
            thing="champion",
            value=profile.champion.value,
            remedy="set the alias on the version in production, or say in the profile how it is found",
        )
    until = as_of or deps.clock()
    run_id = f"adopt-{profile.id}-v{found.version}"
    folder = deps.run_dir(run_id)
    tracking_run = deps.tracking.open_run(run_id, profile.registered_model, {"retraining.kind": "adopt"})
    rows = training or _from_tags(deps, profile, found, folder)
    golden = rows or deps.data.write_labelled(
        profile.data, None, until, until, folder / "labelled.parquet", limit=profile.scoring.golden_rows
    )
    lineage.record(deps, profile, found, tracking_run, folder / "lineage", training=rows, golden_source=golden)
    if rows is not None:
        _baseline(deps, profile, deps.registry.get_version(found.name, found.version), rows, until, folder)
    deps.tracking.close_run(tracking_run)
    champion = find_champion(deps, profile)
    if champion is not None and champion.version == found.version:
        deps.store.record_champion(
            ChampionEvent(
                model_name=found.name,
                version=found.version,
                previous=None,
                how="adopted",
                run_id=None,
                at=deps.clock(),
                by=by,
                reason="found in the registry",
            )
        )
    return Adopted(
        version=found.version,
        golden_rows=min(golden.rows, profile.scoring.golden_rows),
        training_rows=None if rows is None else rows.rows,
    )


def _baseline(
    deps: Deps, profile: Profile, version: ModelVersion, training: DatasetRef, until: datetime, folder: Path
) -> None:
    """Record the version's metrics on the first weeks after its training window, and those rows, where they have labels."""
    if training.end is None:
        return
    start = training.end + JUST_AFTER
    end = min(start + profile.triggers.recent, until)
    if end <= start:
        return
    rows = deps.data.write_labelled(profile.data, start, end, until, folder / "first-weeks.parquet")
    if rows.rows < profile.metrics.min_rows:
        return
    job = lineage.scoring_job(profile, version.model_uri, rows.path, folder / "first-weeks-scored.parquet")
    scored = deps.scorer.score(job)
    if scored.output is None:
        return
    metrics, counted = measured(profile, rows.path, scored.output, folder / "first-weeks-rows.parquet")
    if metrics:
        lineage.record_baseline(
            deps, version, lineage.Baseline(metrics=metrics, rows=counted, holdout_digest=rows.digest)
        )
        baselines.record_rows(deps, profile, version, [(rows.path, scored.output, set())], folder)


def _from_tags(deps: Deps, profile: Profile, version: ModelVersion, folder: Path) -> DatasetRef | None:
    """The training rows read again from the source, where the version's tags name its window."""
    known = lineage.read(version)
    if known.training_start is None or known.training_end is None:
        return None
    end = known.training_end + JUST_AFTER
    rows = deps.data.write_labelled(profile.data, known.training_start, end, end, folder / "training.parquet")
    return rows if rows.rows else None
