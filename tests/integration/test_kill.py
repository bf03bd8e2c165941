"""`kill -9` in the middle, with nothing faked: whatever was half done becomes one version and one move of the alias."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.shop import LIMIT, NOW, Shop

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_run_killed_in_training_ends_its_orphan_and_resumes_to_one_version(shop: Shop, tmp_path: Path) -> None:
    hold = _hold(tmp_path)
    name = shop.with_champion("killed.in.training", behave=hold)
    orphan = _kill_in_training(shop, name)
    assert psutil.pid_exists(orphan)

    resumed = shop.start("run", "--resume", _run_id(shop, name))
    second = _pipeline_pid(resumed)
    assert not _alive(orphan)
    assert second != orphan
    hold.unlink()
    out, err = resumed.communicate(timeout=LIMIT)

    assert resumed.returncode == 0, err
    assert "DEPLOY (clear)" in out
    _one_version_one_move(shop, name)


@pytest.mark.reliability
def test_training_that_finished_without_its_orchestrator_is_adopted(shop: Shop, tmp_path: Path) -> None:
    hold = _hold(tmp_path)
    name = shop.with_champion("finished.alone", behave=hold)
    orphan = _kill_in_training(shop, name)
    hold.unlink()
    _wait_until_gone(orphan)

    resumed = shop.retrain("run", "--resume", _run_id(shop, name))

    assert resumed.code == 0, resumed.err
    assert "adopted the finished training run" in resumed.err
    _one_version_one_move(shop, name)


@pytest.mark.reliability
def test_killed_run_that_is_resumed_twice_at_once_runs_once(shop: Shop, tmp_path: Path) -> None:
    hold = _hold(tmp_path)
    name = shop.with_champion("resumed.twice", behave=hold)
    _wait_until_gone(_kill_in_training(shop, name), hold)
    run = _run_id(shop, name)

    both = [shop.start("run", "--resume", run) for _ in range(2)]
    ends = [(process.communicate(timeout=LIMIT), process.returncode) for process in both]

    assert sorted(code for _, code in ends) == [0, 4], ends
    _one_version_one_move(shop, name)


def _hold(folder: Path) -> Path:
    """While this file exists, the pipeline waits."""
    hold = folder / "hold"
    hold.touch()
    return hold


def _kill_in_training(shop: Shop, name: str) -> int:
    """Start a run, kill the orchestrator (and it alone) while the pipeline waits; returns the pipeline's pid."""
    process = shop.start("run", name, "--as-of", NOW)
    pid = _pipeline_pid(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(shop.versions(name)) == 1
    return pid


def _pipeline_pid(process: "subprocess.Popen[str]") -> int:
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        found = re.search(r"pipeline reads \d+ rows as (\d+)", line)
        if found:
            return int(found[1])
    raise AssertionError("the pipeline never began:\n" + "".join(said))


def _run_id(shop: Shop, name: str) -> str:
    runs = shop.retrain("runs", "list", name, "--json").json
    assert [run["status"] for run in runs] == ["running"]
    return runs[0]["runId"]


def _one_version_one_move(shop: Shop, name: str) -> None:
    events = shop.retrain("history", name, "--json").json
    assert [(event["version"], event["how"]) for event in events] == [("2", "deployed"), ("1", "adopted")]
    assert [version.version for version in shop.versions(name)] == ["2", "1"]
    assert shop.champion(name) == "2"
    (run,) = shop.retrain("runs", "list", name, "--json").json
    effects = shop.retrain("runs", "show", run["runId"], "--json").json["effects"]
    assert run["status"] == "finished"
    assert {effect["status"] for effect in effects} == {"done"}


def _wait_until_gone(pid: int, hold: Path | None = None) -> None:
    if hold is not None:
        hold.unlink()
    until = time.monotonic() + 60
    while _alive(pid):
        assert time.monotonic() < until, "the pipeline did not end"
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
