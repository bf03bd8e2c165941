"""The HTTP door: `/v1`. Each endpoint reads what it is given, asks the desk, and shows what came of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from agent.desk import Desk
from agent.entrypoints.chat.service import Chat
from agent.entrypoints.server import follow
from agent.entrypoints.server.chat import add_chat
from agent.entrypoints.server.guard import caller_of
from agent.entrypoints.server.limits import Limits, Slots
from agent.entrypoints.server.openapi import FAULTS, answers, given
from agent.entrypoints.server.problems import problem
from agent.entrypoints.server.views import (
    AnswerRequest,
    ChampionHistory,
    JudgeRequest,
    ReviewList,
    ReviewView,
    RollbackRequest,
    RunList,
    RunView,
    review_view,
    run_line,
    run_view,
)
from agent.requests import Asked, parse_as, request_from_flags
from agent.services.check import Checked
from tools.contracts.access import Caller
from tools.contracts.request import RetrainingRequest
from tools.errors import BadInput

PAGE_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "sandbox",
    )
)
"""The report needs its own style sheet and nothing else."""
MOST_WAIT: Final = 60

RunId = Annotated[str, Path(alias="runId", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
ReviewId = Annotated[int, Path(alias="reviewId", ge=1, le=2**31 - 1)]
Model = Annotated[
    str, Query(alias="modelId", min_length=1, max_length=300, description="A profile's id, or its registered model.")
]
SomeModel = Annotated[
    str | None, Query(alias="modelId", min_length=1, max_length=300, description="Only this one's; all where absent.")
]
Wait = Annotated[
    float,
    Query(ge=0, le=MOST_WAIT, description="Seconds to wait for the run's end or rest; 200 where it came to that."),
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", pattern=r"^[!-~]{1,200}$", description="Same key, same run; another request is a 409."
    ),
]
LastId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=200)]
_STARTED: Final[dict[int | str, dict[str, Any]]] = {
    **FAULTS,
    200: answers(RunView, "The run, at its end or rest", located=True),
    202: answers(RunView, "The run has begun", located=True),
}


@dataclass(frozen=True)
class Hall:
    """What the endpoints share."""

    desk: Desk
    slots: Slots
    limits: Limits
    stopped: asyncio.Event
    """Set when the server stops: streams and waits end."""
    talk: Chat


def router(hall: Hall) -> APIRouter:
    """All of `/v1`."""
    made = APIRouter(prefix="/v1", responses=FAULTS)
    _add_runs(made, hall)
    _add_starts(made, hall)
    _add_reviews(made, hall)
    _add_models(made, hall)
    add_chat(made, hall)
    return made


def _add_starts(api: APIRouter, hall: Hall) -> None:
    desk = hall.desk

    @api.post("/runs", tags=["runs"], responses=_STARTED, openapi_extra=given(RetrainingRequest))
    async def start_run(request: Request, key: Key = None, wait: Wait = 0) -> Response:
        """Begin a run: retrain, compare, decide, and roll out if the profile lets it. Scope `run`."""
        asked, warnings = await read_body(request, RetrainingRequest)
        keyed = asked.model_copy(update={"idempotency_key": _key(key, asked.idempotency_key)})
        return await _begun(hall, request, wait, warnings, lambda who: desk.start(who, keyed, warnings))

    @api.post("/judgements", tags=["runs"], responses=_STARTED, openapi_extra=given(JudgeRequest))
    async def judge_candidate(request: Request, key: Key = None, wait: Wait = 0) -> Response:
        """Judge a registered version against the champion. Trains nothing. Scope `run`."""
        asked, warnings = await read_body(request, JudgeRequest)
        plain = RetrainingRequest.model_validate(
            asked.model_dump(exclude={"candidate_version"}) | {"idempotency_key": _key(key, asked.idempotency_key)}
        )
        return await _begun(
            hall, request, wait, warnings, lambda who: desk.judge(who, plain, asked.candidate_version, warnings)
        )

    @api.post("/rollbacks", tags=["runs"], responses=_STARTED, openapi_extra=given(RollbackRequest))
    async def roll_back(request: Request, key: Key = None, wait: Wait = 0) -> Response:
        """Go back to the last known good version, or to the one named; it is loaded and proved. Scope `roll_back`."""
        asked, warnings = await read_body(request, RollbackRequest)
        plain = request_from_flags(asked.model_id, idempotency_key=_key(key, asked.idempotency_key))
        return await _begun(
            hall, request, wait, warnings, lambda who: desk.roll_back(who, plain, asked.reason, asked.to)
        )


def _add_runs(api: APIRouter, hall: Hall) -> None:
    desk = hall.desk

    @api.get("/runs", tags=["runs"], responses={200: answers(RunList, "Without their outputs")})
    def list_runs(
        request: Request, model: SomeModel = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Response:
        """Runs so far, newest first. Scope `read`."""
        found = desk.list_runs(_who(request), model, limit)
        return JSONResponse(RunList(runs=tuple(run_line(run) for run in found)).to_json_dict())

    @api.get("/runs/{runId}", tags=["runs"], responses={200: answers(RunView, "As the store has it")})
    async def get_run(request: Request, run_id: RunId, wait: Wait = 0) -> Response:
        """A run as it stands; `output` is its latest public JSON. Scope `read`."""
        run = await run_in_threadpool(desk.get_run, _who(request), run_id)
        if wait and not follow.at_rest(run, going=desk.is_going(run_id)):
            run = await _waited(hall, _who(request), run_id, wait)
        return JSONResponse(run_view(run))

    events: dict[str, Any] = {"description": "`progress`, `run` and `end` events", "content": {"text/event-stream": {}}}

    @api.get(
        "/runs/{runId}/events", tags=["runs"], responses={200: events, 204: {"description": "All of it was heard"}}
    )
    async def follow_run(request: Request, run_id: RunId, last: LastId = None) -> Response:
        """What the run does, as server-sent events, until its end or rest. Scope `read`."""
        who = _who(request)
        run = await run_in_threadpool(desk.get_run, who, run_id)
        place = follow.place_of(last, desk.board.born)
        if follow.heard(place, run, desk):
            return Response(status_code=204)
        if not hall.slots.take(who.name):
            return problem(
                429,
                "too many streams and waiting calls at a time",
                title="Too many requests",
                remedy="end one, or ask for the run without waiting",
                Retry_After="30",
            )
        most = hall.limits.stream_seconds
        return follow.Stream(follow.follow(desk, who, run_id, place, hall.stopped, most), hall.slots, who.name, most)

    page: dict[str, Any] = {"description": "One page", "content": {"text/html": {"schema": {"type": "string"}}}}

    @api.get("/runs/{runId}/report", tags=["runs"], responses={200: page})
    def show_report(request: Request, run_id: RunId) -> Response:
        """The decision report: one HTML page that needs nothing but itself. Scope `read`."""
        content = desk.report(_who(request), run_id)
        return HTMLResponse(content, headers={"Content-Security-Policy": PAGE_POLICY})


def _add_reviews(api: APIRouter, hall: Hall) -> None:
    desk = hall.desk

    @api.get("/reviews", tags=["reviews"], responses={200: answers(ReviewList, "Open ones, unless all are asked for")})
    def list_reviews(request: Request, model: SomeModel = None, every: Annotated[bool, Query(alias="all")] = False):
        """Questions to people. Scope `read`."""
        found = desk.list_reviews(_who(request), model, open_only=not every)
        return JSONResponse(ReviewList(reviews=tuple(review_view(each) for each in found)).to_json_dict())

    @api.get("/reviews/{reviewId}", tags=["reviews"], responses={200: answers(ReviewView, "As it stands")})
    def get_review(request: Request, review_id: ReviewId) -> Response:
        """One question. Scope `read`."""
        caller = _who(request)
        found = review_view(desk.get_review(caller, review_id), desk.brief(caller, review_id))
        return JSONResponse(found.to_json_dict())

    @api.post(
        "/reviews/{reviewId}/answer",
        tags=["reviews"],
        responses={202: answers(ReviewView, "Recorded; the run goes on", located=True)},
        status_code=202,
        openapi_extra=given(AnswerRequest),
    )
    async def answer_review(request: Request, review_id: ReviewId) -> Response:
        """A person's answer; the run goes on with it. Scope `review`, and the name of an approver."""
        said, _ = await read_body(request, AnswerRequest)
        who = _who(request)

        def answer() -> Response:
            review = desk.submit_review(who, review_id, said.answer, said.reason, seen=said.digest)
            where = {"Location": f"/v1/runs/{review.run_id}"}
            return JSONResponse(review_view(review).to_json_dict(), 202, headers=where)

        return await run_in_threadpool(answer)


