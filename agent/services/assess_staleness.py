"""Is the champion stale, and may this run go on?"""

from datetime import datetime
from pathlib import Path
from typing import Any

from agent.deps import Deps
from agent.services import lineage, loss_history, recent
from agent.services.champion import last_known_good
from agent.services.measure import criteria_of
from agent.services.recent import FAULTS, Recent, said
from agent.state import Run
from tools import peer_replies, staleness, triggers, when
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.evidence import Effort, Signal, StalenessReport, TriggerVerdict
from tools.contracts.peers import (
    DriftReply,
    DriftRequest,
    DriftThresholds,
    Envelope,
    MonitoringConfig,
    PerformanceClaim,
)
from tools.contracts.profiling import WindowSummary
from tools.errors import RetrainingError
from tools.estimated_loss import estimated_signal, not_estimated
from tools.estimation import Estimate, NotEstimated, estimate
from tools.label_delay import expected_delay, label_delay_signal
from tools.metrics import metric_named, noun
from tools.performance_loss import PerformanceEvidence, performance_evidence, performance_signal
from tools.scored_rows import ScoredRows


def assess(deps: Deps, run: Run) -> dict[str, Any]:
    """Measures staleness, asks the trigger's rule, keeps the reports with the run."""
    report, verdict = measure(deps, run)
    for name in ("drift.html", "drift.json"):
        page = deps.run_dir(run.run_id) / "drift" / name
        if page.exists():
            deps.tracking.log_file(run.tracking_run_id, page, "reports")
    deps.progress(f"staleness: {report.verdict}; trigger {run.order.request.retraining_config.trigger}: {verdict.code}")
    return {"staleness": report.to_state(), "trigger": verdict.to_state(), "notes": _alerts(report, verdict)}


def measure(deps: Deps, run: Run) -> tuple[StalenessReport, TriggerVerdict]:
    """The report and the trigger's verdict; touches nothing."""
    bounds = run.profile.validation
    deps.data.effort()  # what came before is no cost of this report
    with deps.data.budget(queries=bounds.max_queries, seconds=bounds.max_seconds):
        report = _measure(deps, run)
    profile = run.profile
    finished = [record for record in deps.store.list_runs(profile.id) if record.status == "finished"]
    verdict = triggers.judge_trigger(
        trigger=run.order.request.retraining_config.trigger,
        report=report,
        triggers=profile.triggers,
        last_finished=finished[0].updated_at if finished else None,
        now=deps.clock(),
    )
    return report, verdict


def _alerts(report: StalenessReport, verdict: TriggerVerdict) -> list[str]:
    """What a person should hear of although the run goes on, or ends, without asking."""
    told = [verdict.statement] if verdict.code == "could_not_measure" else []
    told += [s.statement for s in report.signals if s.rule == "label_delay" and s.outcome == "bad"]
    return [f"alert: {text}" for text in told]


def _measure(deps: Deps, run: Run) -> StalenessReport:
    profile, as_of, folder = run.profile, run.order.as_of, deps.run_dir(run.run_id)
    summary, no_summary = _summary(deps, run, as_of - profile.triggers.recent)
    seen, unseen = _look(deps, run, summary, folder)
    performance, unmeasured = _performance(run, seen, unseen)
    claim = _claim(run, performance, unmeasured)
    drift, drift_failure = _drift(deps, run, seen, unseen, claim, folder)
    events = deps.store.champions(profile.registered_model)
    way_back = last_known_good(deps, profile, run.champion)
    report = staleness.assess(
        profile_triggers=profile.triggers,
        trained_until=None if run.champion is None else lineage.read(run.champion).training_end,
        newest_row=_newest(deps, run, summary),
        as_of=as_of,
        drift=drift,
        drift_failure=drift_failure,
        performance=performance,
        performance_failure=unmeasured,
        primary=profile.metrics.primary.name,
        target=profile.data.target,
        estimated=_estimated(run, seen, unseen, summary),
        label_delay=_label_delay(deps, run, summary, no_summary),
        sides_failure=None if seen is None else seen.failure or seen.no_baseline,
        promoted_at=events[0].at if events else None,
        last_known_good=None if way_back is None else way_back.version,
        nothing_recent=_nothing_recent(run, summary, seen, no_summary),
        effort=_effort(deps, run, folder),
    )
    return _weighed(deps, run, report, seen, summary)


def _weighed(
    deps: Deps, run: Run, report: StalenessReport, seen: Recent | None, summary: WindowSummary | None
) -> StalenessReport:
    """The report, with what a retraining is worth beside it."""
    losses = loss_history.measure(run, None if seen is None else _past(seen))
    labelled = None if summary is None else summary.newest_labelled
    known = loss_history.history(deps, run, losses, labelled)
    verdict = when.decide_when(spec=run.profile.when, history=known, now=run.order.as_of, staleness=report)
    return staleness.with_verdict(report, verdict, losses)


