"""What does `retrain watch` cost at a thousand profiles, and what does it lose or double when it is killed?

`python -m evals.reliability.watch` writes a workspace of profiles and has the real loop, store (SQLite) and profile reader watch it in
a process of its own:

- `scale`: rounds in which all profiles are new, all have a scheduled hour that has come, all are due for a look at files that have not
  changed, and none is due. Looks that read data are measured by `evals.speed.drift`; they are not repeated here.
- `kills`: all profiles have an hour that has come; the process is killed with `kill -9` at random moments, and another one goes on.
  A run is a record in the store here, not a training.
- `real`: the command `retrain watch` itself on the electricity example, with real trainings and a rollout each, killed likewise.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from evals.report import Row, arguments, publish, share
from tools.adapters.store import SqlStore

ROOT: Final = Path(__file__).resolve().parents[2]
WORKER: Final = (sys.executable, "-m", "evals.reliability._watch_worker")
RETRAIN: Final = (sys.executable, "-m", "agent.entrypoints.cli.app")
FIRST: Final = "2026-01-01T00:00:00+00:00"
DUE: Final = "2026-01-02T03:00:10+00:00"
KEY: Final = "trigger/{}/scheduled/cron/20260102T030000Z"
HELD: Final = 3
"""Profiles whose hour is kept from firing, as a twin: nothing may start there."""

PROFILE: Final = """registered_model: {name}
task: classification
data:
  source: rows.parquet
  event_time: at
  target: y
  features: [a, b]
  key: [at]
