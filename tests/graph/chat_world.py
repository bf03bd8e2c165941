"""A chat over the world in memory, with a language model that says what it was told to say."""

import json
import threading
from dataclasses import replace
from typing import Any

from agent.desk import Desk
from agent.entrypoints.chat import chat_over
from agent.entrypoints.chat.events import Event, Piece, as_json
from agent.entrypoints.chat.service import Chat, Said
from tests.graph.doors import ALL, app_of
from tests.graph.world import PERSON, World
from tools.confirmation import Action
from tools.contracts.access import Caller
from tools.contracts.language import ToolCall

SITTING = Caller(name=PERSON, kind="person", scopes=ALL, door="chat")


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=json.dumps(arguments))


class Talk:
    """One person's conversation."""

    def __init__(self, world: World, model: Any, caller: Caller = SITTING) -> None:
        self.world, self.caller = world, caller
        self.desk = Desk(replace(app_of(world), language=model))
        self.chat: Chat = chat_over(self.desk)
        self.id: str | None = None

    def say(
        self, message: str | None, *, typed: bool = True, stop: threading.Event | None = None, **more: Any
    ) -> list[Event]:
        told: list[Event] = []
        about = {} if self.id else {"model": "prices"}
        with self.chat.open(
            self.caller, Said(message=message, conversation=self.id, typed=typed, **about, **more)
        ) as turn:
            self.id = turn.conversation.id
            turn.play(lambda event: self._hear(event, told), stop or threading.Event())
        return told

    def _hear(self, event: Event, told: list[Event]) -> None:
        told.append(event)
        self.hear(event)

    def hear(self, event: Event) -> None:
        """For a test that listens."""

    def confirm(self, action: Action, **changes: Any) -> list[Event]:
        return self.say(None, **{"action_id": action.id, "digest": action.digest, **changes})

    def settle(self) -> None:
        for run in self.world.store.list_runs():
            self.desk.wait_for(run.run_id, 60)


def names(told: list[Event]) -> list[str]:
    return [as_json(event)[0] for event in told]


def asked(told: list[Event]) -> Action:
    (found,) = [event for event in told if isinstance(event, Action)]
    return found


def words(told: list[Event]) -> str:
    return "".join(event.text for event in told if isinstance(event, Piece))


def effects(world: World) -> tuple[int, int, int, bool]:
    """Runs, answered reviews, holds, and whether anything outside moved."""
    answered = [review for review in world.store.list_reviews(open_only=False) if review.answer is not None]
    return len(world.store.list_runs()), len(answered), len(world.store.holds()), world.touched
