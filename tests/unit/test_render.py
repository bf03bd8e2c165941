"""Does what the command line prints fit, ask only what is still asked, and name commands that work when typed?"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent.bootstrap import App
from agent.entrypoints.cli.app import app
from agent.entrypoints.cli.render import SCREEN, harmless, hint, labelled, pointed, run_lines, table, wrapped
from agent.entrypoints.cli.reviews import _choices, _ending
from agent.entrypoints.cli.runs import _runs_of
from agent.entrypoints.cli.setup import _finding_lines
from agent.services.doctor import Finding
from agent.workspace import load_workspace
from tests.graph.world import make_world
from tools.contracts.run import Review, RunRecord
from tools.errors import NotFound

RUN_ID = "r20261125-022454-faa40804"
PARKED: dict[str, Any] = {
    "runId": RUN_ID,
    "modelId": "fraud",
    "kind": "retrain",
    "status": "parked",
    "retrainingResult": {"status": "trained"},
    "deploymentDecision": {
        "decision": "manual_review",
        "rationale": "These rows cannot tell.",
        "decidedBy": "policy",
        "reviewId": 7,
    },
    "rollout": {"phase": "awaiting_approval"},
}


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eighty columns wide; the process's screen as a new process finds it."""
    monkeypatch.setenv("COLUMNS", "80")
    SCREEN.json, SCREEN.quiet, SCREEN.workspace = False, False, None
    yield
    SCREEN.json, SCREEN.quiet, SCREEN.workspace = False, False, None


# --- tables and text


def test_a_table_that_fits_is_aligned_and_not_folded() -> None:
    assert table(["run", "by"], [["r1", "ada"], ["r22", None]]) == ["run  by", "---  ---", "r1   ada", "r22"]


def test_a_wide_last_column_is_folded_below_itself() -> None:
    lines = table(["rule", "finding"], [["age", "word " * 25], ["drift", "none"]])

    assert max(map(len, lines)) <= 80
    assert [line[:7] for line in lines] == ["rule   ", "-----  ", "age    ", "       ", "drift  "]


def test_other_columns_are_folded_where_the_last_does_not_suffice_but_no_word_is_cut() -> None:
    path = "profiles/a_rather_long_name_of_a_profile.yaml:11"

    lines = table(["field", "value", "from"], [["data.features", "[" + "column, " * 12 + "z]", path]])

    assert max(map(len, lines)) <= 80
    assert lines[2].endswith(path)


def test_a_cell_of_several_lines_stays_in_its_column() -> None:
    assert table(["a", "b", "c"], [["x", "one\ntwo", "y"]]) == [
        "a  b    c",
        "-  ---  -",
        "x  one  y",
        "   two",
    ]


def test_text_is_folded_behind_its_label_and_paths_and_options_stay_whole() -> None:
    path = "/a/" + "very-long-folder/" * 6 + "x.yaml"

    assert labelled("  note  ", f"see {path} for it") == ["  note  see", f"        {path}", "        for it"]


def test_an_empty_text_leaves_its_label() -> None:
    assert labelled("  note  ", "") == ["  note"]


