"""Who may answer the question of a task? A person, with a verdict, a reason and the question's digest; nobody else, nothing else."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    InvalidParamsError,
    InvalidRequestError,
    SubscribeToTaskRequest,
    Task,
    TaskNotCancelableError,
    UnsupportedOperationError,
)
from a2a.utils.errors import A2AError

from tests.graph.a2a_client import BOT, START, application, begin, client, data, send, state, words
from tests.graph.doors import ADA, desk_of
from tests.graph.world import World, make_world

MALLORY = ADA.model_copy(update={"name": "mallory"})
READER = ADA.model_copy(update={"name": "reader", "scopes": frozenset({"read", "run"})})


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Asks a person before every effect."""
    return make_world(tmp_path, mode="recommend")


class Server:
    """A process: a desk and a door of its own over the world's store."""

    def __init__(self, world: World) -> None:
        self.desk = desk_of(world)
        self.app = application(self.desk, MALLORY, READER)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.desk.close()


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with Server(world) as made:
        yield made


async def ask(server: Server) -> Task:
    async with client(server.app, key=BOT.name) as asked:
        task = await begin(asked)
    assert state(task) == "INPUT_REQUIRED"
    return task


async def tell(server: Server, task: Task, content: Any, *, key: str = ADA.name, **fields: Any) -> Task:
    async with client(server.app, key=key) as asked:
        answer = await send(asked, content, task_id=task.id, **fields)
    assert isinstance(answer, Task)
    return answer


def verdict(task: Task, given: str = "approve", **changes: Any) -> dict[str, Any]:
    return {"verdict": given, "reason": "looked at it", "digest": data(task)["digest"]} | changes


def test_question_survives_a_restart_and_a_persons_approval_deploys(world: World) -> None:
    async def before(server: Server) -> Task:
        return await ask(server)

    async def after(server: Server, task: Task) -> tuple[Task, Task]:
        async with client(server.app) as asked:
            seen = await asked.get_task(GetTaskRequest(id=task.id))
        return seen, await tell(server, seen, verdict(seen))

    with Server(world) as first:
        task = asyncio.run(before(first))
    with Server(world) as second:
        seen, done = asyncio.run(after(second, task))

    assert seen == task
    assert data(task)["verdicts"] == ["approve", "reject"]
    assert data(task)["approvers"] == ["ada"]
    assert "nonce" not in str(task)
    assert world.store.get_review(data(task)["reviewId"]).nonce not in str(task)
    assert (done.id, state(done), data(done)["decision"], data(done)["decidedBy"]) == (
        task.id,
        "COMPLETED",
        "deploy",
        "ada",
    )
    assert world.moves == [("1", "2")]


def test_refusal_ends_the_same_task_and_moves_nothing(world: World, server: Server) -> None:
    async def talk() -> Task:
        task = await ask(server)
        return await tell(server, task, verdict(task, "reject"))

    done = asyncio.run(talk())

    assert (state(done), data(done)["decision"]) == ("COMPLETED", "reject")
    assert not world.touched


@pytest.mark.parametrize("said", ["verdict", "words", "another skill"])
def test_agents_word_on_the_question_executes_nothing_and_leaves_it_open(
    world: World, server: Server, said: str
) -> None:
    async def talk() -> tuple[Task, Task]:
        task = await ask(server)
        content = {"verdict": verdict(task), "words": "I approve, deploy it now", "another skill": START}[said]
        return task, await tell(server, task, content, key=BOT.name)

    task, answer = asyncio.run(talk())

    assert state(answer) == "INPUT_REQUIRED"
    assert words(answer).startswith("Nothing was done: 'supervisor' is an agent")
    assert data(answer) == data(task)
    assert world.store.get_review(data(task)["reviewId"]).status == "open"
    assert not world.touched
    # The honest twin: the same question, a person.
    assert state(asyncio.run(tell(server, task, verdict(task)))) == "COMPLETED"
    assert world.champion == "2"


def test_persons_words_approve_nothing(world: World, server: Server) -> None:
    async def talk() -> Task:
        return await tell(server, await ask(server), "yes, deploy")

    answer = asyncio.run(talk())

    assert (state(answer), words(answer).startswith("Nothing was done: words alone")) == ("INPUT_REQUIRED", True)
    assert not world.touched


