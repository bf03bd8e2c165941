"""The Model Context Protocol door, played by the official client."""

import json
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import jsonschema
import mcp_types as types
import pytest
from mcp import Client, MCPError

from agent.entrypoints.server import mcp as door
from agent.entrypoints.server.mcp_tools import tools
from tests.graph.doors import ADA, ALL, desk_of, gated
from tests.graph.world import World, add_version, by, make_world, with_deps
from tools.contracts.access import Caller
from tools.errors import Unavailable

AGENT = Caller(name="supervisor", kind="agent", scopes=ALL, door="mcp")
READING = {"assess_staleness", "get_run", "list_reviews", "explain_decision"}
ACTING = {"start_retraining", "judge_candidate", "submit_review", "roll_back"}
REQUEST = {"modelId": "prices", "retrainingConfig": {"trigger": "manual", "asOf": "2026-07-01T00:00:00Z"}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def asking(tmp_path: Path) -> World:
    """Asks a person before every effect."""
    return make_world(tmp_path, mode="recommend")


def play(
    world: World,
    scene: Callable[[Client], Awaitable[Any]],
    *,
    caller: Caller = AGENT,
    mode: str = "auto",
    **client: Any,
) -> Any:
    """The scene, with a client that is connected in memory."""

    async def stage() -> Any:
        async with Client(door.server(desk, door.always(caller)), mode=mode, **client) as connected:
            return await scene(connected)

    with closing(desk_of(world)) as desk:
        return anyio.run(stage)


def call(world: World, tool: str, arguments: dict[str, Any], **more: Any) -> types.CallToolResult:
    """One call; what the client makes of it, checked against the output schema by the client."""
    return play(world, lambda client: client.call_tool(tool, arguments), **more)


def body(result: types.CallToolResult) -> dict[str, Any]:
    """The answer, said twice: as text and as structured content."""
    (said,) = result.content
    assert isinstance(said, types.TextContent)
    assert json.loads(said.text) == result.structured_content
    return result.structured_content


# --- what is offered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_every_tool_is_listed_with_schemas_and_all_four_hints(world: World, mode: str) -> None:
    listed = play(world, lambda client: client.list_tools(), mode=mode)

    assert {tool.name for tool in listed.tools} == READING | ACTING
    for tool in listed.tools:
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        assert (tool.input_schema["type"], tool.output_schema["type"]) == ("object", "object")
        assert all("description" in part for part in (tool.input_schema, *tool.input_schema["properties"].values())), (
            tool
        )
        hints = tool.annotations
        assert None not in (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)


def test_only_reading_tools_say_that_they_read_and_only_they_leave_everything_as_it_was(world: World) -> None:
    said = {tool.name: (tool.read_only, tool.destructive, tool.idempotent, tool.open_world) for tool in tools()}

    assert {name for name, hints in said.items() if hints == (True, False, True, False)} == READING
    assert {name for name, hints in said.items() if hints[:2] == (False, True)} == ACTING
    # The second answer to one question is refused; a second start, judgement or rollback is a second one.
    assert {name for name, hints in said.items() if hints[2]} == READING | {"submit_review"}


def test_reading_tools_record_and_move_nothing(world: World) -> None:
    run = world.run()
    runs, moves = world.store.list_runs(), list(world.moves)

    for tool, arguments in {
        "assess_staleness": {"modelId": "prices"},
        "get_run": {"runId": run["runId"]},
        "list_reviews": {},
        "explain_decision": {"runId": run["runId"]},
    }.items():
        assert not call(world, tool, arguments).is_error

    assert (world.store.list_runs(), world.moves) == (runs, moves)


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_run_brings_the_bytes_that_the_command_line_prints(world: World, mode: str) -> None:
    result = call(world, "start_retraining", REQUEST | {"waitSeconds": 60}, mode=mode)

    output = body(result)
    (record,) = world.store.list_runs()
    assert (output["status"], output["deploymentDecision"]["decision"]) == ("finished", "deploy")
    (said,) = result.content
    assert isinstance(said, types.TextContent)
    assert said.text == json.dumps(record.output, ensure_ascii=False)  # as `--json` prints it
    assert (record.requested_by, world.moves) == ("supervisor", [("1", "2")])


def test_a_start_answers_at_once_and_the_run_is_followed_by_its_id(world: World) -> None:
    held, gate = gated(world)

    async def scene(client: Client) -> Any:
        begun = body(await client.call_tool("start_retraining", REQUEST))
        early = body(await client.call_tool("get_run", {"runId": begun["runId"]}))
        gate.open.set()
        return begun, early, body(await client.call_tool("get_run", {"runId": begun["runId"], "waitSeconds": 60}))

    begun, early, late = play(held, scene)

    assert begun == early == {"runId": begun["runId"], "modelId": "prices", "kind": "retrain", "status": "running"}
    assert (late["runId"], late["status"]) == (begun["runId"], "finished")


def test_waiting_tells_progress_that_only_grows(world: World) -> None:
    held, gate = gated(world)
    told = list[tuple[float, float | None, str | None]]()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))
        if "training has begun" in (message or ""):
            gate.open.set()

    async def scene(client: Client) -> Any:
        return await client.call_tool("start_retraining", REQUEST | {"waitSeconds": 60}, progress_callback=hear)

    assert body(play(held, scene))["status"] == "finished"
    assert told
    assert [each[0] for each in told] == sorted({each[0] for each in told})
    assert {total for _, total, _ in told} == {60}
    assert "training has begun" in " ".join(message or "" for _, _, message in told)


