# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""How does one turn of a chat go? A graph of its own: hear, think, look, ask, act.

    hear ─ a yes to what was asked ─→ act → end
      └→ think ─ says something ─→ end
            ├ a tool that looks ─→ look → think
            └ a tool that acts ──→ ask → end        (nothing is done: the next message decides)

No edge leads from `think` to `act`: whatever a model says or calls, only a message of the person's gets there.
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from agent.desk import Desk
from agent.entrypoints.chat.acting import perform, propose
from agent.entrypoints.chat.catalogue import BY_NAME, described
from agent.entrypoints.chat.events import Answered, Event, Failed, Piece, Result
from agent.entrypoints.chat.fencing import Names, Speaking, fenced
from agent.entrypoints.chat.looking import Sight, look
from agent.entrypoints.chat.memory import kept, recent
from agent.entrypoints.chat.thinking import SPEAK, Mind, Thought, arguments_of, fault_line, flat
from prompts.loader import load as load_prompt
from tools.adapters.conversations import Conversations
from tools.confirmation import GOOD_FOR, Action, seal
from tools.contracts.access import Caller
from tools.contracts.language import Message, ToolCall
from tools.errors import BrokenInvariant, ModelUnavailable, RetrainingError
from tools.ports import LanguageModel
from tools.spending import Budget

MOST_STEPS: Final = 5
"""Of the model in one turn; then it has to say what it has."""
_MOST_CALLS: Final = 4
"""Of one step that are looked at."""
_MODELS_NAMED: Final = 30
_BY_CHOICE: Final = """\
You choose one tool at a time, as JSON: {"call": {"tool": …, "arguments": {…}}}. What the person did not say is null. So:
"why was v3 turned down?" {"call": {"tool": "explain_decision", "arguments": {"model": null, "version": "3", "run": null}}}
"anything new since Monday?" {"call": {"tool": "what_changed", "arguments": {"model": null, "since": "Monday"}}}
"reject 5, too few rows" {"call": {"tool": "answer_review", "arguments": {"review": 5, "answer": "reject", "reason": "too few rows"}}}
"thanks" {"call": {"tool": "answer", "arguments": {}}}
The tools:
"""


class Talk(TypedDict, total=False):
    """What is kept of a conversation; JSON-plain."""

    messages: list[dict[str, Any]]
    names: dict[str, str]
    by_schema: bool
    """Native tool calls have failed with this model."""
    heard: str
    """In: what the person said; empty where he confirmed."""
    confirmed: str | None
    """In: id of the action that he confirmed and that this turn has claimed."""
    todo: list[dict[str, Any]]
    """Calls of the latest step."""
    steps: int
    said: list[str]
    """Calls made in this turn: the same one twice gives nothing new."""
    seen: bool
    """Something was found in this turn."""


@dataclass(frozen=True)
class Turn:
    """What a turn works with; never kept."""

    desk: Desk
    caller: Caller
    conversation: str
    about: str | None
    now: datetime
    model: LanguageModel | None
    budget: Budget | None
    """What the turn may spend on it."""
    kept: Conversations
    tell: Callable[[Event], None]
    stop: threading.Event
    by_schema: bool | None = None
    """Ask for choices by schema whatever the endpoint is able to; as it is able to where None."""


def hear(state: Talk) -> Talk:
    """Take the message in; whatever was done before is history."""
    heard = state.get("heard", "")
    told = [] if state.get("confirmed") else [Message(role="user", content=heard).to_state()]
    return {"messages": kept([*state.get("messages", []), *told]), "todo": [], "steps": 0, "said": [], "seen": False}


def think(state: Talk, runtime: Runtime[Turn]) -> Talk:
    """One step of the model."""
    turn, names = runtime.context, Names(state.get("names"))
    speaking, begun = Speaking(names), state.get("steps", 0)

    def hears(piece: str) -> None:
        if text := speaking.take(piece):
            turn.tell(Piece(text))

    if turn.model is None or turn.budget is None:
        raise BrokenInvariant("a turn without a language model was to think", thing="chat")
    mind = Mind(turn.model, turn.budget, hears, turn.stop)
    by_schema = state.get("by_schema") or turn.by_schema
    try:
        if by_schema is None:
            by_schema = not turn.model.abilities().tools
        thought = _step(mind, state, turn, by_schema=by_schema, last=begun >= MOST_STEPS)
    except ModelUnavailable as error:
        turn.tell(Failed(fault_line(error)))
        return {"todo": [], "messages": _with(state, Message(role="assistant", content="(no answer)"))}
    if rest := speaking.rest():
        turn.tell(Piece(rest))
    text = thought.text + (" (broken off)" if thought.stopped else "")
    calls = tuple(
        call.model_copy(update={"id": f"{call.id}-{begun}-{number}"})
        for number, call in enumerate(thought.calls[:_MOST_CALLS])
    )
    changes: Talk = {"todo": [call.to_state() for call in calls], "steps": begun + 1}
    if thought.native_failed:
        changes["by_schema"] = True
    return {**changes, "messages": _with(state, Message(role="assistant", content=text, calls=calls))}


def _step(mind: Mind, state: Talk, turn: Turn, *, by_schema: bool, last: bool) -> Thought:
    messages = [Message.model_validate(each) for each in recent(state.get("messages", []))]
    system = Message(role="system", content=_prompt(turn, by_schema=by_schema))
    repeated = state.get("said", [])
    speak = last or len(repeated) > len(set(repeated))
    # Who cannot call tools by itself is small: it is led by the hand, one look and then the answer.
    speak = speak or (by_schema and state.get("seen", False))
    asked = [system, *(flat(messages) if by_schema else messages)]
    if by_schema and not speak:
        return mind.by_schema(asked)
    if by_schema:
        asked.append(Message(role="user", content=SPEAK))
    return mind.native(asked, tools=not speak)


