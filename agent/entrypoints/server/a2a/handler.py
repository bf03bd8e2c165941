"""What do the methods of the protocol do? Each asks the desk; every task is read from the run store, so none is lost.

The SDK's own handler is not used: it keeps tasks, where ours are views of runs that other doors and processes move too.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskNotCancelableError,
    UnsupportedOperationError,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import apply_history_length, validate_history_length
from starlette.concurrency import run_in_threadpool

from agent.desk import Desk
from agent.entrypoints.server.a2a.errors import refusals
from agent.entrypoints.server.a2a.follow import MOST_WAIT, Follower
from agent.entrypoints.server.a2a.listing import list_tasks
from agent.entrypoints.server.a2a.messages import Ask, Reply, data_of, read_ask, read_reply, what_is_needed
from agent.entrypoints.server.a2a.replies import NotOffered, answer_at_once, message_of, require_ours
from agent.entrypoints.server.a2a.talking import SKILL, Talks, text_of
from agent.entrypoints.server.a2a.tasks import Standing, context_of, task_of
from agent.entrypoints.server.limits import Limits
from tools.contracts.access import Caller
from tools.errors import BadInput, NotAllowed


class Tasks(NotOffered):
    """The protocol over the desk. Holds nothing but the desk and its chat."""

    def __init__(self, desk: Desk, *, most_wait: float = MOST_WAIT, limits: Limits | None = None) -> None:
        self._desk, self._runs = desk, Follower(desk, most_wait=most_wait, limits=limits)
        self._talks = Talks(desk)

    # --- looking -----------------------------------------------------------------------------------------------------

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """The task as it stands."""
        with refusals():
            validate_proto_required_fields(params)
            validate_history_length(params)
            return apply_history_length(task_of(await self._runs.stand(_who(context), params.id)), params)

    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Runs of every door, newest first."""
        with refusals():
            return await run_in_threadpool(list_tasks, self._desk, self._runs, _who(context), params)

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """What comes from now on, through questions and rollouts, to the end."""
        with refusals():
            validate_proto_required_fields(params)
            caller = _who(context)
            standing = await self._runs.stand(caller, params.id)
            if standing.ended:
                raise UnsupportedOperationError(
                    f"task {params.id} has ended ({standing.record.status}): there is nothing to follow\n"
                    "  remedy: GetTask tells how it ended"
                )
            async with aclosing(self._runs.events(caller, standing, past_questions=True)) as events:
                async for event in events:
                    yield event

    # --- asking ------------------------------------------------------------------------------------------------------

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        """Begin, ask or answer; waits for the run, but not for a rollout, and not for ever."""
        with refusals():
            caller, taken = await self._take(params, context)
            if not isinstance(taken, Standing):
                return taken
            if not params.configuration.return_immediately:
                taken = await self._runs.settled(caller, taken)
            return task_of(taken)

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """The same, told as it goes on; ends with the run, or with a question to a person."""
        with refusals():
            caller, taken = await self._take(params, context)
            if not isinstance(taken, Standing):
                yield taken
                return
            async with aclosing(self._runs.events(caller, taken)) as events:
                async for event in events:
                    yield event

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Never: see docs/design/a2a.md. What comes nearest is named."""
        with refusals():
            validate_proto_required_fields(params)
            standing = await self._runs.stand(_who(context), params.id)
            raise _not_cancelable(standing)

    async def _take(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> tuple[Caller, Standing | Task | Message]:
        """What the message came to: a run that goes on, a task as this caller is to see it, or a plain answer."""
        require_ours(params)
        message = params.message
        caller = _who(context).model_copy(update={"context": message.context_id or None})
        data = data_of(message)
        if message.task_id:
            return caller, await self._continue(caller, message, data)
        if data is None and not (self._talks.anybody and text_of(message).strip()):
            return caller, message_of(what_is_needed(), context_id=message.context_id)
        if data is None or data.get("skill") == SKILL:
            asked = {"message": text_of(message)} if data is None else data
            text, told, context_id = await run_in_threadpool(self._talks.answer, caller, asked, message.context_id)
            return caller, message_of(text, told, context_id=context_id)
        ask = read_ask(data)
        if ask.skill in ("assess_staleness", "get_run", "explain_decision"):
            text, told = await run_in_threadpool(answer_at_once, self._desk, caller, ask)
            return caller, message_of(text, told, context_id=message.context_id)
        run_id = await run_in_threadpool(self._begin, caller, ask, message.message_id)
        return caller, await self._runs.stand(caller, run_id)

    def _begin(self, caller: Caller, ask: Ask, message_id: str) -> str:
        request = ask.request
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
            return self._desk.judge(caller, request, ask.candidate_version, ask.warnings)
        if ask.skill == "roll_back":
            return self._desk.roll_back(caller, request, ask.reason, ask.to)
        return self._desk.start(caller, request, ask.warnings)

    async def _continue(self, caller: Caller, message: Message, data: dict[str, Any] | None) -> Standing | Task:
        """A message to a task: only an open question takes one, and only a person's verdict answers it."""
        standing = await self._runs.stand(caller, message.task_id)
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
                f"Nothing was done: {caller.name!r} is an agent, and an agent's word is no person's approval."
                " The question is still open."
            )
            return task_of(standing, note=note)
        if data is None:
            note = "Nothing was done: words alone answer nothing here. Send the verdict as data."
            return task_of(standing, note=note)
        reply = read_reply(data)
        await run_in_threadpool(self._answer, caller, review.id, reply)
        return await self._runs.stand(caller, record.run_id)

    def _answer(self, caller: Caller, review_id: int, reply: Reply) -> None:
        self._desk.submit_review(caller, review_id, reply.verdict, reply.reason, seen=reply.digest)


def _who(context: ServerCallContext) -> Caller:
    return context.state["caller"]


def _takes_nothing(standing: Standing) -> UnsupportedOperationError:
    run_id, status = standing.record.run_id, standing.record.status
    if standing.ended:
        return UnsupportedOperationError(
            f"task {run_id} has ended ({status}) and takes no message\n  remedy: send the message without a task id"
        )
    return UnsupportedOperationError(
        f"task {run_id} asks nothing just now ({status})\n  remedy: follow it with SubscribeToTask until it does, or ends"
    )


def _not_cancelable(standing: Standing) -> TaskNotCancelableError:
    if standing.ended:
        why, remedy = f"it has ended ({standing.record.status})", "there is nothing left to cancel"
    elif standing.review is not None:
        why = "a person has been asked"
        remedy = f"an approver can reject review {standing.review.id}; unanswered, the champion stays"
    elif standing.record.status == "parked":
        why, remedy = "it goes on by itself in its own time", "the skill roll_back ends it and goes back"
    else:
        why, remedy = "its work cannot be broken off", "the skill roll_back pre-empts it, whatever it does"
    return TaskNotCancelableError(f"task {standing.record.run_id} cannot be canceled: {why}\n  remedy: {remedy}")
