"""`retrain chat [MODEL]`: ask the agent in words. What acts is done after a typed yes to exactly that, and never before."""

import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.entrypoints.cli.options import Json, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, hint, run_lines, shortened, table

if TYPE_CHECKING:
    from agent.desk import Desk
    from agent.entrypoints.chat.events import Event
    from agent.entrypoints.chat.service import Chat, Said
    from agent.entrypoints.cli.chat_screen import Talk
    from tools.contracts.access import Caller

_ASK = "you> "


def chat(
    model: Annotated[str | None, typer.Argument(help="Model that the conversation is about.")] = None,
    once: Annotated[
        str | None, typer.Option("--once", help="One question, its answer, and out; '-' or a pipe reads stdin.")
    ] = None,
    resume: Annotated[str | None, typer.Option("--resume", help="Go on with this conversation.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Your conversations, the latest first.")] = False,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Ask in words: why was v7 rejected, what changed since Tuesday, retrain on the last 60 days, show reviews, approve 12 because …

    Looking is free. Whatever acts is shown first, exactly, and done only after a yes typed at this terminal.
    """
    from agent.desk import Desk
    from agent.entrypoints.chat import chat_over
    from agent.services.reviews import os_user
    from tools.contracts.access import Caller

    loud, SCREEN.quiet = SCREEN.quiet, True  # runs in other threads must not write into the conversation
    opened = open_app(workspace, None if listing or resume else model)
    caller = Caller(
        name=os_user(), kind="person", scopes=frozenset({"read", "run", "review", "roll_back"}), door="chat"
    )
    desk = Desk(opened)
    try:
        talk = chat_over(desk)
        if listing:
            _list(talk, caller)
            return
        SCREEN.quiet = loud
        _converse(desk, talk, caller, model=model, once=once, resume=resume)
    finally:
        if any(desk.is_going(run.run_id) for run in opened.deps.store.unfinished(None)):
            sys.stderr.write("  · a run goes on: waiting for its end (Ctrl-C leaves it; it can be resumed)\n")
        desk.close()


def _list(talk: "Chat", caller: "Caller") -> None:
    found = talk.conversations(caller)
    rows = [[c.id, c.model, c.turns, f"{c.updated_at:%Y-%m-%d %H:%M}", shortened(c.title, 50)] for c in found]
    lines = (
        table(["conversation", "model", "turns", "last (UTC)", "began with"], rows)
        if found
        else ["no conversations yet"]
    )
    SCREEN.result([each.to_json_dict() for each in found], lines)


def _converse(
    desk: "Desk", talk: "Chat", caller: "Caller", *, model: str | None, once: str | None, resume: str | None
) -> None:
    from agent.entrypoints.chat.service import Said

    piped = not sys.stdin.isatty()
    if once is not None or piped:
        text = sys.stdin.read() if once in (None, "-") else once
        _once(talk, caller, Said(message=text, conversation=resume, model=model))
        return
    _loop(desk, talk, caller, Said(conversation=resume, model=model))


def _once(talk: "Chat", caller: "Caller", said: "Said") -> None:
    import threading

    from agent.entrypoints.chat.events import Failed, as_json
    from agent.entrypoints.cli.chat_screen import Talk
    from tools.confirmation import Action

    screen, heard = Talk(typed=False), list[Any]()

    def hear(event: "Event") -> None:
        heard.append(event)
        if not SCREEN.json:
            screen.show(event)

    with talk.open(caller, said) as turn:
        turn.play(hear, threading.Event())
    screen.end()
    id_ = turn.conversation.id
    if SCREEN.json:
        events = [{"event": name, **data} for name, data in map(as_json, heard)]
        SCREEN.result({"conversationId": id_, "events": events})
    elif any(isinstance(each, Action) for each in heard):
        sys.stdout.write(
            f"nothing was done: `{hint(f'chat --resume {id_}')}` shows it again, and a yes typed there does it\n"
        )
    if not talk.has_model or any(isinstance(each, Failed) for each in heard):
        raise typer.Exit(6)


def _loop(desk: "Desk", talk: "Chat", caller: "Caller", said: "Said") -> None:
    from dataclasses import replace

    from agent.entrypoints.chat.offline import NEEDS
    from agent.entrypoints.cli.chat_screen import Talk
    from tools.errors import RetrainingError

    screen = Talk(typed=True)
    if not talk.has_model:
        screen.say(NEEDS)
    screen.say(
        "ask in words; Ctrl-C stops an answer, Ctrl-D ends. Lines with │ are a language model's, unchecked; all others are ours."
    )
    if said.conversation is not None:
        _show_again(talk, caller, said.conversation, screen)
    while True:
        text = _read()
        if text is None:
            break
        if not text.strip():
            continue
        try:
            said = replace(
                said, conversation=_turn(desk, talk, caller, replace(said, message=text, typed=True), screen)
            )
        except RetrainingError as error:
            screen.end()
            SCREEN.error(error)
    if said.conversation is not None:
        screen.say(f"go on with: {hint(f'chat --resume {said.conversation}')}")


def _read() -> str | None:
    """A line; None at the end."""
    with suppress(ImportError):  # Windows has none
        import_module("readline")  # gives input() its history and editing
    while True:
        try:
            return input(_ASK)
        except EOFError:
            sys.stdout.write("\n")
            return None
        except KeyboardInterrupt:
            sys.stdout.write("\n(Ctrl-D ends)\n")


def _turn(desk: "Desk", talk: "Chat", caller: "Caller", said: "Said", screen: "Talk") -> str | None:
    """One message and what comes of it; Ctrl-C stops it. The conversation's id."""
    import signal
    import threading

    from agent.entrypoints.chat.events import Answered

    stop, runs, id_ = threading.Event(), list[str](), said.conversation

    def hear(event: "Event") -> None:
        if not stop.is_set():
            screen.show(event)
        if isinstance(event, Answered) and event.run_id is not None:
            runs.append(event.run_id)

    def interrupted(*_: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt  # a second time: whatever it is busy with
        stop.set()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        with talk.open(caller, said) as turn:
            id_ = turn.conversation.id
            turn.play(hear, stop)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, before)
        screen.end()
    if stop.is_set():
        screen.say("(stopped)")
    for run_id in runs:
        _follow(desk, caller, run_id, screen)
    return id_


def _follow(desk: "Desk", caller: "Caller", run_id: str, screen: "Talk") -> None:
    """What a run does, until it rests; Ctrl-C stops looking, not the run."""
    from tools.errors import RetrainingError

    told = 0
    try:
        going = True
        while going:
            going = desk.is_going(run_id)
            for line in desk.board.since(run_id, told):
                told = line.number
                screen.say(f"· {line.text}")
            if going:
                try:
                    desk.wait_for(run_id, 0.3)
                except RetrainingError:
                    break  # its line said so
    except KeyboardInterrupt:
        screen.say(f"it goes on; ask how {run_id} stands")
        return
    run = desk.get_run(caller, run_id)
    if run.output is not None:
        for line in run_lines(run.output, ask=False, status=run.status)[:12]:
            screen.say(line)
        if run.parked_for == "review":
            screen.say("a person is asked: show reviews")


def _show_again(talk: "Chat", caller: "Caller", conversation: str, screen: "Talk") -> None:
    from agent.entrypoints.chat.events import Piece

    for who, text in talk.transcript(caller, conversation)[-6:]:
        if who == "model":
            screen.show(Piece(text))
            screen.end()
        else:
            screen.say(f"{'you' if who == 'person' else 'program'}: {text}")
    waiting = talk.waiting(caller, conversation)
    if waiting is not None:
        screen.show(waiting)
