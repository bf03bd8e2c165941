# pyright: reportUnknownMemberType=false
"""What is a chat to its doors? A message or a confirmation in, events out; one at a time in a conversation, and only its owner's."""

import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from agent.desk import Desk
from agent.entrypoints.chat import offline
from agent.entrypoints.chat.events import Event, Note
from agent.entrypoints.chat.graph import Turn, build, owner_of
from agent.standings import require
from tools.adapters.conversations import Conversation, Conversations
from tools.confirmation import Action, has_expired, is_whole, says_no, says_yes
from tools.contracts.access import AT_HOME, Caller
from tools.errors import BadInput, Conflict
from tools.masking import without_secrets
from tools.ports import LanguageModel

LONGEST: Final = 20_000
"""Characters of a message; whoever pastes more means a file."""
_TITLE: Final = 60
_MASKED: Final = (
    "something in your message looked like a key or password: it was masked before anything kept or read it"
)


@dataclass(frozen=True)
class Said:
    """What comes in. Either a message, or the confirmation of one action."""

    message: str | None = None
    action_id: str | None = None
    digest: str | None = None
    conversation: str | None = None
    """A new one where None."""
    model: str | None = None
    """Of a new one: the model that it is about."""
    typed: bool = False
    """Typed by a person at a terminal of this machine: only there does the word yes confirm."""


@dataclass(frozen=True)
class Opened:
    """A turn that may be played now, once."""

    conversation: Conversation
    play: Callable[[Callable[[Event], None], threading.Event], None]
    """Blocks; tells what comes, until the end or until the event is set."""


