"""How does a caller hear what a run does? As server-sent events, or by waiting for its rest."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from agent.desk import Desk
from agent.entrypoints.server.limits import Slots
from agent.entrypoints.server.views import run_view
from tools.contracts.access import Caller
from tools.contracts.run import RunRecord

KEEP_ALIVE: Final = 15.0
POLL: Final = 1.0
"""Seconds between two looks at a run that another process drives."""
END: Final = "end"
_ID: Final = re.compile(r"([0-9a-f]{8})\.([0-9]{1,9})\.([a-z0-9-]{0,60})")


class Event(NamedTuple):
    """One event of a stream."""

    name: str
    """`progress` (a line), `run` (its status or result has changed), `end` (it ended or waits: the stream is over)."""
    id: str
    """What a client sends as `Last-Event-ID` to go on behind it."""
    data: dict[str, Any]

    def encode(self) -> bytes:
        """As it goes over the wire."""
        data = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        return f"id: {self.id}\nevent: {self.name}\ndata: {data}\n\n".encode()


class Place(NamedTuple):
    """How far a client has come: which process told it how many lines, and the record that it saw last."""

    born: str
    line: int
    seen: str

    def __str__(self) -> str:
        return f"{self.born}.{self.line}.{self.seen}"


def place_of(text: str | None, born: str) -> Place:
    """What `Last-Event-ID` says; the beginning where it says nothing that this process has told."""
    read = _ID.fullmatch(text or "")
    if read is None:
        return Place(born, 0, "")
    # The lines of another process are not those of this one, the record is.
    return Place(born, int(read[2]) if read[1] == born else 0, read[3])


def mark(run: RunRecord, *, rests: bool) -> str:
    """Another one at each change of the record, and at its end."""
    return f"{run.status}-{run.updated_at.timestamp() * 1e6:.0f}" + (f"-{END}" if rests else "")


def at_rest(run: RunRecord, *, going: bool) -> bool:
    """Whether nothing more will happen by itself: ended, failed, or waiting for a person or an hour."""
    return not going and run.status != "running"


def heard(place: Place, run: RunRecord, desk: Desk) -> bool:
    """Whether a client that comes again has heard the end: it is told so, or it would come again for ever."""
    rests = at_rest(run, going=desk.is_going(run.run_id))
    return rests and place.seen == mark(run, rests=True) and not desk.board.since(run.run_id, place.line)


async def follow(
    desk: Desk, caller: Caller, run_id: str, place: Place, stopped: asyncio.Event, seconds: float
) -> AsyncGenerator[Event | None]:
    """What is told of a run from `place` on, until it rests or the time is over; None where there was nothing for a while.

    A run of this process is heard line by line, that of another one by looking at the store.
    """
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(woken.set)

    end, told, until = desk.board.follow(run_id, wake), loop.time(), loop.time() + seconds
    try:
        while True:
            woken.clear()
            # In this order: when it no longer goes on, what is read next is final.
            going = desk.is_going(run_id)
            run = await run_in_threadpool(desk.get_run, caller, run_id)
            for line in desk.board.since(run_id, place.line):
                place = place._replace(line=line.number)
                told = loop.time()
                yield Event("progress", str(place), {"line": line.text})
            rests = at_rest(run, going=going)
            seen = mark(run, rests=rests)
            if seen != place.seen or rests:
                place = place._replace(seen=seen)
                told = loop.time()
                yield Event(END if rests else "run", str(place), run_view(run))
            if rests or stopped.is_set() or loop.time() >= until:
                return
            if loop.time() - told >= KEEP_ALIVE:
                told = loop.time()
                yield None
            await _either(woken, stopped, KEEP_ALIVE if going else POLL)
    finally:
        end()


async def rest_of(desk: Desk, caller: Caller, run_id: str, seconds: float, stopped: asyncio.Event) -> None:
    """Until the run rests, at most so long."""
    told = follow(desk, caller, run_id, place_of(None, ""), stopped, seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), aclosing(told):
            async for _ in told:
                pass


async def _either(one: asyncio.Event, other: asyncio.Event, seconds: float) -> None:
    """Until one of them is set, at most so long."""
    waits = [asyncio.ensure_future(each.wait()) for each in (one, other)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


class Stream(StreamingResponse):
    """Events until the run rests, the client goes, the time is over or the server stops. Gives its slot back, whatever ends it."""

    def __init__(self, events: AsyncGenerator[Event | None], slots: Slots, name: str, seconds: float) -> None:
        super().__init__(self._encoded(events), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._events, self._slots, self._name, self._seconds = events, slots, name, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(TimeoutError):
                # Longer than the events themselves: only a client that does not read comes that far.
                async with asyncio.timeout(self._seconds + 2 * KEEP_ALIVE):
                    await super().__call__(scope, receive, send)
        finally:
            self._slots.free(self._name)
            await self._events.aclose()

    @staticmethod
    async def _encoded(events: AsyncGenerator[Event | None]) -> AsyncGenerator[bytes]:
        yield b"retry: 2000\n\n"
        async for event in events:
            yield b": still here\n\n" if event is None else event.encode()
