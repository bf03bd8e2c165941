"""What is missing before any run?"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from agent.problems import nearest
from agent.profiles import list_profiles
from agent.services import language, lineage, reviews
from agent.services.champion import find_champion, last_known_good, require_movable
from agent.services.findings import Finding
from agent.services.measure import criteria_of
from agent.services.trust import require_known_store
from tools import validation, windows
from tools.contracts.profile import CommandTarget, PredictionTable, Profile, ProjectTraining
from tools.contracts.profiling import ColumnProfile
from tools.errors import RetrainingError
from tools.own_metrics import is_own
from tools.paired_rows import label_text

if TYPE_CHECKING:
    from agent.bootstrap import App
    from agent.deps import Deps

_Found = TypeVar("_Found")
_MOST_ROWS: Final = 20_000
"""Recent labelled rows that are looked at for the positive label."""


def examine(app: "App", model: str | None = None) -> tuple[Finding, ...]:
    """Looks at servers, store, language model and profiles; touches nothing and runs nobody's code."""
    found = [*_servers(app), *language.examine(app.language, app.workspace.llm)]
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
        found.append(_ok("registry", f"answers; {len(models)} registered model" + ("" if len(models) == 1 else "s")))
    except RetrainingError as fault:
        found.append(_from("registry", fault))
    writable = app.deps.registry.can_write()
    found.append(
        _unknown("registry", "write permission is known only when something is written")
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

    def attempt(what: str, check: Callable[[], _Found]) -> _Found | None:
        try:
            return check()
        except RetrainingError as fault:
            found.append(_from(f"{about}: {what}", fault))
            return None

    columns = attempt("data", lambda: deps.data.columns(profile.data))
    if columns is not None:
        gone = list(_columns(profile, columns, about))
        found += gone or [_ok(f"{about}: columns", "all that the profile names are in the source")]
        if profile.data.event_time in columns:
            found += attempt("data", lambda: _rows(deps, profile, about)) or ()
        if not gone:
            found += attempt("data", lambda: _positive_label(deps, profile, about)) or ()
    attempt("windows", lambda: windows.parse_window(profile.data_window, deps.clock()))
    attempt("windows", lambda: windows.parse_strategy(profile.validation_strategy))
    attempt("metrics", lambda: criteria_of(profile))
    found += list(_own_metrics(app, profile, about))
    predictions = profile.scoring.predictions
    if predictions is not None:
        found += attempt("predictions", lambda: _predictions(deps, profile, predictions, about)) or ()
    attempt("champion", lambda: require_movable(profile))
    attempt("store", lambda: require_known_store(deps, profile))
    found += _champion(app, profile, about, columns)
    found += _pipeline(app, profile, about)
    if not profile.review.approvers and profile.mode != "observe":
        found.append(_missing(f"{about}: approvers", "nobody can answer a review", "name OS users in review.approvers"))
    elif profile.mode != "observe" and reviews.os_user() not in profile.review.approvers:
        found.append(
            _ok(f"{about}: approvers", f"{', '.join(profile.review.approvers)} (not you, {reviews.os_user()})")
        )
    found += _four_eyes(profile, about)
    found.append(_ok(f"{about}: mode", profile.mode))
    return found


def _four_eyes(profile: Profile, about: str) -> Iterator[Finding]:
    """In the high risk tier nobody approves what he asked for: where one alone may approve, his own requests never end well."""
    review = profile.review
    if profile.rollout.risk != "high" or profile.mode == "observe":
        return
    for what, names in (("a review", review.approvers), *review.roles.items()):
        if len(names) == 1:
            yield _missing(
                f"{about}: approvers",
                f"{names[0]} alone may approve {what.replace('_', ' ')}, and the risk tier is high: what {names[0]} asks for, by "
                "an agent's key too, can never be approved",
                "name a second approver",
            )


def _columns(profile: Profile, columns: Mapping[str, str], about: str) -> Iterator[Finding]:
    """One finding for each field of the profile that names a column which the source has not."""
    data = profile.data
    named: dict[str, Sequence[str]] = {
        "data.event_time": (data.event_time,),
        "data.target": (data.target,),
        "data.label_time": () if data.label_time is None else (data.label_time,),
        "data.group": () if data.group is None else (data.group,),
        "data.key": data.key,
        "data.features": data.features,
        "metrics.slices": profile.metrics.slices,
        "metrics.fairness": tuple(spec.column for spec in profile.metrics.fairness),
        "validation.skip_range": profile.validation.skip_range,
    }
    for field, names in named.items():
        gone = [name for name in names if name not in columns]
        if gone:
            near = [meant for name in gone if (meant := nearest(name, columns))]
            remedy = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(columns)}"
            yield _missing(f"{about}: columns", f"{field}: no {', '.join(gone)} in {data.source}", remedy)


def _own_metrics(app: "App", profile: Profile, about: str) -> Iterator[Finding]:
    """Whether the files of the user's own metrics are in the workspace; nothing of them is run."""
    from tools.adapters.own_metric_runner import metric_file

    for name in dict.fromkeys(spec.name for spec in (profile.metrics.primary, *profile.metrics.guardrails)):
        if not is_own(name):
            continue
        file = metric_file(name, app.workspace.root)
        remedy = "put the file there, or mend the metric's name"
        what = f"{about}: {name}"
        yield _missing(what, file, remedy) if isinstance(file, str) else _ok(what, "its file is there")


def _predictions(deps: "Deps", profile: Profile, table: PredictionTable, about: str) -> list[Finding]:
    """Whether the table of predictions has the columns that a comparison looks up."""
    there = deps.data.columns(profile.data.model_copy(update={"source": table.source}))
    wanted = (*profile.data.key, table.version, table.prediction, *table.probabilities.values())
    gone = [name for name in wanted if name not in there]
    what = f"{about}: predictions"
    if gone:
        return [_missing(what, f"no {', '.join(gone)} in {table.source}", f"it has {', '.join(there)}")]
    return [_ok(what, f"{table.source} has key, version and prediction")]


