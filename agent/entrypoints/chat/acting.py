"""What would a tool that acts do, and how is it done once a person has said yes?

`propose` does nothing: it checks the arguments, looks up what they mean, and words what would happen. `perform` does exactly that, from
the arguments that were sealed. A killed process that comes again does it once: runs by their idempotency key, answers by their review.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from agent.desk import Desk
from agent.entrypoints.chat.catalogue import (
    AnswerArgs,
    Args,
    GoOnArgs,
    JudgeArgs,
    PauseArgs,
    RetrainArgs,
    RollBackArgs,
    RunArgs,
)
from agent.entrypoints.chat.looking import Sight, about, plain, version_of, when
from agent.requests import request_from_flags
from agent.standings import Standing
from tools.confirmation import Action
from tools.contracts.access import Caller
from tools.contracts.request import RetrainingRequest
from tools.errors import Conflict, NotFound
from tools.moments import data_window

_MODES: Final = {
    "act": "may be deployed without asking anybody (mode act)",
    "recommend": "a person is asked before anything moves (mode recommend)",
    "observe": "nothing is moved, the decision is recorded (mode observe)",
}


@dataclass(frozen=True)
class Proposal:
    """What is asked to be confirmed: plain arguments, and the lines that say what they do."""

    args: dict[str, Any]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """What came of it."""

    lines: tuple[str, ...]
    run_id: str | None = None


def propose(tool: str, sight: Sight, args: Args) -> Proposal:
    """What the tool would do.

    Raises:
        RetrainingError: it cannot be done as asked.
    """
    return _PROPOSALS[tool](sight, args)


def perform(desk: Desk, caller: Caller, action: Action) -> Done:
    """Do what was confirmed.

    Raises:
        RetrainingError: as the desk does; nothing else was done.
    """
    return _DEEDS[action.tool](desk, caller, action.args, f"chat:{action.id}")


# --- runs ------------------------------------------------------------------------------------------------------------


def _retrain(sight: Sight, args: Args) -> Proposal:
    given = cast("RetrainArgs", args)
    standing = sight.desk.standings.of(sight.caller, sight.model(given.model))
    profile = standing.profile
    window = None if given.window is None else data_window(given.window, sight.now)
    kept: dict[str, Any] = {"model": profile.id, "window": window, "min_improvement": given.min_improvement}
    _request(kept)
    own = f"{profile.data_window} (the profile's)"
    lines = [
        f"START A RETRAINING RUN of {_named(standing)}",
        f"trained on   {f'{window}, ending now' if window else own}",
        f"afterwards   {_MODES[profile.mode]}",
    ]
    if given.min_improvement is not None:
        lines.append(f"must gain    at least {given.min_improvement:g} in {profile.metrics.primary.name}")
    return Proposal(kept, tuple(lines))


def _judge(sight: Sight, args: Args) -> Proposal:
    given = cast("JudgeArgs", args)
    standing = sight.desk.standings.of(sight.caller, sight.model(given.model))
    version = version_of(given.version)
    if version == standing.champion:
        raise Conflict(
            f"version {version} of {standing.profile.id} is the champion itself",
            thing="version",
            value=version,
            remedy="name the version that is to be judged against it",
        )
    lines = (
        f"JUDGE VERSION {version} of {_named(standing)}",
        "training     none; it is compared with the champion on the same rows",
        f"afterwards   {_MODES[standing.profile.mode]}",
    )
    return Proposal({"model": standing.profile.id, "version": version}, lines)


def _roll_back(sight: Sight, args: Args) -> Proposal:
    given = cast("RollBackArgs", args)
    standing = sight.desk.standings.of(sight.caller, sight.model(given.model))
    to = standing.way_back if given.version is None else version_of(given.version)
    if to is None:
        raise NotFound(
            f"{standing.profile.id} has no last known good version",
            thing="version",
            remedy="name one that is registered",
        )
    lines = (
        f"ROLL BACK {_named(standing)} to version {to}",
        "at once      all traffic; a run of this model that is under way is ended",
        "afterwards   the model is held until an approver releases it",
        f"reason       “{plain(given.reason)}”",
    )
    return Proposal({"model": standing.profile.id, "to": to, "reason": plain(given.reason)}, lines)


def _resume(sight: Sight, args: Args) -> Proposal:
    run = sight.desk.get_run(sight.caller, cast("RunArgs", args).run)
    if run.status not in ("parked", "failed", "running"):
        raise Conflict(
            f"run {run.run_id} is {run.status}",
            thing="run",
            value=run.run_id,
            remedy="start a new one: it cannot go on",
        )
    line = f"GO ON WITH RUN {run.run_id}: {run.kind} of {run.model_id}, now {run.status}"
    return Proposal({"run": run.run_id}, (line, "afterwards   it goes on from its last step, as its profile lets it"))


def _named(standing: Standing) -> str:
    champion = (
        "nothing is in production" if standing.champion is None else f"version {standing.champion} is in production"
    )
    return f"{standing.profile.id} (registered model {standing.profile.registered_model}; {champion})"


def _request(args: Mapping[str, Any], key: str | None = None) -> RetrainingRequest:
    return request_from_flags(
        args["model"], window=args.get("window"), min_improvement=args.get("min_improvement"), idempotency_key=key
    )


def _do_retrain(desk: Desk, caller: Caller, args: Mapping[str, Any], key: str) -> Done:
    return _begun(desk.start(caller, _request(args, key)))


def _do_judge(desk: Desk, caller: Caller, args: Mapping[str, Any], key: str) -> Done:
    return _begun(desk.judge(caller, _request(args, key), args["version"]))


def _do_roll_back(desk: Desk, caller: Caller, args: Mapping[str, Any], key: str) -> Done:
    return _begun(desk.roll_back(caller, _request(args, key), args["reason"], args["to"]))


def _do_resume(desk: Desk, caller: Caller, args: Mapping[str, Any], _: str) -> Done:
    desk.resume(caller, args["run"])
    return Done((f"run {args['run']} goes on",), args["run"])


def _begun(run_id: str) -> Done:
    return Done((f"run {run_id} has begun",), run_id)


# --- reviews and holds -----------------------------------------------------------------------------------------------


def _answer(sight: Sight, args: Args) -> Proposal:
    given = cast("AnswerArgs", args)
    review = sight.desk.get_review(sight.caller, given.review)
    if review.status != "open":
        raise Conflict(
            f"review {review.id} is {review.status}",
            thing="review",
            value=review.id,
            remedy="ask what became of its run",
        )
    does = {
        "approve": review.offered.replace("_", " "),
        "canary": "start a canary with the candidate",
        "reject": "nothing is moved, the champion stays",
    }[given.answer]
    lines = (
        f"ANSWER REVIEW {review.id} with {given.answer.upper()}, as {sight.caller.name}",
        f"about        {about(review)}",
        f"which does   {does}; then run {review.run_id} goes on",
        f"reason       “{plain(given.reason)}”",
        f"question     sealed {review.digest[:16]}, open until {when(review.expires_at)}",
    )
    kept = {"review": review.id, "answer": given.answer, "reason": plain(given.reason), "digest": review.digest}
    return Proposal(kept, lines)


def _pause(sight: Sight, args: Args) -> Proposal:
    reason = plain(cast("PauseArgs", args).reason)
    lines = (
        "PAUSE EVERYTHING: no run starts and no rollout of any model goes on; rollbacks stay possible",
        "until        an approver says so (retrain resume --all)",
        f"reason       “{reason}”",
    )
    return Proposal({"reason": reason}, lines)


def _go_on(sight: Sight, args: Args) -> Proposal:
    given = cast("GoOnArgs", args)
    if given.everything:
        line, kept = "GO ON WITH EVERYTHING that was paused", {"model": None}
    else:
        standing = sight.desk.standings.of(sight.caller, sight.model(given.model))
        line, kept = (
            f"RELEASE {_named(standing)}: it may train and deploy by itself again",
            {"model": standing.profile.id},
        )
    reason = plain(given.reason)
    return Proposal({**kept, "reason": reason}, (line, f"reason       “{reason}”"))


def _do_answer(desk: Desk, caller: Caller, args: Mapping[str, Any], _: str) -> Done:
    answered = desk.submit_review(caller, args["review"], args["answer"], args["reason"], seen=args["digest"])
    return Done(
        (f"review {answered.id} is answered: {answered.answer}; run {answered.run_id} goes on",), answered.run_id
    )


def _do_pause(desk: Desk, caller: Caller, args: Mapping[str, Any], _: str) -> Done:
    hold = desk.standings.pause(caller, args["reason"])
    return Done((f"everything is paused by {hold.by} since {when(hold.at)}",))


def _do_go_on(desk: Desk, caller: Caller, args: Mapping[str, Any], _: str) -> Done:
    hold = desk.standings.release(caller, args["reason"], args["model"])
    return Done((f"{hold.scope} is released by {hold.released_by}",))


_PROPOSALS: Final[dict[str, Callable[[Sight, Args], Proposal]]] = {
    "retrain": _retrain,
    "judge_version": _judge,
    "answer_review": _answer,
    "roll_back": _roll_back,
    "pause": _pause,
    "go_on": _go_on,
    "resume_run": _resume,
}
_DEEDS: Final[dict[str, Callable[[Desk, Caller, Mapping[str, Any], str], Done]]] = {
    "retrain": _do_retrain,
    "judge_version": _do_judge,
    "answer_review": _do_answer,
    "roll_back": _do_roll_back,
    "pause": _do_pause,
    "go_on": _do_go_on,
    "resume_run": _do_resume,
}