metrics: {{primary: {{name: accuracy}}}}
training: {{kind: project, uri: .}}
triggers:
  scheduled: {{cron: "0 3 * * *"}}
  check: {{cron: "30 4 * * *"}}
{more}"""


def lay_out(folder: Path, profiles: int, *, held: int = 0) -> Path:
    """Profiles over one file that nobody opens; the first `held` have no budget."""
    (folder / "profiles").mkdir(parents=True)
    (folder / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n", encoding="utf-8")
    (folder / "rows.parquet").write_bytes(b"never opened")
    for number in range(profiles):
        more = "  budget: {runs: 0}\n" if number < held else ""
        text = PROFILE.format(name=f"model-{number:04}", more=more)
        (folder / "profiles" / f"m{number:04}.yaml").write_text(text, encoding="utf-8")
    return folder


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


# --- scale -----------------------------------------------------------------------------------------------------------

ROUNDS: Final = {
    "all are new": FIRST,
    "a scheduled hour has come": DUE,
    "a first look is due": "2026-01-02T04:30:10+00:00",
    "a scheduled hour has come again": "2026-01-03T03:00:10+00:00",
    "a look is due, nothing has changed": "2026-01-03T04:30:10+00:00",
    "none is due": "2026-01-03T04:30:30+00:00",
}


def measured(folder: Path, profiles: int) -> dict[str, dict[str, Any]]:
    """Of each round what the worker says."""
    lay_out(folder, profiles)
    moments = [word for at in ROUNDS.values() for word in ("--at", at)]
    done = subprocess.run(
        [*WORKER, str(folder), *moments], env=environment(), capture_output=True, text=True, check=True, cwd=ROOT
    )
    return dict(zip(ROUNDS, (json.loads(line) for line in done.stdout.splitlines()), strict=True))


def scale(sizes: Sequence[int], folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """A row a round at the largest size, and what one profile more costs between the two largest."""
    found = {size: measured(folder / f"{size}", size) for size in sizes}
    largest, before = sizes[-1], sizes[-2]
    rows: list[Row] = []
    for name in ROUNDS:
        here, below = found[largest][name], found[before][name]
        if here["evaluated"]:
            rows.append(Row(f"evaluations a minute: {name}", 60 * here["evaluated"] / here["seconds"], n=largest))
        for clock in ("seconds", "cpu"):
            more = 1000 * (here[clock] - below[clock]) / (largest - before)
            rows.append(Row(f"ms{' of CPU' if clock == 'cpu' else ''} for one profile more: {name}", more, n=largest))
    rows.append(Row("seconds of a round: none is due", found[largest]["none is due"]["seconds"], n=largest))
    memory = {size: max(one["rss_mb"] for one in found[size].values()) for size in sizes}
    rows.append(Row("memory at its peak, MB", memory[largest], n=largest))
    rows.append(Row("KB for one profile more", 1024 * (memory[largest] - memory[before]) / (largest - before)))
    heavy = {name for size in sizes for one in found[size].values() for name in one["heavy"]}
    rows.append(Row("heavy libraries imported by a tick", len(heavy), target="0", met=not heavy))
    return rows, {str(size): rounds for size, rounds in found.items()}


# --- kills -----------------------------------------------------------------------------------------------------------


def kills(folder: Path, profiles: int, times: int, seed: int) -> tuple[list[Row], dict[str, Any]]:
    """`times` kills of the process while it works off one hour of all profiles."""
    lay_out(folder, profiles, held=HELD)
    subprocess.run([*WORKER, str(folder), "--at", FIRST], env=environment(), check=True, capture_output=True, cwd=ROOT)
    store, moments, hit = SqlStore(f"sqlite:///{folder}/.retraining/store.db", lambda: datetime.now(UTC)), [], 0
    draw = random.Random(seed)
    for number in range(times):
        at = (datetime.fromisoformat(DUE) + timedelta(seconds=30 * number)).isoformat()
        process = subprocess.Popen(
            [*WORKER, str(folder), "--at", at], env=environment(), cwd=ROOT, stdout=subprocess.DEVNULL
        )
        # The next kill falls while there is still work: at a share of what is left.
        wanted = len(store.firings(limit=100_000)) + max(
            1, int((profiles - HELD) * draw.uniform(0.5, 1.4) / (times + 1))
        )
        while process.poll() is None and len(store.firings(limit=100_000)) < wanted:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.05))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            hit += 1
        process.wait()
        moments.append(len(store.firings(limit=100_000)))
    last = [
        (datetime.fromisoformat(DUE) + timedelta(seconds=30 * times + later)).isoformat() for later in (0, 20, 90, 100)
    ]
    ending = [word for at in last for word in ("--at", at)]
    subprocess.run([*WORKER, str(folder), *ending], env=environment(), check=True, capture_output=True, cwd=ROOT)
    return _counted(store, profiles, hit, times), {"fired_at_each_kill": moments}


def _counted(store: SqlStore, profiles: int, hit: int, times: int) -> list[Row]:
    runs = store.list_runs(None, 1_000_000)
    started = Counter(run.idempotency_key for run in runs)
    wanted = {KEY.format(f"m{number:04}") for number in range(HELD, profiles)}
    lost = [key for key in wanted if key not in started]
    doubled = [key for key, count in started.items() if count > 1]
    strange = [key for key in started if key not in wanted]
    unfinished = [run for run in runs if run.status != "finished"]
    waiting = [each for each in store.firings(limit=1_000_000) if each.status != "started"]
    n = len(wanted)
    return [
        Row("kills that hit a process at work", hit, n=times, target=f"{times}", met=hit == times),
        Row("runs lost", len(lost), n=n, target="0", met=not lost),
        Row("runs doubled", len(doubled), n=n, target="0", met=not doubled),
        Row("runs that nobody asked for (3 profiles without budget)", len(strange), n=n, target="0", met=not strange),
        Row("runs or firings left undone", len(unfinished) + len(waiting), n=n, target="0",
            met=not unfinished and not waiting),
    ]  # fmt: skip


# --- the real command ------------------------------------------------------------------------------------------------


def real(folder: Path, models: int, times: int, seed: int) -> tuple[list[Row], dict[str, Any]]:
    """`retrain watch` with trainings and rollouts, killed; what is left is held against one undisturbed run of each."""
    from agent.demo import IMPROVE_AT
    from evals.reliability.kill import Bench, faults

    bench, draw = Bench(folder), random.Random(seed)
    end = datetime.fromisoformat(IMPROVE_AT) if "T" in IMPROVE_AT else datetime.fromisoformat(f"{IMPROVE_AT}T00:00")
    names = [bench.with_champion(f"watched_{number}") for number in range(models)]
    # Time for the first process to see the profiles: an hour that has passed before is not due.
    hour = datetime.now(UTC) + timedelta(minutes=3)
    for name in names:
        path = folder / "profiles" / f"{name}.yaml"
        text = path.read_text(encoding="utf-8")
        text = text.replace("data_window: 180d", f"data_window: {end - timedelta(days=180):%Y-%m-%d}/{end:%Y-%m-%d}")
        text = text.replace("triggers:\n", f'triggers:\n  scheduled: {{cron: "{hour.minute} {hour.hour} * * *"}}\n', 1)
        path.write_text(text, encoding="utf-8")
    log, hit = folder / "watch.log", 0
    process = _watch(folder, log)
    while datetime.now(UTC) < hour.replace(second=0):
        time.sleep(0.2)
    for _ in range(times):
        _await_work(log, process)
        time.sleep(draw.uniform(0, 10))
        if _done(bench, names):
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        hit += 1
        process = _watch(folder, log)
    until = time.monotonic() + 600
    while not _done(bench, names) and time.monotonic() < until:
        time.sleep(1)
    process.terminate()
    code = process.wait(120)
    wrong = {name: found for name in names if (found := faults(bench.app, name))}
    rows = [
        Row("real `retrain watch`: kills", hit, n=times),
        share("models retrained and promoted exactly once", models - len(wrong), models, "all", not wrong),
        Row("exit code after SIGTERM", code, target="0", met=code == 0),
    ]
    return rows, {"faults": wrong}


def _await_work(log: Path, process: "subprocess.Popen[bytes]") -> None:
    """Until the process that has just begun says that it works at a run."""
    before, until = len(log.read_bytes()), time.monotonic() + 180
    while time.monotonic() < until and process.poll() is None:
        said = log.read_bytes()[before:]
        if b"run r" in said or b" done" in said or b"training" in said:
            return
        time.sleep(0.05)


def _watch(folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as out:
        return subprocess.Popen(
            [*RETRAIN, "watch", "-w", str(folder)], env=environment(), stdout=out, stderr=out, cwd=ROOT
        )


def _done(bench: Any, names: Sequence[str]) -> bool:
    runs = {name: bench.app.deps.store.list_runs(name) for name in names}
    return all(found and all(run.status == "finished" for run in found) for found in runs.values())


PARTS: Final = ("scale", "kills", "real")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when something was lost or doubled."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; repeatable")
    parser.add_argument("--profiles", type=int, default=1000, metavar="N")
    parser.add_argument("--kills", type=int, default=10, metavar="N")
    parser.add_argument("--models", type=int, default=3, metavar="N", help="of the part `real`")
    parser.add_argument("--seed", type=int, default=20261127, help="of the moments")
    asked = parser.parse_args(argv)
    profiles, times = (60, 2) if asked.quick else (asked.profiles, asked.kills)
    parts = asked.part or (PARTS[:2] if asked.quick else PARTS)
    rows: list[Row] = []
    more: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="evals-watch-") as name:
        folder = Path(name)
        for part in parts:
            if part == "scale":
                found, more[part] = scale((profiles // 2, profiles), folder / "scale")
            elif part == "kills":
                found, more[part] = kills(folder / "kills", profiles, times, asked.seed)
            else:
                found, more[part] = real(folder / "real", 1 if asked.quick else asked.models, times, asked.seed)
            rows += found
    publish(rows, asked.json, quick=asked.quick, **more)
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
