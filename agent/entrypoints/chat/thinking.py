"""What does the model want to do next: say something, or use a tool?

With native tool calls where they work; where they do not, it chooses by schema, and speaks in a second step. Either way what
comes out is text, and calls whose names and arguments are checked against the catalogue.
"""

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import ValidationError

from agent.entrypoints.chat.catalogue import ANSWER, BY_NAME, TOOLS, Args, choice
from tools.contracts.language import Delta, Message, ToolCall
from tools.errors import BadInput, ModelUnavailable
from tools.ports import LanguageModel
from tools.spending import Budget

LONGEST_ANSWER: Final = 6000
"""Characters of one answer; a model that does not stop is stopped."""
_LOOK_EVERY: Final = 0.1
SPEAK: Final = "Now answer the person in plain words, in one to three sentences. No JSON."
_MAYBE_A_CALL: Final = ("{", "[", "`", "<")
"""How a tool call begins that a server let through as text."""


@dataclass(frozen=True)
class Thought:
    """One step of the model."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    stopped: bool = False
    """The person broke it off."""
    native_failed: bool = False
    """A tool call came as text: from now on the model is asked to choose by schema."""


@dataclass
class Mind:
    """A model, what it may spend on this turn, and who hears it."""

    model: LanguageModel
    budget: Budget
    hear: Callable[[str], None]
    stop: threading.Event

    def native(self, messages: Sequence[Message], *, tools: bool = True) -> Thought:
        """One step with native tool calls.

        Raises:
            ModelUnavailable: no answer that can be used.
        """
        specs = [tool.spec for tool in TOOLS] if tools else []
        said, calls, held = "", list[ToolCall](), True
        for delta in self._pieces(self.model.stream(messages, specs, purpose="chat", budget=self.budget)):
            if delta.call is not None:
                calls.append(delta.call)
            said += delta.text
            if held and said.strip() and not said.lstrip().startswith(_MAYBE_A_CALL):
                held = False
                self.hear(said.lstrip())
            elif not held and delta.text:
                self.hear(delta.text)
            if len(said) > LONGEST_ANSWER:
                break
        if self.stop.is_set():
            return Thought("" if held else said, stopped=True)
        written = _call_in(said) if held and not calls else None
        if written is not None:
            # Asked for words, it may not have a tool all the same: then it has nothing to say.
            return Thought(calls=(written,), native_failed=True) if tools else Thought()
        if held and said.strip():
            self.hear(said)
        return Thought(said.strip(), tuple(calls) if tools else ())

    def by_schema(self, messages: Sequence[Message]) -> Thought:
        """One step where the model chooses by schema; an answer is streamed in a second one.

        Raises:
            ModelUnavailable: no answer that can be used.
        """
        found = self._alone(lambda: self.model.complete(messages, choice(), purpose="chat", budget=self.budget))
        if found is None:
            return Thought(stopped=True)
        chosen: Any = found.parsed.call
        if chosen.tool != ANSWER:
            return Thought(
                calls=(ToolCall(id="chosen", name=chosen.tool, arguments=chosen.arguments.model_dump_json()),)
            )
        return self.native([*messages, Message(role="user", content=SPEAK)], tools=False)

    def _pieces(self, stream: Iterator[Delta]) -> Iterator[Delta]:
        """What streams in, read in a thread of its own: a person can break off what does not come."""
        found: queue.Queue[Delta | BaseException | None] = queue.Queue()

        def read() -> None:
            try:
                for delta in stream:
                    found.put(delta)
                    if self.stop.is_set() or gone.is_set():
                        break
                cast("Any", stream).close()
            except BaseException as error:  # noqa: BLE001 (raised again where it is read)
                found.put(error)
            else:
                found.put(None)

        gone = threading.Event()
        threading.Thread(target=read, daemon=True, name="chat-model").start()
        try:
            while not self.stop.is_set():
                try:
                    each = found.get(timeout=_LOOK_EVERY)
                except queue.Empty:
                    continue
                if each is None:
                    return
                if isinstance(each, BaseException):
                    raise each
                yield each
        finally:
            gone.set()

    def _alone(self, ask: Callable[[], Any]) -> Any:
        """What is asked for in a thread of its own; None where the person breaks it off."""
        box: list[Any] = []

        def run() -> None:
            try:
                box.append(ask())
            except BaseException as error:  # noqa: BLE001 (raised again below)
                box.append(error)

        thread = threading.Thread(target=run, daemon=True, name="chat-model")
        thread.start()
        while thread.is_alive() and not self.stop.is_set():
            thread.join(_LOOK_EVERY)
        if not box:
            return None
        if isinstance(box[0], BaseException):
            raise box[0]
        return box[0]


def arguments_of(call: ToolCall) -> Args:
    """A call's arguments, checked.

    Raises:
        BadInput: there is no such tool, or they do not fit it.
    """
    tool = BY_NAME.get(call.name)
    if tool is None:
        raise BadInput(
            "there is no such tool", thing="tool", value=call.name[:60], remedy=f"one of {', '.join(BY_NAME)}"
        )
    try:
        return tool.args.model_validate(json.loads(call.arguments or "{}"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "arguments"
        raise BadInput(f"{where}: {first['msg']}", thing=where, remedy="ask the person for what is missing") from None
    except (ValueError, RecursionError):
        raise BadInput("the arguments are no JSON", thing="arguments", remedy="send one JSON object") from None


def flat(messages: Sequence[Message]) -> list[Message]:
    """For a model without tool messages: what it chose and what was found, as plain turns."""
    found: list[Message] = []
    for each in messages:
        if each.role == "tool":
            found.append(Message(role="user", content=f"(program) result:\n{each.content}"))
        elif each.calls:
            calls = [json.dumps({"tool": call.name, "arguments": _loose(call.arguments)}) for call in each.calls]
            found.append(Message(role="assistant", content="\n".join(filter(None, [each.content, *calls]))))
        else:
            found.append(each)
    return found


def _call_in(text: str) -> ToolCall | None:
    """The tool call that stands in a text, as servers without a parser for it let it through."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        read, _ = json.JSONDecoder(strict=False).raw_decode(text[start:])
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    found = cast("dict[str, Any]", read)
    found = found.get("function", found) if isinstance(found.get("function"), dict) else found
    name: Any = found.get("name") or found.get("tool")
    given: Any = found.get("arguments", found.get("parameters", {}))
    if not isinstance(name, str) or name not in BY_NAME:
        return None
    return ToolCall(id="written", name=name, arguments=given if isinstance(given, str) else json.dumps(given))


def _loose(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments[:300]


def fault_line(error: ModelUnavailable) -> str:
    """What a person is told who gets no answer; none of it the endpoint's words."""
    remedy = f" ({error.remedy})" if error.remedy else ""
    return f"the language model gave no usable answer: {error.message}{remedy}"
