"""The chat over HTTP: a message or a confirmation in, server-sent events out.

A confirmation is a message of its own, with the id and the digest of what was shown: no word in a text confirms anything here.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from agent.entrypoints.chat.events import Event as Told
from agent.entrypoints.chat.events import Failed, as_json
from agent.entrypoints.chat.service import Chat, Said
from agent.entrypoints.server import follow
from agent.entrypoints.server.guard import caller_of
from agent.entrypoints.server.openapi import FAULTS, given
from agent.entrypoints.server.problems import problem
from agent.entrypoints.server.views import ChatRequest
from tools.contracts.access import Caller
from tools.errors import RetrainingError

if TYPE_CHECKING:
    from agent.entrypoints.server.api import Hall

_EVENTS: Final[dict[str, Any]] = {
    "description": "`conversation`, then `text` (a language model's words, unchecked), `result` (what a tool found), `confirmation` "
    "(what is done once it is confirmed), `done`, `note` and `fault`, at last `end`",
    "content": {"text/event-stream": {}},
}
_KEEP_ALIVE: Final = 15.0


def add_chat(api: APIRouter, hall: "Hall") -> None:
    """`POST /chat` of a router."""
    from agent.entrypoints.server.api import read_body

    @api.post("/chat", tags=["chat"], responses={**FAULTS, 200: _EVENTS}, openapi_extra=given(ChatRequest))
    async def chat(request: Request) -> Response:
        """Ask in words; what acts is asked back first, and done once it is confirmed. Scope `read`; what is confirmed, its own."""
        asked, _ = await read_body(request, ChatRequest)
        caller = caller_of(request.scope)
        confirm = asked.confirm
        said = Said(
            message=asked.message,
            action_id=None if confirm is None else confirm.action_id,
            digest=None if confirm is None else confirm.digest,
            conversation=asked.conversation_id,
            model=asked.model_id,
        )
        if not hall.slots.take(caller.name):
            return problem(
                429,
                "too many streams and waiting calls at a time",
                title="Too many requests",
                remedy="end one",
                Retry_After="30",
            )
        turn = _Turn(hall.talk, caller, said)
        try:
            conversation = await asyncio.wrap_future(turn.begun)
        except BaseException:
            hall.slots.free(caller.name)
            raise
        most = hall.limits.stream_seconds
        return follow.Stream(turn.events(conversation, hall.stopped), hall.slots, caller.name, most)


class _Turn:
    """A turn in a thread of its own, told to an event loop."""

    def __init__(self, talk: "Chat", caller: Caller, said: "Said") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), threading.Event()
        self._told: asyncio.Queue[Told | None] = asyncio.Queue()
        self.begun: Future[str] = Future()
        """The conversation's id, once it is held; else why not."""
        work = (talk, caller, said)
        threading.Thread(target=self._work, args=work, name="chat", daemon=True).start()

    def _work(self, talk: "Chat", caller: Caller, said: "Said") -> None:
        try:
            with talk.open(caller, said) as turn:
                self.begun.set_result(turn.conversation.id)
                turn.play(self._tell, self._stop)
        except BaseException as error:  # noqa: BLE001 (told, without its text where it is no fault of ours)
            if not self.begun.done():
                self.begun.set_exception(error)
                return
            text = (
                error.message
                if isinstance(error, RetrainingError)
                else f"a fault of the program ({type(error).__name__})"
            )
            self._tell(Failed(text))
        self._tell(None)

    def _tell(self, event: Told | None) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._told.put_nowait, event)

    async def events(self, conversation: str, stopped: asyncio.Event) -> AsyncGenerator[follow.Event | None]:
        """Until the turn ends or the server stops; a client that goes away stops the turn."""
        number = 0

        def event(name: str, data: dict[str, Any]) -> follow.Event:
            nonlocal number
            number += 1
            return follow.Event(name, str(number), data)

        end = asyncio.ensure_future(stopped.wait())
        try:
            yield event("conversation", {"conversationId": conversation})
            while not stopped.is_set():
                waits = asyncio.ensure_future(self._told.get())
                await asyncio.wait({waits, end}, timeout=_KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
                if not waits.done():
                    waits.cancel()
                    yield None
                    continue
                told = waits.result()
                if told is None:
                    break
                yield event(*as_json(told))
            yield event("end", {"conversationId": conversation})
        finally:
            self._stop.set()
            end.cancel()
