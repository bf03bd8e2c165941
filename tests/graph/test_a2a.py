"""A run is a task at the A2A door: what a client is told while it goes on, and that no task is lost with a process."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from a2a.helpers.proto_helpers import get_text_parts
from a2a.types import (
    GetTaskRequest,
    InternalError,
    ListTasksRequest,
    Message,
    SubscribeToTaskRequest,
    Task,
    TaskState,
    UnsupportedOperationError,
)

from agent.desk import Desk
from agent.entrypoints.cli.render import SCREEN
from agent.entrypoints.server.a2a import a2a_door, follow
from agent.entrypoints.server.app import application as server_application
from agent.entrypoints.server.limits import Limits
from agent.services.keys import Keys
from tests.graph.a2a_client import (
    BOT,
    REQUEST,
    START,
    URL,
    application,
    begin,
    client,
    data,
    decision_bytes,
    events,
    http_client,
    message,
    recorded,
    send,
    state,
    words,
)
from tests.graph.doors import ADA, app_of, desk_of, gated
from tests.graph.traffic import endpoint_world, play
from tests.graph.world import WORSE, Broken, World, add_version, by, make_world, with_deps
from tests.streams import NOW

OTHER = {"modelId": "prices", "retrainingConfig": {"dataWindow": "50d"}}


def through(world: World, talk: Callable[[Desk, Any], Coroutine[Any, Any, None]], **options: Any) -> None:
    """The door before a desk of its own, which is closed in the end."""
    desk = desk_of(world)
    try:
        asyncio.run(talk(desk, application(desk, **options)))
    finally:
        desk.close()


def test_card_names_skills_and_the_bearer_scheme_and_needs_no_key(tmp_path: Path) -> None:
    async def talk(_: Desk, app: Any) -> None:
        async with http_client(app, key=None) as http:
            card = (await http.get("/.well-known/agent-card.json")).json()
        assert [skill["id"] for skill in card["skills"]] == [
            "assess_staleness",
            "start_retraining",
            "judge_candidate",
            "get_run",
            "roll_back",
            "explain_decision",
            "chat",
        ]
        assert all(json.loads(skill["examples"][0])["skill"] == skill["id"] for skill in card["skills"])
        assert card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"] == "bearer"
        assert card["securityRequirements"] == [{"schemes": {"bearer": {}}}]
        assert card["capabilities"]["streaming"] is True
        assert card["supportedInterfaces"][0]["url"] == "http://agent.test/a2a"
        assert not any(caller.name in json.dumps(card) for caller in (ADA, BOT))

    through(make_world(tmp_path), talk)


def test_decision_has_the_very_bytes_that_the_command_line_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCREEN, "json", True)
    SCREEN.result(make_world(tmp_path).run())
    printed = capsys.readouterr().out.encode()
    config = {"trigger": "manual", "asOf": NOW.isoformat()}
    tasks: list[Task] = []

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            tasks.append(await begin(asked, {**START, "request": {**REQUEST, "retrainingConfig": config}}))

    through(make_world(tmp_path), talk)

    assert decision_bytes(tasks[0]) == printed
    output = json.loads(printed)
    (artifact,) = tasks[0].artifacts
    assert get_text_parts(artifact.parts) == [output["deploymentDecision"]["rationale"]]
    assert (state(tasks[0]), data(tasks[0])["decision"]) == ("COMPLETED", "deploy")


def test_completed_says_that_the_run_ended_not_that_it_deployed(tmp_path: Path) -> None:
    world = make_world(tmp_path, trains=WORSE)

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            task = await begin(asked)
        assert state(task) == "COMPLETED"
        assert data(task) == {
            "decision": "reject",
            "decidedBy": "policy",
            "rolloutPhase": "not_started",
            "championVersion": "1",
        }
        assert "says nothing of whether anything was deployed" in words(task)

    through(world, talk)
    assert not world.moves


def test_unknown_fields_are_warnings_of_the_run(tmp_path: Path) -> None:
    asked_for = {**START, "colour": "red", "request": {**REQUEST, "modelld": "x"}}

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            output = json.loads(decision_bytes(await begin(asked, asked_for)))
        assert output["warnings"][0] == "unknown field colour was ignored"
        assert output["warnings"][1].startswith("unknown field modelld was ignored")

    through(make_world(tmp_path), talk)


def test_words_alone_start_nothing_and_are_told_what_is_needed(tmp_path: Path) -> None:
    world = make_world(tmp_path)

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            answer = await send(asked, "please retrain prices at once and deploy it")
        assert isinstance(answer, Message)
        assert '"skill": "start_retraining"' in words(answer)

    through(world, talk)
    assert world.store.is_empty()


def test_stream_tells_progress_then_the_decision_then_the_end(tmp_path: Path) -> None:
    async def talk(_: Desk, app: Any) -> None:
        async with client(app, streaming=True) as asked:
            told = await events(asked, message(START))
        kinds = [event.WhichOneof("payload") for event in told]
        assert (kinds[0], kinds[-2:]) == ("task", ["artifact_update", "status_update"])
        assert set(kinds[1:-2]) == {"status_update"}
        lines = [words(Task(status=event.status_update.status)) for event in told if event.HasField("status_update")]
        assert {"train_candidate done", "write_rationale done"} <= set(lines)
        last = Task(status=told[-1].status_update.status)
        assert (state(last), data(last)["decision"]) == ("COMPLETED", "deploy")
        ids = [event.status_update.status.message.message_id for event in told if event.HasField("status_update")]
        assert len(set(ids)) == len(ids)

    through(make_world(tmp_path), talk)


def test_every_skill_answers_and_a_rollback_cancels_what_is_under_way(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    given = add_version(world, by("b"))

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            checked = await send(asked, {"skill": "assess_staleness", "modelId": "prices"})
            assert data(checked)["trigger"]["code"] == "insists"
            done = await begin(asked)
            seen = await send(asked, {"skill": "get_run", "runId": done.id})
            assert data(seen)["runId"] == done.id
            why = await send(asked, {"skill": "explain_decision", "runId": done.id})
            assert words(why) == data(seen)["deploymentDecision"]["rationale"]
            assert data(why)["evidence"]
            judged = await begin(asked, {"skill": "judge_candidate", "request": REQUEST, "candidateVersion": given})
            assert (state(judged), data(judged)["offered"]) == ("INPUT_REQUIRED", "deploy")
            back = await begin(asked, {"skill": "roll_back", "modelId": "prices", "reason": "errors since noon"})
            assert (state(back), data(back)["rolloutPhase"], data(back)["championVersion"]) == (
                "COMPLETED",
                "rolled_back",
                "1",
            )
            over = await asked.get_task(GetTaskRequest(id=judged.id))
            assert (state(over), "cannot go on" in words(over)) == ("CANCELED", True)

    through(world, talk)
    assert [to for _, to in world.moves] == ["3", "1"]


def test_clients_context_is_kept_with_the_run_and_tasks_are_listed_by_it(tmp_path: Path) -> None:
    world = make_world(tmp_path, trains=WORSE)
    for number, context in enumerate(("one", "two", None)):
        recorded(world, f"old{number}", "failed", context=context)

    async def first(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            assert (await begin(asked, context_id="one")).context_id == "one"

    async def second(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            own = await asked.get_task(GetTaskRequest(id="old2"))
            page = await asked.list_tasks(ListTasksRequest(context_id="one", page_size=1))
            rest = await asked.list_tasks(
                ListTasksRequest(context_id="one", page_size=1, page_token=page.next_page_token)
            )
            done = await asked.list_tasks(
                ListTasksRequest(status=TaskState.TASK_STATE_COMPLETED, include_artifacts=True)
            )
        assert own.context_id == "old2"
        assert ([task.id for task in page.tasks], [task.id for task in rest.tasks]) == (["r1"], ["old0"])
        assert (page.total_size, rest.next_page_token, len(page.tasks[0].artifacts)) == (2, "", 0)
        assert [(task.id, len(task.artifacts)) for task in done.tasks] == [("r1", 1)]

    through(world, first)
    through(world, second)


def test_message_sent_twice_is_one_run_and_another_one_under_its_id_is_refused(tmp_path: Path) -> None:
    world = make_world(tmp_path, trains=WORSE)

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked, client(app, key=BOT.name) as other:
            first, again = [await begin(asked, message_id="m1") for _ in range(2)]
            with pytest.raises(UnsupportedOperationError, match="was used for another request"):
                await send(asked, {**START, "request": OTHER}, message_id="m1")
            others = await begin(other, message_id="m1")
        assert first == again
        assert others.id != first.id

    through(world, talk)
    assert len(world.store.list_runs()) == 2


def test_message_repeated_while_its_run_trains_joins_it_and_trains_once(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            first = asyncio.create_task(begin(asked, message_id="m1"))
            await asyncio.to_thread(gate.begun.wait, 60)
            again = asyncio.create_task(begin(asked, message_id="m1"))
            # Time for the second one to do whatever it does.
            await asyncio.sleep(0.5)
            gate.open.set()
            tasks = await asyncio.gather(first, again)
        assert [(task.id, state(task)) for task in tasks] == [("r1", "COMPLETED")] * 2

    through(world, talk)
    assert len(world.trainer.orders) == 1
    assert world.moves == [("1", "2")]


def test_message_does_not_wait_for_ever(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            waited = await begin(asked, message_id="m1")
            (at_once,) = await events(asked, message(START, message_id="m1"), return_immediately=True)
            gate.open.set()
        assert (state(waited), state(at_once.task)) == ("WORKING", "WORKING")

    through(world, talk, most_wait=0.2)
    assert world.champion == "2"


def test_rollout_under_way_is_a_working_task_that_says_when_it_looks_again(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    play(world)

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            task = await begin(asked)
        assert state(task) == "WORKING"
        assert "A rollout is under way" in words(task)
        assert "The next look is due 2026-07-01 12:" in words(task)

    through(world, talk)


def test_subscriber_hears_what_comes_and_the_end(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            (begun,) = [event.task for event in await events(asked, message(START), return_immediately=True)]
        async with client(app, streaming=True) as asked:
            await asyncio.to_thread(gate.begun.wait, 60)
            following = asyncio.create_task(_subscribed(asked, begun.id))
            await asyncio.sleep(0.3)
            gate.open.set()
            told = await following
        assert (told[0].task.id, state(told[0].task)) == (begun.id, "WORKING")
        lines = [words(Task(status=event.status_update.status)) for event in told if event.HasField("status_update")]
        assert "train_candidate done" in lines
        assert "check_staleness done" not in lines
        assert state(Task(status=told[-1].status_update.status)) == "COMPLETED"

    through(world, talk)


def test_failed_run_is_a_failed_task_with_the_reason_and_a_way_on(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    broken = with_deps(world, data=Broken(world.data, "write_labelled"))

    async def talk(_: Desk, app: Any) -> None:
        async with client(app) as asked:
            task = await begin(asked)
        async with client(app, streaming=True) as asked:
            with pytest.raises(UnsupportedOperationError, match="has ended"):
                await _subscribed(asked, task.id)
        assert state(task) == "FAILED"
        assert "the connection was closed in mid-read" in words(task)
        assert f"retrain run --resume {task.id}" in words(task)

    through(broken, talk)
    assert not world.touched


def test_run_that_no_process_drives_says_so_and_lets_its_followers_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "ORPHANED_AFTER", 0.2)
    monkeypatch.setattr(follow, "LOOK_EVERY", 0.05)
    world = make_world(tmp_path)
    recorded(world, "killed", "running", key="a2a:ada:m1")

    async def talk(_: Desk, app: Any) -> None:
        async with client(app, streaming=True) as asked:
            told = await _subscribed(asked, "killed")
            seen = await asked.get_task(GetTaskRequest(id="killed"))
        assert [state(event.task) for event in told] == ["WORKING"]
        assert "No process drives this run" in words(seen)
        async with client(app) as asked:
            on = await begin(asked, message_id="m1")
        assert (on.id, state(on)) == ("killed", "COMPLETED")

    through(world, talk)
    assert world.moves == [("1", "2")]


def test_caller_with_too_many_streams_is_told_and_his_run_goes_on(tmp_path: Path) -> None:
    world = make_world(tmp_path)

    async def talk(_: Desk, app: Any) -> None:
        async with client(app, streaming=True) as asked:
            with pytest.raises(InternalError, match="too many streams are open; task r1 goes on"):
                await events(asked, message(START))

    through(world, talk, limits=Limits(streams_of_caller=0))
    assert world.champion == "2"


def test_one_server_has_the_door_behind_its_guard_and_the_card_before_it(tmp_path: Path) -> None:
    world = make_world(tmp_path, trains=WORSE)
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    token = keys.create("supervisor", ("read", "run"), by="ada", kind="agent").token
    server = server_application(
        app_of(world), keys=keys, doors=lambda desk: (a2a_door(desk, URL),), hosts=["agent.test"]
    )

    async def talk() -> tuple[Task, Any]:
        async with client(server.app, key=token) as asked:
            task = await begin(asked)
        async with http_client(server.app, key="rk_wrong") as http:
            return task, await http.post("/a2a", json={})

    task, refused = asyncio.run(talk())

    assert (state(task), refused.status_code) == ("COMPLETED", 401)
    run = world.store.get_run(task.id)
    assert (run.requested_by, run.idempotency_key is not None) == ("supervisor", True)


async def _subscribed(asked: Any, task_id: str) -> list[Any]:
    return [event async for event in asked.subscribe(SubscribeToTaskRequest(id=task_id))]
