"""What does a look at a model cost, and what does it find? The source's files are asked before anything is read."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from agent.deps import Deps
from agent.services import check as checks
from agent.services.check import Checked
from agent.services.train import KEY_TAG
from tools.alerts import Alert
from tools.contracts.evidence import Signal, StalenessReport
from tools.contracts.profile import Profile
from tools.contracts.request import RetrainingConfig, RetrainingRequest, RunOrder
from tools.errors import RetrainingError
from tools.trigger_rules import Observation


class Looked(NamedTuple):
    """What a look found, and who must hear of it."""

    observation: Observation
    alert: Alert


def look(deps: Deps, profile: Profile) -> Looked:
    """Check the model as `retrain check` does. What fails is a look that could not tell."""
    try:
        checked = checks.check(deps, _order(deps, profile))
    except RetrainingError as failure:
        told = {"failure": failure.message}
        return Looked(Observation("drift", None, "could_not_measure", failure.message, told), Alert(level="none"))
    return Looked(observed(checked), checked.alert)


def observed(checked: Checked) -> Observation:
    """What counts of a check for a trigger."""
    report, verdict = checked.staleness, checked.trigger
    bad = [signal for signal in report.signals if signal.outcome == "bad"]
    kind = "performance" if any(signal.rule == "performance" for signal in bad) else "drift"
    if report.verdict == "could_not_measure" or verdict.code == "fix_data":
        return Observation(kind, None, verdict.code, report.statement, _evidence(checked))
    if report.verdict == "stale" and not _is_worth_it(report):
        told = report.statement if report.when is None else report.when.statement
        return Observation(kind, False, "not_worth_it", told, _evidence(checked))
    return Observation(kind, report.verdict == "stale", report.verdict, report.statement, _evidence(checked))


def _is_worth_it(report: StalenessReport) -> bool:
    """Whether what is stale is worth a run now: a retraining may cost more than it saves, or labels must come first."""
    when = report.when
    return when is None or when.basis == "schedule" or when.action in ("retrain", "roll_back")


def _evidence(checked: Checked) -> dict[str, object]:
    report = checked.staleness
    told = [_short(signal) for signal in report.signals if signal.outcome != "ok"]
    return {
        "verdict": report.verdict,
        "recommendation": report.recommendation,
        **({} if report.when is None else {"when": report.when.statement}),
        "alert": checked.alert.level,
        "signals": told[:12],
    }


def _short(signal: Signal) -> dict[str, object]:
    told = {
        "rule": signal.rule,
        "subject": signal.subject,
        "outcome": signal.outcome,
        "value": signal.value,
        "threshold": signal.threshold,
        "statement": signal.statement,
    }
    return {name: value for name, value in told.items() if value is not None}


def _order(deps: Deps, profile: Profile) -> RunOrder:
    request = RetrainingRequest(model_id=profile.id, retraining_config=RetrainingConfig(trigger="drift"))
    return RunOrder(kind="retrain", request=request, requested_by="watch", as_of=deps.clock())


def fingerprint(deps: Deps, profile: Profile, stamp: str) -> str:
    """Of profile, champion and the source's files; empty where the source is no file: such a one is always looked at.

    The champion is the newest that the run store knows: asking the registry would cost as much as a small look.
    """
    files = _files(deps.root, profile.data.source)
    if not files:
        return ""
    events = deps.store.champions(profile.registered_model)
    digest = hashlib.sha256(f"{stamp}|{events[0].version if events else ''}".encode())
    for path in files:
        try:
            stat = path.stat()
        except OSError:
            return ""
        digest.update(f"|{path}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]


def _files(root: Path, source: str) -> list[Path]:
    """As the data source reads it: a file, a folder of them, or a glob; none for tables."""
    if "://" in source or source.startswith("spark:"):
        return []
    try:
        if any(sign in source for sign in "*?["):
            place = Path(source)
            base, pattern = (
                (Path(place.anchor), str(place.relative_to(place.anchor))) if place.anchor else (root, source)
            )
            return sorted(path for path in base.glob(pattern) if path.is_file())
        path = root / source
        return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    except (OSError, ValueError):
        return []


def rows_of(deps: Deps, profile: Profile) -> int | None:
    """Rows in the source up to now; None where it does not tell."""
    try:
        reach = deps.data.time_range(profile.data, deps.clock())
    except RetrainingError:
        return None
    return 0 if reach is None else reach[2]


def registered_since(deps: Deps, profile: Profile, known: str | None) -> tuple[str | None, str | None]:
    """The newest version's number, and that of the newest which somebody else has registered since `known`; None where there is none.

    Whoever is asked for the first time has nothing to compare with: what stands then is not new.
    """
    try:
        versions = deps.registry.list_versions(profile.registered_model)
    except RetrainingError:
        return known, None
    numbered = [(int(each.version), each) for each in versions if each.version.isdecimal()]
    if not numbered:
        return known or "0", None
    newest = str(max(number for number, _ in numbered))
    if known is None:
        return newest, None
    since = [number for number, each in numbered if number > int(known) and KEY_TAG not in each.tags]
    return newest, str(max(since)) if since else None
