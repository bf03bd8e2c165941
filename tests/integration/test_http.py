"""The HTTP door in process: what each endpoint gives, who may ask, and what a bad request is told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from agent.entrypoints.server.app import application
from agent.entrypoints.server.doors import all_doors
from agent.entrypoints.server.limits import Limits
from agent.services.keys import Keys
from tests.graph.doors import app_of, gated
from tests.graph.world import NAME, PERSON, World, add_version, by, make_world
from tools.contracts.access import Scope

ALL: tuple[Scope, ...] = ("read", "run", "review", "roll_back")
MANUAL = {"trigger": "manual"}


def key_of(world: World, name: str, *scopes: Scope, **more: Any) -> str:
    return Keys(world.store, world.deps.clock, is_user=lambda _: False).create(name, scopes, by=name, **more).token


@contextmanager
def door(world: World, *scopes: Scope, name: str = PERSON, **options: Any) -> Iterator[TestClient]:
    """A client with a key of these scopes; all of them where none is named."""
    keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
    server = application(app_of(world), keys=keys, **options)
    token = keys.create(name, scopes or ALL, by=name).token
    bearer = {"Authorization": f"Bearer {token}"}
    with TestClient(server.app, base_url="http://127.0.0.1", headers=bearer, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def started(client: TestClient, wait: float = 60, **changes: Any) -> Any:
    return client.post(f"/v1/runs?wait={wait}", json={"modelId": "prices", "retrainingConfig": MANUAL} | changes)


def test_run_is_started_waited_for_and_shown_with_its_output(world: World) -> None:
    with door(world) as client:
        answer = started(client)
        again = client.get(answer.headers["location"])
        listed = client.get("/v1/runs", params={"modelId": NAME}).json()["runs"]

    run = answer.json()
    assert answer.status_code == 200
    assert (run["status"], run["decision"], run["requestedBy"]) == ("finished", "deploy", PERSON)
    assert run["output"]["deploymentDecision"]["decision"] == "deploy"
    assert answer.headers["location"] == f"/v1/runs/{run['runId']}"
    assert again.json() == run
    assert [(each["runId"], "output" in each) for each in listed] == [(run["runId"], False)]
    assert world.champion == "2"
    assert ":null" not in answer.text


def test_run_that_is_not_waited_for_is_accepted_and_goes_on(world: World) -> None:
    held, gate = gated(world)
    with door(held) as client:
        answer = started(client, wait=0)
        meanwhile = client.get(answer.headers["location"]).json()
        gate.open.set()
        at_rest = client.get(answer.headers["location"], params={"wait": 60}).json()

    assert (answer.status_code, answer.headers["retry-after"]) == (202, "2")
    assert (meanwhile["status"], "output" in meanwhile) == ("running", False)
    assert at_rest["status"] == "finished"


def test_unknown_fields_are_warnings_and_wrong_ones_a_problem_that_names_them(world: World) -> None:
    with door(world, "read", "run") as client:
        warned = started(client, wait=0, colour="red", retrainingConfig={"trigger": "manual", "dataWindw": "60d"})
        wrong = client.post("/v1/runs", json={"modelId": "prices", "retrainingConfig": {"trigger": "now"}})

    assert warned.status_code == 202
    assert warned.json()["warnings"] == [
        "unknown field colour was ignored",
        "unknown field retrainingConfig.dataWindw was ignored; did you mean retrainingConfig.dataWindow?",
    ]
    problem = wrong.json()
    assert (wrong.status_code, wrong.headers["content-type"]) == (422, "application/problem+json")
    assert (problem["title"], problem["thing"], problem["value"]) == ("BadInput", "retrainingConfig.trigger", "now")
    assert problem["remedy"]


def test_same_idempotency_key_is_the_same_run_and_another_request_under_it_a_conflict(world: World) -> None:
    held, gate = gated(world)
    key = {"Idempotency-Key": "once"}
    body = {"modelId": "prices", "retrainingConfig": MANUAL}
    with door(held) as client:
        first = client.post("/v1/runs", json=body, headers=key)
        meanwhile = client.post("/v1/runs", json=body, headers=key)
        other = client.post("/v1/runs", json=body | {"deploymentCriteria": {"minImprovement": 0.5}}, headers=key)
        differ = client.post("/v1/runs", json=body | {"idempotencyKey": "twice"}, headers=key)
        gate.open.set()
        afterwards = client.post("/v1/runs?wait=60", json=body, headers=key)

    assert {each.json()["runId"] for each in (first, meanwhile, afterwards)} == {first.json()["runId"]}
    assert (other.status_code, other.json()["thing"]) == (409, "idempotencyKey")
    assert (differ.status_code, differ.json()["thing"]) == (422, "Idempotency-Key")
    assert len(world.store.list_runs()) == 1
    assert len(world.trainer.orders) == 1


def test_busy_model_is_a_conflict_that_names_the_run(world: World) -> None:
    held, gate = gated(world)
    with door(held) as client:
        first = started(client, wait=0).json()["runId"]
        second = started(client, wait=0)
        gate.open.set()

    assert (second.status_code, second.headers["retry-after"]) == (409, "30")
    assert first in second.json()["detail"]


def test_version_made_elsewhere_is_judged_and_nothing_is_trained(world: World) -> None:
    version = add_version(world, by("b", sign=-1))
    body = {"modelId": "prices", "retrainingConfig": MANUAL, "candidateVersion": version}
    with door(world) as client:
        judged = client.post("/v1/judgements?wait=60", json=body).json()
        unknown = client.post("/v1/judgements?wait=60", json=body | {"candidateVersion": "../9"})

    # Nobody knows what it was trained on: a person has to say.
    assert (judged["kind"], judged["status"], judged["decision"]) == ("judge", "parked", "manual_review")
    assert judged["output"]["retrainingResult"]["status"] == "given"
    assert unknown.status_code == 422
    assert (world.champion, world.trainer.orders) == ("1", [])


def test_deployed_version_is_rolled_back_and_the_history_tells_both(world: World) -> None:
    with door(world) as client:
        started(client)
        no_reason = client.post("/v1/rollbacks", json={"modelId": "prices", "reason": "  "})
        back = client.post("/v1/rollbacks?wait=60", json={"modelId": "prices", "reason": "it was a test"}).json()
        history = client.get("/v1/history", params={"modelId": "prices"}).json()["champions"]

    assert (no_reason.status_code, no_reason.json()["thing"]) == (422, "reason")
    assert (back["kind"], back["output"]["rollout"]["phase"]) == ("rollback", "rolled_back")
    assert world.champion == "1"
    assert [(each["version"], each["how"]) for each in history] == [
        ("1", "rolled_back"),
        ("2", "deployed"),
        ("1", "adopted"),
    ]


def test_question_is_listed_shown_and_answered_once(world: World) -> None:
    world.profile["mode"] = "recommend"
    with door(world) as client:
        run = started(client).json()
        (listed,) = client.get("/v1/reviews", params={"modelId": "prices"}).json()["reviews"]
        shown = client.get(f"/v1/reviews/{listed['id']}").json()
        answer = {"answer": "approve", "reason": "looks right", "digest": shown["digest"]}
        stale = client.post(f"/v1/reviews/{listed['id']}/answer", json=answer | {"digest": "0" * 64})
        answered = client.post(f"/v1/reviews/{listed['id']}/answer", json=answer)
        after = client.get(answered.headers["location"], params={"wait": 60}).json()
        twice = client.post(f"/v1/reviews/{listed['id']}/answer", json=answer)
        none = client.get("/v1/reviews").json()["reviews"]
        every = client.get("/v1/reviews", params={"all": True}).json()["reviews"]

    assert (run["status"], run["parkedFor"]) == ("parked", "review")
    assert set(shown.pop("brief")["answers"]) >= {"approve", "reject", "nothing"}
    assert shown == listed
    assert "nonce" not in shown
    assert (stale.status_code, stale.json()["thing"]) == (409, "digest")
    assert (answered.status_code, answered.json()["answeredBy"]) == (202, PERSON)
    assert (after["status"], world.champion) == ("finished", "2")
    assert (twice.status_code, none, len(every)) == (409, [], 1)


def test_key_of_another_scope_opens_nothing_else(world: World) -> None:
    body = {"modelId": "prices", "retrainingConfig": MANUAL}
    with door(world, "read", name="reader") as client:
        asked = [
            client.post("/v1/runs", json=body),
            client.post("/v1/judgements", json=body | {"candidateVersion": "1"}),
            client.post("/v1/rollbacks", json={"modelId": "prices", "reason": "x"}),
            client.post("/v1/reviews/1/answer", json={"answer": "approve", "reason": "x"}),
        ]
        bearer = {"Authorization": f"Bearer {key_of(world, 'runner', 'run')}"}
        unseen = client.get("/v1/runs", headers=bearer)

    assert [each.status_code for each in (*asked, unseen)] == [403] * 5
    assert {each.json()["thing"] for each in (*asked, unseen)} == {"scope"}
    assert world.store.list_runs() == []
    assert not world.touched


def test_missing_wrong_or_revoked_key_is_told_nothing_and_each_guess_is_counted(world: World) -> None:
    with door(world, limits=Limits(failures_of_address=5)) as client:
        keys = Keys(world.store, world.deps.clock, is_user=lambda _: False)
        gone = keys.create("gone", ["read"], by="gone").token
        keys.revoke("gone", by="test")
        bearers = ["Bearer wrong", f"Bearer {gone}", "Basic YTpi", "Bearer ", ""]
        refused = [client.get("/v1/runs", headers={"Authorization": each}) for each in bearers]
        slower = client.get("/v1/elsewhere", headers={"Authorization": "Bearer guess"})
        mine = client.get("/v1/runs")

    assert [each.status_code for each in refused] == [401] * 5
    assert {each.headers["www-authenticate"] for each in refused} == {"Bearer"}
    assert not any("gone" in each.text for each in refused)
    assert (slower.status_code, slower.headers["retry-after"]) == (429, "60")
    assert mine.status_code == 200


def test_server_without_keys_is_shut_and_says_how_to_open_it(world: World) -> None:
    keys = Keys(world.store, world.deps.clock)
    with TestClient(application(app_of(world), keys=keys).app, base_url="http://localhost") as client:
        shut = client.get("/v1/runs")
        health, described = client.get("/healthz"), client.get("/openapi.json")

    assert shut.status_code == 401
    assert "retrain keys create" in shut.json()["remedy"]
    assert (health.json(), described.status_code) == ({"status": "ok"}, 200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Host": "evil.example"}, 421, id="rebound name"),
        pytest.param({"Host": "127.0.0.1@evil.example"}, 421, id="address as a user"),
        pytest.param({"Host": ""}, 421, id="no host"),
        pytest.param({"Origin": "https://evil.example"}, 403, id="page from elsewhere"),
        pytest.param({"Origin": "null"}, 403, id="page from a file"),
        pytest.param({"Host": "ops.example:8472"}, 200, id="allowed name"),
        pytest.param({"Host": "[::1]:8472"}, 200, id="address"),
        pytest.param({"Host": "localhost", "Origin": "http://localhost:3000"}, 200, id="page of this machine"),
    ],
)
def test_request_under_a_strange_name_or_from_a_strange_page_is_refused(
    world: World, headers: dict[str, str], status: int
) -> None:
    with door(world, hosts=("ops.example",)) as client:
        assert client.get("/v1/runs", headers=headers).status_code == status


def test_every_door_is_open_to_who_has_a_key_and_shut_to_others(world: World) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    accepts = {"Accept": "application/json, text/event-stream"}
    with door(world, "read", doors=all_doors("http://127.0.0.1:8472")) as client:
        card = client.get("/.well-known/agent-card.json", headers={"Authorization": ""})
        shut = [client.post(path, json=hello, headers={"Authorization": "", **accepts}) for path in ("/a2a", "/mcp")]
        strange = client.post("/mcp", json=hello, headers={"Host": "evil.example", **accepts})
        over_mcp = client.post("/mcp", json=hello, headers=accepts)
        over_a2a = client.post("/a2a", json={"jsonrpc": "2.0", "id": 1, "method": "Nothing"})
        large = [client.post(path, content=b" " * 1_000_001) for path in ("/a2a", "/mcp")]

    assert card.status_code == 200
    assert "http://127.0.0.1:8472/a2a" in card.text
    assert [each.status_code for each in (*shut, strange)] == [401, 401, 421]
    assert (over_mcp.status_code, over_a2a.status_code) == (200, 200)
    assert "retraining-orchestrator" in over_mcp.text
    assert over_a2a.json()["error"]["code"] == -32601
    assert [each.status_code for each in large] == [413, 413]


def test_more_calls_than_a_key_may_make_are_told_to_wait(world: World) -> None:
    with door(world, limits=Limits(calls_a_minute=3)) as client:
        statuses = [client.get("/v1/runs").status_code for _ in range(4)]
        other = client.get("/v1/runs", headers={"Authorization": f"Bearer {key_of(world, 'other', 'read')}"})

    assert (statuses, other.status_code) == ([200, 200, 200, 429], 200)


def test_more_calls_at_once_than_a_key_may_have_are_told_to_wait(world: World) -> None:
    with door(world, limits=Limits(at_once_of_caller=0)) as client:
        refused, health = client.get("/v1/runs"), client.get("/healthz")

    assert (refused.status_code, health.status_code) == (429, 200)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"[" * 100_000, id="deeply nested"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b'{"modelId": "\\ud800", "retrainingConfig": {"trigger": "\\ud800"}}', id="half a character"),
        pytest.param(b'{"modelId": "prices", "modelId": "x", "retrainingConfig": {}}', id="field twice"),
        pytest.param(
            b'{"modelId": "prices", "retrainingConfig": {}, "deploymentCriteria": {"minImprovement": NaN}}', id="NaN"
        ),
        pytest.param(b'{"modelId": 7, "retrainingConfig": {}}', id="another type"),
        pytest.param(b'{"schemaVersion": "9.0", "modelId": "prices", "retrainingConfig": {}}', id="unknown version"),
    ],
)
def test_body_that_is_no_request_is_a_problem_and_moves_nothing(world: World, body: bytes) -> None:
    with door(world) as client:
        answers = [client.post(f"/v1/{path}", content=body) for path in ("runs", "checks", "judgements", "rollbacks")]

    assert [answer.status_code for answer in answers] == [422] * 4
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert world.store.list_runs() == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/r404",
        "/v1/runs/r404/events",
        "/v1/runs/r404/report",
        "/v1/reviews/999",
        "/v1/history?modelId=../../etc/passwd",
        "/v1/runs?modelId=https://elsewhere/profile.yaml",
        "/v1/runs/..%2F..%2Fetc/report",
        "/v1/elsewhere",
    ],
)
def test_what_does_not_exist_is_not_found_and_no_path_is_followed(world: World, path: str) -> None:
    with door(world) as client:
        before = sorted(world.deps.root.rglob("*"))
        answer = client.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert sorted(world.deps.root.rglob("*")) == before


@pytest.mark.parametrize(
    "path", ["/v1/runs?limit=0", "/v1/runs?limit=x", "/v1/reviews/0", "/v1/history", "/v1/runs/r1?wait=nan"]
)
def test_parameter_out_of_range_is_bad_input_that_names_it(world: World, path: str) -> None:
    with door(world) as client:
        answer = client.get(path)

    assert (answer.status_code, answer.json()["title"]) == (422, "BadInput")
    assert answer.json()["thing"] in ("limit", "reviewId", "modelId", "wait")


def test_file_or_address_outside_the_profile_is_refused_and_not_followed(world: World) -> None:
    with door(world) as client:
        answers = [
            client.post(
                f"/v1/{door_}",
                json={"modelId": "prices", "retrainingConfig": MANUAL | {"validationStrategy": f"fixed:{path}"}},
            )
            for door_ in ("runs", "checks")
            for path in ("/etc/passwd", "../secret.parquet", "https://elsewhere/rows.csv")
        ]

    assert [answer.status_code for answer in answers] == [403] * 6
    assert {answer.json()["thing"] for answer in answers} == {"validationStrategy"}
    assert world.store.list_runs() == []


def test_report_is_a_page_that_may_run_and_load_nothing(world: World) -> None:
    with door(world) as client:
        run = started(client).json()
        page = client.get(f"/v1/runs/{run['runId']}/report")

    policy = page.headers["content-security-policy"]
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.startswith("<!doctype html>")
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script-src" not in policy


def test_check_tells_how_the_champion_stands_and_records_nothing(world: World) -> None:
    with door(world, "read") as client:
        answer = client.post(
            "/v1/checks", json={"modelId": "prices", "retrainingConfig": {"trigger": "drift"}, "colour": "ü"}
        )

    assert answer.status_code == 200
    assert set(answer.json()) == {"staleness", "trigger", "alert"}
    assert answer.headers["warning"] == '199 - "unknown field colour was ignored"'
    assert (world.store.list_runs(), world.touched) == ([], False)


def test_fault_of_the_program_tells_the_caller_an_incident_and_nothing_of_the_fault(world: World) -> None:
    told: list[str] = []

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("password=hunter2 in /srv/secret")

    with door(world, tell=told.append) as client:
        world.store.list_runs = broken  # type: ignore[method-assign]
        answer = client.get("/v1/runs?token=hunter2")

    incident = answer.json()["value"]
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "hunter2" not in answer.text
    assert [line for line in told if line.startswith(f"incident {incident}: ValueError at test_http.py")]
    assert not [line for line in told if "hunter2" in line or "Bearer" in line]
    assert any(line.startswith("GET /v1/runs 500") and line.endswith(f" {PERSON}") for line in told)


def test_every_answer_carries_the_headers_that_keep_a_browser_out(world: World) -> None:
    with door(world) as client:
        answers = [client.get(path) for path in ("/v1/runs", "/healthz", "/v1/elsewhere")]
        answers.append(client.get("/v1/runs", headers={"Authorization": ""}))

    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers


def test_stream_tells_lines_changes_and_the_end_and_goes_on_where_it_was_left(world: World) -> None:
    with door(world) as client:
        where = started(client).headers["location"] + "/events"
        events = _events(client.get(where).text)
        middle = events[3]["id"]
        rest = _events(client.get(where, headers={"Last-Event-ID": middle}).text)
        heard = client.get(where, headers={"Last-Event-ID": events[-1]["id"]})
        elsewhere = _events(client.get(where, headers={"Last-Event-ID": "00000000.7.x"}).text)

    assert {"line": "conclude done"} in [json.loads(each["data"]) for each in events if each["event"] == "progress"]
    assert (events[-1]["event"], json.loads(events[-1]["data"])["status"]) == ("end", "finished")
    assert rest == events[4:]
    assert heard.status_code == 204
    assert [each["data"] for each in elsewhere] == [each["data"] for each in events]


def test_more_streams_than_a_caller_may_have_are_refused_until_one_ends(world: World) -> None:
    with door(world, limits=Limits(streams_of_caller=0)) as client:
        answer = started(client, wait=60)
        stream = client.get(answer.headers["location"] + "/events")

    # Without a place to wait at, a run is accepted and not waited for.
    assert answer.status_code in (200, 202)
    assert stream.status_code == 429


def _events(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("id: ")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