def test_paragraphs_keep_their_own_indentation() -> None:
    assert wrapped("two problems:\n  first", indent=0) == ["two problems:", "  first"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert harmless("a\x1b[2Jb") == "a�[2Jb"


def test_findings_are_grouped_by_profile_with_long_remedies_on_lines_of_their_own() -> None:
    findings = [
        Finding(result="ok", about="registry", statement="answers"),
        Finding(result="missing", about="profile fraud: data", statement="no rows", remedy="check data.source"),
        Finding(result="missing", about="profile eu", statement="2 problems:\n  first", remedy="mend it"),
        Finding(result="unknown", about="profile eu: data", statement="old " * 10, remedy="new " * 10),
    ]

    assert _finding_lines(findings) == [
        "ok       registry    answers",
        "",
        "profile fraud",
        "missing  data        no rows → check data.source",
        "",
        "profile eu",
        "missing  profile     2 problems:",
        "                       first",
        "                     → mend it",
        "unknown  data        " + ("old " * 10).strip(),
        "                     → " + ("new " * 10).strip(),
    ]


# --- what is asked


def test_a_parked_run_says_what_is_asked() -> None:
    lines = run_lines(PARKED)

    assert lines[1] == "  fraud: MANUAL_REVIEW, decided by policy"
    assert lines[-3:-1] == ["  A person is asked:", "    retrain review show 7"]


@pytest.mark.parametrize("status", ["aborted", "failed", "running"])
def test_a_run_that_went_on_after_its_question_asks_nobody(status: str) -> None:
    lines = run_lines(PARKED, status=status)

    assert lines[1] == f"  fraud: MANUAL_REVIEW, decided by policy ({status})"
    assert f"  run        {RUN_ID} ({status})" in lines
    assert "asked" not in "\n".join(lines)


def test_a_finished_run_asks_nobody_and_its_headline_needs_no_status() -> None:
    lines = run_lines(PARKED, status="finished")

    assert lines[1] == "  fraud: MANUAL_REVIEW, decided by policy"
    assert "asked" not in "\n".join(lines)


# --- commands to type


def test_hints_name_the_workspace_that_was_named() -> None:
    SCREEN.workspace = Path("my models")

    assert hint("review show 7") == "retrain review show 7 -w 'my models'"
    assert "    retrain review show 7 -w 'my models'" in run_lines(PARKED)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("`retrain runs show r1` tells", "`retrain runs show r1 -w shop` tells"),
        ("`retrain init --all`", "`retrain init --all -w shop`"),
        ("`retrain runs list -w shop`", "`retrain runs list -w shop`"),
        ("run `retrain init` in the folder", "run `retrain init` in the folder"),
        ("`retrain schema input`", "`retrain schema input`"),
        ("to retrain it", "to retrain it"),
    ],
)
def test_commands_in_messages_get_the_workspace_once_and_only_where_they_take_one(text: str, becomes: str) -> None:
    SCREEN.workspace = Path("shop")

    assert pointed(text) == becomes


def test_without_a_named_workspace_messages_stay_as_they_are() -> None:
    assert pointed("`retrain runs list`") == "`retrain runs list`"


# --- reviews and runs of the past

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ASKED = Review(
    id=7,
    run_id=RUN_ID,
    model_id="fraud",
    status="open",
    offered="deploy",
    payload={"review_configs": [{"allowed_decisions": ["approve", "edit", "reject"]}]},
    digest="d",
    nonce="n",
    requested_by="ada",
    approvers=("ada",),
    created_at=NOW,
    expires_at=NOW + timedelta(days=7),
)
RUN = RunRecord(
    run_id=RUN_ID,
    model_id="fraud",
    model_name="main.fraud.detector",
    kind="retrain",
    status="aborted",
    requested_by="ada",
    created_at=NOW,
    updated_at=NOW,
    error="overtaken by a rollback",
)


def test_an_open_review_says_until_when_and_what_each_answer_does() -> None:
    assert _choices(ASKED, NOW) == [
        "  open until 2026-07-08 12:00 UTC, then the champion stays",
        "  approve -> deploy; canary -> a canary first; reject -> the champion stays",
    ]


def test_a_review_whose_time_ran_out_offers_nothing() -> None:
    lines = _choices(ASKED, ASKED.expires_at)

    assert lines == ["  ran out on 2026-07-08 12:00 UTC without an answer: the champion stays"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"status": "answered", "answer": "approve", "answered_by": "ada", "answered_at": NOW, "reason": "fine"},
            "  answered   approve by ada on 2026-07-01 12:00 UTC (deploy was offered): fine",
        ),
        ({"status": "expired"}, "  expired    nobody answered until 2026-07-08 12:00 UTC: the champion stays"),
        ({"status": "void"}, "  void       the run is aborted: overtaken by a rollback; no answer counts any"),
    ],
)
def test_a_review_that_is_not_open_says_how_it_was_closed(changes: dict[str, Any], says: str) -> None:
    assert _ending(ASKED.model_copy(update=changes), RUN)[0] == says


