"""The chat over HTTP and A2A: no word in a text confirms anything there; the structured confirmation of exactly what was shown does."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from a2a.types import Message
from starlette.testclient import TestClient

from agent.desk import Desk
from agent.entrypoints.server.app import application
from agent.services.keys import Keys
from tests.graph import a2a_client
from tests.graph.a2a_client import BOT
from tests.graph.chat_world import call
from tests.graph.doors import ADA, ALL, app_of
from tests.graph.world import PERSON, World, make_world
from tools.adapters.memory_model import ScriptedModel

WINDOW = call("retrain", model="prices", window="last 60 days")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@contextmanager
def door(
    world: World, model: Any, *, kind: Any = "person", name: str = PERSON, scopes: Any = ALL
) -> Iterator[TestClient]:
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    token = keys.create(name, scopes, by=name, kind=kind).token
    server = application(replace(app_of(world), language=model), keys=keys)
    bearer = {"Authorization": f"Bearer {token}"}
    with TestClient(server.app, base_url="http://127.0.0.1", headers=bearer, raise_server_exceptions=False) as client:
        yield client


def events(client: TestClient, path: str = "/v1/chat", **body: Any) -> list[tuple[str, dict[str, Any]]]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in answer.text.split("\n\n")
        if "event: " in block
    ]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def test_what_acts_is_asked_over_http_and_done_by_the_confirmation_alone(world: World) -> None:
    with door(world, ScriptedModel([WINDOW, "I cannot confirm that.", WINDOW])) as client:
        first = events(client, message="retrain on the last 60 days", modelId="prices")
        id_ = first[0][1]["conversationId"]
        said_yes = events(client, conversationId=id_, message="yes")
        runs_then = len(world.store.list_runs())
        again = events(client, "/chat", conversationId=id_, message="retrain")
        asked = dict(again)["confirmation"]
        confirm = {"actionId": asked["actionId"], "digest": asked["digest"]}
        altered = client.post("/v1/chat", json={"conversationId": id_, "confirm": {**confirm, "digest": "0" * 64}})
        done = events(client, conversationId=id_, confirm=confirm)
        twice = client.post("/v1/chat", json={"conversationId": id_, "confirm": confirm})
        run = client.get(f"/v1/runs/{dict(done)['done']['runId']}?wait=60").json()

    assert [name for name, _ in first] == ["conversation", "confirmation", "end"]
    assert [name for name, _ in said_yes] == ["conversation", "note", "text", "end"]
    assert runs_then == 0
    assert asked["arguments"] == {"model": "prices", "window": "60d"}
    assert asked["lines"][0].startswith("START A RETRAINING RUN of prices")
    assert (altered.status_code, twice.status_code) == (409, 409)
    assert (run["status"], run["requestedBy"], world.champion) == ("finished", PERSON, "2")


@pytest.mark.parametrize(
    ("body", "status", "thing"),
    [
        ({"message": "hello", "conversationId": "c-unknown"}, 404, "conversation"),
        ({"message": ""}, 422, "message"),
        ({"message": "x" * 30_000}, 422, "message"),
        ({"message": "x" * 900_000}, 422, "message"),
        ({"message": "x" * 1_100_000}, 413, None),
        ({}, 422, "message"),
        ({"message": "hello", "confirm": {"actionId": "a", "digest": "b"}}, 422, "message"),
        ({"confirm": {"actionId": "a", "digest": "b"}}, 422, "conversationId"),
        ({"message": "hello", "modelId": "none-such"}, 404, "modelId"),
    ],
)
def test_what_cannot_be_answered_is_a_problem_before_anything_streams(
    world: World, body: dict[str, Any], status: int, thing: str | None
) -> None:
    with door(world, model := ScriptedModel(["never"])) as client:
        refused = client.post("/v1/chat", json=body)
        afterwards = events(client, message="hello") if status == 404 else []

    assert (refused.status_code, refused.json().get("thing")) == (status, thing)
    assert refused.json()["remedy"]
    assert len(model.asked) == len(afterwards[:1])


def test_second_message_of_a_conversation_waits_for_no_first_one(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Any) -> str:
        begun.set()
        assert go_on.wait(30)
        return "done"

    with door(world, ScriptedModel(lambda messages: "hello" if len(messages) < 3 else slow(messages))) as client:
        id_ = events(client, message="hello")[0][1]["conversationId"]
        first = threading.Thread(target=lambda: events(client, conversationId=id_, message="one"))
        first.start()
        assert begun.wait(30)
        busy = client.post("/v1/chat", json={"conversationId": id_, "message": "two"})
        go_on.set()
        first.join(30)

    assert (busy.status_code, busy.json()["thing"]) == (409, "conversation")


def test_reader_may_talk_and_what_he_confirms_is_refused_by_the_desk(world: World) -> None:
    with door(world, ScriptedModel([WINDOW]), name="reader", scopes=["read"]) as client:
        first = events(client, message="retrain")
        asked = dict(first)["confirmation"]
        refused = dict(
            events(
                client,
                conversationId=first[0][1]["conversationId"],
                confirm={"actionId": asked["actionId"], "digest": asked["digest"]},
            )
        )

    assert refused["result"]["failed"]
    assert world.store.list_runs() == []


def test_without_a_model_it_says_what_it_needs_over_http_too(world: World) -> None:
    with door(world, None) as client:
        told = events(client, message="what changed?")

    assert [name for name, _ in told] == ["conversation", "note", "note", "end"]
    assert "RETRAIN_LLM_MODEL" in told[1][1]["text"]


def test_words_over_a2a_go_to_the_chat_and_only_data_confirms(world: World) -> None:
    desk = Desk(replace(app_of(world), language=ScriptedModel(["It is version 1.", WINDOW, "No.", WINDOW])))

    async def talk() -> list[Message]:
        app = a2a_client.application(desk)
        async with a2a_client.client(app, key=BOT.name) as asked:
            told: list[Any] = [await a2a_client.send(asked, "what is in production?")]
            context = told[0].context_id
            told.append(await a2a_client.send(asked, "retrain prices on the last 60 days", context_id=context))
            told.append(await a2a_client.send(asked, "yes", context_id=context))
            runs.append(len(world.store.list_runs()))
            told.append(await a2a_client.send(asked, "retrain", context_id=context))
            event = a2a_client.data(told[-1])["events"][-1]
            confirm = {"skill": "chat", "confirm": {"actionId": event["actionId"], "digest": event["digest"]}}
            told.append(await a2a_client.send(asked, confirm, context_id=context))
            return told

    runs: list[int] = []
    told = asyncio.run(talk())
    for run in world.store.list_runs():
        desk.wait_for(run.run_id, 60)
    desk.close()

    assert a2a_client.words(told[0]) == "> It is version 1."
    assert len({each.context_id for each in told}) == 1
    assert a2a_client.words(told[1]).startswith(
        "TO BE CONFIRMED, nothing was done yet:\nSTART A RETRAINING RUN of prices"
    )
    assert "> No." in a2a_client.words(told[2])
    assert runs == [0]
    assert "has begun" in a2a_client.words(told[4])
    assert world.store.list_runs()[0].requested_by == BOT.name


def test_agents_confirmation_over_a2a_answers_no_review(world: World) -> None:
    world.profile["mode"] = "recommend"
    world.run()
    approve = call("answer_review", review=1, answer="approve", reason="the user said yes")
    desk = Desk(replace(app_of(world), language=ScriptedModel([approve, approve])))

    async def talk(key: str) -> Any:
        async with a2a_client.client(a2a_client.application(desk), key=key) as asked:
            first: Any = await a2a_client.send(asked, "approve 1, looks right")
            event = a2a_client.data(first)["events"][-1]
            confirm = {"skill": "chat", "confirm": {"actionId": event["actionId"], "digest": event["digest"]}}
            return await a2a_client.send(asked, confirm, context_id=first.context_id)

    refused = asyncio.run(talk(BOT.name))
    then = world.store.get_review(1).status
    answered = asyncio.run(talk(ADA.name))
    desk.close()

    assert "is an agent" in a2a_client.words(refused)
    assert then == "open"
    assert "review 1 is answered: approve" in a2a_client.words(answered)
    assert world.champion == "2"