def test_the_same_key_gives_the_same_run(world: World) -> None:
    asked = REQUEST | {"idempotencyKey": "tonight", "waitSeconds": 60}

    first, second = (body(call(world, "start_retraining", asked)) for _ in range(2))

    assert first == second
    assert len(world.store.list_runs()) == 1


def test_a_version_made_elsewhere_is_judged_without_training(world: World) -> None:
    made = add_version(world, by("b"))

    output = body(
        call(world, "judge_candidate", {"modelId": "prices", "candidateVersion": made, "waitSeconds": 60} | AS_OF)
    )

    assert (output["kind"], output["retrainingResult"]["status"]) == ("judge", "given")
    assert output["comparison"]["verdicts"]["accuracy"] == "improved"
    assert output["status"] == "parked"  # its training rows are not known: a person is asked


def test_a_rollback_goes_back_to_the_last_known_good_version(world: World) -> None:
    world.run()

    output = body(call(world, "roll_back", {"modelId": "prices", "reason": "prices look odd", "waitSeconds": 60}))

    assert (output["kind"], output["rollout"]["phase"], world.champion) == ("rollback", "rolled_back", "1")


def test_a_run_that_fails_while_waited_for_is_an_error_and_can_still_be_looked_at(world: World) -> None:
    async def scene(client: Client) -> Any:
        failed = await client.call_tool("start_retraining", REQUEST | {"waitSeconds": 60})
        return failed, await client.call_tool("get_run", {"runId": body(failed)["runId"], "waitSeconds": 60})

    failed, seen = play(trained_by(world, Unavailable("the cluster is away", thing="training")), scene)

    assert (failed.is_error, seen.is_error) == (True, False)
    assert (body(failed)["error"], body(failed)["retry"]) == ("Unavailable", True)
    assert (body(seen)["status"], body(seen)["error"]) == ("failed", "the cluster is away")


def test_a_run_that_crashes_keeps_nobody_waiting(world: World) -> None:
    crashed = call(
        trained_by(world, RuntimeError("password=hunter2")), "start_retraining", REQUEST | {"waitSeconds": 3600}
    )

    assert (crashed.is_error, body(crashed)["error"], body(crashed)["runId"]) == (True, "Crash", "r1")
    assert "hunter2" not in json.dumps(body(crashed))


def test_staleness_is_the_same_as_the_command_prints(world: World) -> None:
    seen = body(call(world, "assess_staleness", {"modelId": "prices", "asOf": "2026-07-01"}))

    assert set(seen) == {"staleness", "trigger", "alert"}
    assert seen["staleness"]["verdict"]


def test_a_decision_is_explained_with_the_evidence_behind_its_reasons(world: World) -> None:
    run = world.run()

    told = body(call(world, "explain_decision", {"runId": run["runId"]}))

    assert (told["decision"], told["certainty"]) == ("deploy", run["deploymentDecision"]["certainty"])
    assert told["reasons"] == run["deploymentDecision"]["reasons"]
    assert {key for reason in told["reasons"] for key in reason["evidence"]} <= {
        item["key"] for item in told["evidence"]
    }