class Chat:
    """Built once in a process.

    Args:
        desk: Behind it, as behind all doors.
        model: None where none is configured: then it says so, and which command would do what was asked.
        kept: Conversations.
        checkpointer: LangGraph's, for what was said in them.
        by_schema: See `Turn`.
    """

    def __init__(
        self,
        desk: Desk,
        model: LanguageModel | None,
        kept: Conversations,
        checkpointer: Any,
        *,
        by_schema: bool | None = None,
    ) -> None:
        self._desk, self._model, self._kept, self._by_schema = desk, model, kept, by_schema
        self._graph = build(checkpointer)

    @property
    def has_model(self) -> bool:
        """Whether there is anybody to talk to."""
        return self._model is not None

    def conversations(self, caller: Caller, limit: int = 20) -> list[Conversation]:
        """His own, the latest first."""
        require(caller, "read")
        return self._kept.of(owner_of(caller), limit)

    def transcript(self, caller: Caller, conversation: str) -> list[tuple[Literal["person", "model", "program"], str]]:
        """What is still known of what was said, without what tools found."""
        found = self._kept.get(conversation, owner_of(caller))
        state = self._graph.get_state({"configurable": {"thread_id": found.id}}).values
        told: list[tuple[Literal["person", "model", "program"], str]] = []
        for each in state.get("messages", []):
            if each["role"] == "user":
                is_ours = each["content"].startswith("(program) ")
                told.append(("program" if is_ours else "person", each["content"].removeprefix("(program) ")))
            elif each["role"] == "assistant" and each["content"]:
                told.append(("model", each["content"]))
        return told

    def waiting(self, caller: Caller, conversation: str) -> Action | None:
        """What a yes would mean; None where nothing is asked, or no longer."""
        found = self._kept.offered(self._kept.get(conversation, owner_of(caller)).id)
        return None if found is None or has_expired(found, self._now()) else found

    @contextmanager
    def open(self, caller: Caller, said: Said) -> Generator[Opened]:
        """A turn, checked as far as it can be before anything is said. The conversation is held for the block.

        Raises:
            NotAllowed: scope `read` is missing. BadInput: nothing said, or too much. NotFound: no such conversation or action.
            Conflict: another message is being answered; or what is confirmed was done, cancelled, altered, or has expired.
        """
        require(caller, "read")
        message, masked = _message(said)
        conversation = self._conversation(caller, said)
        with self._kept.held(conversation.id) as mine:
            if not mine:
                raise Conflict(
                    "another message of this conversation is being answered",
                    thing="conversation",
                    value=conversation.id,
                    remedy="wait for its end, or begin another conversation",
                )
            notes = [Note(_MASKED)] if masked else []
            confirmed = None
            if message is None:
                confirmed = self._confirmed(conversation, said.action_id or "", said.digest or "")
            elif says_yes(message) and said.typed and caller.door in AT_HOME:
                # At a terminal nothing but what was shown last can be meant, and who sits there is known.
                offered = self._kept.offered(conversation.id)
                if offered is None:
                    yield self._only(conversation, Note("nothing waits for a yes: nothing was done"))
                    return
                confirmed = self._confirmed(conversation, offered.id, offered.digest)
            else:
                offered = self._kept.offered(conversation.id)
                if offered is not None:
                    self._kept.cancel(conversation.id)
                    notes.append(Note(f"not done: {offered.lines[0]}"))
                    if says_no(message):
                        yield self._only(conversation, notes[-1])
                        return
            yield self._turn(caller, conversation, message, confirmed, notes)

    def _turn(
        self, caller: Caller, conversation: Conversation, message: str | None, confirmed: str | None, notes: list[Note]
    ) -> Opened:
        def play(tell: Callable[[Event], None], stop: threading.Event) -> None:
            for note in notes:
                tell(note)
            self._kept.turned(conversation.id, " ".join((message or "").split())[:_TITLE], self._now())
            if confirmed is None and self._model is None:
                for line in offline.answer(message or "", conversation.model, caller):
                    tell(Note(line))
                return
            turn = Turn(
                desk=self._desk,
                caller=caller,
                conversation=conversation.id,
                about=conversation.model,
                now=self._now(),
                model=self._model,
                budget=None if self._model is None else self._model.budget(),
                kept=self._kept,
                tell=tell,
                stop=stop,
                by_schema=self._by_schema,
            )
            config: Any = {"configurable": {"thread_id": conversation.id}}
            heard: Any = {"heard": message or "", "confirmed": confirmed}
            # One checkpoint a turn: what a killed turn has said is lost, what it has done is in the run store.
            self._graph.invoke(heard, config, context=turn, durability="exit")
            self._kept.prune(conversation.id)

        return Opened(conversation, play)

    @staticmethod
    def _only(conversation: Conversation, note: Note) -> Opened:
        return Opened(conversation, lambda tell, _: tell(note))

    def _conversation(self, caller: Caller, said: Said) -> Conversation:
        owner, now = owner_of(caller), self._now()
        if said.conversation is not None:
            return self._kept.get(said.conversation, owner)
        if said.message is None:
            raise BadInput(
                "a confirmation belongs to a conversation",
                thing="conversationId",
                remedy="send the id that came with it",
            )
        model = None if said.model is None else self._desk.standings.of(caller, said.model).profile.id
        id_ = f"c{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
        made = Conversation(id=id_, owner=owner, model=model, title="", turns=0, created_at=now, updated_at=now)
        return self._kept.begin(made)

    def in_context(self, caller: Caller, context: str, model: str | None = None) -> str:
        """The conversation that a caller's context of another protocol is: the same one each time."""
        owner, now = owner_of(caller), self._now()
        id_ = "x" + hashlib.sha256(json.dumps([owner, context]).encode()).hexdigest()[:24]
        about = None if model is None else self._desk.standings.of(caller, model).profile.id
        made = Conversation(id=id_, owner=owner, model=about, title="", turns=0, created_at=now, updated_at=now)
        return self._kept.begin(made).id

    def _confirmed(self, conversation: Conversation, action_id: str, digest: str) -> str:
        """The action's id, claimed: nobody else can do it any more."""
        action, standing = self._kept.action(action_id, conversation.id)
        why = None
        if standing != "open":
            why = "was done already" if standing == "used" else "was dropped: something else was said since"
        elif action.digest != digest or not is_whole(action):
            why = "is not what was shown"
        elif has_expired(action, self._now()):
            self._kept.cancel(conversation.id)
            why = "was shown too long ago"
        elif not self._kept.claim(action.id):
            why = "was done already"
        if why is not None:
            raise Conflict(
                f"nothing was done: what you confirm {why}",
                thing="confirm",
                value=action_id[:80],
                remedy="ask for it again, and confirm what is shown then",
            )
        return action.id

    def _now(self) -> Any:
        return self._desk.app.deps.clock()


def _message(said: Said) -> tuple[str | None, bool]:
    """The message without secrets, and whether any were in it."""
    if (said.message is None) == (said.action_id is None):
        raise BadInput("send a message or a confirmation", thing="message", remedy="one of the two")
    if said.message is None:
        return None, False
    text = "".join(char for char in said.message if char in "\n\t" or char.isprintable()).strip()
    if not text:
        raise BadInput(
            "the message is empty", thing="message", remedy="ask something, such as: what changed since Tuesday?"
        )
    if len(text) > LONGEST:
        raise BadInput(
            f"the message has {len(text)} characters; at most {LONGEST} are read",
            thing="message",
            value=f"{len(text)} characters",
            remedy="send what you want to know, and leave data where it is",
        )
    plain = without_secrets(text)
    return plain, plain != text
