"""How does a champion stand, without a run? Nothing is recorded or moved, and no file is left behind."""

import shutil
from pathlib import Path

from agent.deps import Deps
from agent.services import assess_staleness
from agent.services.champion import find_champion
from agent.state import Run
from tools.alerts import Alert, severity
from tools.contracts.base import Contract
from tools.contracts.evidence import StalenessReport, TriggerVerdict
from tools.contracts.request import RunOrder
from tools.errors import BadInput, Unavailable


class Checked(Contract):
    """What a look at one model gave."""

    staleness: StalenessReport
    trigger: TriggerVerdict
    alert: Alert


def check(deps: Deps, order: RunOrder, *, page: Path | None = None) -> Checked:
    """Staleness, the trigger's verdict, and who must hear of it.

    Args:
        page: Where the drift-detective's page is to be kept; it must be one that writes pages.

    Raises:
        RetrainingError: The profile or its champion could not be read, or the page could not be kept.
    """
    if page is not None and not page.absolute().parent.is_dir():
        raise BadInput(
            f"there is no folder {page.absolute().parent}", thing="report", value=page, remedy="make it first"
        )
    profile = deps.load_profile(order.request.model_id)
    run_id = f"check-{deps.new_id()}"
    run = Run(run_id, order, profile, "", find_champion(deps, profile))
    folder = deps.run_dir(run_id)
    try:
        report, verdict = assess_staleness.measure(deps, run)
        if page is not None:
            _keep(folder / "drift" / "drift.html", page, report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Checked(staleness=report, trigger=verdict, alert=severity(report))


def _keep(made: Path, page: Path, report: StalenessReport) -> None:
    if not made.is_file():
        why = next((s.statement for s in report.signals if s.rule == "drift"), "the profile has no drift trigger")
        raise Unavailable(
            f"no drift report was made: {why}",
            thing="report",
            value=page,
            remedy="mend that, or check without --report",
        )
    try:
        shutil.copyfile(made, page)
    except OSError as error:
        raise BadInput(
            f"the report cannot be written to {page}: {error.strerror}",
            thing="report",
            value=page,
            remedy="name a file in a folder of your own",
        ) from error