def _rows(deps: "Deps", profile: Profile, about: str) -> list[Finding]:
    """How far the rows reach, and whether a run of today would see any of them."""
    now, spec = deps.clock(), profile.data
    reach = deps.data.time_range(spec, now)
    if reach is None:
        return [_missing(f"{about}: data", f"no rows up to now ({now:%Y-%m-%d})", "check data.source")]
    first, last, rows = reach
    found = [_ok(f"{about}: data", f"{rows:,} rows, {first:%Y-%m-%d} to {last:%Y-%m-%d}")]
    try:
        window = windows.parse_window(profile.data_window, now)
    except RetrainingError:
        return found  # said under windows
    if window.start is not None and last < window.start:
        until = last + timedelta(days=1)
        found.append(
            Finding(
                result="unknown",
                about=f"{about}: data",
                statement=f"the newest row ({last:%Y-%m-%d}) lies before data_window {profile.data_window}, "
                f"which begins on {window.start:%Y-%m-%d}: a run of today finds nothing",
                remedy="mend data_window, or bring the source up to date"
                if "/" in profile.data_window
                else f"bring the source up to date, or name a time, e.g. --as-of {until:%Y-%m-%d}",
            )
        )
    return found


def _positive_label(deps: "Deps", profile: Profile, about: str) -> list[Finding]:
    """Whether the class that precision and recall are about occurs among recent labelled rows."""
    spec, now = profile.data, deps.clock()
    wanted = spec.positive_label
    reach = None if wanted is None else deps.data.labelled_range(spec, None, now, now)
    if wanted is None or reach is None or profile.task != "classification":
        return []
    last = reach[1]
    with tempfile.TemporaryDirectory(prefix="retraining-doctor-") as folder:
        path = Path(folder) / "recent.parquet"
        start, end = _recent(last, profile.triggers.recent)
        rows = deps.data.write_labelled(spec, start, end, now, path, limit=_MOST_ROWS)
        column = deps.data.profile(path, spec).column(spec.target)
    if column is None or _occurs(wanted, column):
        return []
    statement = f"data.positive_label {wanted!r} occurs in none of {rows.rows:,} recent labelled rows"
    there = ", ".join(column.categories)
    if not there:
        low, high = column.quantiles[0], column.quantiles[-1]
        there = f"{low:g} and {high:g}" if column.distinct <= 2 else f"numbers from {low:g} to {high:g}"
    # A sample may miss a rare class.
    result = "missing" if rows.sampled_from is None else "unknown"
    return [Finding(result=result, about=f"{about}: labels", statement=statement, remedy=f"the labels there: {there}")]


def _recent(last: datetime, length: timedelta) -> tuple[datetime | None, datetime]:
    end = last + timedelta(microseconds=1)
    try:
        return end - length, end
    except OverflowError:
        return None, end


def _occurs(label: str | int | bool, column: ColumnProfile) -> bool:
    """Of numbers only the quantiles are known: within their reach a label is given the benefit of the doubt."""
    wanted = label_text(label)
    if column.categories:
        return wanted in map(label_text, column.categories) or len(column.categories) < column.distinct
    if not column.quantiles:
        return True
    low, high = column.quantiles[0], column.quantiles[-1]
    try:
        number = float(wanted)
    except ValueError:
        return False
    return number in (low, high) if column.distinct <= 2 else low <= number <= high


def _champion(app: "App", profile: Profile, about: str, columns: Mapping[str, str] | None) -> list[Finding]:
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
            text = "training rows of the champion are not known: contamination cannot be checked"
            found.append(_unknown(f"{about}: lineage", text))
        signature = deps.registry.signature(champion.model_uri)
        if signature is None:
            found.append(
                _missing(f"{about}: signature", "the champion was logged without one", "log it with a signature")
            )
        elif columns is None:
            found.append(_unknown(f"{about}: signature", "not compared: the source cannot be read"))
        else:
            checks = validation.validate_signature(signature, columns)
            bad = [check.statement for check in checks if check.result == "fail"]
            found += [_missing(f"{about}: signature", text, "mend the source or data.features") for text in bad]
            if not bad:
                found.append(_ok(f"{about}: signature", f"{len(signature.inputs)} input columns, all in the source"))
        way_back = last_known_good(deps, profile, champion)
        found.append(
            _ok(f"{about}: way back", f"version {way_back.version}")
            if way_back
            else _unknown(
                f"{about}: way back",
                "no earlier champion yet; the first deployment makes the present one the way back",
            )
        )
    except RetrainingError as fault:
        found.append(_from(f"{about}: champion", fault))
    return found


def _pipeline(app: "App", profile: Profile, about: str) -> list[Finding]:
    root, how, target = app.workspace.root, profile.training, profile.target
    found: list[Finding] = []
    if how is None:
        found.append(_unknown(f"{about}: training", "not configured: judge and rollback only"))
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
    elif target.kind == "alias":
        found.append(_ok(f"{about}: target", "alias: what is served stays unproved, canary becomes manual_review"))
    else:
        found.append(
            _unknown(f"{about}: target", f"{target.kind}: it is asked when a rollout begins (docs/targets.md)")
        )
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


def _unknown(about: str, statement: str) -> Finding:
    return Finding(result="unknown", about=about, statement=statement)


def _missing(about: str, statement: str, remedy: str) -> Finding:
    return Finding(result="missing", about=about, statement=statement, remedy=remedy)


def _from(about: str, fault: RetrainingError) -> Finding:
    return _missing(about, fault.message, fault.remedy or "")