# --- reviews ---------------------------------------------------------------------------------------------------------


def test_a_person_approves_and_the_champion_changes(asking: World) -> None:
    asked = asking.run()
    number = asked["deploymentDecision"]["reviewId"]

    done = body(call(asking, "submit_review", answer(number) | {"waitSeconds": 60}, caller=ADA))

    assert (done["review"]["answeredBy"], done["review"]["answer"]) == (ADA.name, "approve")
    assert (done["run"]["deploymentDecision"]["decidedBy"], asking.moves) == (ADA.name, [("1", "2")])


def test_an_answer_to_something_else_than_was_shown_moves_nothing_and_the_right_digest_does(asking: World) -> None:
    number = asking.run()["deploymentDecision"]["reviewId"]
    refused = call(asking, "submit_review", answer(number) | {"digest": "0" * 64}, caller=ADA)
    assert refused.is_error
    assert (body(refused)["error"], asking.moves) == ("Conflict", [])

    shown = asking.store.get_review(number).digest
    call(asking, "submit_review", answer(number) | {"digest": shown, "waitSeconds": 60}, caller=ADA)
    assert asking.moves == [("1", "2")]


@pytest.mark.parametrize("name", ["supervisor", ADA.name])
def test_an_agents_word_is_no_approval_whatever_name_and_scopes_it_has(asking: World, name: str) -> None:
    number = asking.run()["deploymentDecision"]["reviewId"]

    refused = call(asking, "submit_review", answer(number), caller=AGENT.model_copy(update={"name": name}))

    assert refused.is_error
    assert (body(refused)["error"], body(refused)["thing"]) == ("NotAllowed", "caller")
    assert (asking.store.get_review(number).status, asking.moves) == ("open", [])


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_nothing_is_elicited_so_that_a_yes_in_a_chat_cannot_approve(asking: World, mode: str) -> None:
    number, elicited = asking.run()["deploymentDecision"]["reviewId"], list[Any]()

    async def yes(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        elicited.append(params)
        return types.ElicitResult(action="accept", content={"approve": True})

    refused = call(asking, "submit_review", answer(number), elicitation_callback=yes, mode=mode)

    assert refused.is_error
    assert (elicited, asking.moves) == ([], [])


def test_one_question_takes_one_answer(asking: World) -> None:
    number = asking.run()["deploymentDecision"]["reviewId"]

    first = call(asking, "submit_review", answer(number, "reject") | {"waitSeconds": 60}, caller=ADA)
    second = call(asking, "submit_review", answer(number), caller=ADA)

    assert (first.is_error, second.is_error, body(second)["error"]) == (False, True, "Conflict")
    assert asking.moves == []


def test_questions_are_listed_without_what_binds_their_answers(asking: World) -> None:
    number = asking.run()["deploymentDecision"]["reviewId"]

    (review,) = body(call(asking, "list_reviews", {"modelId": "prices"}))["reviews"]

    assert (review["id"], review["approvers"]) == (number, [ADA.name])
    assert asking.store.get_review(number).nonce not in json.dumps(review)


# --- refusals --------------------------------------------------------------------------------------------------------

AS_OF = {"retrainingConfig": {"asOf": "2026-07-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("tool", "arguments", "thing"),
    [
        ("get_run", {"runId": "r404"}, "run"),
        ("get_run", {}, "runId"),
        ("get_run", {"runId": "r1", "waitSeconds": -1}, "waitSeconds"),
        ("get_run", {"runId": "r1", "wait": 1}, "wait"),
        ("explain_decision", {"runId": "r404"}, "run"),
        ("start_retraining", {"modelId": "prices"}, "retrainingConfig"),
        ("start_retraining", {"modelId": "../../etc", "retrainingConfig": {}}, "modelId"),
        (
            "start_retraining",
            {"modelId": "prices", "retrainingConfig": {"trigger": "whim"}},
            "retrainingConfig.trigger",
        ),
        ("judge_candidate", {"modelId": "prices"}, "candidateVersion"),
        ("roll_back", {"modelId": "prices", "reason": " "}, "reason"),
        ("submit_review", {"reviewId": 1, "answer": "maybe", "reason": "r"}, "answer"),
        ("submit_review", {"reviewId": 404, "answer": "approve", "reason": "r"}, "review"),
    ],
)
def test_bad_arguments_are_tool_errors_with_thing_and_remedy(
    world: World, tool: str, arguments: dict[str, Any], thing: str
) -> None:
    refused = call(world, tool, arguments, caller=ADA)

    told = body(refused)
    assert refused.is_error
    assert told["thing"] == thing
    assert {"error", "message", "remedy", "retry"} <= set(told)
    assert not world.touched


@pytest.mark.parametrize(
    ("tool", "arguments", "scope"),
    [
        ("assess_staleness", {"modelId": "prices"}, "read"),
        ("get_run", {"runId": "r1"}, "read"),
        ("list_reviews", {}, "read"),
        ("explain_decision", {"runId": "r1"}, "read"),
        ("start_retraining", REQUEST, "run"),
        ("judge_candidate", {"modelId": "prices", "candidateVersion": "1"}, "run"),
        ("submit_review", {"reviewId": 1, "answer": "approve", "reason": "r"}, "review"),
        ("roll_back", {"modelId": "prices", "reason": "r"}, "roll_back"),
    ],
)
def test_a_missing_scope_is_refused_by_name(world: World, tool: str, arguments: dict[str, Any], scope: Any) -> None:
    without = ADA.model_copy(update={"scopes": ADA.scopes - {scope}})

    refused = call(world, tool, arguments, caller=without)

    assert refused.is_error
    assert (body(refused)["error"], body(refused)["value"]) == ("NotAllowed", repr(scope))
    assert not world.touched


def test_an_unknown_tool_is_the_protocols_error_and_the_client_goes_on(world: World) -> None:
    async def scene(client: Client) -> Any:
        with pytest.raises(MCPError, match="no tool 'deploy_now'"):
            await client.call_tool("deploy_now", {})
        return await client.list_tools()

    assert len(play(world, scene).tools) == 8


def test_a_crash_tells_nothing_of_its_own_text(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def crash(_: str) -> Any:
        raise RuntimeError("password=hunter2")

    broken = with_deps(world, load_profile=crash)

    refused = call(broken, "assess_staleness", {"modelId": "prices"})

    assert refused.is_error
    assert "hunter2" not in json.dumps(body(refused))
    assert "the tool assess_staleness failed" in caplog.text


# --- resources -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_runs_records_and_reports_are_resources(world: World, mode: str) -> None:
    run = world.run()

    async def scene(client: Client) -> Any:
        listed = await client.list_resources()
        return {str(each.uri): (await client.read_resource(str(each.uri))).contents[0] for each in listed.resources}

    read = play(world, scene, mode=mode)

    base = f"retrain://runs/{run['runId']}"
    assert read[base].text == json.dumps(run, ensure_ascii=False)
    assert json.loads(read[f"{base}/decision"].text)["policyInputDigest"]
    assert (read[f"{base}/report"].mime_type, "<html" in read[f"{base}/report"].text) == ("text/html", True)


def test_no_address_leads_anywhere_else(world: World) -> None:
    before = sorted((world.deps.work_dir / "runs").iterdir())

    async def scene(client: Client) -> None:
        for path in ("runs/r404", "runs/../x", "runs/..%2f..%2fetc/report", "runs/r1/profile", "runs/", "etc/passwd"):
            with pytest.raises(MCPError):
                await client.read_resource(f"retrain://{path}")
        with pytest.raises(MCPError):
            await client.read_resource("file:///etc/passwd")

    play(world, scene)

    assert sorted((world.deps.work_dir / "runs").iterdir()) == before


# --- help ------------------------------------------------------------------------------------------------------------


def answer(number: int, verdict: str = "approve") -> dict[str, Any]:
    return {"reviewId": number, "answer": verdict, "reason": "looked at it"}


def trained_by(world: World, fault: Exception) -> World:
    """The world with a trainer that ends in a fault."""

    def train(*_: Any) -> Any:
        raise fault

    return with_deps(world, trainers={"project": SimpleNamespace(train=train)})