@pytest.mark.parametrize(("name", "found"), [(None, 1), ("fraud", 1), ("main.fraud.detector", 1), ("eu", 0)])
def test_runs_are_listed_by_profile_and_by_registered_model(shop: Path, name: str | None, found: int) -> None:
    (shop / "profiles" / "eu.yaml").write_text(PROFILE.replace("fraud.detector", "eu"), encoding="utf-8")

    assert len(_runs_of(_app(shop, RUN), name, 20)) == found


def test_runs_of_a_name_that_nobody_knows_are_not_found(shop: Path) -> None:
    (shop / "profiles" / "fraud.yaml").unlink()
    opened = _app(shop, RUN)

    assert len(_runs_of(opened, "fraud", 20)) == 1  # its profile is gone, its runs are not
    with pytest.raises(NotFound, match="unknown model 'nope'"):
        _runs_of(opened, "nope", 20)


def _app(shop: Path, *runs: RunRecord) -> App:
    world = make_world(shop, champion=False)
    for run in runs:
        world.store.create_run(run)
    return App(load_workspace(shop / "retraining.yaml"), world.deps, world.runs)


# --- commands that only read files

PROFILE = """\
registered_model: main.fraud.detector
task: classification
data: {source: rows.parquet, event_time: at, target: label, features: [a, b], positive_label: "1"}
metrics: {primary: {name: accuracy}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n", encoding="utf-8")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "fraud.yaml").write_text(PROFILE, encoding="utf-8")
    return tmp_path


def _retrain(shop: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "-w", str(shop)], catch_exceptions=False)


def test_resolved_profile_is_real_json(shop: Path) -> None:
    shown = json.loads(_retrain(shop, "profile", "show", "fraud", "--resolved", "--json").stdout)

    by_field = {row["field"]: (row["value"], row["from"]) for row in shown}
    assert by_field["data.features"] == (["a", "b"], f"{shop}/profiles/fraud.yaml:3")
    assert by_field["data.positive_label"] == ("1", f"{shop}/profiles/fraud.yaml:3")
    assert by_field["data.label_time"] == (None, "default")
    assert by_field["metrics.allow_first_model"] == (False, "default")
    assert by_field["metrics.confidence"] == (0.95, "default")


def test_resolved_profile_reads_like_yaml_with_places_in_the_workspace(shop: Path) -> None:
    lines = _retrain(shop, "profile", "show", "fraud", "--resolved").stdout.splitlines()

    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[2:]}
    assert rows["data.features"].split("  ")[0] == "[a, b]"
    assert rows["data.features"].endswith(" profiles/fraud.yaml:3")
    assert rows["data.positive_label"].startswith("'1' ")
    assert rows["data.label_time"].startswith("null ")
    assert rows["metrics.allow_first_model"].startswith("false ")


def test_profile_named_by_its_registered_model_is_told_on_stderr(shop: Path) -> None:
    by_id = _retrain(shop, "profile", "show", "fraud")
    by_model = _retrain(shop, "profile", "show", "main.fraud.detector")

    assert by_model.stdout == by_id.stdout
    assert by_id.stderr == ""
    assert by_model.stderr == "  · no profile 'main.fraud.detector'; using 'fraud', whose registered_model it is\n"


def test_list_of_profiles_says_what_is_wrong_with_them(shop: Path) -> None:
    (shop / "profiles" / "eu.yaml").write_text(PROFILE.replace("label,", "FILL_IN,"), encoding="utf-8")

    assert _retrain(shop, "profile", "list").stdout.splitlines()[2:] == [
        "eu       main.fraud.detector  1 problem: data.target is still to be filled in",
        "fraud    main.fraud.detector",
    ]
