"""`retrain triggers list|test|explain|pause|resume`: what may start a run by itself, and why it did or did not."""

from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, shortened, table, wrapped

if TYPE_CHECKING:
    from agent.bootstrap import App
    from agent.services.triggers import Explained, Standing
    from tools.contracts.access import Caller
    from tools.contracts.run import Hold
    from tools.contracts.triggers import Evaluation

app = typer.Typer(
    help="What may start a run by itself, and why it did not.", no_args_is_help=True, rich_markup_mode=None
)
Model = Annotated[str, typer.Argument(help="Profile id or registered model name.")]
Some = Annotated[str | None, typer.Argument(help="Profile id or registered model name; --all for every one.")]
All = Annotated[bool, typer.Option("--all", help="Every profile of this run store.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the record.")]


@app.command("list")
def list_(
    only: Annotated[str, typer.Option(help="Profiles whose id holds this text.")] = "",
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Every model's triggers: what is due when, what the latest evaluation said, and who watches."""
    from agent.profiles import list_profiles
    from agent.services import triggers as service
    from tools.errors import RetrainingError

    opened = open_app(workspace)
    found: list[Standing] = []
    for entry in list_profiles(opened.workspace):
        if only in entry.id:
            try:
                found.append(service.standing(opened.deps, opened.deps.load_profile(entry.id)))
            except RetrainingError as fault:
                SCREEN.progress(f"profile {entry.id!r} cannot be read: {fault.message.splitlines()[0]}")
    headers = ["model", "kinds", "next (UTC)", "looks", "month", "latest"]
    rows = [_row(each) for each in found]
    lines = table(headers, rows) if rows else ["there are no profiles"]
    SCREEN.result(
        {"watchers": _watchers(opened), "triggers": [each.to_json_dict() for each in found]},
        [*lines, *_who(opened)],
    )


def _row(each: "Standing") -> list[str | None]:
    from agent.services.triggers import kinds

    spec, state = each.profile.triggers, each.state
    due = "not watched yet" if state is None else "—" if state.next_at is None else f"{state.next_at:%m-%d %H:%M:%S}"
    due = "paused" if each.paused else "broken" if state is not None and state.broken else due
    looks = "" if state is None else "".join("!" if stale else "·" for stale in state.looks)
    looks += "" if state is None or state.armed else " fired"
    budget = spec.budget.runs
    month = f"{each.runs}" + ("" if budget is None else f"/{budget}")
    newest = each.newest
    told = "" if newest is None else f"{newest.at:%m-%d %H:%M} {newest.code}: {shortened(newest.statement)}"
    return [each.profile.id, " ".join(kinds(each.profile)), due, looks, month, each.paused or told]


def _watchers(opened: "App") -> list[dict[str, object]]:
    return [each.to_json_dict() for each in opened.deps.store.watchers() if _beats(opened, each)]


def _beats(opened: "App", each: object) -> bool:
    from tools.adapters.processes import is_alive
    from tools.adapters.store_trigger_rules import lives
    from tools.contracts.triggers import Watcher

    return isinstance(each, Watcher) and lives(each, opened.deps.clock(), is_alive)


def _who(opened: "App") -> list[str]:
    alive = [each for each in opened.deps.store.watchers() if _beats(opened, each)]
    if not alive:
        return ["", "nobody watches: `retrain watch` evaluates them"]
    told = ", ".join(f"process {each.holder.split(':')[1]} on {each.holder.split(':')[0]}" for each in alive)
    return ["", f"watched by {told}"]


@app.command("test")
def tried_out(model: Model, json: Json = False, quiet: Quiet = False, workspace: Workspace = None) -> None:
    """What would come of it if everything were due now? Looks at the data, records and starts nothing."""
    from agent.services import triggers as service

    opened = open_app(workspace, model)
    profile = opened.deps.load_profile(model)
    found = service.tried(service.without_page(opened.deps, opened.quick_detective), profile)
    lines = [line for each in found for line in wrapped(_told(each))] or ["no trigger of this profile is ever due"]
    SCREEN.result([each.to_json_dict() for each in found], lines)


def _told(each: "Evaluation") -> str:
    verb = {"would_fire": "would start a run"}.get(each.code, f"would start nothing ({each.code})")
    return f"{each.trigger} ({each.source}): {verb}. {each.statement}"


@app.command("explain")
def explain(
    model: Model,
    at: Annotated[
        str | None,
        typer.Option("--at", help="'yesterday 02:00', 'last night', a date or a time; in the schedule's zone."),
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="'12h', '3d', a date or a time.")] = None,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Why did it fire, or not? In the last day, around a time, or since one."""
    from agent.services import triggers as service
    from tools.errors import BadInput

    if at is not None and since is not None:
        raise BadInput("--at and --since were both given", thing="--since", value=since, remedy="give one of them")
    opened = open_app(workspace, model)
    profile = opened.deps.load_profile(model)
    found = service.explain(opened.deps, profile, at=at, since=since)
    SCREEN.result(found.to_json_dict(), _explained(found))


def _explained(found: "Explained") -> list[str]:
    lines = wrapped(found.answer)
    if found.evaluations:
        rows = [
            [_span(each), each.trigger, each.source, "yes" if each.fires else "no", each.code, each.statement]
            for each in found.evaluations
        ]
        lines += ["", *table(["at (UTC)", "trigger", "from", "fired", "code", "why"], rows)]
    for start, end in found.unwatched:
        lines.append(f"nobody watched from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
    return lines


def _span(each: "Evaluation") -> str:
    at = f"{each.at:%m-%d %H:%M:%S}"
    return at if each.until is None else f"{at} to {each.until:%H:%M:%S}, {each.count} times"


@app.command("pause")
def pause(
    reason: Reason, model: Some = None, everything: All = False, json: Json = False, workspace: Workspace = None
) -> None:
    """Start nothing by itself, and look at nothing, until somebody resumes it. People may still start runs."""
    from agent.services.pausing import pause as act

    _require_one(model, everything, "pause")
    opened = open_app(workspace, model)
    hold = act(opened.deps, _me(), model, reason)
    told = f"{hold.scope} paused by {hold.by} since {hold.at:%Y-%m-%d %H:%M} UTC: {hold.why}"
    next_ = f'`retrain triggers resume {model or "--all"} --reason "…"` goes on (you, or an approver)'
    SCREEN.result(hold.to_json_dict(), wrapped(f"{told}\n{next_}"))


@app.command("resume")
def resume(
    reason: Reason,
    model: Some = None,
    everything: All = False,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Go on after `triggers pause`: whoever paused, or an approver of the profile (with --all, of any)."""
    from agent.entrypoints.cli.holds import all_approvers
    from agent.services.pausing import resume as act

    _require_one(model, everything, "resume")
    opened = open_app(workspace, model)
    approvers = all_approvers(opened) if model is None else set(opened.deps.load_profile(model).review.approvers)
    _say(act(opened.deps, _me(), model, reason, approvers=approvers))


def _me() -> "Caller":
    from agent.services.reviews import os_user
    from tools.contracts.access import Caller

    return Caller(name=os_user(), kind="person", scopes=frozenset({"read", "run"}), door="cli")


def _say(hold: "Hold") -> None:
    SCREEN.result(hold.to_json_dict(), wrapped(f"{hold.scope} goes on, by {hold.released_by}: {hold.released_why}"))


def _require_one(model: str | None, everything: bool, command: str) -> None:
    from tools.errors import BadInput

    if (model is None) != everything:
        said = "no model was named" if model is None else "a model and --all were both given"
        remedy = f'`retrain triggers {command} MODEL --reason "…"`, or --all'
        raise BadInput(said, thing="model", value=model, remedy=remedy)