def _past(seen: Recent) -> ScoredRows | None:
    """The recent labelled rows, and the baseline rows before them."""
    recent, baseline = seen.labelled, seen.baseline
    if recent is None or baseline is None:
        return recent if baseline is None else baseline
    first = float(recent.time[0]) if recent.n else float("inf")
    return baseline.at(baseline.time < first).and_also(recent)


def _effort(deps: Deps, run: Run, folder: Path) -> Effort:
    """What the source counted, and the champion's own rows: they come from the registry, and into memory all the same."""
    spent = deps.data.effort()
    own = 0 if run.champion is None else lineage.fetched_rows(run.champion, folder, ("reference", "baseline"))
    return spent.model_copy(update={"rows_in_memory": spent.rows_in_memory + own})


# --- the window ----------------------------------------------------------------------------------------------------


def _summary(deps: Deps, run: Run, start: datetime | None) -> tuple[WindowSummary | None, str | None]:
    as_of = run.order.as_of
    try:
        return deps.data.summary(run.profile.data, start, as_of, as_of, ()), None
    except RetrainingError as failure:
        return None, failure.message


def _nothing_recent(run: Run, summary: WindowSummary | None, seen: Recent | None, failure: str | None) -> Signal | None:
    """Only rules that look at recent rows miss them."""
    rules = run.profile.triggers
    if rules.drift is None and rules.performance is None:
        return None
    looked_at = None if seen is None else seen.window.rows
    rows = looked_at if summary is None else summary.rows
    return staleness.no_recent_rows(rows, failure, run.order.as_of - rules.recent)


def _newest(deps: Deps, run: Run, summary: WindowSummary | None) -> datetime | None:
    """Latest event time up to now; asked for again only where the window is empty and the profile cares."""
    if summary is not None and summary.newest is not None:
        return summary.newest
    if run.profile.triggers.max_data_lag is None:
        return None
    try:
        reach = deps.data.time_range(run.profile.data, run.order.as_of)
    except RetrainingError:
        return None
    return None if reach is None else reach[1]


def _look(deps: Deps, run: Run, summary: WindowSummary | None, folder: Path) -> tuple[Recent | None, str | None]:
    rules = run.profile.triggers
    if run.champion is None:
        return None, "there is no champion to compare with"
    if rules.drift is None and rules.performance is None:
        return None, "the profile has neither a drift nor a performance trigger"
    try:
        return recent.look(deps, run, run.champion, summary, folder), None
    except FAULTS as failure:
        return None, said(failure)


def _label_delay(deps: Deps, run: Run, summary: WindowSummary | None, failure: str | None) -> Signal:
    # Without a label in the window, only what came before can tell how long labels take.
    history = _summary(deps, run, None)[0] if summary is not None and not summary.labelled else None
    return label_delay_signal(
        summary=summary,
        failure=failure,
        history=history,
        label_maturity=run.profile.data.label_maturity,
        label_time=run.profile.data.label_time,
        window=run.profile.triggers.recent,
        as_of=run.order.as_of,
    )


# --- performance ---------------------------------------------------------------------------------------------------


def _recorded(run: Run) -> tuple[lineage.Baseline, float] | str:
    """The champion's recorded baseline and its primary metric, or why there is none."""
    if run.champion is None:
        return "there is no champion to measure"
    metric = criteria_of(run.profile).primary.metric
    known = lineage.read(run.champion).baseline
    value = None if known is None else known.metrics.get(metric)
    if known is None or value is None:
        return f"no baseline {metric} is on record for version {run.champion.version}"
    return known, value


def _performance(run: Run, seen: Recent | None, unseen: str | None) -> tuple[PerformanceEvidence | None, str | None]:
    """The champion on recent mature labels, held against its recorded baseline."""
    profile = run.profile
    if profile.triggers.performance is None:
        return None, "there is no performance trigger"
    recorded = _recorded(run)
    if isinstance(recorded, str):
        return None, recorded
    if seen is None:
        return None, unseen
    known, baseline = recorded
    criteria = criteria_of(profile)
    rows = seen.labelled
    if rows is None and seen.window.rows:
        return None, seen.failure
    if rows is None or rows.counted(criteria) < profile.metrics.min_rows:
        return PerformanceEvidence(
            metric=criteria.primary.metric,
            direction=criteria.primary.direction,
            baseline=baseline,
            baseline_n=known.rows,
            n=0 if rows is None else rows.counted(criteria),
            counted=noun(metric_named(criteria.primary.metric, criteria.primary.direction)),
            left_out=seen.trained_on,
        ), None
    try:
        found = performance_evidence(
            criteria=criteria,
            baseline=baseline,
            baseline_n=known.rows,
            baseline_rows=seen.baseline,
            recent=rows,
            left_out=seen.trained_on,
        )
    except FAULTS as failure:
        return None, said(failure)
    why = rows.unusable(criteria) or f"{criteria.primary.metric} is undefined on the {rows.n:,} recent rows"
    return (None, why) if found is None else (found, None)


