"""`retrain watch`: goes on with every rollout and question whose hour has come."""

import signal
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN

if TYPE_CHECKING:
    from agent.services.watch import Look


def watch(
    model: Annotated[str | None, typer.Argument(help="Only this profile's runs.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Look at what is due now, then end.")] = False,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when no rollout is under way and nothing waits for an hour.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two questions to the store.")] = 1.0,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Go on with rollouts, look by look, and end questions that nobody answered. Stops at Ctrl-C, between two looks."""
    opened = open_app(workspace, model)
    watching, stop = opened.watch(), threading.Event()

    def stopped(_: int, __: FrameType | None) -> None:
        stop.set()

    before = {sign: signal.signal(sign, stopped) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        if not once:
            SCREEN.progress("watching; Ctrl-C ends it, and whoever watches next goes on")
        while True:
            for look in watching.looks(model, stop.is_set):
                _tell(look)
            if once or stop.is_set() or (until_idle and watching.next_look(model) is None and not watching.due(model)):
                return
            stop.wait(every)
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _tell(look: "Look") -> None:
    """A line a look; under --json an object a line, so that a log can be read while it grows."""
    record, now = look.record, time.strftime("%H:%M:%S", time.gmtime())
    rollout: dict[str, Any] = {} if look.output is None else look.output.get("rollout", {})
    phase = "failed" if look.error is not None else rollout.get("phase", "ended")
    told = look.error.message if look.error is not None else rollout.get("statement", "")
    content = {"at": now, "runId": record.run_id, "modelId": record.model_id, "phase": phase, "statement": told}
    if "weight" in rollout:
        content["weight"] = rollout["weight"]
    weight = f" {rollout['weight']:>3} %" if "weight" in rollout else ""
    SCREEN.result(content, [f"{now} {record.model_id}{weight} {phase}: {told}"])