@pytest.mark.parametrize(
    ("changes", "key", "error", "match"),
    [
        ({"digest": "0" * 64}, "ada", UnsupportedOperationError, "something else than what was shown"),
        ({"digest": None}, "ada", InvalidParamsError, "digest is missing"),
        ({"reason": " "}, "ada", InvalidParamsError, "reason is empty"),
        ({"verdict": "yes"}, "ada", InvalidParamsError, "no verdict 'yes'"),
        ({"verdict": "canary"}, "ada", InvalidParamsError, "offers no canary"),
        ({}, "reader", InvalidRequestError, "scope 'review' is missing"),
        ({}, "mallory", InvalidRequestError, "'mallory' may not answer"),
    ],
)
def test_answer_that_is_not_valid_is_refused_with_a_remedy_and_the_next_one_counts(
    world: World, server: Server, changes: dict[str, Any], key: str, error: type[A2AError], match: str
) -> None:
    async def talk() -> Task:
        task = await ask(server)
        with pytest.raises(error, match=match) as refused:
            await tell(server, task, verdict(task, **changes), key=key)
        assert "remedy: " in refused.value.message
        assert not world.touched
        return await tell(server, task, verdict(task))

    assert state(asyncio.run(talk())) == "COMPLETED"
    assert world.moves == [("1", "2")]


def test_question_that_has_run_out_is_not_answered(world: World, server: Server) -> None:
    async def talk() -> None:
        task = await ask(server)
        world.pass_time(timedelta(days=8))
        with pytest.raises(A2AError, match="expired"):
            await tell(server, task, verdict(task))

    asyncio.run(talk())
    assert not world.touched


def test_of_two_answers_at_once_one_counts_and_a_replay_is_refused(world: World, server: Server) -> None:
    async def talk() -> None:
        task = await ask(server)
        answers = await asyncio.gather(
            tell(server, task, verdict(task)), tell(server, task, verdict(task, "reject")), return_exceptions=True
        )
        (done,) = [each for each in answers if isinstance(each, Task)]
        (refused,) = [each for each in answers if isinstance(each, BaseException)]
        assert isinstance(refused, UnsupportedOperationError)
        assert state(done) == "COMPLETED"
        with pytest.raises(UnsupportedOperationError, match="takes no message"):
            await tell(server, task, verdict(task))

    asyncio.run(talk())
    assert len(world.moves) <= 1


def test_subscriber_hears_the_question_answered_and_the_end(world: World, server: Server) -> None:
    async def talk() -> list[Any]:
        task = await ask(server)
        async with client(server.app, key=BOT.name, streaming=True) as asked:
            following = asyncio.create_task(_followed(asked, task.id))
            # The transport in process gives nothing before the end: there is nothing else to wait for.
            await asyncio.sleep(0.5)
            await tell(server, task, verdict(task))
            return await following

    told = asyncio.run(talk())

    assert state(told[0].task) == "INPUT_REQUIRED"
    last = Task(status=told[-1].status_update.status)
    assert (state(last), data(last)["decision"]) == ("COMPLETED", "deploy")


def test_nothing_is_canceled_and_what_comes_nearest_is_named(world: World, server: Server) -> None:
    async def talk() -> None:
        task = await ask(server)
        async with client(server.app) as asked:
            with pytest.raises(TaskNotCancelableError, match=f"reject review {data(task)['reviewId']:.0f};"):
                await asked.cancel_task(CancelTaskRequest(id=task.id))
            await tell(server, task, verdict(task, "reject"))
            with pytest.raises(TaskNotCancelableError, match="has ended"):
                await asked.cancel_task(CancelTaskRequest(id=task.id))

    asyncio.run(talk())


def test_message_of_another_context_is_refused(world: World, server: Server) -> None:
    async def talk() -> None:
        task = await ask(server)
        with pytest.raises(InvalidParamsError, match="not of context 'elsewhere'"):
            await tell(server, task, verdict(task), context_id="elsewhere")

    asyncio.run(talk())
    assert not world.touched


async def _followed(asked: Any, task_id: str) -> list[Any]:
    return [event async for event in asked.subscribe(SubscribeToTaskRequest(id=task_id))]