def _claim(run: Run, performance: PerformanceEvidence | None, failure: str | None) -> PerformanceClaim | None:
    """What the drift-detective is told of performance: concept drift is told from it."""
    rule, metric = run.profile.triggers.performance, criteria_of(run.profile).primary.metric
    if rule is None:
        return None
    if performance is None:
        return PerformanceClaim(metric=metric, outcome="could_not_measure", statement=failure or "It was not measured.")
    signal = performance_signal(performance, rule.max_loss, run.profile.triggers.checks_a_year)
    return PerformanceClaim(metric=metric, outcome=signal.outcome, statement=signal.statement, since=signal.since)


def _estimated(run: Run, seen: Recent | None, unseen: str | None, summary: WindowSummary | None) -> Signal | None:
    """The primary metric on rows whose labels are not known yet."""
    profile, rule = run.profile, run.profile.triggers.performance
    if rule is None or run.champion is None:
        return None
    criteria = criteria_of(profile)
    recorded = _recorded(run)
    if isinstance(recorded, str):
        return not_estimated(criteria.primary.metric, recorded, rule.max_loss)
    history, rows = (None, None) if seen is None else (seen.history, seen.unlabelled)
    if seen is None or history is None or rows is None:
        why = unseen if seen is None else seen.failure
        return not_estimated(criteria.primary.metric, why or "the rows were not scored", rule.max_loss)
    delay = profile.data.label_maturity if summary is None else expected_delay(summary, profile.data.label_maturity)
    found: Estimate | NotEstimated
    try:
        found = estimate(history=history, recent=rows, criteria=criteria, delay=delay.total_seconds())
    except FAULTS as failure:
        found = NotEstimated(said(failure))
    if isinstance(found, NotEstimated) and seen.no_baseline is not None and rows.n:
        found = NotEstimated(f"{found.why} ({seen.no_baseline})")
    known, baseline = recorded
    return estimated_signal(
        estimate=found,
        criteria=criteria,
        baseline=baseline,
        baseline_n=known.rows,
        max_loss=rule.max_loss,
        checks_a_year=profile.triggers.checks_a_year,
    )


# --- drift ---------------------------------------------------------------------------------------------------------


def _drift(
    deps: Deps, run: Run, seen: Recent | None, unseen: str | None, claim: PerformanceClaim | None, folder: Path
) -> tuple[DriftReply | None, str | None]:
    """The drift-detective's reply, or why there is none that counts."""
    profile, champion = run.profile, run.champion
    if profile.triggers.drift is None:
        return None, "the profile has no drift trigger"
    if champion is None or seen is None:
        return None, unseen
    if seen.window.rows == 0:
        return None, seen.failure
    try:
        reference = lineage.fetch(deps, champion, "reference", folder)
        if reference is None:
            return None, f"the training rows of version {champion.version} are not on record"
        request = Envelope[DriftRequest](
            schema_version=SCHEMA_VERSION,
            run_id=run.run_id,
            model_id=profile.id,
            model_version=champion.version,
            data_window_digest=seen.window.digest,
            sent_at=deps.clock(),
            sender="retraining-orchestrator",
            payload=_request(deps, run, champion, seen, reference, claim, folder),
        )
        report_folder = folder / "drift"
        report_folder.mkdir(exist_ok=True, mode=0o700)
        reply = deps.drift_detective.detect(request, report_folder)
    except FAULTS as failure:
        return None, said(failure)
    unbelievable = peer_replies.drift_fault(request, reply, now=deps.clock())
    if unbelievable is not None:
        return None, unbelievable
    (report_folder / "drift.json").write_text(reply.payload.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
    return reply.payload, None


def _request(
    deps: Deps,
    run: Run,
    champion: Any,
    seen: Recent,
    reference: Path,
    claim: PerformanceClaim | None,
    folder: Path,
) -> DriftRequest:
    profile, rules = run.profile, run.profile.triggers
    drift = rules.drift
    sides = drift is not None and drift.predictions
    return DriftRequest(
        model_id=profile.id,
        monitoring_config=MonitoringConfig(
            reference_data=str(reference),
            current_data_window=seen.path,
            features=profile.data.features,
            baseline_data=seen.baseline_path if sides else None,
            event_time=profile.data.event_time,
            target=profile.data.target,
            task=profile.task,
            text=profile.data.text,
            importance=_importance(deps, champion, folder) if drift is not None and drift.weigh else None,
            checks_a_year=rules.checks_a_year,
            performance=claim,
        ),
        thresholds=DriftThresholds(
            data_drift=None if drift is None else drift.share_of_columns,
            performance_drop=None if rules.performance is None else rules.performance.max_loss,
            min_effect=None if drift is None else drift.min_effect,
        ),
    )


def _importance(deps: Deps, champion: Any, folder: Path) -> dict[str, float] | None:
    """The features' shares as recorded at promotion; None, and every column counts the same, where there are none."""
    from tools.adapters import scored_frames

    try:
        path = lineage.fetch(deps, champion, "importance", folder, suffix="json")
    except RetrainingError:
        return None
    found = None if path is None else scored_frames.read_importance(path)
    return None if found is None else dict(found)
