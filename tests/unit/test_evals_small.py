"""The small evals stay runnable, and what they plant, kill and count is what they say."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from evals.language import faithfulness
from evals.language.cases import Case, cases
from evals.language.lies import LIES
from evals.reliability import kill
from evals.speed import startup
from tools.contracts.decision import PolicyResult
from tools.contracts.evidence import EvidenceItem


def rows_in(file: Path) -> dict[str, dict[str, float]]:
    found = json.loads(file.read_text())
    assert {"machine", "commit", "rows", "quick"} <= set(found)
    return {row["name"]: row for row in found["rows"]}


@pytest.mark.slow
def test_quick_startup_gives_a_ratio_and_the_seconds(tmp_path: Path):
    assert startup.main(["--quick", "--json", str(tmp_path / "rows.json")]) == 0
    rows = rows_in(tmp_path / "rows.json")
    assert list(rows) == ["retrain --help / python -c pass", "retrain --help, seconds", "python -c pass, seconds"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows.values())


@pytest.mark.reliability
def test_quick_doors_give_one_decision_and_no_bad_approval_or_lie_gets_through(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "evals.decisions.doors", "--quick", "--json", str(tmp_path / "rows.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = rows_in(tmp_path / "rows.json")
    assert [name for name, row in rows.items() if row["met"] is False] == []
    assert sum(row["met"] is True for row in rows.values()) > 15


@pytest.mark.reliability
def test_quick_load_loses_nothing_and_lets_no_runs_overlap(tmp_path: Path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "evals.reliability.load",
            "--quick",
            "--store",
            "SQLite",
            "--json",
            tmp_path / "rows.json",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = rows_in(tmp_path / "rows.json")
    assert [row["value"] for row in rows.values() if row["target"]] == [0, 0, 0, 0]
    assert rows["SQLite: the agent's own seconds a run, p95"]["n"] >= 6


@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_quick_kill_ends_as_one_version_and_one_move(tmp_path: Path):
    assert kill.main(["--quick", "--length", "0.5", "--json", str(tmp_path / "rows.json")]) == 0
    right = next(iter(rows_in(tmp_path / "rows.json").values()))
    assert (right["value"], right["n"], right["met"]) == (1.0, 1, True)


@pytest.mark.slow
def test_quick_faithfulness_tells_that_no_model_is_configured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("RETRAIN_LLM_MODEL", raising=False)
    assert faithfulness.main(["--quick", "--json", str(tmp_path / "rows.json")]) == 0
    rows = rows_in(tmp_path / "rows.json")
    assert rows["the template's text passes"]["met"] is True
    assert rows["caught: a citation of nothing"]["value"] == 1.0
    assert faithfulness.NO_MODEL in capsys.readouterr().out


CASE = Case(
    model_id="electricity",
    policy=PolicyResult(decision="deploy", certainty="clear", reasons=(), policy_version="1"),
    evidence=(
        EvidenceItem(id="E1", key="comparison/accuracy", outcome="improved", value=0.2, statement="accuracy"),
        EvidenceItem(id="E2", key="validation/nulls/col 9", outcome="fail", value=0.7, statement="col 9"),
    ),
)
TEXT = "Deploy the candidate. accuracy rose by 3 (1 to 5): improved [E1]."


@pytest.mark.parametrize(
    ("kind", "lie"),
    [
        ("an interval's end from other evidence", {TEXT.replace("1 to 5", end) for end in ("0.7 to 5", "1 to 0.7")}),
        ("another decision named", {f"{name}{TEXT[6:]}" for name in ("Reject", "Start a canary with", "Manual review of")}),
        ("a citation of nothing", {TEXT.replace("E1", f"E{n}") for n in range(3, 12)}),
        ("a citation of other evidence", {TEXT.replace("E1", "E2")}),
        ("direction: improved, told as regressed", {TEXT.replace("improved", "regressed")}),
    ],
)  # fmt: skip
def test_lie_is_the_one_that_its_kind_says(kind: str, lie: set[str]):
    planted = {LIES[kind](TEXT, CASE, random.Random(seed)) for seed in range(30)}
    assert planted <= lie
    assert planted


def test_changed_number_is_no_part_of_a_name_or_a_citation():
    planted = {LIES["a number changed"]("col 9 has 4 nulls [E2].", CASE, random.Random(seed)) for seed in range(99)}
    assert planted == {f"col 9 has {digit} nulls [E2]." for digit in "012356789"}


def test_text_without_a_place_for_a_lie_is_left_alone():
    assert LIES["an interval's end from other evidence"]("Deploy it.", CASE, random.Random(0)) is None
    assert LIES["a number changed"]("Of 5 rows none is cited.", CASE, random.Random(0)) is None


def test_cases_are_the_same_for_the_same_seed_and_of_many_kinds():
    first = list(cases(40, seed=3))
    assert first == list(cases(40, seed=3))
    assert {case.policy.decision for case in first} >= {"deploy", "reject", "manual_review"}


@pytest.mark.parametrize(
    ("log", "behind"),
    [
        ("", kill.BEFORE),
        ("  · run r20260701-010203-ab12cd34 of trial_7\n", "run … of …"),
        ("  · run r1 of m\n  · training 1 of 1: 7,201 rows up to 1997\n", "training N of N"),
        ("  · pipeline: model logged\nerror: gone\n", "pipeline"),
        ("  · registered trial_2 version 2\n", "registered … version N"),
    ],
)
def test_phase_is_the_kind_of_the_last_progress(log: str, behind: str):
    assert kill.phase(log) == behind


def test_run_that_outran_its_kill_is_no_trial_and_one_fault_misses_the_target():
    right = kill.Trial("a", 1.0, killed=True, behind="pipeline", commands=1, faults=())
    wrong = kill.Trial("b", 2.0, killed=True, behind="pipeline", commands=3, faults=("versions",))
    outran = kill.Trial("c", 3.0, killed=False, behind="conclude done", commands=0, faults=())
    share, phase = kill.rows_of([right, wrong, outran])
    assert (share.value, share.n, share.target, share.met) == (0.5, 2, "all", False)
    assert (phase.name, phase.value) == ("kills behind 'pipeline'", 1.0)


def test_median_is_met_only_where_its_whole_interval_is():
    assert startup.median("a", [0.1] * 9, "under 0.3 s", 0.3).met is True
    assert startup.median("a", [0.5] * 9, "under 0.3 s", 0.3).met is False
    assert startup.median("a", [0.1, 0.5] * 5, "under 0.3 s", 0.3).met is None
