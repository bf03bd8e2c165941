"""What do the tools find that only look? Lines for the person, made by code, and data for the model.

The person reads the lines whatever the model says about them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from agent.desk import Desk
from agent.entrypoints.chat.catalogue import (
    Args,
    ExplainArgs,
    ModelArgs,
    ReviewArgs,
    RunArgs,
    SinceArgs,
)
from agent.entrypoints.chat.fencing import Names
from agent.requests import request_from_flags
from tools import brief
from tools.contracts.access import Caller
from tools.contracts.run import ChampionEvent, Review, RunRecord
from tools.errors import BadInput, NotFound
from tools.moments import moment

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_NONE: Final = frozenset({"", "all", "any", "all models", "null", "none", "model", "every", "everything"})
MOST: Final = 15
"""Lines of a list."""
_LOOKED_AT: Final = 200
"""Runs among which one is looked for."""


@dataclass(frozen=True)
class Sight:
    """Who looks, through which conversation, and when."""

    desk: Desk
    caller: Caller
    now: datetime
    about: str | None
    """The model that the conversation is about."""
    names: Names

    def model(self, named: str | None) -> str:
        """The model meant.

        Raises:
            BadInput: none is named, and the conversation is about none.
        """
        found = self.named(named) or self.about
        if found is None:
            known = ", ".join(self.desk.standings.models(self.caller)) or "none yet"
            raise BadInput("no model was named", thing="model", remedy=f"name one of: {known}")
        return found

    @staticmethod
    def named(model: str | None) -> str | None:
        """A model's name; None for a word that stands for none in particular."""
        return None if model is None or model.strip().lower() in _NONE else model.strip()

    def since(self, said: str | None) -> datetime | None:
        """The moment meant; None where none was named."""
        return None if said is None or not said.strip() else moment(said, self.now)


@dataclass(frozen=True)
class Seen:
    """What was found."""

    lines: tuple[str, ...]
    data: Any


def look(tool: str, sight: Sight, args: Args) -> Seen:
    """Do what a tool that only looks does.

    Raises:
        RetrainingError: as the desk does.
    """
    return _LOOKS[tool](sight, args)


def version_of(given: str | int) -> str:
    """`v7`, `7` and `version 7` are one.

    Raises:
        BadInput: it could be no registry's.
    """
    text = str(given).strip()
    bare = text.lower().removeprefix("version").strip().removeprefix("v")
    if bare.isdecimal():
        return bare
    if not _VERSION.fullmatch(text):
        raise BadInput("that is no version", thing="version", value=text[:80], remedy="a number, such as 7")
    return text


def plain(text: str) -> str:
    """One line of printable characters: what is shown in quotes must not look like another line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def when(time: datetime) -> str:
    """To the minute, and in which zone."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


# --- models ----------------------------------------------------------------------------------------------------------


def _models(sight: Sight, _: Args) -> Seen:
    found = list(sight.desk.standings.models(sight.caller))
    return Seen(tuple(found) or ("there are no models yet",), {"models": found})


def _check(sight: Sight, args: Args) -> Seen:
    model = sight.model(cast("ModelArgs", args).model)
    checked = sight.desk.assess(sight.caller, request_from_flags(model, trigger="drift"))
    signals = [f"{signal.outcome}: {signal.statement}" for signal in checked.staleness.signals]
    lines = (f"{model}: {checked.staleness.verdict.replace('_', ' ')}", checked.trigger.statement, *signals)
    return Seen(
        lines, {"model": model, "verdict": checked.staleness.verdict, "would_trigger": lines[1], "signals": signals}
    )


def _history(sight: Sight, args: Args) -> Seen:
    model = sight.model(cast("ModelArgs", args).model)
    events = sight.desk.history(sight.caller, model)
    lines = [_champion_line(event) for event in events[:MOST]]
    told = {"model": model, "champion": events[0].version if events else "none", "history": lines}
    return Seen((f"{model}: {_now(events)}", *lines), told)


def _now(events: Sequence[ChampionEvent]) -> str:
    return f"version {events[0].version} is in production" if events else "no champion is on record"


def _champion_line(event: ChampionEvent) -> str:
    how = event.how.replace("_", " ")
    why = f": {event.reason}" if event.reason else ""
    return f"{when(event.at)}  version {event.version} ({how} by {event.by}){why}"


