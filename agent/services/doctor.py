"""What is missing before any run?"""

import shutil
from typing import TYPE_CHECKING, Literal

from agent.profiles import list_profiles
from agent.services import lineage, reviews
from agent.services.champion import find_champion, last_known_good, require_movable
from agent.services.measure import criteria_of
from agent.services.trust import require_known_store
from tools import validation, windows
from tools.contracts.base import Contract
from tools.contracts.profile import CommandTarget, Profile, ProjectTraining
from tools.errors import RetrainingError

if TYPE_CHECKING:
    from agent.bootstrap import App


class Finding(Contract):
    """One thing looked at."""

    result: Literal["ok", "missing", "unknown"]
    about: str
    statement: str
    remedy: str = ""


def examine(app: "App", model: str | None = None) -> tuple[Finding, ...]:
    """Looks at servers, store and profiles; touches nothing and runs nobody's code."""
    found = [*_servers(app)]
    entries = list_profiles(app.workspace)
    names = [model] if model is not None else [entry.id for entry in entries]
    if not names:
        found.append(_missing("profiles", f"no profile in {app.workspace.profiles_dir}", "`retrain init --all`"))
    for name in names:
        try:
            profile = app.deps.load_profile(name)
        except RetrainingError as fault:
            found.append(_from(f"profile {name}", fault))
            continue
        found += _profile(app, profile)
    return tuple(found)


def _servers(app: "App") -> list[Finding]:
    found: list[Finding] = []
    try:
        models = app.deps.registry.list_models()
        found.append(_ok("registry", f"answers; {len(models)} registered models"))
    except RetrainingError as fault:
        found.append(_from("registry", fault))
    writable = app.deps.registry.can_write()
    found.append(
        Finding(
            result="unknown", about="registry", statement="write permission is known only when something is written"
        )
        if writable is None
        else _ok("registry", "can be written")
        if writable
        else _missing("registry", "these credentials are read-only", "fine for mode observe; act needs to write")
    )
    try:
        identity = app.deps.store.identity()
        found.append(_ok("run store", f"answers; identity {identity[:8]}"))
    except RetrainingError as fault:
        found.append(_from("run store", fault))
    return found


def _profile(app: "App", profile: Profile) -> list[Finding]:
    about, deps = f"profile {profile.id}", app.deps
    found: list[Finding] = []

    def attempt(what: str, check: "object") -> object:
        try:
            return check()  # type: ignore[operator]
        except RetrainingError as fault:
            found.append(_from(f"{about}: {what}", fault))
            return None

    columns = attempt("data", lambda: deps.data.columns(profile.data))
    if columns is not None:
        reach = attempt("data", lambda: deps.data.time_range(profile.data, deps.clock()))
        rows = (
            f"{reach[2]:,} rows, {reach[0]:%Y-%m-%d} to {reach[1]:%Y-%m-%d}" if isinstance(reach, tuple) else "no rows"
        )
        found.append(_ok(f"{about}: data", rows) if reach else _missing(f"{about}: data", rows, "check data.source"))
    attempt("windows", lambda: windows.parse_window(profile.data_window, deps.clock()))
    attempt("windows", lambda: windows.parse_strategy(profile.validation_strategy))
    attempt("metrics", lambda: criteria_of(profile))
    attempt("champion", lambda: require_movable(profile))
    attempt("store", lambda: require_known_store(deps, profile))
    found += _champion(app, profile, about)
    found += _pipeline(app, profile, about)
    if not profile.review.approvers and profile.mode != "observe":
        found.append(_missing(f"{about}: approvers", "nobody can answer a review", "name OS users in review.approvers"))
    elif profile.mode != "observe" and reviews.os_user() not in profile.review.approvers:
        found.append(
            _ok(f"{about}: approvers", f"{', '.join(profile.review.approvers)} (not you, {reviews.os_user()})")
        )
    found.append(_ok(f"{about}: mode", profile.mode))
    return found


def _champion(app: "App", profile: Profile, about: str) -> list[Finding]:
    deps = app.deps
    found: list[Finding] = []
    try:
        champion = find_champion(deps, profile)
        if champion is None:
            remedy = f"set the alias {profile.champion.value!r}, or metrics.allow_first_model"
            return [_missing(f"{about}: champion", f"none by {profile.champion.by} {profile.champion.value!r}", remedy)]
        found.append(_ok(f"{about}: champion", f"version {champion.version}"))
        known = lineage.read(champion)
        if known.artifact_digest is None:
            remedy = f"`retrain init {profile.id} --adopt` records golden rows and digest"
            found.append(_missing(f"{about}: lineage", f"version {champion.version} has none on record", remedy))
        elif known.training_digest is None:
            found.append(
                Finding(
                    result="unknown",
                    about=f"{about}: lineage",
                    statement="training rows of the champion are not known: contamination cannot be checked",
                )
            )
        signature = deps.registry.signature(champion.model_uri)
        if signature is None:
            found.append(
                _missing(f"{about}: signature", "the champion was logged without one", "log it with a signature")
            )
        else:
            checks = validation.validate_signature(signature, deps.data.columns(profile.data))
            bad = [check.statement for check in checks if check.result == "fail"]
            found += [_missing(f"{about}: signature", text, "mend the source or data.features") for text in bad]
            if not bad:
                found.append(_ok(f"{about}: signature", f"{len(signature.inputs)} input columns, all in the source"))
        way_back = last_known_good(deps, profile, champion)
        found.append(
            _ok(f"{about}: way back", f"version {way_back.version}")
            if way_back
            else Finding(
                result="unknown",
                about=f"{about}: way back",
                statement="no earlier champion yet; the first deployment makes the present one the way back",
            )
        )
    except RetrainingError as fault:
        found.append(_from(f"{about}: champion", fault))
    return found


def _pipeline(app: "App", profile: Profile, about: str) -> list[Finding]:
    root, how, target = app.workspace.root, profile.training, profile.target
    found: list[Finding] = []
    if how is None:
        found.append(
            Finding(result="unknown", about=f"{about}: training", statement="not configured: judge and rollback only")
        )
    elif isinstance(how, ProjectTraining):
        project = root / how.uri / "MLproject"
        found.append(
            _ok(f"{about}: training", f"MLflow Project {how.uri}")
            if project.exists()
            else _missing(f"{about}: training", f"no {project}", "write an MLproject file or mend training.uri")
        )
    elif how.command:
        found.append(_command(f"{about}: training", how.command[0]))
    if isinstance(target, CommandTarget):
        found += [_command(f"{about}: target", command[0]) for command in (target.apply, target.status, target.undo)]
    else:
        found.append(_ok(f"{about}: target", "alias: what is served stays unproved, canary becomes manual_review"))
    return found


def _command(about: str, program: str) -> Finding:
    where = shutil.which(program)
    return (
        _ok(about, f"{program} is there")
        if where
        else _missing(about, f"{program} is not on PATH", "install it or give its full path")
    )


def _ok(about: str, statement: str) -> Finding:
    return Finding(result="ok", about=about, statement=statement)


def _missing(about: str, statement: str, remedy: str) -> Finding:
    return Finding(result="missing", about=about, statement=statement, remedy=remedy)


def _from(about: str, fault: RetrainingError) -> Finding:
    return _missing(about, fault.message, fault.remedy or "")
