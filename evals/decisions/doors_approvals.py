"""Does a bad approval execute anything, through any door, and does the valid one beside it?

A run waits for a person before it deploys. Each door is shown each kind of bad approval, and then, in the same world or a fresh one
where the bad one ended the question, the valid one. Counted are moves of the champion's alias: what is served.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from evals.decisions.doors_cases import CASES, alter, world
from evals.decisions.doors_identity import served
from evals.report import Row, share

CASE: Final = next(case for case in CASES if case.name == "every effect is asked for")
KINDS: Final = ("replayed", "altered", "expired", "self-made", "wrong role", "agent-made")
REASON: Final = "looked at it"
ASIDE: Final = timedelta(days=8)


@dataclass
class Stage:
    """One world with a question that waits, and who stands before it."""

    made: Any
    app: Any
    number: int
    run_id: str

    @property
    def moves(self) -> int:
        """What was executed."""
        return len(self.made.moves)


Answer = Callable[[Stage, str, int, str], None]
"""(stage, who, number of the review, digest): an answer through one door; raises or not, what counts is what happened."""


def rows(kinds: tuple[str, ...] = KINDS) -> Iterator[Row]:
    """For each door: bad approvals that executed, and valid ones beside them that did."""
    for door, answer in DOORS.items():
        tried = [(kind, *_tried(answer, kind)) for kind in kinds]
        for kind, bad, good in tried:
            if bad or not good:
                print(f"  · {door}, {kind}: bad executed {bad}, valid executed {good}", flush=True)
        yield from _counted(door, [bad for _, bad, _ in tried], [good for _, _, good in tried])
    named = tuple(kind for kind in kinds if kind in _COMMANDS)
    told = [_command_line(kind) for kind in named]
    yield from _counted("command line", [bad for bad, _ in told], [good for _, good in told])


def _counted(door: str, bad: list[bool], good: list[bool]) -> Iterator[Row]:
    yield share(f"bad approvals that executed, {door}", sum(bad), len(bad), "0", not any(bad))
    yield share(f"valid approvals beside them that executed, {door}", sum(good), len(good), "all", all(good))


def _tried(answer: Answer, kind: str) -> tuple[bool, bool]:
    """(the bad one executed, the valid one did)"""
    with tempfile.TemporaryDirectory(prefix="retraining-eval-", ignore_cleanup_errors=True) as name:
        stage = _asked(Path(name) / "a")
        if kind == "replayed":
            good = _valid(answer, stage)
            before = stage.moves
            _try(answer, stage, "ada", stage.number, _digest(stage))
            return stage.moves > before, good
        who, number, seen = "ada", stage.number, _digest(stage)
        if kind == "altered":
            alter(stage.made)
        elif kind == "expired":
            stage.made.pass_time(ASIDE)
        elif kind == "self-made":
            number += 1
        else:
            who = "mallory" if kind == "wrong role" else "bot"
        _try(answer, stage, who, number, seen)
        bad = stage.moves > 0
        fresh = stage if kind not in ("altered", "expired") else _asked(Path(name) / "b")
        return bad, _valid(answer, fresh)


def _asked(folder: Path) -> Stage:
    from tests.graph.doors import app_of

    folder.mkdir()
    made = world(CASE, folder)
    output = made.run(request=CASE.asked)
    return Stage(made, app_of(made), output["deploymentDecision"]["reviewId"], output["runId"])


def _digest(stage: Stage) -> str:
    return stage.made.store.get_review(stage.number).digest


def _valid(answer: Answer, stage: Stage) -> bool:
    answer(stage, "ada", stage.number, _digest(stage))
    return stage.moves == 1


def _try(answer: Answer, *given: Any) -> None:
    # Refused by an error of ours, a status, a task that is as it was: the alias tells which of them mattered.
    with suppress(Exception):
        answer(*given)


def _settled(stage: Stage) -> None:
    until = time.monotonic() + 60
    while stage.made.store.get_run(stage.run_id).status == "running" and time.monotonic() < until:
        time.sleep(0.05)


# --- the doors -----------------------------------------------------------------------------------------------------------


def _http(stage: Stage, who: str, number: int, seen: str) -> None:
    import httpx

    with served(stage.app) as (url, tokens):
        headers = {"Authorization": f"Bearer {tokens[who]}"}
        body = {"answer": "approve", "reason": REASON, "digest": seen}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            client.post(f"/v1/reviews/{number}/answer", json=body).raise_for_status()
        _settled(stage)


def _a2a(stage: Stage, who: str, number: int, seen: str) -> None:
    from tests.graph.a2a_client import client, send

    # A task is its run: a question that does not exist is one of a task that does not.
    task = stage.run_id if number == stage.number else f"r{number}-made-up"

    async def play(url: str, token: str) -> None:
        async with client(key=token, url=url) as asked:
            await send(asked, {"verdict": "approve", "reason": REASON, "digest": seen}, task_id=task)

    with served(stage.app) as (url, tokens):
        asyncio.run(play(url, tokens[who]))
        _settled(stage)


def _mcp(stage: Stage, who: str, number: int, seen: str) -> None:
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    given = {"reviewId": number, "answer": "approve", "reason": REASON, "digest": seen, "waitSeconds": 60}

    async def play(url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            create_mcp_http_client(headers=headers) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            await client.call_tool("submit_review", given)

    with served(stage.app) as (url, tokens):
        asyncio.run(play(url, tokens[who]))
        _settled(stage)


def _desk(stage: Stage, who: str, number: int, seen: str) -> None:
    """What a parent graph or program calls that has made sure of somebody by itself."""
    from agent.desk import Desk
    from tests.graph.doors import ADA

    kind: Any = "agent" if who == "bot" else "person"
    with closing(Desk(stage.app)) as desk:
        caller = ADA.model_copy(update={"name": who, "kind": kind, "door": "embedded"})
        desk.submit_review(caller, number, "approve", REASON, seen=seen)


DOORS: Final[dict[str, Answer]] = {"HTTP": _http, "A2A": _a2a, "MCP": _mcp, "embedded": _desk}

_APPROVE: Final = ("then", "retrain", "review", "approve", "1", "--reason", REASON, "--json")
_COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "replayed": (*_APPROVE, *_APPROVE),
    "altered": ("then", "alter", *_APPROVE),
    "expired": ("then", "pass", "8d", *_APPROVE),
    "self-made": ("then", "retrain", "review", "approve", "2", "--reason", REASON, "--json", *_APPROVE),
}
"""Whoever sits at a terminal is a person of his own name: the other two kinds are shown by the doors that take keys."""


def _command_line(kind: str) -> tuple[bool, bool]:
    """(the bad one executed, the valid one did), over a real process."""
    from agent.services.reviews import os_user

    def moves(*steps: str) -> tuple[int, list[int]]:
        with tempfile.TemporaryDirectory(prefix="retraining-eval-", ignore_cleanup_errors=True) as folder:
            words = [sys.executable, "-W", "ignore", "-m", "evals.decisions.doors_cases", CASE.name, folder]
            run = ("approver", os_user(), "then", "retrain", "run", "--request", "-", "--json", "--quiet")
            ended = subprocess.run(
                [*words, *run, *steps],
                input=json.dumps(CASE.asked),
                capture_output=True,
                text=True,
                timeout=300,
                check=True,
            )
        told = json.loads(ended.stdout.splitlines()[-1])
        return len(told["moves"]), told["codes"]

    executed, codes = moves(*_COMMANDS[kind])
    if kind == "replayed":
        return executed > 1 or codes[-1] == 0, executed == 1
    if kind == "self-made":
        return codes[1] == 0, executed == 1
    return executed > 0, moves(*_APPROVE)[0] == 1
