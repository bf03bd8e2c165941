"""What does the champion say on the recent rows, and which of them have labels?

The window is sampled once and scored once. Where the sample is a part of the window and holds fewer labelled rows than are
wanted, a sample of labelled rows joins the same scoring job. Rows that the champion was trained on (up to the end of its training
window) say nothing about it: they keep their features for drift, and count for nothing else.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from agent.deps import Deps
from agent.services import lineage
from agent.services.measure import criteria_of
from agent.state import Run
from tools.contracts.evidence import DatasetRef
from tools.contracts.profiling import WindowSummary
from tools.contracts.training import ModelVersion
from tools.errors import RetrainingError
from tools.scored_rows import Mask, ScoredRows

WINDOW_ROWS = 50_000
"""Rows of the current window that are looked at; more are sampled evenly."""
LABELLED_ROWS = 20_000
"""Labelled rows wanted for performance, where the window has them."""
FAULTS = (RetrainingError, OSError, ValueError, KeyError, TypeError)
"""What sources, files and models may do: a part that could not be measured, never the end of the run."""


@dataclass(frozen=True)
class Recent:
    """The recent window as the champion sees it; what is None has its reason in `failure`.

    Attributes:
        window: The window's sample, as written.
        path: The same rows for the drift-detective, with the champion's outputs where it was scored.
        rows: Scored rows that the champion was not trained on.
        repeated: Which of them are baseline rows too.
        baseline: The baseline rows, coded alike.
        baseline_path: Their file.
        trained_on: Labelled rows left out because the champion was trained on them.
        failure: Why there are no scored rows.
        no_baseline: Why there are no baseline rows.
    """

    window: DatasetRef
    path: str
    rows: ScoredRows | None = None
    repeated: Mask | None = None
    baseline: ScoredRows | None = None
    baseline_path: str | None = None
    trained_on: int = 0
    failure: str | None = None
    no_baseline: str | None = None

    @property
    def labelled(self) -> ScoredRows | None:
        """Scored rows with a mature label."""
        return None if self.rows is None else self.rows.at(self.rows.labelled)

    @property
    def unlabelled(self) -> ScoredRows | None:
        """Scored rows without one."""
        return None if self.rows is None else self.rows.at(~self.rows.labelled)

    @property
    def history(self) -> ScoredRows | None:
        """All labelled rows that the champion was not trained on: baseline and recent, each once."""
        if self.rows is None or self.repeated is None:
            return None
        recent = self.rows.at(self.rows.labelled & ~self.repeated)
        return recent if self.baseline is None else self.baseline.and_also(recent)


def look(deps: Deps, run: Run, champion: ModelVersion, summary: WindowSummary | None, folder: Path) -> Recent:
    """Write the window, score it, read it beside the baseline rows.

    Raises:
        RetrainingError: The window itself could not be read.
    """
    start = run.order.as_of - run.profile.triggers.recent
    as_of = run.order.as_of
    window = deps.data.write_window(
        run.profile.data, start, as_of, folder / "current.parquet", WINDOW_ROWS, known_by=as_of
    )
    known = lineage.read(champion)
    baseline, no_baseline = _baseline(deps, champion, folder)
    made = Recent(window=window, path=window.path, no_baseline=no_baseline, baseline_path=baseline)
    if window.rows == 0:
        return _with(made, failure=f"there are no rows since {start:%Y-%m-%d}")
    try:
        scored = _score(deps, run, champion, summary, window, start, folder)
        if isinstance(scored, str):
            return _with(made, failure=scored)
        return _read(run, made, scored, baseline, known.training_end, folder)
    except FAULTS as failure:
        return _with(made, failure=said(failure))


def said(failure: BaseException) -> str:
    """What went wrong, in words for a report."""
    return failure.message if isinstance(failure, RetrainingError) else f"{type(failure).__name__}: {failure}"


def _score(
    deps: Deps,
    run: Run,
    champion: ModelVersion,
    summary: WindowSummary | None,
    window: DatasetRef,
    start: datetime,
    folder: Path,
) -> Path | str:
    """The rows with the champion's outputs beside them, or why there are none."""
    from tools.adapters import scored_frames

    rows = Path(window.path)
    if window.sampled_from is not None and summary is not None:
        wanted = min(LABELLED_ROWS, summary.labelled)
        if scored_frames.labelled_count(rows) < wanted:
            as_of, more = run.order.as_of, folder / "recent.parquet"
            deps.data.write_labelled(run.profile.data, start, as_of, as_of, more, limit=wanted)
            rows = scored_frames.with_labelled(rows, more, folder / "current-and-labelled.parquet")
    deps.progress(f"scoring {window.rows:,} recent rows with the champion")
    digest = lineage.read(champion).artifact_digest
    job = lineage.scoring_job(run.profile, champion.model_uri, str(rows), folder / "current-scored.parquet", digest)
    result = deps.scorer.score(job)
    if result.status != "scored" or result.output is None:
        return result.statement
    return scored_frames.write_outputs(rows, result.output, folder / "current-outputs.parquet")


def _read(
    run: Run, made: Recent, scored: Path, baseline: str | None, trained_until: datetime | None, folder: Path
) -> Recent:
    from tools.adapters import scored_frames

    profile = run.profile

    def read(beside: str | None) -> scored_frames.ScoredFiles:
        return scored_frames.read(
            beside,
            scored,
            profile,
            criteria=criteria_of(profile),
            with_features=profile.task == "regression",
        )

    no_baseline = made.no_baseline
    try:
        files = read(baseline)
    except FAULTS as failure:
        if baseline is None:
            raise
        # A baseline that cannot be read costs what rests on it, nothing else.
        files, baseline, no_baseline = read(None), None, f"the baseline rows could not be read: {said(failure)}"
    last = float("-inf") if trained_until is None else trained_until.timestamp()
    new = files.recent.whole(files.recent.time > last)
    path = scored_frames.window_with_outputs(
        scored, made.window.rows, profile, trained_until, folder / "current-for-drift.parquet"
    )
    return Recent(
        window=made.window,
        path=str(path),
        rows=files.recent.at(new),
        repeated=np.asarray(files.repeated[new], dtype=np.bool_),
        baseline=files.baseline,
        baseline_path=baseline,
        trained_on=int((files.recent.labelled & ~new).sum()),
        no_baseline=no_baseline,
    )


def _baseline(deps: Deps, champion: ModelVersion, folder: Path) -> tuple[str | None, str | None]:
    """The file of the champion's baseline rows, or why there is none."""
    try:
        path = lineage.fetch(deps, champion, "baseline", folder)
    except RetrainingError as failure:
        return None, f"the baseline rows could not be fetched: {failure.message}"
    if path is None:
        return None, (
            f"no baseline rows are on record for version {champion.version}; `retrain init PROFILE --adopt` records them"
        )
    return str(path), None


def _with(recent: Recent, *, failure: str) -> Recent:
    return Recent(
        window=recent.window,
        path=recent.path,
        baseline_path=recent.baseline_path,
        no_baseline=recent.no_baseline,
        failure=failure,
    )
