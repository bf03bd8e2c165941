"""What is left to record when the run ends?"""

from dataclasses import replace
from typing import Any

from agent.deps import Deps
from agent.services import outputs, report
from agent.state import Findings, Run
from tools.contracts.rollout import RolloutStatus


def finish(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """Marks the candidate with its end, logs the reports, closes the tracking run."""
    rollout = findings.rollout or RolloutStatus(
        phase="observed"
        if run.profile.mode == "observe" and findings.decision in ("deploy", "canary")
        else "not_started",
        statement=_not_moved(run, findings),
    )
    candidate = findings.candidate
    if candidate is not None and run.profile.mode != "observe" and rollout.phase in ("not_started", "refused"):
        deps.registry.set_tags(
            candidate.name,
            candidate.version,
            {
                "retraining.status": "rejected" if findings.decision == "reject" else "not_deployed",
                "retraining.run_id": run.run_id,
            },
        )
    for name, found in (
        ("staleness", findings.staleness),
        ("validation", findings.validation),
        ("comparison", findings.comparison),
        ("rollback", findings.rollback),
    ):
        if found is not None:
            deps.tracking.log_json(run.tracking_run_id, f"{name}.json", found.to_json_dict())
    noted = report.noted(findings, report.note_of(deps, run, findings, rollout))
    findings = replace(findings, notes=tuple(noted.get("notes", findings.notes)))
    output = outputs.response(deps, run, findings, status="finished", rollout=rollout)
    deps.tracking.log_json(run.tracking_run_id, "output.json", output)
    tags = {"retraining.decision": str(findings.decision), "retraining.phase": rollout.phase}
    deps.tracking.set_tags(run.tracking_run_id, tags)
    deps.tracking.close_run(run.tracking_run_id)
    return {"rollout": rollout.to_state(), **noted}


def _not_moved(run: Run, findings: Findings) -> str:
    if run.profile.mode == "observe" and findings.decision in ("deploy", "canary"):
        return f"Mode is observe: {findings.decision} was decided and recorded, nothing was touched."
    return "Nothing was moved; the champion is where it was."
