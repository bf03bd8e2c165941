"""A2A over a real server on loopback, with the official client: a client that goes away, and a restart while a person is asked."""

import asyncio
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from a2a.types import GetTaskRequest, SendMessageRequest, Task
from langgraph.checkpoint.sqlite import SqliteSaver

from agent.desk import Desk
from evals.loopback import running
from tests.graph.a2a_client import (
    BOT,
    START,
    application,
    begin,
    client,
    data,
    decision_bytes,
    message,
    recorded,
    send,
    state,
)
from tests.graph.doors import ADA, desk_of, gated
from tests.graph.world import World, make_world, with_deps
from tools.adapters.store import SqlStore


@contextmanager
def served(world: World) -> Iterator[tuple[str, Desk]]:
    """A process of its own, as far as the store can tell."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    desk = desk_of(world)
    app = application(desk, url=url)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off"))
    with closing(desk), running(server, taken):
        yield url, desk


def test_client_that_goes_away_in_mid_stream_stops_nothing(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))

    async def leave(url: str) -> tuple[str, int]:
        seen = 0
        async with client(url=url, streaming=True) as asked:
            stream = asked.send_message(SendMessageRequest(message=message(START, message_id="m1")))
            async for event in stream:
                seen += 1
                if seen == 3:  # the task, and two lines while the training is held
                    return event.status_update.task_id, seen
        raise AssertionError("the stream ended")

    async def come_back(url: str, task_id: str) -> tuple[Task, Task]:
        async with client(url=url) as asked:
            going = await asked.get_task(GetTaskRequest(id=task_id))
            gate.open.set()
            return going, await begin(asked, message_id="m1")

    with served(world) as (url, _):
        task_id, seen = asyncio.run(leave(url))
        going, done = asyncio.run(come_back(url, task_id))

    assert (seen, state(going)) == (3, "WORKING")
    assert (done.id, state(done), data(done)["decision"]) == (task_id, "COMPLETED", "deploy")
    assert len(world.trainer.orders) == 1


def test_question_survives_the_server_and_its_store_is_all_that_is_kept(tmp_path: Path) -> None:
    made = make_world(tmp_path, mode="recommend")

    def opened() -> World:
        """Everything that is kept is read from its file again."""
        store: Any = SqlStore(f"sqlite:///{tmp_path}/runs.db", made.deps.clock)
        saver: Any = SqliteSaver(sqlite3.connect(tmp_path / "checkpoints.db", check_same_thread=False))
        return replace(with_deps(made, store=store), store=store, checkpoints=saver)

    async def ask(url: str) -> Task:
        async with client(url=url, key=BOT.name) as asked:
            return await begin(asked)

    async def answer(url: str, task_id: str) -> tuple[Task, Any, Any]:
        async with client(url=url, key=BOT.name) as agent, client(url=url, key=ADA.name) as person:
            seen = await person.get_task(GetTaskRequest(id=task_id))
            given = {"verdict": "approve", "reason": "the desk agrees", "digest": data(seen)["digest"]}
            return seen, await send(agent, given, task_id=task_id), await send(person, given, task_id=task_id)

    # A store with nothing in it is refused beside versions that another one has tagged.
    recorded(opened(), "earlier", "failed")
    with served(opened()) as (url, _):
        task = asyncio.run(ask(url))
    with served(opened()) as (url, desk):
        seen, refused, done = asyncio.run(answer(url, task.id))
        output = desk.get_run(ADA, task.id).output

    assert state(task) == "INPUT_REQUIRED"
    assert seen == task
    assert (state(refused), data(refused)) == ("INPUT_REQUIRED", data(task))
    assert (done.id, state(done), data(done)["decision"]) == (task.id, "COMPLETED", "deploy")
    assert made.moves == [("1", "2")]
    assert output is not None
    assert output["deploymentDecision"]["decidedBy"] == ADA.name
    assert decision_bytes(done).endswith(b"}\n")