def _prompt(turn: Turn, *, by_schema: bool) -> str:
    models = list(turn.desk.standings.models(turn.caller))
    more = f" and {len(models) - _MODELS_NAMED} more" if len(models) > _MODELS_NAMED else ""
    about = f"The person speaks of the model {turn.about} unless they name another." if turn.about else ""
    return load_prompt("chat").render(
        tools=_BY_CHOICE + described() if by_schema else "",
        models=", ".join(models[:_MODELS_NAMED]) + more or "none yet",
        about=about,
    )


def use(state: Talk, runtime: Runtime[Turn]) -> Talk:
    """Look where the model wants to; the first call that acts becomes a question to the person, and nothing else."""
    turn, names = runtime.context, Names(state.get("names"))
    sight = Sight(turn.desk, turn.caller, turn.now, turn.about, names)
    messages, todo, said = list(state.get("messages", [])), list[dict[str, Any]](), list(state.get("said", []))
    asked, seen = False, state.get("seen", False)
    for each in state.get("todo", []):
        call = ToolCall.model_validate(each)
        said.append(f"{call.name} {call.arguments}")
        if asked:
            told = "not done: one thing at a time"
        else:
            told, asked, found = _used(turn, sight, call, names)
            seen = seen or found
        todo.append(Message(role="tool", content=told, call_id=call.id).to_state())
    return {
        "messages": kept([*messages, *todo]),
        "names": names.known,
        "said": said,
        "seen": seen,
        "todo": [{"asked": asked}],
    }


def _used(turn: Turn, sight: Sight, call: ToolCall, names: Names) -> tuple[str, bool, bool]:
    """What the model is told of one call, whether the person is asked something now, and whether anything was found."""
    given: dict[str, Any] = {}
    try:
        args = arguments_of(call)
        given = args.model_dump(exclude_none=True)
        if not BY_NAME[call.name].acts:
            seen = look(call.name, sight, args)
            turn.tell(Result(call.name, given, seen.lines))
            return fenced(seen.data, names), False, True
        _ask(turn, sight, call.name, args)
        return "The person is asked to confirm. Nothing was done yet.", True, False
    except RetrainingError as error:
        lines = tuple(filter(None, (error.message, error.remedy and f"remedy: {error.remedy}")))
        turn.tell(Result(call.name[:60], given, lines, failed=True))
        return fenced({"error": error.message, "remedy": error.remedy}, names), False, False


def _ask(turn: Turn, sight: Sight, tool: str, args: Any) -> None:
    proposal = propose(tool, sight, args)
    id_, owner = secrets.token_hex(8), owner_of(turn.caller)
    action = Action(
        id=id_,
        conversation=turn.conversation,
        owner=owner,
        tool=tool,
        args=proposal.args,
        lines=proposal.lines,
        digest=seal(id_, turn.conversation, owner, tool, proposal.args, proposal.lines),
        expires_at=turn.now + GOOD_FOR,
    )
    turn.kept.offer(action)
    turn.tell(action)


def act(state: Talk, runtime: Runtime[Turn]) -> Talk:
    """Do what was confirmed: this turn alone has claimed it."""
    turn = runtime.context
    action, _ = turn.kept.action(state.get("confirmed") or "", turn.conversation)
    try:
        done = perform(turn.desk, turn.caller, action)
    except RetrainingError as error:
        lines = tuple(filter(None, (error.message, error.remedy and f"remedy: {error.remedy}")))
        turn.tell(Result(action.tool, action.args, lines, failed=True))
        told = f"(program) the person confirmed, and it was refused: {error.message}"
    else:
        turn.tell(Answered(action.id, done.lines, done.run_id))
        told = f"(program) the person confirmed; done: {'; '.join((action.lines[0], *done.lines))}"
    return {"messages": _with(state, Message(role="user", content=told)), "confirmed": None}


def _with(state: Talk, message: Message) -> list[dict[str, Any]]:
    return kept([*state.get("messages", []), message.to_state()])


def owner_of(caller: Caller) -> str:
    """Whose a conversation is."""
    return f"{caller.kind} {caller.name}"


def after_hearing(state: Talk) -> Literal["act", "think"]:
    """Confirmed, or said?"""
    return "act" if state.get("confirmed") else "think"


def after_thinking(state: Talk) -> Literal["use", "__end__"]:
    """A tool, or the end?"""
    return "use" if state.get("todo") else "__end__"


def after_using(state: Talk, runtime: Runtime[Turn]) -> Literal["think", "__end__"]:
    """Go on with what was seen, unless the person is asked something."""
    asked = any(each.get("asked") for each in state.get("todo", []))
    return "__end__" if asked or runtime.context.stop.is_set() else "think"


def build(checkpointer: Any) -> CompiledStateGraph[Talk, Turn, Talk, Talk]:
    """The graph over somebody's checkpoints."""
    made = StateGraph(Talk, Turn)
    for node in (hear, think, use, act):
        made.add_node(node.__name__, node)
    made.add_edge(START, "hear")
    made.add_conditional_edges("hear", after_hearing)
    made.add_conditional_edges("think", after_thinking)
    made.add_conditional_edges("use", after_using)
    made.add_edge("act", END)
    return made.compile(checkpointer=checkpointer, name="chat")
