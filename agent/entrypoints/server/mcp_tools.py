"""What can be asked over MCP? One row a tool: its input, its output, its hints, and the method of the desk behind it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from agent.desk import Desk
from agent.entrypoints.server.mcp_contracts import (
    AssessArgs,
    ExplainArgs,
    Explanation,
    JudgeArgs,
    JudgeOwn,
    ListReviewsArgs,
    RollBackArgs,
    RunArgs,
    Standing,
    StartArgs,
    SubmitReviewArgs,
    Waiting,
    uri_of,
)
from agent.entrypoints.server.views import ReviewList, ReviewView, review_view
from agent.problems import Problem, dotted, explain, field_errors, refuse
from agent.requests import parse_request
from agent.schemas import schema_of
from agent.services.check import Checked
from tools.contracts.access import Caller
from tools.contracts.base import Contract

_Args = TypeVar("_Args", bound=Contract)


@dataclass(frozen=True)
class Began:
    """A run to be waited for; `around` puts its JSON into the answer."""

    run_id: str
    seconds: float
    around: Callable[[dict[str, Any]], dict[str, Any]] = lambda run: run
    looked_up: bool = False
    """Only read: that the run has failed is an answer then, not a failure of the call."""


Does = Callable[[Desk, Caller, Mapping[str, Any]], dict[str, Any] | Began]


@dataclass(frozen=True)
class Tool:
    """One tool. The hints: does it only read, may it destroy, does a second call change more, does it reach outside?"""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    does: Does
    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


def _assess(desk: Desk, caller: Caller, given: Mapping[str, Any]) -> dict[str, Any]:
    args = _read(AssessArgs, given)
    config = {"trigger": args.trigger} | ({} if args.as_of is None else {"asOf": args.as_of})
    request, _ = parse_request({"modelId": args.model_id, "retrainingConfig": config})
    return desk.assess(caller, request).to_json_dict()


def _start(desk: Desk, caller: Caller, given: Mapping[str, Any]) -> Began:
    own, asked = _split(given, Waiting)
    waiting = _read(Waiting, own)
    request, warnings = parse_request(asked)
    return Began(desk.start(caller, request, warnings), waiting.wait_seconds)


def _judge(desk: Desk, caller: Caller, given: Mapping[str, Any]) -> Began:
    own, asked = _split(given, JudgeOwn)
    args = _read(JudgeOwn, own)
    request, warnings = parse_request({"retrainingConfig": {}, **asked})
    return Began(desk.judge(caller, request, args.candidate_version, warnings), args.wait_seconds)


def _get_run(desk: Desk, caller: Caller, given: Mapping[str, Any]) -> Began:
    args = _read(RunArgs, given)
    desk.get_run(caller, args.run_id)
    return Began(args.run_id, args.wait_seconds, looked_up=True)


def _list_reviews(desk: Desk, caller: Caller, given: Mapping[str, Any]) -> dict[str, Any]:
    args = _read(ListReviewsArgs, given)
    found = desk.list_reviews(caller, args.model_id, open_only=args.open_only)
    newest = sorted(found, key=lambda review: -review.id)[: args.limit]
    return {"reviews": [review_view(review).to_json_dict() for review in newest]}


def _submit_review(desk: Desk, caller: Caller, given: Mapping[str, Any]) -> Began:
    args = _read(SubmitReviewArgs, given)
    answered = desk.submit_review(caller, args.review_id, args.answer, args.reason, seen=args.digest)
    return Began(
        answered.run_id, args.wait_seconds, lambda run: {"review": review_view(answered).to_json_dict(), "run": run}
    )


def _roll_back(desk: Desk, caller: Caller, given: Mapping[str, Any]) -> Began:
    args = _read(RollBackArgs, given)
    asked: dict[str, Any] = {"modelId": args.model_id, "retrainingConfig": {}}
    if args.idempotency_key is not None:
        asked["idempotencyKey"] = args.idempotency_key
    request, _ = parse_request(asked)
    return Began(desk.roll_back(caller, request, args.reason, args.to), args.wait_seconds)


def _explain(desk: Desk, caller: Caller, given: Mapping[str, Any]) -> dict[str, Any]:
    run_id = _read(ExplainArgs, given).run_id
    record = desk.decision_record(caller, run_id)
    return Explanation(
        run_id=run_id,
        model_id=record.model_id,
        decided_at=record.to_json_dict()["decidedAt"],
        decision=record.decision,
        decided_by=record.decided_by,
        certainty=record.policy.certainty,
        policy_version=record.policy.policy_version,
        reasons=record.policy.reasons,
        rationale=record.rationale.text,
        written_by=record.rationale.written_by,
        evidence=record.evidence,
        plan=record.plan,
        record=uri_of(run_id, "decision"),
        report=uri_of(run_id, "report"),
    ).to_json_dict()


def _split(given: Mapping[str, Any], own: type[Contract]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments that are the tool's own, and those that are the request's."""
    names = {name for field, info in own.model_fields.items() for name in (field, info.alias or field)}
    mine = {name: value for name, value in given.items() if name in names}
    return mine, {name: value for name, value in given.items() if name not in names}


