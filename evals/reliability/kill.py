"""Does a run that is killed at any moment still end as one version and one move of the champion's alias?

`python -m evals.reliability.kill` lays out the electricity example in a temporary workspace, kills the process of a run
with `kill -9` at a random moment, goes on with `retrain run --resume`, and looks at what is left. Each trial has a
registered model of its own, whose champion is the same logged model. Nothing is faked.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.bootstrap import App, bootstrap
from agent.demo import IMPROVE_AT, first_model, lay_out, make_champion
from agent.services.train import KEY_TAG
from evals.report import Row, arguments, publish, share
from tools.errors import Unavailable

COMMAND = (sys.executable, "-m", "agent.entrypoints.cli.app")
QUICK_LENGTH = 10.0
"""Seconds: a guess at the length of a run, which `--quick` does not measure."""
MOST_RESUMES = 3
BEFORE = "nothing said yet"


@dataclass(frozen=True)
class Trial:
    """One run, killed once. `behind` is the kind of the last line of progress before the kill."""

    model: str
    seconds: float
    """From its start to the kill, or to its own end."""
    killed: bool
    """False where the run was quicker than its kill."""
    behind: str
    commands: int
    """How many were needed after the kill until the run was finished."""
    faults: tuple[str, ...]


class Bench:
    """The workspace, and its command line as run by a user: in processes of their own."""

    def __init__(self, folder: Path) -> None:
        lay_out(folder)
        self.folder = folder
        self.app: App = bootstrap(environ=os.environ, start=folder, workspace=folder)
        self._model = first_model(self.app)

    def with_champion(self, model: str) -> str:
        """A profile and a registered model of that name, with the first model as its champion."""
        profiles = self.folder / "profiles"
        text = (profiles / "electricity.yaml").read_text(encoding="utf-8")
        mine = text.replace("registered_model: electricity", f"registered_model: {model}")
        (profiles / f"{model}.yaml").write_text(mine, encoding="utf-8")
        make_champion(self.app, self._model, model)
        return model

    def begin(self, model: str, *more: str) -> "subprocess.Popen[bytes]":
        """`retrain run`, for MODEL or with `--resume`; what it says is kept in the model's log."""
        asked = more or (model, "--as-of", IMPROVE_AT)
        with self.log(model).open("ab") as log:
            return subprocess.Popen(
                [*COMMAND, "run", *asked, "-w", str(self.folder)],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def log(self, model: str) -> Path:
        """Progress and errors of the model's runs."""
        return self.folder / f"{model}.log"


def trial(bench: Bench, model: str, after: float | None) -> Trial:
    """Start, kill after so many seconds (None: never), go on until it is finished, look."""
    bench.with_champion(model)
    process = bench.begin(model)
    began, killed = time.monotonic(), False
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        killed = True
    seconds = time.monotonic() - began
    behind = phase(bench.log(model).read_text(encoding="utf-8"))
    commands = _go_on(bench, model)
    return Trial(model, seconds, killed, behind, commands, faults(bench.app, model))


def phase(log: str) -> str:
    """The last line of progress without what differs from run to run: names, counts, the pipeline's own words."""
    said = [line.removeprefix("  · ") for line in log.splitlines() if line.startswith("  · ")]
    if not said:
        return BEFORE
    last = re.sub(r"\br\d{8}-\S+|\btrial_\d+", "…", said[-1]).partition(":")[0]
    return re.sub(r"\d[\d,.]*", "N", last)


def _go_on(bench: Bench, model: str) -> int:
    for commands in range(MOST_RESUMES):
        runs = bench.app.deps.store.list_runs(model)
        if runs and runs[0].status == "finished":
            return commands
        # Killed before anything was recorded: whoever asked asks again.
        more = ("--resume", runs[0].run_id) if runs else ()
        bench.begin(model, *more).wait()
    return MOST_RESUMES


def faults(app: App, model: str) -> tuple[str, ...]:
    """What is wrong with the registry, the champion's history or the records; nothing, if all is as after one run."""
    deps = app.deps
    runs = deps.store.list_runs(model)
    if [run.status for run in runs] != ["finished"]:
        return (f"runs: {[(run.status, run.error) for run in runs]}",)
    run_id = runs[0].run_id
    keyed = [version.version for version in deps.registry.find_by_tag(model, KEY_TAG, run_id)]
    versions = [version.version for version in deps.registry.list_versions(model)]
    moves = [(event.version, event.how, event.run_id) for event in deps.store.champions(model)]
    champion = deps.registry.by_alias(model, "champion")
    undone = [effect.name for effect in deps.store.effects(run_id) if effect.status != "done"]
    found = {
        "versions with the run's key": (keyed, ["2"]),
        "versions": (versions, ["2", "1"]),
        "moves": (moves, [("2", "deployed", run_id), ("1", "adopted", None)]),
        "champion": (None if champion is None else champion.version, "2"),
        "effects without an end": (undone, []),
        "lease": (deps.store.current_lease(model), None),
    }
    return tuple(f"{what}: {is_} instead of {should}" for what, (is_, should) in found.items() if is_ != should)


def measure(folder: Path, n: int, seed: int, length: float | None) -> list[Trial]:
    """`n` trials, killed at moments drawn evenly from the length of an undisturbed run."""
    bench = Bench(folder)
    if length is None:
        undisturbed = trial(bench, "undisturbed", None)
        if undisturbed.faults or undisturbed.commands:
            raise Unavailable(f"even undisturbed it ended wrong: {undisturbed}\n{bench.log('undisturbed').read_text()}")
        length = undisturbed.seconds
    moments, trials = random.Random(seed), list[Trial]()
    for number in range(1, n + 1):
        trials.append(trial(bench, f"trial_{number}", moments.uniform(0, length)))
        print(f"{number} of {n}, over {length:.1f} s: {trials[-1]}", file=sys.stderr, flush=True)
    return trials


def rows_of(trials: Sequence[Trial]) -> list[Row]:
    """The share that ended right, and where the kills hit."""
    killed = [trial for trial in trials if trial.killed]
    right = sum(not trial.faults for trial in killed)
    name = "killed once, resumed: one version, one move of the alias, finished"
    low_high = share(name, right, len(killed))
    hit = Counter(trial.behind for trial in killed)
    return [
        Row(name, low_high.value, low_high.low, low_high.high, len(killed), "all", right == len(killed)),
        *(share(f"kills behind '{behind}'", count, len(killed)) for behind, count in hit.most_common()),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when a trial ended wrong."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="runs to kill")
    parser.add_argument("--seed", type=int, default=20240229, help="of the moments")
    parser.add_argument("--length", type=float, metavar="SECONDS", help="draw moments from 0 to this; else measured")
    parser.add_argument("--folder", type=Path, help="lay the workspace out there and keep it; else a temporary one")
    asked = parser.parse_args(argv)
    length = QUICK_LENGTH if asked.quick and asked.length is None else asked.length
    with tempfile.TemporaryDirectory(prefix="evals-kill-") as folder:
        trials = measure(
            asked.folder or Path(folder) / "workspace", 1 if asked.quick else asked.trials, asked.seed, length
        )
    rows = rows_of(trials)
    publish(rows, asked.json, quick=asked.quick, trials=[asdict(trial) for trial in trials])
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