def _add_models(api: APIRouter, hall: Hall) -> None:
    desk = hall.desk

    @api.post(
        "/checks",
        tags=["models"],
        responses={200: answers(Checked, "What the look gave")},
        openapi_extra=given(RetrainingRequest),
    )
    async def check_staleness(request: Request) -> Response:
        """Is the champion stale, and would the trigger fire? Nothing is recorded or moved. Scope `read`."""
        asked, warnings = await read_body(request, RetrainingRequest)
        checked = await run_in_threadpool(desk.assess, _who(request), asked)
        headers = {"Warning": ", ".join(f'199 - "{_ascii(each)}"' for each in warnings[:5])} if warnings else None
        return JSONResponse(checked.to_json_dict(), headers=headers)

    @api.get("/history", tags=["models"], responses={200: answers(ChampionHistory, "Newest first")})
    def history(request: Request, model: Model) -> Response:
        """What was champion when, why, and by whom. Scope `read`."""
        found = desk.history(_who(request), model)
        return JSONResponse(ChampionHistory(champions=tuple(found)).to_json_dict())


async def _begun(
    hall: Hall, request: Request, wait: float, warnings: tuple[str, ...], begin: Callable[[Caller], str]
) -> Response:
    who = _who(request)
    run_id = await run_in_threadpool(begin, who)
    run = await _waited(hall, who, run_id, wait)
    rests = follow.at_rest(run, going=hall.desk.is_going(run_id))
    headers = {"Location": f"/v1/runs/{run_id}"} | ({} if rests else {"Retry-After": "2"})
    return JSONResponse(run_view(run, warnings), 200 if wait and rests else 202, headers=headers)


