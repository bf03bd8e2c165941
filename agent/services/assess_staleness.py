"""Is the champion stale, and may this run go on?"""

from datetime import datetime
from pathlib import Path
from typing import Any

from agent.deps import Deps
from agent.services import lineage
from agent.services.champion import last_known_good
from agent.services.measure import criteria_of, rows_of
from agent.state import Run
from tools import staleness, triggers
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.evidence import DatasetRef, StalenessReport, TriggerVerdict
from tools.contracts.peers import DriftReply, DriftRequest, DriftThresholds, Envelope, MonitoringConfig
from tools.errors import RetrainingError
from tools.value_interval import value_interval

WINDOW_ROWS = 50_000
"""Rows of the current window that drift and performance look at; more are sampled evenly."""


def assess(deps: Deps, run: Run) -> dict[str, Any]:
    """Measures staleness, asks the trigger's rule, keeps the reports with the run."""
    report, verdict = measure(deps, run)
    page = deps.run_dir(run.run_id) / "drift" / "drift.html"
    if page.exists():
        deps.tracking.log_file(run.tracking_run_id, page, "reports")
    deps.progress(f"staleness: {report.verdict}; trigger {run.order.request.retraining_config.trigger}: {verdict.code}")
    alert = verdict.code == "could_not_measure"
    notes = [f"alert: {verdict.statement}"] if alert else []
    return {"staleness": report.to_state(), "trigger": verdict.to_state(), "notes": notes}


def measure(deps: Deps, run: Run) -> tuple[StalenessReport, TriggerVerdict]:
    """The report and the trigger's verdict; touches nothing."""
    profile, as_of, folder = run.profile, run.order.as_of, deps.run_dir(run.run_id)
    start = as_of - profile.triggers.recent
    reach = deps.data.time_range(profile.data, as_of)
    drift, drift_failure = _drift(deps, run, start, folder)
    performance, performance_failure = _performance(deps, run, start, folder)
    events = deps.store.champions(profile.registered_model)
    way_back = last_known_good(deps, profile, run.champion)
    report = staleness.assess(
        profile_triggers=profile.triggers,
        trained_until=None if run.champion is None else lineage.read(run.champion).training_end,
        newest_row=None if reach is None else reach[1],
        as_of=as_of,
        drift=drift,
        drift_failure=drift_failure,
        performance=performance,
        performance_failure=performance_failure,
        primary=profile.metrics.primary.name,
        promoted_at=events[0].at if events else None,
        last_known_good=None if way_back is None else way_back.version,
    )
    finished = [record for record in deps.store.list_runs(profile.id) if record.status == "finished"]
    verdict = triggers.judge_trigger(
        trigger=run.order.request.retraining_config.trigger,
        report=report,
        triggers=profile.triggers,
        last_finished=finished[0].updated_at if finished else None,
        now=deps.clock(),
    )
    return report, verdict


def _drift(deps: Deps, run: Run, start: datetime, folder: Path) -> tuple[DriftReply | None, str | None]:
    """The drift-detective's reply, or why there is none that counts."""
    profile = run.profile
    if profile.triggers.drift is None:
        return None, "the profile has no drift trigger"
    if run.champion is None:
        return None, "there is no champion to compare with"
    try:
        reference = lineage.fetch(deps, run.champion, "reference", folder)
        if reference is None:
            return None, f"the training rows of version {run.champion.version} are not on record"
        current = deps.data.write_window(profile.data, start, run.order.as_of, folder / "current.parquet", WINDOW_ROWS)
        if current.rows == 0:
            return None, f"there are no rows since {start:%Y-%m-%d}"
        request = Envelope[DriftRequest](
            schema_version=SCHEMA_VERSION,
            run_id=run.run_id,
            model_id=profile.id,
            model_version=run.champion.version,
            data_window_digest=current.digest,
            sent_at=deps.clock(),
            sender="retraining-orchestrator",
            payload=DriftRequest(
                model_id=profile.id,
                monitoring_config=MonitoringConfig(
                    reference_data=str(reference), current_data_window=current.path, features=profile.data.features
                ),
                thresholds=DriftThresholds(
                    data_drift=profile.triggers.drift.share_of_columns, min_effect=profile.triggers.drift.min_effect
                ),
            ),
        )
        report_folder = folder / "drift"
        report_folder.mkdir(exist_ok=True, mode=0o700)
        reply = deps.drift_detective.detect(request, report_folder)
    except RetrainingError as failure:
        return None, failure.message
    if (reply.run_id, reply.model_id, reply.data_window_digest) != (run.run_id, profile.id, current.digest):
        return None, f"{reply.sender} answered about another run, model or window"
    return reply.payload, None


def _performance(
    deps: Deps, run: Run, start: datetime, folder: Path
) -> tuple[staleness.PerformanceEvidence | None, str | None]:
    """The champion scored on recent mature labels, held against its recorded baseline."""
    profile, primary = run.profile, run.profile.metrics.primary
    if profile.triggers.performance is None or run.champion is None:
        return None, "there is no performance trigger" if run.champion else "there is no champion to measure"
    known = lineage.read(run.champion)
    baseline = None if known.baseline is None else known.baseline.metrics.get(primary.name)
    if known.baseline is None or baseline is None:
        return None, f"no baseline {primary.name} is on record for version {run.champion.version}"
    try:
        rows = deps.data.write_labelled(
            profile.data, start, run.order.as_of, run.order.as_of, folder / "recent.parquet", limit=WINDOW_ROWS
        )
        if rows.rows < profile.metrics.min_rows:
            return _without_labels(run, known.baseline, baseline, rows), None
        deps.progress(f"scoring {rows.rows:,} recent rows with the champion")
        job = lineage.scoring_job(
            profile, run.champion.model_uri, rows.path, folder / "recent-scored.parquet", known.artifact_digest
        )
        scored = deps.scorer.score(job)
    except RetrainingError as failure:
        return None, failure.message
    if scored.status != "scored" or scored.output is None:
        return None, scored.statement
    criteria = criteria_of(profile)
    paired = rows_of(profile, rows.path, scored.output, folder / "recent-rows.parquet")
    value = value_interval(rows=paired, criteria=criteria)
    if value is None:
        return None, f"{primary.name} is undefined on the {rows.rows} recent rows"
    return (
        staleness.performance_evidence(
            metric=primary.name,
            direction=criteria.primary.direction,
            baseline=baseline,
            baseline_n=known.baseline.rows,
            recent=value.value,
            recent_low=value.low,
            recent_high=value.high,
            n=rows.rows,
        ),
        None,
    )


def _without_labels(
    run: Run, recorded: lineage.Baseline, baseline: float, rows: DatasetRef
) -> staleness.PerformanceEvidence:
    return staleness.PerformanceEvidence(
        metric=run.profile.metrics.primary.name,
        direction=criteria_of(run.profile).primary.direction,
        baseline=baseline,
        baseline_n=recorded.rows,
        n=rows.rows,
    )
