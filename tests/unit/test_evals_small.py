"""The small evals stay runnable, and what they plant, kill and count is what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evals.language.decisions import cases
from evals.reliability import kill
from evals.speed import startup

ROOT = Path(__file__).parents[2]


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
        cwd=ROOT,
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
        cwd=ROOT,
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
