"""How does a client hear of a run while it goes on? Its lines, each new status, and the decision whenever it changes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

from a2a.server.events.event_queue import Event
from a2a.types import TaskArtifactUpdateEvent, TaskStatusUpdateEvent
from starlette.concurrency import run_in_threadpool

from agent.desk import Desk
from agent.entrypoints.server.a2a.tasks import Standing, artifacts_of, context_of, progress_of, status_of, task_of
from agent.entrypoints.server.limits import Limits, Slots
from agent.progress import Line
from tools.contracts.access import Caller
from tools.contracts.run import RunRecord
from tools.errors import Unavailable

MOST_WAIT: Final = 300.0
"""Seconds that a message without streaming waits for its run; then the task is given back as it stands."""
LOOK_EVERY: Final = 2.0
"""Seconds: another process may drive the run, and tells this one nothing."""
ORPHANED_AFTER: Final = 10.0
"""Seconds without any process on a run, until who follows it is let go."""


class Follower:
    """Reads runs for A2A clients. Keeps nothing but the count of who listens."""

    def __init__(self, desk: Desk, *, most_wait: float, limits: Limits | None = None) -> None:
        self._desk, self._most_wait, self._limits = desk, most_wait, limits or Limits()
        self._slots = Slots(self._limits.streams, self._limits.streams_of_caller)

    async def stand(self, caller: Caller, run_id: str) -> Standing:
        """The run as it stands.

        Raises:
            NotFound: no such run. NotAllowed: scope `read` is missing.
        """
        return await run_in_threadpool(lambda: self.standing(caller, self._desk.get_run(caller, run_id)))

    def standing(self, caller: Caller, record: RunRecord) -> Standing:
        """The same for a record that was read; blocks."""
        review = None
        if record.status == "parked" and record.parked_for == "review" and record.output is not None:
            number = record.output["deploymentDecision"].get("reviewId")
            found = None if number is None else self._desk.get_review(caller, number)
            review = found if found is not None and found.status == "open" else None
        return Standing(record, review, record.status != "running" or self._desk.is_driven(record))

    async def settled(self, caller: Caller, standing: Standing) -> Standing:
        """As it stands once the run has ended, asks, waits for a rollout, or has taken long enough.

        Who waits for too many already is given it as it stands.
        """
        with suppress(TimeoutError), self._slots.held(caller.name) as given:
            if not given:
                return standing
            async with asyncio.timeout(self._most_wait), aclosing(self._follow(caller, standing)) as seen:
                async for each in seen:
                    if isinstance(each, Standing):
                        standing = each
                        if standing.record.parked_for == "rollout":
                            break
        return standing

    async def events(
        self, caller: Caller, standing: Standing, *, past_questions: bool = False
    ) -> AsyncGenerator[Event]:
        """The task first, then what changes.

        Args:
            caller: Who asks.
            standing: The run as it stands.
            past_questions: Go on while a person is asked, and leave out the lines that were told before.
        """
        yield task_of(standing)
        with self._slots.held(caller.name) as given:
            if not given:
                raise Unavailable(
                    f"too many streams are open; task {standing.record.run_id} goes on",
                    thing="streams",
                    remedy="end another one, or ask with GetTask",
                )
            async with aclosing(self._changes(caller, standing, past_questions=past_questions)) as changes:
                async for each in changes:
                    yield each

    async def _changes(self, caller: Caller, standing: Standing, *, past_questions: bool) -> AsyncGenerator[Event]:
        task_id, context_id = standing.record.run_id, context_of(standing.record)
        async with aclosing(self._follow(caller, standing, past_questions=past_questions)) as seen:
            async for each in seen:
                if isinstance(each, Line):
                    status = progress_of(standing.record, each)
                    yield TaskStatusUpdateEvent(task_id=task_id, context_id=context_id, status=status)
                    continue
                before, standing = standing, each
                if standing.record.output != before.record.output:
                    for made in artifacts_of(standing.record):
                        yield TaskArtifactUpdateEvent(
                            task_id=task_id, context_id=context_id, artifact=made, last_chunk=True
                        )
                was, status = status_of(before), status_of(standing)
                if (was.state, was.message.parts) != (status.state, status.message.parts):
                    yield TaskStatusUpdateEvent(task_id=task_id, context_id=context_id, status=status)

    async def _follow(
        self, caller: Caller, standing: Standing, *, past_questions: bool = False
    ) -> AsyncGenerator[Standing | Line]:
        """Lines of progress and changed standings, until the run ends or, unless `past_questions`, asks."""
        run_id, board = standing.record.run_id, self._desk.board
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        earlier = board.since(run_id, 0) if past_questions else ()
        told = earlier[-1].number if earlier else 0
        alone_since: float | None = None
        until = loop.time() + self._limits.stream_seconds

        def wake() -> None:
            # The loop may be closed by the time a run says its last word.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

        leave = board.follow(run_id, wake)
        try:
            # Once at once: what was said before this began to listen woke nobody.
            woken.set()
            while not standing.ended and (past_questions or not standing.asks):
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), LOOK_EVERY)
                woken.clear()
                before, standing = standing, await self.stand(caller, run_id)
                # What the lines tell came before what the store says now.
                for line in board.since(run_id, told):
                    told = line.number
                    yield line
                if standing != before:
                    yield standing
                alone_since = None if standing.driven else alone_since or loop.time()
                if loop.time() > until or (alone_since is not None and loop.time() - alone_since > ORPHANED_AFTER):
                    return
        finally:
            leave()
