"""A faulty request at the A2A door brings an error of the protocol with a remedy: nothing begins, leaks or hangs."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from a2a.helpers.proto_helpers import new_data_part, new_raw_part, new_url_part
from a2a.types import (
    CancelTaskRequest,
    ContentTypeNotSupportedError,
    GetTaskRequest,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    ListTasksRequest,
    Part,
    PushNotificationNotSupportedError,
    SubscribeToTaskRequest,
    TaskNotFoundError,
    TaskPushNotificationConfig,
    UnsupportedOperationError,
)
from a2a.utils.errors import A2AError

from agent.desk import Desk
from tests.graph.a2a_client import REQUEST, START, application, client, events, http_client, message, recorded, send
from tests.graph.doors import ADA, desk_of
from tests.graph.world import World, make_world, with_deps
from tools.errors import Unavailable

READER = ADA.model_copy(update={"name": "reader", "scopes": frozenset({"read"})})
RUNNER = ADA.model_copy(update={"name": "runner", "scopes": frozenset({"run"})})
NEWER = {**REQUEST, "schemaVersion": "9.0"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    made = desk_of(world)
    yield made
    made.close()


@pytest.fixture
def app(desk: Desk) -> Any:
    return application(desk, READER, RUNNER)


def refused(app: Any, content: Any, *, key: str = ADA.name, **fields: Any) -> A2AError:
    async def talk() -> A2AError:
        async with client(app, key=key) as asked:
            with pytest.raises(A2AError) as caught:
                await send(asked, content, **fields)
        return caught.value

    return asyncio.run(talk())


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ({"skill": "start_retrainin"}, InvalidParamsError, "did you mean 'start_retraining'?"),
        ({"skill": 7}, InvalidParamsError, "The skills are assess_staleness"),
        ({"modelId": "prices"}, InvalidParamsError, "the data names no skill"),
        ({"skill": "start_retraining"}, InvalidParamsError, "the data holds no request"),
        ({**START, "modelId": "prices"}, InvalidParamsError, "modelId stands beside a request"),
        ({**START, "request": [1]}, InvalidParamsError, "the data holds no request"),
        ({**START, "request": {"retrainingConfig": {}}}, InvalidParamsError, "modelId"),
        ({**START, "request": {**REQUEST, "modelId": "nobody"}}, InvalidParamsError, "no profile for model 'nobody'"),
        ({**START, "request": NEWER}, InvalidParamsError, "no version that this program speaks"),
        ({**START, "request": {**REQUEST, "deploymentCriteria": {"minImprovement": -1}}}, InvalidParamsError, "-1"),
        ({"skill": "judge_candidate", "request": REQUEST}, InvalidParamsError, "candidateVersion is missing"),
        ({"skill": "roll_back", "modelId": "prices"}, InvalidParamsError, "reason is missing"),
        ({"skill": "get_run"}, InvalidParamsError, "runId is missing"),
        ({"skill": "get_run", "runId": "nobody's"}, TaskNotFoundError, 'no run "nobody\'s"'),
        ({"skill": "explain_decision", "runId": "nobody's"}, TaskNotFoundError, "retrain runs list"),
    ],
)
def test_data_at_fault_is_refused_with_a_remedy_and_begins_nothing(
    world: World, app: Any, content: Any, kind: type[A2AError], said: str
) -> None:
    error = refused(app, content)

    assert type(error) is kind
    assert said in error.message
    assert "remedy: " in error.message
    assert world.store.is_empty()


@pytest.mark.parametrize(
    ("parts", "kind", "said"),
    [
        ([new_data_part(START), new_data_part(START)], InvalidParamsError, "2 data parts"),
        ([new_data_part([1, 2])], InvalidParamsError, "is no object"),
        ([new_raw_part(b"x", media_type="application/json")], ContentTypeNotSupportedError, "neither is opened"),
        ([new_url_part("https://elsewhere/request.json")], ContentTypeNotSupportedError, "neither is opened"),
        ([Part(text="{broken", media_type="application/json")], InvalidParamsError, "is not JSON"),
        ([Part(text='{"skill": NaN}', media_type="application/json")], InvalidParamsError, "no skill nan"),
    ],
)
def test_parts_that_are_no_single_object_are_refused(
    world: World, app: Any, parts: Any, kind: type[A2AError], said: str
) -> None:
    error = refused(app, message("", parts=parts))

    assert (type(error), said in error.message) == (kind, True), error.message
    assert world.store.is_empty()


def test_object_as_text_of_its_media_type_is_data(app: Any) -> None:
    part = Part(text='{"skill": "get_run", "runId": "nobody\'s"}', media_type="application/json; charset=utf-8")

    error = refused(app, message("", parts=[part]))

    assert type(error) is TaskNotFoundError


@pytest.mark.parametrize(
    ("key", "content", "said"),
    [
        ("reader", START, "the scope 'run' is missing"),
        ("reader", {"skill": "roll_back", "modelId": "prices", "reason": "x"}, "the scope 'roll_back' is missing"),
        ("runner", START, "the scope 'read' is missing"),
        ("runner", {"skill": "assess_staleness", "modelId": "prices"}, "the scope 'read' is missing"),
    ],
)
def test_key_without_the_scope_begins_nothing(world: World, app: Any, key: str, content: Any, said: str) -> None:
    error = refused(app, content, key=key)

    assert type(error) is InvalidRequestError
    assert said in error.message
    assert (error.data or {})["kind"] == "NotAllowed"
    assert (error.data or {})["httpStatus"] == "403"
    assert world.store.is_empty()


def test_ended_task_takes_no_message_and_an_unknown_one_is_not_found(world: World, app: Any) -> None:
    recorded(world, "old", "failed")
    recorded(world, "going", "running")

    async def talk() -> None:
        async with client(app, streaming=True) as asked:
            with pytest.raises(TaskNotFoundError, match="remedy"):
                await asked.get_task(GetTaskRequest(id="nobody's"))
            with pytest.raises(TaskNotFoundError):
                await asked.cancel_task(CancelTaskRequest(id="nobody's"))
            with pytest.raises(TaskNotFoundError):
                [each async for each in asked.subscribe(SubscribeToTaskRequest(id="nobody's"))]
            with pytest.raises(TaskNotFoundError):
                await events(asked, message(START, task_id="nobody's"))
        async with client(app) as asked:
            with pytest.raises(UnsupportedOperationError, match="takes no message"):
                await send(asked, START, task_id="old")
            with pytest.raises(UnsupportedOperationError, match="asks nothing just now"):
                await send(asked, START, task_id="going")

    asyncio.run(talk())


def test_long_ids_bad_pages_and_calls_back_are_refused(world: World, app: Any) -> None:
    async def talk() -> None:
        async with client(app) as asked:
            with pytest.raises(InvalidParamsError, match="messageId has 201 characters"):
                await send(asked, START, message_id="m" * 201)
            with pytest.raises(InvalidParamsError, match="contextId has 201 characters"):
                await send(asked, START, context_id="c" * 201)
            with pytest.raises(InvalidParamsError, match="page size"):
                await asked.list_tasks(ListTasksRequest(page_size=1000))
            with pytest.raises(InvalidParamsError, match="names no page"):
                await asked.list_tasks(ListTasksRequest(page_token="cjk="))
            with pytest.raises(InvalidParamsError):
                await asked.list_tasks(ListTasksRequest(page_token="\x00"))
            with pytest.raises(ContentTypeNotSupportedError, match="accept application/json"):
                await events(asked, message(START), accepted_output_modes=["image/png"])
            back = TaskPushNotificationConfig(url="http://127.0.0.1:1/", task_id="x")
            with pytest.raises(PushNotificationNotSupportedError, match="no address that a caller names"):
                await events(asked, message(START), task_push_notification_config=back)
            with pytest.raises(PushNotificationNotSupportedError):
                await asked.create_task_push_notification_config(back)

    asyncio.run(talk())
    assert world.store.is_empty()


def _rpc(method: str = "SendMessage", **changes: Any) -> dict[str, Any]:
    params = {"message": {"messageId": "m1", "role": "ROLE_USER", "parts": [{"data": START}]}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params} | changes


@pytest.mark.parametrize(
    ("body", "version", "code"),
    [
        (_rpc(), "9.9", -32009),
        (_rpc(), "0.3", -32009),
        (_rpc(), None, -32009),
        (_rpc("SendStreamingMessage"), "2.0", -32009),
        (_rpc("DeleteEverything"), "1.0", -32601),
        (_rpc(params={"message": {"role": "ROLE_USER"}}), "1.0", -32602),
        (_rpc(params={"message": "x"}), "1.0", -32602),
        (_rpc(params=[1]), "1.0", -32602),
        (_rpc("GetTask", params={}), "1.0", -32602),
        (_rpc("SubscribeToTask", params={}), "1.0", -32602),
        (_rpc("GetExtendedAgentCard", params={}), "1.0", -32007),
        (_rpc(jsonrpc="1.0"), "1.0", -32600),
        ([_rpc()], "1.0", -32600),
        ("x", "1.0", -32600),
        (b"", "1.0", -32700),
        (b"{", "1.0", -32700),
        (b"\xff\xfe\x00", "1.0", -32700),
        (b"[" * 100_000, "1.0", -32700),
    ],
)
def test_broken_call_is_a_json_rpc_error_and_never_a_traceback(
    world: World, app: Any, body: Any, version: str | None, code: int
) -> None:
    async def talk() -> Any:
        headers = {"Content-Type": "application/json"} | ({} if version is None else {"A2A-Version": version})
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with http_client(app) as http:
            return await http.post("/a2a", content=content, headers=headers)

    answer = asyncio.run(talk())

    assert (answer.status_code, answer.json()["error"]["code"]) == (200, code)
    assert "Traceback" not in answer.text
    assert world.store.is_empty()


def test_whoever_is_not_known_is_answered_401(world: World, app: Any) -> None:
    async def talk() -> Any:
        async with http_client(app, key="wrong") as http:
            return await http.post("/a2a", json=_rpc(), headers={"A2A-Version": "1.0"})

    answer = asyncio.run(talk())

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert world.store.is_empty()


@pytest.mark.parametrize("streaming", [False, True])
def test_fault_that_nobody_foresaw_is_told_without_its_text(world: World, streaming: bool) -> None:
    def load(_: str) -> Any:
        raise RuntimeError("password=hunter2")

    desk = desk_of(with_deps(world, load_profile=load))

    async def talk() -> A2AError:
        async with client(application(desk), streaming=streaming) as asked:
            with pytest.raises(InternalError) as caught:
                await events(asked, message(START))
        return caught.value

    error = asyncio.run(talk())
    desk.close()

    assert "hunter2" not in error.message
    assert "remedy: ask again" in error.message


def test_dependency_that_is_away_says_that_asking_again_may_help(world: World) -> None:
    def load(_: str) -> Any:
        raise Unavailable("the store does not answer", thing="store", remedy="start it")

    desk = desk_of(with_deps(world, load_profile=load))
    error = refused(application(desk), START)
    desk.close()

    assert (type(error), (error.data or {})["retry"]) == (InternalError, "true")
    assert "remedy: start it" in error.message