def _holds(sight: Sight, _: Args) -> Seen:
    lines = [
        f"{hold.scope}: held by {hold.by} since {when(hold.at)}: {hold.why}"
        for hold in sight.desk.standings.holds(sight.caller)
    ]
    return Seen(tuple(lines) or ("nothing is held",), {"held": lines or "nothing"})


# --- runs ------------------------------------------------------------------------------------------------------------


def _runs(sight: Sight, args: Args) -> Seen:
    given = cast("SinceArgs", args)
    since = sight.since(given.since)
    found = sight.desk.list_runs(sight.caller, sight.named(given.model) or sight.about, _LOOKED_AT if since else MOST)
    lines = [_run_line(run) for run in found if since is None or run.updated_at >= since][:MOST]
    return Seen(tuple(lines) or ("no runs",), {"runs": lines or "none"})


def _run_line(run: RunRecord) -> str:
    version = candidate_of(run)
    about = f" of version {version}" if version else ""
    waits = f", waits for {'a person' if run.parked_for == 'review' else 'its rollout'}" if run.parked_for else ""
    decision = f", {run.decision}" if run.decision else ""
    what = f"{run.kind} of {run.model_id}{about}, {run.status}{waits}{decision}"
    return f"{when(run.created_at)}  {run.run_id}: {what} (asked by {run.requested_by})"


def candidate_of(run: RunRecord) -> str | None:
    """The version that a run was about, where it is known."""
    output: dict[str, Any] = run.output or {}
    made = output.get("retrainingResult", {}).get("newModelVersion")
    return made or (run.order or {}).get("candidate_version")


def _run(sight: Sight, args: Args) -> Seen:
    run = sight.desk.get_run(sight.caller, cast("RunArgs", args).run)
    lines, output = [_run_line(run)], run.output or {}
    if run.error:
        lines.append(f"error: {run.error}")
    decision: dict[str, Any] = output.get("deploymentDecision", {})
    if decision:
        lines.append(f"decision: {decision['decision']}, by {decision.get('decidedBy', 'policy')}")
        lines += decision["rationale"].splitlines()[:3]
    rollout: dict[str, Any] = output.get("rollout", {})
    if rollout:
        lines.append(f"rollout: {rollout['phase']}. {rollout.get('statement', '')}")
    return Seen(tuple(lines), {"run": lines})


def _explain(sight: Sight, args: Args) -> Seen:
    given = cast("ExplainArgs", args)
    run = _meant(sight, given)
    if isinstance(run, Seen):
        return run
    record = sight.desk.decision_record(sight.caller, run.run_id)
    sight.names.learn(record.evidence)
    version = candidate_of(run)
    head = (
        f"{run.model_id}{f' version {version}' if version else ''}: {record.decision.replace('_', ' ')}"
        f" ({record.policy.certainty}), decided by {record.decided_by} on {when(record.decided_at)}, run {run.run_id}"
    )
    ended = [] if run.decision in (None, record.decision) else [f"in the end: {run.decision}"]
    cited = {key for reason in record.policy.reasons for key in reason.evidence}
    evidence = sorted(record.evidence, key=lambda item: item.key not in cited)[:12]
    told = {
        "head": head,
        "reasons": [reason.sentence for reason in record.policy.reasons],
        "evidence": [f"{item.id} {item.outcome}: {item.statement}" for item in evidence],
        "in_the_end": ended,
    }
    return Seen((head, *ended, *record.rationale.text.splitlines(), f"all of it: retrain runs show {run.run_id}"), told)


def _meant(sight: Sight, given: ExplainArgs) -> RunRecord | Seen:
    """The run that is to be explained, or what the history knows of a version without one."""
    if given.run is not None and given.version is None:
        return sight.desk.get_run(sight.caller, given.run)
    model = sight.model(given.model)
    runs = [run for run in sight.desk.list_runs(sight.caller, model, _LOOKED_AT) if run.decision_record is not None]
    if given.version is None:
        if not runs:
            raise NotFound(f"nothing was decided about {model} yet", thing="run", remedy="start a run")
        return runs[0]
    version = version_of(given.version)
    for run in runs:
        if candidate_of(run) == version:
            return run
    events = [e for e in sight.desk.history(sight.caller, model) if version in (e.version, e.previous)]
    if events:
        lines = [_champion_line(event) for event in events[:MOST]]
        return Seen(
            (f"no decision about version {version} of {model} is on record; it was in production:", *lines), lines
        )
    known = sorted({each for run in runs if (each := candidate_of(run))})
    raise NotFound(
        f"no decision about version {version} of {model} is on record",
        thing="version",
        value=version,
        remedy=f"versions with a decision: {', '.join(known) or 'none'} (a rejected candidate is never registered: ask by run)",
    )


