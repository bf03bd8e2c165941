"""`retrain watch` as a process: who may watch, what it answers, how it ends; and the commands that ask about triggers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.watched_profiles import WatchedProfiles
from agent.workspace import load_workspace
from evals.reliability import watch as measured
from tests.typed import typed
from tools.errors import BadInput, NotFound

ROOT = Path(__file__).parents[2]
RETRAIN = (sys.executable, "-m", "agent.entrypoints.cli.app")
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return measured.lay_out(tmp_path / "space", 2)


def retrain(space: Path, *words: str, code: int = 0) -> Any:
    done = subprocess.run([*RETRAIN, *words, "--json", "-w", str(space)], env=ENV, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else None


@pytest.fixture
def watched(space: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """The process, and where it answers."""
    log = tmp_path / "watch.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*RETRAIN, "watch", "--port", "0", "-w", str(space)], env=ENV, stdout=out, stderr=out
        )
    try:
        until = time.monotonic() + 60
        while (found := re.search(r"http://[\d.:]+", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield process, found.group(0)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def ready(url: str) -> None:
    until = time.monotonic() + 60
    while ask(f"{url}/readyz")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.slow
def test_watch_answers_keeps_others_out_and_ends_with_0(
    space: Path, watched: tuple["subprocess.Popen[bytes]", str]
) -> None:
    process, url = watched
    ready(url)
    assert json.loads(ask(f"{url}/healthz")[1])["status"] == "ok"
    status, text = ask(f"{url}/metrics")
    assert status == 200
    assert "retrain_profiles 2.0" in text
    assert "retrain_firings_waiting 0.0" in text

    refused = retrain(space, "watch", "--once", code=4)
    assert f"is watched by process {process.pid} on" in refused["message"]
    listed = retrain(space, "triggers", "list")
    assert [each["modelId"] for each in listed["triggers"]] == ["m0000", "m0001"]
    assert [each["holder"].split(":")[1] for each in listed["watchers"]] == [str(process.pid)]
    assert all(each["nextRun"].endswith("T03:00:00+00:00") for each in listed["triggers"])

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert retrain(space, "triggers", "list")["watchers"] == []


def said(space: Path, *words: str, code: int = 0) -> Any:
    """In this process: exit codes and messages are those of the shell."""
    done = typed(*words, "--json", folder=space)
    assert done.code == code, done
    return done.json if done.out else None


def test_triggers_are_paused_explained_and_resumed_from_the_command_line(space: Path) -> None:
    assert re.search(r"2 models were due; the next is due at \d{4}-", typed("watch", "--once", folder=space).err)
    assert said(space, "triggers", "pause", "m0000", "--reason", " ", code=2)["thing"] == "reason"
    assert said(space, "triggers", "pause", "m0000", "--reason", "we move")["scope"] == "triggers:m0000"
    first, second = said(space, "triggers", "list")["triggers"]
    assert ("we move" in first["paused"], "paused" in second) == (True, False)
    told = said(space, "triggers", "explain", "m0000", "--since", "1h")
    assert "Nothing was due" in told["answer"]
    assert "no time" in said(space, "triggers", "explain", "m0000", "--at", "soon", code=2)["message"]
    assert said(space, "triggers", "resume", "m0000", "--reason", "moved")["releasedWhy"] == "moved"
    assert said(space, "triggers", "resume", "m0000", "--reason", "again", code=3)["error"] == "NotFound"
    assert said(space, "triggers", "pause", "--reason", "all of it", code=2)["thing"] == "model"


def test_address_that_others_reach_needs_a_key(space: Path) -> None:
    refused = said(space, "watch", "--host", "0.0.0.0", "--port", "0", code=2)
    assert "can be reached from outside" in refused["message"]


def test_profile_is_read_again_when_its_file_or_the_defaults_change(space: Path) -> None:
    profiles = WatchedProfiles(load_workspace(space / "retraining.yaml"))
    before, first = profiles.stamps(), profiles.load("m0000")
    assert profiles.load("m0000") is first
    (space / "profiles" / "defaults.yaml").write_text("triggers: {priority: 7}\n")
    assert set(profiles.stamps()) == set(before)
    assert profiles.stamps() != before
    assert profiles.load("m0000").triggers.priority == 7
    path = space / "profiles" / "m0001.yaml"
    path.write_text(path.read_text().replace('"0 3 * * *"', '"0 0 31 2 *"'))
    with pytest.raises(BadInput, match=r"triggers.scheduled.cron.*never fires") as fault:
        profiles.load("m0001")
    assert "m0001.yaml:" in fault.value.message
    path.unlink()
    with pytest.raises(NotFound, match="is gone"):
        profiles.load("m0001")


@pytest.mark.reliability
def test_sixty_profiles_killed_twice_lose_and_double_nothing(tmp_path: Path) -> None:
    rows, _ = measured.kills(tmp_path / "kills", 60, 2, seed=3)
    assert [(row.name, row.value) for row in rows if row.met is False] == []


@pytest.mark.reliability
def test_real_command_killed_in_mid_run_ends_with_one_version_and_one_move(tmp_path: Path) -> None:
    rows, more = measured.real(tmp_path / "real", 1, 2, seed=5)
    assert more["faults"] == {}
    assert [row.name for row in rows if row.met is False] == []