def _read(contract: type[_Args], given: Mapping[str, Any]) -> _Args:
    try:
        return contract.model_validate(given)
    except ValidationError as error:
        problems = [
            Problem(dotted(path), *explain(item), value=item["input"], has_value=item["type"] != "missing")
            for path, item in field_errors(error, given)
        ]
        raise refuse("the arguments", problems) from None


def _any_run() -> dict[str, Any]:
    """The public JSON of a run, or how it stands while it has none."""
    standing = schema_of(Standing, "serialization")
    definitions = standing.pop("$defs")
    del standing["$schema"]
    return {"type": "object", "anyOf": [{"$ref": "#/$defs/RetrainingResponse"}, standing], "$defs": definitions}


def _object(**parts: dict[str, Any]) -> dict[str, Any]:
    """An object with these parts, their definitions moved to its root."""
    definitions: dict[str, Any] = {}
    for part in parts.values():
        definitions |= part.pop("$defs", {})
        part.pop("$schema", None)
    return {"type": "object", "properties": parts, "required": list(parts), "$defs": definitions}


def tools() -> tuple[Tool, ...]:
    """All tools, in the order in which they are listed."""
    reads: dict[str, bool] = {"read_only": True, "destructive": False, "idempotent": True, "open_world": False}
    # They run the team's own pipeline, move what is served and tell people: beyond this server, and not merely adding.
    acts: dict[str, bool] = {"read_only": False, "destructive": True, "open_world": True}
    run = _any_run()
    return (
        Tool(
            "assess_staleness",
            "Is the champion stale?",
            "Look at the model in production: drift, lost performance, age, label delay; would the trigger fire, and "
            "who must hear of it. Records and moves nothing.",
            schema_of(AssessArgs, "validation"),
            schema_of(Checked, "serialization"),
            _assess,
            **reads,
        ),
        Tool(
            "start_retraining",
            "Retrain and decide",
            "Begin a run: check staleness and data, train a candidate, compare it with the champion, decide (deploy, "
            "canary, reject or manual_review) and, where the profile's mode is `act`, roll it out. Answers at once with "
            "the run's id unless waitSeconds is given. Repeat with the same idempotencyKey to get the same run.",
            schema_of(StartArgs, "validation"),
            run,
            _start,
            idempotent=False,
            **acts,
        ),
        Tool(
            "judge_candidate",
            "Judge a version made elsewhere",
            "Begin a run that compares a registered version with the champion, decides about it, and rolls it out where the "
            "profile's mode is `act`. Trains nothing. Answers at once with the run's id unless waitSeconds is given.",
            schema_of(JudgeArgs, "validation"),
            run,
            _judge,
            idempotent=False,
            **acts,
        ),
        Tool(
            "get_run",
            "How does a run stand?",
            "The run's public JSON at its last pause or end; while it goes on, its id and status. With waitSeconds it "
            "waits and tells progress.",
            schema_of(RunArgs, "validation"),
            run,
            _get_run,
            **reads,
        ),
        Tool(
            "list_reviews",
            "Questions to people",
            "Reviews that wait for a person, newest first: what is asked, who may answer, until when.",
            schema_of(ListReviewsArgs, "validation"),
            schema_of(ReviewList, "serialization"),
            _list_reviews,
            **reads,
        ),
        Tool(
            "submit_review",
            "Answer as a person",
            "Record a person's answer to a review and go on with its run. Only a person's key that is an approver's counts: "
            "an agent's call is refused, whatever it was told, and so is any confirmation given in a chat.",
            schema_of(SubmitReviewArgs, "validation"),
            _object(review=schema_of(ReviewView, "serialization"), run=_any_run()),
            _submit_review,
            idempotent=True,
            **acts,
        ),
        Tool(
            "roll_back",
            "Go back",
            "Begin to go back to the last known good version, or to the one named; the run proves what is served. "
            "Overtakes a run in progress. The model is held afterwards until an approver lets it go.",
            schema_of(RollBackArgs, "validation"),
            run,
            _roll_back,
            idempotent=False,
            **acts,
        ),
        Tool(
            "explain_decision",
            "Why was it decided so?",
            "The decision of a run, how sure it is, its reasons, the rationale, and the evidence that each number comes from.",
            schema_of(ExplainArgs, "validation"),
            schema_of(Explanation, "serialization"),
            _explain,
            **reads,
        ),
    )
