"""The command line as users and scripts meet it: whole processes, exit codes, what is on stdout and what on stderr."""

import json
import re
import socket
from pathlib import Path

import pytest

from agent.services import reviews
from agent.workspace import find_workspace
from tests.integration.shop import NOW, Result, Shop
from tests.streams import CHANGE
from tools.contracts.output import RetrainingResponse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(shop: Shop) -> str:
    """A model with a champion, in mode observe."""
    return shop.with_champion("prices.eu.hourly", mode="observe", drift="{}")


def refused(result: Result, code: int, *said: str) -> None:
    """One clear message on stderr, a remedy, no traceback, nothing else."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert result.err.count("error: ") == 1
    for text in said:
        assert text in result.err


def request(model: str, **config: object) -> str:
    return json.dumps(
        {"modelId": model, "retrainingConfig": {"trigger": "manual", "asOf": f"{NOW}T00:00:00Z", **config}}
    )


# --- a request as JSON


def test_request_piped_in_gives_the_public_json_and_nothing_else_on_stdout(shop: Shop, model: str) -> None:
    result = shop.retrain("run", "--json", given=request(model))

    output = RetrainingResponse.model_validate(result.json)
    assert (result.code, output.deployment_decision.decision, output.status) == (0, "deploy", "finished")
    assert result.err.startswith("  · ")
    assert shop.champion(model) == "1"
    assert [version.version for version in shop.versions(model)] == ["1"]


def test_decision_can_be_the_exit_code(shop: Shop, model: str) -> None:
    result = shop.typed("run", model, "--as-of", NOW, "--trigger", "drift", "--exit-code", "-q")

    assert "REJECT (clear)" in result.out
    assert (result.code, result.err) == (10, "")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        pytest.param("{not json", 2, "JSON", id="no JSON"),
        pytest.param(
            '{"modelId": "nobody", "retrainingConfig": {"trigger": "manual"}}', 3, "nobody", id="unknown model"
        ),
        pytest.param(request("prices.eu.hourly", trigger="whim"), 2, "whim", id="unknown trigger"),
        pytest.param(request("prices.eu.hourly", dataWindow="90 moons"), 2, "90 moons", id="unreadable window"),
        pytest.param(request("prices.eu.hourly", dataWindow="P5D/2020-01-01"), 2, "no labelled rows", id="no rows"),
        pytest.param(
            request("prices.eu.hourly")[:-1] + ', "baselineModel": {"metrics": {"accuracy": NaN}}}',
            2,
            "finite",
            id="NaN metric",
        ),
        pytest.param(
            request("prices.eu.hourly")[:-1] + ', "deploymentCriteria": {"guardrailMetrics": ["beauty"]}}',
            2,
            "beauty",
            id="unknown guardrail",
        ),
        pytest.param(
            request("prices.eu.hourly")[:-1] + ', "deploymentCriteria": {"minImprovement": -1}}',
            2,
            "-1",
            id="negative gain",
        ),
        pytest.param(
            request("prices.eu.hourly")[:-1] + ', "deploymentCriteria": {"minImprovement": NaN}}',
            2,
            "finite",
            id="NaN gain",
        ),
    ],
)
def test_bad_request_is_one_clear_error(shop: Shop, model: str, text: str, code: int, said: str) -> None:
    result = shop.typed("run", "-q", given=text)

    refused(result, code, said, "remedy")
    assert result.out == ""
    assert shop.champion(model) == "1"


def test_error_is_json_too_where_json_was_asked_for(shop: Shop, model: str) -> None:
    result = shop.typed("run", "--json", given=request(model, trigger="whim"))

    assert (result.code, result.json["exitCode"], result.json["error"]) == (2, 2, "BadInput")
    assert result.json["remedy"]


def test_wrong_usage_is_json_too_and_costs_exit_code_2(shop: Shop) -> None:
    machine, person = shop.typed("run", "--sideways", "--json"), shop.typed("run", "--sideways")

    assert (machine.code, machine.json["exitCode"]) == (2, 2)
    assert (person.code, person.out) == (2, "")
    assert "No such option" in person.err


# --- servers, files and people that are not as they should be


def test_tracking_server_that_does_not_answer(shop: Shop, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    (tmp_path / "retraining.yaml").write_text(
        f"tracking_uri: http://ada:secret@127.0.0.1:{port}\nprofiles_dir: {shop.folder / 'profiles'}\n"
    )
    shop.profile("far.away", mode="observe")

    result = shop.typed("run", "far.away", "--as-of", NOW, "-q", "-w", str(tmp_path))

    refused(result, 6, f"127.0.0.1:{port}", "remedy")
    assert "secret" not in result.err


def test_fault_in_a_profile_names_file_line_field_value_and_remedy(shop: Shop) -> None:
    shop.profile("faulty", mode="sometimes")

    result = shop.typed("run", "faulty", "--as-of", NOW)

    refused(result, 2, "profiles/faulty.yaml:2", "mode", "sometimes", "observe")


@pytest.mark.parametrize("source", ["nowhere.parquet", "torn.parquet"])
def test_data_that_cannot_be_read(shop: Shop, source: str) -> None:
    (shop.folder / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    name = shop.profile(f"unreadable.{source.split('.')[0]}", mode="observe", source=source)

    refused(shop.typed("run", name, "--as-of", NOW, "-q"), 2, source, "remedy")


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        ("fail", "boom: the feature store is empty"),
        pytest.param("no_model", "no model", marks=pytest.mark.reliability),
    ],
)
def test_pipeline_that_fails_is_a_reject_with_its_last_lines(shop: Shop, behave: str, said: str) -> None:
    name = shop.with_champion(f"pipeline.{behave}", behave=behave)

    result = shop.typed("run", name, "--as-of", NOW, "-q")

    assert (result.code, result.err) == (0, "")
    assert "REJECT (clear)" in result.out
    assert said in result.out
    assert (shop.champion(name), len(shop.versions(name))) == ("1", 1)


# --- a run that asks, and its answer from another process


def test_question_is_answered_in_a_new_process_by_an_approver_only_and_once(shop: Shop) -> None:
    name = shop.with_champion("asks", mode="recommend")
    parked = shop.retrain("run", name, "--as-of", NOW, "--json").json
    review = str(parked["deploymentDecision"]["reviewId"])
    assert (parked["status"], len(shop.versions(name))) == ("parked", 1)

    refused(shop.typed("run", name, "--as-of", NOW, "-q"), 4, parked["runId"], "parked")
    refused(shop.typed("rollback", name, "--reason", "nothing to go back to", "-q"), 4, "no last known good")
    shop.profile(name, mode="recommend", approvers=["somebody-else"])
    refused(shop.typed("review", "approve", review, "--reason", "fine"), 5, reviews.os_user(), "nobody")
    assert shop.champion(name) == "1"

    shop.profile(name, mode="recommend")
    shown = shop.typed("review", "show", review)
    assert "approve -> deploy" in shown.out
    approved = shop.retrain("review", "approve", review, "--reason", "fine")
    assert approved.code == 0, approved.err
    assert (shop.champion(name), len(shop.versions(name))) == ("2", 2)
    refused(shop.typed("review", "approve", review, "--reason", "again"), 4, "answered by")
    refused(shop.typed("run", "--resume", parked["runId"]), 4, "finished")

    back = shop.typed("rollback", name, "--reason", "odd prices")
    assert back.code == 0, back.err
    assert "ROLLED BACK to version 1" in back.out
    history = shop.typed("history", name, "--json").json
    assert [event["how"] for event in history] == ["rolled_back", "deployed", "adopted"]

    (held,) = [hold for hold in shop.typed("holds", "--json").json if hold["scope"] == f"model:{name}"]
    assert (held["by"], "odd prices" in held["why"]) == (reviews.os_user(), True)
    refused(shop.typed("run", name, "--trigger", "scheduled", "-q"), 4, "held", f"retrain release {name}")
    refused(shop.typed("release", name, "--reason", " "), 2, "reason")
    released = shop.typed("release", name, "--reason", "mended", "--json").json
    assert (released["releasedBy"], released["releasedWhy"]) == (reviews.os_user(), "mended")


def test_pause_stops_runs_of_every_model_until_resume(shop: Shop, model: str) -> None:
    refused(shop.typed("pause", "--reason", "freeze"), 2, "--all")
    assert shop.typed("pause", "--all", "--reason", "freeze").code == 0
    try:
        refused(shop.typed("run", model, "-q"), 4, "everything is paused", "freeze", "retrain resume --all")
    finally:
        resumed = shop.typed("resume", "--all", "--reason", "over")
    assert resumed.code == 0, resumed.err
    assert not [hold for hold in shop.typed("holds", "--json").json if hold["scope"] == "all"]


def test_server_that_can_be_reached_from_outside_is_refused_without_a_key(shop: Shop) -> None:
    refused(shop.typed("serve", "--host", "0.0.0.0"), 2, "retrain keys create")


def test_version_registered_by_hand_is_judged_without_training(shop: Shop, model: str) -> None:
    version = shop.register_by_hand(model, CHANGE)

    output = shop.typed("judge", model, "--candidate", version, "--as-of", NOW, "--json").json

    assert output["retrainingResult"]["status"] == "given"
    assert output["comparison"]["verdicts"]["accuracy"] == "improved"
    assert output["deploymentDecision"]["decision"] == "manual_review"  # its training rows are not known
    assert [reason["code"] for reason in output["deploymentDecision"]["reasons"]] == ["contamination_unchecked"]


# --- setting up


def test_init_drafts_profiles_from_the_registry_and_doctor_says_what_is_missing(
    shop: Shop, model: str, tmp_path: Path
) -> None:
    made = shop.typed("init", "--all", "--tracking-uri", f"sqlite:///{shop.folder}/mlflow.db", folder=tmp_path)
    assert made.code == 0, made.err
    drafted = (tmp_path / "profiles" / f"{model}.yaml").read_text()
    assert re.search(r"features:.*\ba\b.*\bb\b.*\bc\b", drafted, re.DOTALL)
    assert "FILL_IN" in drafted

    examined = shop.typed("doctor", model, "--json", folder=tmp_path)
    assert (examined.code, "FILL_IN" in examined.out) == (2, True)
    healthy = shop.typed("doctor", model)
    assert healthy.code == 0, healthy.out
    assert "MISSING" not in healthy.out.upper()


def test_check_touches_nothing_and_says_whether_the_trigger_fires(shop: Shop, model: str) -> None:
    before = shop.typed("runs", "list", "--json").json

    result = shop.typed("check", model, "--as-of", NOW, "--json")

    assert set(result.json) == {"staleness", "trigger", "alert"}
    assert shop.typed("runs", "list", "--json").json == before


def test_values_of_a_profile_name_where_they_come_from(shop: Shop, model: str) -> None:
    shown = shop.typed("profile", "show", model, "--resolved")

    assert f"profiles/{model}.yaml:2" in shown.out
    assert "default" in shown.out


def test_schemas_are_printed_as_json_schema(shop: Shop) -> None:
    for name in ("input", "output"):
        assert shop.typed("schema", name).json["$schema"].startswith("https://json-schema.org/")


def test_store_that_forgot_beside_a_registry_that_remembers_is_refused(shop: Shop, tmp_path: Path) -> None:
    name = shop.with_champion("remembered")
    (tmp_path / "retraining.yaml").write_text(
        f"tracking_uri: sqlite:///{shop.folder}/mlflow.db\nprofiles_dir: {shop.folder / 'profiles'}\n"
    )
    assert find_workspace(tmp_path).store != find_workspace(shop.folder).store

    refused(shop.typed("run", name, "--as-of", NOW, "-q", "-w", str(tmp_path)), 2, "store", "remedy")


def test_help_is_there_for_every_command(shop: Shop) -> None:
    top = shop.typed("--help").out

    for command in (
        "run",
        "judge",
        "check",
        "review",
        "rollback",
        "runs",
        "history",
        "init",
        "profile",
        "schema",
        "doctor",
    ):
        assert f"\n  {command} " in top or f"│ {command} " in top
