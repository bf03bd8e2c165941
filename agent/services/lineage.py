"""What do we know of a version's making? Recorded at registration; later proofs rest on it."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.deps import Deps
from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.evidence import DatasetRef
from tools.contracts.profile import Profile
from tools.contracts.training import ModelVersion, ScoringJob
from tools.errors import Unavailable

PREFIX = "retraining."
REFERENCE_ROWS = 50_000


class Baseline(Contract):
    """The version's metrics on the holdout it was promoted on."""

    metrics: dict[str, float]
    rows: int
    """Of a ranking: groups in which one order is worth more than another."""
    holdout_digest: str


class Lineage(Contract):
    """What the tags and artifacts of a version say. Absent means unknown, never empty."""

    version: str
    training_start: UtcDatetime | None = None
    training_end: UtcDatetime | None = None
    training_digest: str | None = None
    artifact_digest: str | None = None
    tracking_run: str | None = None
    baseline: Baseline | None = None


def read(version: ModelVersion) -> Lineage:
    """The lineage as the version's tags tell it."""
    tags = version.tags

    def tag(name: str) -> str | None:
        return tags.get(PREFIX + name)

    baseline = tag("baseline")
    return Lineage.model_validate(
        {
            "version": version.version,
            "training_start": tag("training_start"),
            "training_end": tag("training_end"),
            "training_digest": tag("training_digest"),
            "artifact_digest": tag("artifact_digest"),
            "tracking_run": tag("tracking_run"),
            "baseline": None if baseline is None else json.loads(baseline),
        }
    )


def fetch(deps: Deps, version: ModelVersion, name: str, folder: Path, suffix: str = "parquet") -> Path | None:
    """A lineage file of the version: `row_hashes`, `reference`, `golden_rows`, `golden_predictions`, `baseline` (holdout rows
    with its outputs) or `importance` (`suffix` json)."""
    run = read(version).tracking_run
    if run is None:
        return None
    return deps.tracking.fetch(run, f"lineage/{name}.{suffix}", folder / f"v{version.version}")


def fetched_rows(version: ModelVersion, folder: Path, names: Sequence[str]) -> int:
    """Rows of those lineage files of the version that `fetch` has put into the folder; a file that cannot be read has none."""
    from tools.adapters import parquet_rows

    total = 0
    for name in names:
        for path in (folder / f"v{version.version}").rglob(f"{name}.parquet"):
            with contextlib.suppress(OSError, ValueError):
                total += parquet_rows.count(path)
    return total


def record(
    deps: Deps,
    profile: Profile,
    version: ModelVersion,
    tracking_run_id: str,
    folder: Path,
    *,
    training: DatasetRef | None,
    golden_source: DatasetRef,
) -> dict[str, str]:
    """Store row hashes, reference rows, golden rows with their predictions and the artifact digest.

    Args:
        training: the rows the version was trained on; None where unknown (contamination is then `could not check`).
        golden_source: rows to take the golden ones from.

    Returns:
        The tags set on the version.

    Raises:
        Unavailable: the version cannot be loaded and scored; nothing is recorded.
    """
    from tools.adapters import frames

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    golden = frames.sample_rows(golden_source.path, profile.scoring.golden_rows, folder / "golden_rows.parquet")
    scored = deps.scorer.score(
        scoring_job(profile, version.model_uri, str(golden), folder / "golden_predictions.parquet")
    )
    if scored.status != "scored" or scored.artifact_digest is None:
        raise Unavailable(
            f"version {version.version} of {profile.registered_model!r} could not score its golden rows: {scored.statement}",
            thing="version",
            value=version.version,
            remedy="mend the model's artifacts or environment; nothing was recorded for it",
        )
    files = [golden, folder / "golden_predictions.parquet"]
    tags = {"artifact_digest": scored.artifact_digest, "tracking_run": tracking_run_id}
    if training is not None:
        files.append(frames.write_hashes(training.path, folder / "row_hashes.parquet"))
        files.append(frames.sample_rows(training.path, REFERENCE_ROWS, folder / "reference.parquet"))
        tags["training_digest"] = training.digest
        if training.start is not None and training.end is not None:
            tags |= {"training_start": training.start.isoformat(), "training_end": training.end.isoformat()}
    for file in files:
        deps.tracking.log_file(tracking_run_id, file, "lineage")
    marked = {PREFIX + name: value for name, value in tags.items()} | {PREFIX + "store": deps.store.identity()}
    deps.registry.set_tags(version.name, version.version, marked)
    return marked


def record_baseline(deps: Deps, version: ModelVersion, baseline: Baseline) -> None:
    """What the version achieved when it was promoted: the mark that later performance is held against."""
    content = json.dumps(baseline.to_state(), sort_keys=True)
    deps.registry.set_tags(version.name, version.version, {PREFIX + "baseline": content})


def scoring_job(profile: Profile, model_uri: str, rows: str, output: Path, digest: str | None = None) -> ScoringJob:
    """A scoring job within the profile's limits."""
    return ScoringJob(
        model_uri=model_uri,
        rows=rows,
        features=profile.data.features,
        output=str(output),
        task=profile.task,
        time_limit=profile.scoring.time_limit,
        memory_limit_mb=profile.scoring.memory_limit_mb,
        environment=profile.scoring.environment,
        expected_digest=digest,
    )


def golden(
    deps: Deps, profile: Profile, version: ModelVersion, folder: Path
) -> tuple[list[Any], list[Any], bool, str | None]:
    """Recorded and present predictions on the version's golden rows.

    Returns:
        (recorded, got, loaded, digest now). Empty lists where nothing was recorded.
    """
    from tools.adapters import frames

    rows = fetch(deps, version, "golden_rows", folder)
    expected = fetch(deps, version, "golden_predictions", folder)
    if rows is None or expected is None:
        return [], [], False, deps.scorer.digest(version.model_uri)
    output, digest = folder / f"golden-v{version.version}.parquet", read(version).artifact_digest
    scored = deps.scorer.score(scoring_job(profile, version.model_uri, str(rows), output, digest))
    got = [] if scored.status != "scored" or scored.output is None else frames.predictions(scored.output)
    return frames.predictions(expected), got, scored.status == "scored", scored.artifact_digest
