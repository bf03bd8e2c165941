"""What does a version keep of the rows it was judged on? They are what later predictions, labels and performance are held against.

Recording is safe to repeat: the same rows give the same files, and a later write replaces an earlier one. It never stops a
promotion: what could not be recorded is said, and the check that needs it says so too.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from agent.deps import Deps
from agent.services import lineage
from agent.state import Findings, Run
from tools.contracts.profile import Profile
from tools.contracts.training import ModelVersion
from tools.errors import RetrainingError

BASELINE_ROWS = 20_000
IMPORTANCE_ROWS = 500
_FAULTS = (RetrainingError, OSError, ValueError, KeyError, TypeError)
"""What files, models and servers may do; nothing of it stops a promotion."""


def record_holdout(deps: Deps, run: Run, findings: Findings, version: ModelVersion) -> None:
    """Keep the holdout rows of the run's comparison, as the version's model scored them."""
    from tools.adapters import frames

    if findings.data is None:
        return
    folder = deps.run_dir(run.run_id)
    try:
        parts: list[tuple[str, str, set[str]]] = []
        known = lineage.fetch(deps, version, "row_hashes", folder) if run.order.kind == "judge" else None
        for number, fold in enumerate(findings.data.folds):
            trained_on = fold.training.path if run.order.kind != "judge" else known
            hashes = set[str]() if trained_on is None else frames.row_hashes(trained_on)
            parts.append((fold.holdout.path, str(folder / f"candidate-{number}.parquet"), hashes))
    except _FAULTS as failure:
        _say(deps, version, failure)
        return
    record_rows(deps, run.profile, version, parts, folder)


def record_rows(
    deps: Deps, profile: Profile, version: ModelVersion, parts: Sequence[tuple[str, str, set[str]]], folder: Path
) -> None:
    """Keep rows with the version's outputs, and how much each feature moves them.

    Args:
        parts: (rows, scores of the version, row hashes it was trained on) Parquet files.
        folder: Where files are made before they are logged.
    """
    from tools.adapters import scored_frames

    tracking_run = lineage.read(version).tracking_run
    if tracking_run is None:
        deps.progress(f"no baseline rows were recorded: version {version.version} has no tracking run on record")
        return
    try:
        rows = folder / "baseline.parquet"
        if not scored_frames.baseline_rows(parts, profile, BASELINE_ROWS, rows):
            deps.progress("no baseline rows were recorded: the version was trained on all of them")
            return
        deps.tracking.log_file(tracking_run, rows, "lineage")
        shares = _importance(deps, profile, version, rows, folder)
        if shares is not None:
            path = folder / "importance.json"
            path.write_text(json.dumps(shares, sort_keys=True), encoding="utf-8")
            deps.tracking.log_file(tracking_run, path, "lineage")
    except _FAULTS as failure:
        _say(deps, version, failure)


def _importance(
    deps: Deps, profile: Profile, version: ModelVersion, rows: Path, folder: Path
) -> dict[str, float] | None:
    """Permutation importance: one scoring job over copies of the rows, each with one feature shuffled."""
    from tools.adapters import scored_frames

    features = profile.data.features
    shuffled, scored = folder / "shuffled.parquet", folder / "shuffled-scored.parquet"
    count = scored_frames.shuffled_copies(rows, features, IMPORTANCE_ROWS, shuffled)
    deps.progress(f"measuring how much each of {len(features)} features moves version {version.version}")
    result = deps.scorer.score(lineage.scoring_job(profile, version.model_uri, str(shuffled), scored))
    if result.status != "scored" or result.output is None:
        deps.progress(f"the features' importance is not known: {result.statement}")
        return None
    return scored_frames.importance(result.output, features, count)


def _say(deps: Deps, version: ModelVersion, failure: BaseException) -> None:
    text = failure.message if isinstance(failure, RetrainingError) else f"{type(failure).__name__}: {failure}"
    deps.progress(f"no baseline rows were recorded for version {version.version}: {text}")
