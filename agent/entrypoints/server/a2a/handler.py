"""The A2A door: a run is a task. Every task is read from the run store, so a server that restarts has lost none.

The SDK's dispatcher speaks JSON-RPC and server-sent events; its task handler is not used, because that keeps tasks of its own.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.common import DefaultServerCallContextBuilder, ServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    ExtendedAgentCardNotConfiguredError,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    InvalidRequestError,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    PushNotificationNotSupportedError,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskNotCancelableError,
    TaskPushNotificationConfig,
    TaskStatusUpdateEvent,
    UnsupportedOperationError,
)
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from a2a.utils.errors import JSONParseError
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import apply_history_length
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.desk import Desk
from agent.entrypoints.server.a2a.card import agent_card
from agent.entrypoints.server.a2a.errors import refusals
from agent.entrypoints.server.a2a.list import list_tasks
from agent.entrypoints.server.a2a.messages import Ask, data_of, read_ask, read_reply, what_is_needed
from agent.entrypoints.server.a2a.replies import answer_at_once, message_of, require_ours
from agent.entrypoints.server.a2a.tasks import Standing, artifacts_of, context_of, status_of, task_of
from tools.contracts.access import Caller
from tools.contracts.run import RunRecord
from tools.errors import BadInput, Conflict, NotAllowed

PATH: Final = "/a2a"
OPEN_PATHS: Final = (AGENT_CARD_WELL_KNOWN_PATH,)
"""Answered without a key: the card says how to get in, and nothing else."""
MOST_WAIT: Final = 300.0
"""Seconds that a message without streaming waits for its run; then the task is given back as it stands."""
LOOK_EVERY: Final = 2.0
"""Seconds: another process may drive the run, and tells this one nothing."""
ORPHANED_AFTER: Final = 10.0
"""Seconds without any process on a run, until who follows it is told so and let go."""


def routes(desk: Desk, url: str, *, most_wait: float = MOST_WAIT) -> list[Route]:
    """The door's routes: the card, and JSON-RPC at `PATH`.

    Args:
        desk: What is behind all doors.
        url: The server as clients reach it, for the card, e.g. `http://127.0.0.1:8472`.
        most_wait: Seconds that a message without streaming waits.
    """
    dispatcher = JsonRpcDispatcher(Tasks(desk, most_wait=most_wait), context_builder=_Contexts())

    async def endpoint(request: Request) -> Response:
        if _caller(request) is None:
            refused = InvalidRequestError("who asks is not known\n  remedy: send a bearer key of this server")
            answer = build_error_response(None, refused)
            return JSONResponse(answer, 401, headers={"WWW-Authenticate": "Bearer"})
        try:
            # The dispatcher reads it again, from memory; here it is only asked whether it can be read at all.
            json.loads(await request.body())
        except (ValueError, RecursionError):
            unreadable = JSONParseError("the body is no JSON\n  remedy: send one JSON-RPC 2.0 request")
            return JSONResponse(build_error_response(None, unreadable))
        return await dispatcher.handle_requests(request)

    return [*create_agent_card_routes(agent_card(url.rstrip("/") + PATH)), Route(PATH, endpoint, methods=["POST"])]


class _Contexts(ServerCallContextBuilder):
    """Hands on who asks, as the server has made sure of."""

    def build(self, request: Request) -> ServerCallContext:
        context = DefaultServerCallContextBuilder().build(request)
        context.state["caller"] = _caller(request)
        return context


def _caller(request: Request) -> Caller | None:
    found = request.scope.get("state", {}).get("caller")
    return found.model_copy(update={"door": "a2a"}) if isinstance(found, Caller) else None


def _who(context: ServerCallContext) -> Caller:
    return context.state["caller"]


class Tasks(RequestHandler):
    """The protocol's methods over the desk. Holds nothing but the desk."""

    def __init__(self, desk: Desk, *, most_wait: float = MOST_WAIT) -> None:
        self._desk, self._most_wait = desk, most_wait

    # --- looking -----------------------------------------------------------------------------------------------------

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """The task as it stands."""
        with refusals():
            require_ours(params)
            return apply_history_length(task_of(await self._stand(_who(context), params.id)), params)

    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Runs of every door, newest first."""
        with refusals():
            return await run_in_threadpool(list_tasks, self._desk, _who(context), params, self._standing)

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """What comes from now on, through questions and rollouts, to the end."""
        with refusals():
            validate_proto_required_fields(params)
            caller = _who(context)
            standing = await self._stand(caller, params.id)
            if standing.ended:
                raise UnsupportedOperationError(
                    f"task {params.id} has ended ({standing.record.status}): there is nothing to follow\n"
                    "  remedy: GetTask tells how it ended"
                )
            async with aclosing(self._events(caller, standing, past_questions=True)) as events:
                async for event in events:
                    yield event

    # --- asking ------------------------------------------------------------------------------------------------------

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        """Begin, ask or answer; waits for the run, but not for a rollout, and not for ever."""
        with refusals():
            caller, taken = await self._take(params, context)
            if isinstance(taken, Standing) and not params.configuration.return_immediately:
                taken = await self._settled(caller, taken)
            return task_of(taken) if isinstance(taken, Standing) else taken

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """The same, told as it goes on; ends with the run, or with a question to a person."""
        with refusals():
            caller, taken = await self._take(params, context)
            if not isinstance(taken, Standing):
                yield taken
                return
            async with aclosing(self._events(caller, taken, past_questions=False)) as events:
                async for event in events:
                    yield event

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Never: see docs/design/a2a.md. What does the same is named."""
        with refusals():
            validate_proto_required_fields(params)
            standing = await self._stand(_who(context), params.id)
            run_id, review = standing.record.run_id, standing.review
            if standing.ended:
                why, remedy = f"it has ended ({standing.record.status})", "there is nothing left to cancel"
            elif review is not None:
                why = "a person has been asked"
                remedy = f"have an approver reject review {review.id}; unanswered, the champion stays"
            elif standing.waits:
                why, remedy = "a rollout is under way", "skill roll_back ends it and goes back"
            else:
                why, remedy = "its work cannot be broken off from here", "skill roll_back pre-empts it, whatever it does"
            raise TaskNotCancelableError(f"task {run_id} cannot be canceled: {why}\n  remedy: {remedy}")

    async def _take(self, params: SendMessageRequest, context: ServerCallContext) -> tuple[Caller, Standing | Task | Message]:
        """What the message came to: a run that goes on, a task for this caller alone, or a plain answer."""
        require_ours(params)
        message = params.message
        caller = _who(context).model_copy(update={"context": message.context_id or None})
        data = data_of(message)
        if message.task_id:
            return caller, await self._continue(caller, message, data)
        if data is None:
            return caller, message_of(what_is_needed(), context_id=message.context_id)
        ask = read_ask(data)
        if ask.skill in ("assess_staleness", "get_run", "explain_decision"):
            answer = await run_in_threadpool(answer_at_once, self._desk, caller, ask)
            return caller, message_of(*answer, context_id=message.context_id)
        run_id = await run_in_threadpool(self._begin, caller, ask, message.message_id)
        return caller, await self._stand(caller, run_id)

    def _begin(self, caller: Caller, ask: Ask, message_id: str) -> str:
        desk, request = self._desk, ask.request
        if request is None:
            raise BadInput("the data holds no request", thing="request", remedy="send one")
        if "read" not in caller.scopes:
            raise NotAllowed(
                f"{caller.name!r} could not see the task that this begins: the scope 'read' is missing",
                thing="scope",
                value="read",
                remedy="use a key that has it too",
            )
        if request.idempotency_key is None:
            request = request.model_copy(update={"idempotency_key": f"a2a:{caller.name}:{message_id}"})
        if ask.skill == "judge_candidate":
            return desk.judge(caller, request, ask.candidate_version, ask.warnings)
        if ask.skill == "roll_back":
            return desk.roll_back(caller, request, ask.reason, ask.to)
        return desk.start(caller, request, ask.warnings)

    async def _continue(self, caller: Caller, message: Message, data: dict[str, Any] | None) -> Standing | Task:
        """A message to a task: only a question takes one, and only a person's verdict answers it."""
        standing = await self._stand(caller, message.task_id)
        record, review = standing.record, standing.review
        if message.context_id and message.context_id != context_of(record):
            raise BadInput(
                f"task {record.run_id} is not of context {message.context_id!r}",
                thing="contextId",
                value=message.context_id,
                remedy=f"leave it out, or send {context_of(record)!r}",
            )
        if review is None:
            raise _takes_nothing(standing)
        if caller.kind != "person":
            note = (
                f"Nothing was done: {caller.name!r} is an agent, and an agent's word is no person's approval. The question is"
                " still open."
            )
            return task_of(standing, note=note)
        if data is None:
            return task_of(standing, note="Nothing was done: words alone answer nothing here. Send the verdict as data.")
        reply = read_reply(data)
        if reply.digest != review.digest:
            raise Conflict(
                f"the answer is to another question than review {review.id}: the digest differs",
                thing="digest",
                value=reply.digest,
                remedy="read the question again, and answer it with its digest",
            )
        await run_in_threadpool(self._desk.submit_review, caller, review.id, reply.verdict, reply.reason)
        return await self._stand(caller, record.run_id)

    # --- following ---------------------------------------------------------------------------------------------------

    async def _settled(self, caller: Caller, standing: Standing) -> Standing:
        """As it stands when the run has ended, asks, waits for a rollout, or has taken long enough."""
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(self._most_wait),
                aclosing(self._follow(caller, standing, past_questions=False)) as seen,
            ):
                async for each in seen:
                    if isinstance(each, Standing):
                        standing = each
                        if standing.record.parked_for == "rollout":
                            break
        return standing

    async def _events(self, caller: Caller, standing: Standing, *, past_questions: bool) -> AsyncGenerator[Event]:
        """The task first, then each line, each new status, and the decision whenever it changes."""
        yield task_of(standing)
        task_id, context_id = standing.record.run_id, context_of(standing.record)
        told = standing.record.output
        async with aclosing(self._follow(caller, standing, past_questions=past_questions)) as seen:
            async for each in seen:
                line = each if isinstance(each, str) else ""
                standing = each if isinstance(each, Standing) else standing
                if not line and standing.record.output != told:
                    told = standing.record.output
                    for artifact in artifacts_of(standing.record):
                        yield TaskArtifactUpdateEvent(
                            task_id=task_id, context_id=context_id, artifact=artifact, last_chunk=True
                        )
                yield TaskStatusUpdateEvent(
                    task_id=task_id, context_id=context_id, status=status_of(standing, line=line)
                )

    async def _follow(
        self, caller: Caller, standing: Standing, *, past_questions: bool
    ) -> AsyncGenerator[Standing | str]:
        """Lines of progress and changed standings, until the run ends or, unless `past_questions`, asks."""
        run_id, loop, woken = standing.record.run_id, asyncio.get_running_loop(), asyncio.Event()
        lines = self._desk.board.since(run_id, 0)
        told = lines[-1].number if lines and past_questions else 0

        def wake() -> None:
            # The loop may be closed by the time a run says its last word.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

        end, alone_since = self._desk.board.follow(run_id, wake), None
        try:
            while not standing.ended and (past_questions or not standing.asks):
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), LOOK_EVERY)
                woken.clear()
                before, standing = standing, await self._stand(caller, run_id)
                # Lines first: what they tell came before what the store says now.
                for line in self._desk.board.since(run_id, told):
                    told = line.number
                    if not standing.ended and not standing.asks:
                        yield line.text
                if standing != before:
                    yield standing
                alone_since = None if standing.driven else alone_since or loop.time()
                if alone_since is not None and loop.time() - alone_since > ORPHANED_AFTER:
                    return
        finally:
            end()

    async def _stand(self, caller: Caller, run_id: str) -> Standing:
        return await run_in_threadpool(lambda: self._standing(caller, self._desk.get_run(caller, run_id)))

    def _standing(self, caller: Caller, record: RunRecord) -> Standing:
        review = None
        if record.status == "parked" and record.parked_for == "review" and record.output is not None:
            number = record.output["deploymentDecision"].get("reviewId")
            found = None if number is None else self._desk.get_review(caller, number)
            review = found if found is not None and found.status == "open" else None
        driven = record.status != "running" or self._desk.is_driven(caller, record)
        return Standing(record, review, driven)

    # --- what this agent does not do ---------------------------------------------------------------------------------

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """No address that a caller names is ever written to."""
        raise PushNotificationNotSupportedError

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """As above."""
        raise PushNotificationNotSupportedError

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """As above."""
        raise PushNotificationNotSupportedError

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """As above."""
        raise PushNotificationNotSupportedError

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """There is one card."""
        raise ExtendedAgentCardNotConfiguredError