def _changes(sight: Sight, args: Args) -> Seen:
    given = cast("SinceArgs", args)
    since = sight.since(given.since) or moment("7 days ago", sight.now)
    model = sight.named(given.model) or sight.about
    models = [model] if model else list(sight.desk.standings.models(sight.caller))
    told: list[tuple[datetime, str]] = []
    for each in models:
        for event in sight.desk.history(sight.caller, each):
            told.append((event.at, f"{each}: version {event.version} {event.how.replace('_', ' ')} by {event.by}"))
    for run in sight.desk.list_runs(sight.caller, model, _LOOKED_AT):
        told.append(
            (
                run.created_at,
                f"{run.model_id}: run {run.run_id} ({run.kind}) {run.status}, {run.decision or 'undecided'}",
            )
        )
    for review in sight.desk.list_reviews(sight.caller, model, open_only=False):
        told.append((review.created_at, f"{review.model_id}: review {review.id} asked ({review.offered})"))
        if review.answered_at is not None:
            told.append(
                (review.answered_at, f"{review.model_id}: review {review.id} {review.answer} by {review.answered_by}")
            )
    lines = [f"{when(at)}  {what}" for at, what in sorted(told, reverse=True) if at >= since][: 2 * MOST]
    head = f"since {when(since)}" + (f", {model}" if model else "")
    return Seen((f"{head}: {len(lines) or 'no'} changes", *lines), {"since": when(since), "changes": lines or "none"})


# --- reviews ---------------------------------------------------------------------------------------------------------


def _reviews(sight: Sight, args: Args) -> Seen:
    found = sight.desk.list_reviews(sight.caller, sight.named(cast("ModelArgs", args).model) or sight.about)
    lines = [
        f"review {each.id}: {each.offered.replace('_', ' ')} {about(each)}, open until {when(each.expires_at)},"
        f" approvers {', '.join(each.approvers) or 'nobody'}"
        for each in found[:MOST]
    ]
    return Seen(tuple(lines) or ("no open reviews",), {"reviews": lines or "none"})


def about(review: Review) -> str:
    """Model, candidate and champion of a question, in words."""
    asked: dict[str, Any] = review.payload["action_requests"][0]["args"]
    subject = review.subject
    candidate = (subject.candidate_version if subject else None) or "not registered yet"
    champion = asked.get("champion")
    return (
        f"{review.model_id} (candidate: {candidate}; in production: {f'version {champion}' if champion else 'nothing'})"
    )


def _review(sight: Sight, args: Args) -> Seen:
    review = sight.desk.get_review(sight.caller, cast("ReviewArgs", args).review)
    asked: dict[str, Any] = review.payload["action_requests"][0]
    reasons: list[str] = asked["args"].get("reasons", [])
    if review.status == "open":
        reasons = list(brief.lines(sight.desk.brief(sight.caller, review.id)))
    allowed: list[str] = review.payload["review_configs"][0]["allowed_decisions"]
    canary = ", canary takes a canary first" if "edit" in allowed else ""
    lines = [
        f"review {review.id} ({review.status}): {asked['description']}",
        f"about {about(review)}; asked by {review.requested_by}, run {review.run_id}",
        *reasons,
        f"approve means {review.offered.replace('_', ' ')}{canary}, reject leaves the champion",
        f"approvers {', '.join(review.approvers) or 'nobody'}; open until {when(review.expires_at)}",
    ]
    if review.answer is not None:
        lines.append(f"answered {review.answer} by {review.answered_by}: {review.reason}")
    return Seen(tuple(lines), {"review": lines})


_LOOKS: Final[dict[str, Callable[[Sight, Args], Seen]]] = {
    "list_models": _models,
    "check_staleness": _check,
    "list_runs": _runs,
    "show_run": _run,
    "explain_decision": _explain,
    "what_changed": _changes,
    "history": _history,
    "list_reviews": _reviews,
    "show_review": _review,
    "list_holds": _holds,
}
