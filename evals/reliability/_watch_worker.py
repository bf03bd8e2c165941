"""One process that watches a workspace at a given time: the real loop, store and profiles; runs are records, not trainings."""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent.deps import Deps
from agent.services.evaluate import Evaluator
from agent.services.looks import Looked
from agent.services.trigger_alerts import Sender
from agent.services.watcher import WatchLoop
from agent.watched_profiles import WatchedProfiles
from agent.workspace import load_workspace
from tools.adapters.processes import this_holder
from tools.adapters.store import SqlStore
from tools.alerts import Alert
from tools.contracts.run import RunRecord
from tools.contracts.triggers import Evaluation, Firing
from tools.trigger_rules import Observation

HEAVY = ("mlflow", "evidently", "ibis", "pandas", "langgraph", "duckdb")


class Recorded:
    """A run is a record under the firing's key, which is then finished."""

    def __init__(self, store: SqlStore, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock

    def start(self, firing: Firing) -> str:
        now = self._clock()
        run_id = f"r{os.getpid()}-{time.monotonic_ns()}"
        record = RunRecord(
            run_id=run_id,
            model_id=firing.model_id,
            model_name=firing.model_id,
            kind="retrain",
            status="running",
            requested_by="watch",
            idempotency_key=firing.key,
            created_at=now,
            updated_at=now,
        )
        made = self._store.create_run(record)
        if made.status == "running":
            self._store.update_run(made.run_id, status="finished")
        return made.run_id

    def resume(self, run_id: str) -> None:
        self._store.update_run(run_id, status="finished")

    def going(self) -> int:
        return 0

    def is_driven(self, record: RunRecord) -> bool:
        return record.run_id.startswith(f"r{os.getpid()}-")


class Counted:
    """How many evaluations there were, by code."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def evaluated(self, found: Evaluation, seconds: float) -> None:
        self.codes[found.code] = self.codes.get(found.code, 0) + 1

    def fired(self, firing: Firing) -> None: ...

    def resumed(self, run_id: str) -> None: ...


def no_look(_: Deps, __: Any) -> Looked:
    """A look is another eval's business (`evals.speed.drift`); what is measured here is what surrounds it."""
    return Looked(Observation("drift", False, "fresh", "Not looked at."), Alert(level="none"))


def main() -> None:
    """Rounds at the times that are named, one JSON line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at", action="append", required=True, help="time of a round; repeatable")
    asked = parser.parse_args()
    space = load_workspace(asked.folder / "retraining.yaml")
    begun = {"at": datetime.fromisoformat(asked.at[0]), "monotonic": time.monotonic()}

    def clock() -> datetime:
        return begun["at"] + timedelta(seconds=time.monotonic() - begun["monotonic"])

    store, profiles, holder, counted = SqlStore(space.store, clock), WatchedProfiles(space), this_holder(), Counted()
    deps: Any = _Deps(store, clock, space.root, profiles.load)
    loop = WatchLoop(
        deps,
        holder=holder,
        stamps=profiles.stamps,
        evaluator=Evaluator(deps, profiles.load, holder, no_look),
        starter=Recorded(store, clock),
        sender=Sender(deps, profiles.load, holder),
        hears=counted,
        most_runs=50,
    )
    loop.begin()
    for at in asked.at:
        begun["at"], begun["monotonic"] = datetime.fromisoformat(at), time.monotonic()
        counted.codes = {}
        cpu, wall = time.process_time(), time.monotonic()
        count = loop.tick()
        told = {
            "at": at,
            "evaluated": count,
            "seconds": time.monotonic() - wall,
            "cpu": time.process_time() - cpu,
            "codes": counted.codes,
            "rss_mb": _rss(),
            "heavy": [name for name in HEAVY if name in sys.modules],
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    loop.end()


def _rss() -> float:
    import psutil

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return max(peak, psutil.Process().memory_info().rss / 2**20)


class _Deps:
    """Of `Deps` what a watch without looks and runs needs: nothing heavy is built."""

    def __init__(self, store: SqlStore, clock: Callable[[], datetime], root: Path, load: Callable[[str], Any]) -> None:
        self.store, self.clock, self.root, self.load_profile = store, clock, root, load
        self.progress: Callable[[str], None] = lambda _: None

    def notifier_of(self, _: Any) -> Any:
        from agent.deps import Nobody

        return Nobody()


if __name__ == "__main__":
    main()