async def _waited(hall: Hall, who: Caller, run_id: str, seconds: float) -> Any:
    """The run, once it rests or the time is over; at once where all places to wait are taken."""
    # Whoever may begin a run may see it.
    seeing = who.model_copy(update={"scopes": who.scopes | {"read"}})
    if seconds:
        with hall.slots.held(who.name) as given:
            if given:
                most = min(seconds, hall.limits.wait_seconds)
                await follow.rest_of(hall.desk, seeing, run_id, most, hall.stopped)
    return await run_in_threadpool(hall.desk.get_run, seeing, run_id)


async def read_body(request: Request, contract: type[Asked]) -> tuple[Asked, tuple[str, ...]]:
    """The body, by the contract that it must keep to."""
    body = await request.body()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput("the request is not UTF-8", thing="request", remedy="send JSON in UTF-8") from None
    return parse_as(contract, text)


def _key(header: str | None, field: str | None) -> str | None:
    if header is not None and field is not None and header != field:
        raise BadInput(
            "the header Idempotency-Key and the field idempotencyKey differ",
            thing="Idempotency-Key",
            value=header,
            remedy="give one of them",
        )
    return header or field


def _who(request: Request) -> Caller:
    return caller_of(request.scope)


def _ascii(text: str) -> str:
    """Fit for a header."""
    return text.encode("ascii", "replace").decode().replace('"', "'").replace("\n", " ").replace("\r", " ")[:200]
