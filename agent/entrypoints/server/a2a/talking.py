"""Words from another agent: they go to the chat, and what comes back says which words are whose.

A confirmation is data, `{"skill": "chat", "confirm": {"actionId": …, "digest": …}}`, in the same context: no words confirm
anything here, and an agent's confirmation is that agent's word, no person's.
"""

import threading
import uuid
from collections.abc import Mapping
from typing import Any

from a2a.types import Message

from agent.desk import Desk
from agent.entrypoints.chat import chat_over
from agent.entrypoints.chat.events import Event, Piece, as_json
from agent.entrypoints.chat.service import Chat, Said
from agent.entrypoints.server.views import ChatRequest
from agent.requests import parse_as
from tools.contracts.access import Caller

SKILL = "chat"


class Talks:
    """The chat of a desk, made when somebody first speaks."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._talk, self._lock = desk, None, threading.Lock()

    @property
    def anybody(self) -> bool:
        """Whether a language model is configured."""
        return self._desk.app.language is not None

    def answer(self, caller: Caller, asked: Mapping[str, Any], context: str) -> tuple[str, dict[str, Any], str]:
        """Words, data and the context to go on in; blocks.

        Args:
            caller: Who speaks.
            asked: `message` or `confirm`, and `modelId` of a new conversation.
            context: What the client groups its messages by; empty for a new one.

        Raises:
            RetrainingError: as the chat does.
        """
        talk = self._chat()
        request, _ = parse_as(ChatRequest, {name: value for name, value in asked.items() if name != "skill"})
        confirm, told, context = request.confirm, list[Event](), context or uuid.uuid4().hex
        said = Said(
            message=request.message,
            action_id=None if confirm is None else confirm.action_id,
            digest=None if confirm is None else confirm.digest,
            conversation=talk.in_context(caller, context, request.model_id),
        )
        with talk.open(caller, said) as turn:
            turn.play(told.append, threading.Event())
        events = [{"event": name, **data} for name, data in map(as_json, _joined(told))]
        return _words(told), {"skill": SKILL, "events": events}, context

    def _chat(self) -> Chat:
        with self._lock:
            if self._talk is None:
                self._talk = chat_over(self._desk)
            return self._talk


def text_of(message: Message) -> str:
    """Its plain words."""
    return "\n".join(part.text for part in message.parts if part.WhichOneof("content") == "text")


def _joined(events: list[Event]) -> list[Event]:
    """With the pieces of one text put together."""
    found: list[Event] = []
    for each in events:
        last = found[-1] if found else None
        if isinstance(each, Piece) and isinstance(last, Piece):
            found[-1] = Piece(last.text + each.text)
        else:
            found.append(each)
    return found


def _words(events: list[Event]) -> str:
    lines: list[str] = []
    for each in _joined(events):
        name, data = as_json(each)
        if isinstance(each, Piece):
            lines += [f"> {line}" for line in each.text.splitlines()]
        elif name == "confirmation":
            lines += ["TO BE CONFIRMED, nothing was done yet:", *data["lines"]]
        else:
            lines += data.get("lines") or [data.get("text", "")]
    return "\n".join(lines) or "(nothing was said)"
