"""What can a person judge the decision from? One HTML page and its pictures, in the run's folder and in the tracking run.

A report decides nothing: whatever goes wrong with it is a note, never a failed run. The plots' numbers are computed once
and kept beside the page, so that it can be made again when the rows are gone.
"""

from pathlib import Path
from typing import Any, Final

from agent.deps import Deps
from agent.services import briefs, reviews
from agent.services.decide import policy_input
from agent.services.measure import criteria_of
from agent.state import Findings, Run
from tools import report_figures, report_page
from tools.contracts.explanation import Brief
from tools.contracts.figures import ReportFigures
from tools.contracts.rollout import RolloutStatus
from tools.errors import BadInput, NotFound, RetrainingError
from tools.evidence import digest
from tools.report_parts import Sheet

DUEL: Final = "duel.parquet"
"""In the run's folder: label, time and both models' outputs of the judged rows."""
FOLDER: Final = "decision"
"""In the run's folder and among the tracking run's artifacts."""
PAGE: Final = "report.html"
FIGURES: Final = "figures.json"
_FAULTS = (RetrainingError, OSError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, MemoryError)


def path_of(deps: Deps, run_id: str) -> Path:
    """Where the page of a run is, or would be."""
    return deps.run_dir(run_id) / FOLDER / PAGE


def note_of(deps: Deps, run: Run, findings: Findings, rollout: RolloutStatus | None = None) -> list[str]:
    """Write and log the report; what went wrong, as a note for the output. Never raises for the report's sake."""
    if findings.policy is None:  # a rollback decides nothing
        return []
    try:
        publish(deps, run, findings, rollout)
    except _FAULTS as fault:
        why = fault.message if isinstance(fault, RetrainingError) else f"{type(fault).__name__}: {fault}"
        first = (why.splitlines() or [""])[0]
        return [f"the decision report was not written ({first}); `retrain runs report {run.run_id}` makes it again"]
    return []


def publish(deps: Deps, run: Run, findings: Findings, rollout: RolloutStatus | None = None) -> Path:
    """Page, pictures and their numbers, in the run's folder and in the tracking run; what was there is overwritten."""
    made = sheet(deps, run, findings, rollout)
    page = path_of(deps, run.run_id)
    page.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    contents = {PAGE: report_page.page(made), **report_page.pictures(made)}
    for name, content in contents.items():
        write(page.parent / name, content)
        deps.tracking.log_file(run.tracking_run_id, page.parent / name, FOLDER)
    if made.figures is not None:
        deps.tracking.log_json(run.tracking_run_id, f"{FOLDER}/{FIGURES}", made.figures.to_json_dict())
    return page


def export(deps: Deps, run: Run, findings: Findings, out: Path) -> Path:
    """The page alone, into a file of the caller's.

    Raises:
        NotFound: the folder does not exist. BadInput: the file cannot be written.
    """
    if not out.absolute().parent.is_dir():
        raise NotFound(
            f"no folder {out.absolute().parent} to write the report to",
            thing="--out",
            value=out,
            remedy="make it first",
        )
    if out.is_dir():
        raise BadInput(
            f"{out} is a folder", thing="--out", value=out, remedy=f"name a file, e.g. {out / 'report.html'}"
        )
    content = report_page.page(sheet(deps, run, findings))
    try:
        write(out, content)
    except OSError as error:
        raise BadInput(f"{out} cannot be written: {error.strerror}", thing="--out", value=out) from error
    return out


def write(file: Path, content: str) -> None:
    """Whole or not at all: a reader never sees half a page."""
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(content, encoding="utf-8")
    draft.replace(file)


def sheet(deps: Deps, run: Run, findings: Findings, rollout: RolloutStatus | None = None) -> Sheet:
    """Everything the page tells, from the run's state."""
    figures, note = _figures(deps, run, findings)
    candidate = findings.candidate.version if findings.candidate else None
    inputs = policy_input(run, findings, findings.can_split)
    config = run.order.request.retraining_config
    return Sheet(
        model_id=run.profile.id,
        registered_model=run.profile.registered_model,
        run_id=run.run_id,
        kind=run.order.kind,
        mode=run.profile.mode,
        counted="groups" if run.profile.task == "ranking" else "rows",
        made_at=deps.clock(),
        tracking_run_id=run.tracking_run_id,
        profile_digest=digest(run.profile.to_state()),
        champion=None if run.champion is None else run.champion.version,
        candidate=f"version {candidate}" if candidate else findings.candidate_uri,
        decision=findings.decision,
        decided_by=findings.decided_by,
        policy=findings.policy,
        input_digest=digest(inputs.to_state()),
        evidence=findings.evidence,
        rationale=findings.rationale,
        plan=findings.plan,
        comparison=findings.comparison,
        figures=figures,
        figures_note=note,
        data=findings.data,
        validation=findings.validation,
        staleness=findings.staleness,
        trigger=findings.trigger,
        trigger_kind=config.trigger + (f" ({config.trigger_source})" if config.trigger_source else ""),
        rollout=rollout or findings.rollout,
        review=reviews.latest_of(deps, run.run_id),
        brief=_brief(run, findings, rollout or findings.rollout),
        notes=(*run.order.warnings, *findings.notes),
    )


def _brief(run: Run, findings: Findings, rollout: RolloutStatus | None) -> Brief | None:
    """Of the question that is asked, or about to be."""
    waits = rollout is not None and rollout.phase == "awaiting_approval"
    if findings.decision != "manual_review" and not waits:
        return None
    return briefs.of_findings(run, findings, reviews.offered_by(findings))


def _figures(deps: Deps, run: Run, findings: Findings) -> tuple[ReportFigures | None, str | None]:
    """The plots' numbers: as kept, else computed from the judged rows; or why there are none."""
    result = findings.comparison
    if result is None or result.failures:
        return None, None
    if run.profile.task == "ranking":
        return None, "Calibration and error over time are not drawn: a ranking's rows have neither."
    kept: Path | None = deps.run_dir(run.run_id) / FOLDER / FIGURES
    rows = deps.run_dir(run.run_id) / DUEL
    if not kept.exists() and not rows.exists():
        kept = deps.tracking.fetch(run.tracking_run_id, f"{FOLDER}/{FIGURES}", kept.parent)
    if kept is not None and kept.exists():
        found = ReportFigures.model_validate_json(kept.read_text(encoding="utf-8"))
        if found.holdout_digest == result.holdout_digest:
            return found, None
    if kept is None or not rows.exists():
        return None, "Calibration and error over time are not drawn: the judged rows are no longer in the run's folder."
    from tools.adapters import frames

    paired, seconds = frames.duel(rows, run.profile.task)
    criteria = criteria_of(run.profile, run.order.request.deployment_criteria)
    found = report_figures.figures(
        rows=paired, seconds=seconds, positive_label=criteria.positive_label, holdout_digest=result.holdout_digest
    )
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(kept, found.model_dump_json(indent=1, by_alias=True, exclude_none=True))
    return found, None


def noted(findings: Findings, notes: list[str]) -> dict[str, Any]:
    """The state change that tells of a report that was not written; once, however often it failed."""
    fresh = [note for note in notes if note not in findings.notes]
    return {"notes": [*findings.notes, *fresh]} if fresh else {}
