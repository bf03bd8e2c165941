"""A watcher over the world in memory, with looks that are scripted or real, and runs that are only noted or really driven."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agent.deps import Deps
from agent.services.evaluate import Evaluator
from agent.services.looks import Looked
from agent.services.trigger_alerts import Sender
from agent.services.watcher import WatchLoop
from tests.graph.world import World
from tools.alerts import Alert
from tools.contracts.profile import Profile
from tools.contracts.run import RunRecord
from tools.contracts.triggers import Evaluation, Firing, TriggerAlert
from tools.errors import RetrainingError
from tools.trigger_rules import Observation

HOLDER = "test:1:1"


class NotedRuns:
    """Starts nothing, but a record in the store under the firing's key: what makes a run one."""

    def __init__(self, world: World, *, leaves: str = "finished") -> None:
        self.world, self.leaves = world, leaves
        self.started: list[str] = []
        self.resumed: list[str] = []
        self.failure: RetrainingError | None = None

    def start(self, firing: Firing) -> str:
        if self.failure is not None:
            raise self.failure
        now = self.world.deps.clock()
        record = RunRecord(
            run_id=f"run-{len(self.started) + 1}",
            model_id=firing.model_id,
            model_name="prices.eu.hourly",
            kind=firing.kind,
            status="running",
            requested_by="watch",
            idempotency_key=firing.key,
            order=None,
            created_at=now,
            updated_at=now,
        )
        made = self.world.store.create_run(record)
        if made.run_id == record.run_id:
            self.started.append(firing.key)
            self.world.store.update_run(made.run_id, status=self.leaves)
        return made.run_id

    def resume(self, run_id: str) -> None:
        self.resumed.append(run_id)
        self.world.store.update_run(run_id, status="finished")

    def going(self) -> int:
        return 0

    def is_driven(self, record: RunRecord) -> bool:
        return False


class Nobody:
    """Counts nothing."""

    def evaluated(self, found: Evaluation, seconds: float) -> None: ...
    def fired(self, firing: Firing) -> None: ...
    def resumed(self, run_id: str) -> None: ...


def stale(kind: Any = "drift", level: Any = "ticket", told: str = "It drifted.") -> Looked:
    return Looked(Observation(kind, True, "stale", told), Alert(level=level, reasons=(told,)))


def fresh() -> Looked:
    return Looked(Observation("drift", False, "fresh", "It is fresh."), Alert(level="none"))


def unknown(told: str = "The source is gone.") -> Looked:
    return Looked(Observation("drift", None, "could_not_measure", told), Alert(level="none"))


@dataclass
class Tower:
    """One watcher; `again` is the next process."""

    world: World
    stamps: dict[str, str] = field(default_factory=lambda: {"prices": "1"})
    seen: Callable[[], Looked] = fresh
    looks: int = 0
    runs: NotedRuns | Any = None
    holder: str = HOLDER
    dry_run: bool = False
    load: Callable[[str], Profile] | None = None
    loop: WatchLoop = field(init=False)

    def __post_init__(self) -> None:
        self.runs = self.runs or NotedRuns(self.world)
        self.loop = self._built()

    def _built(self) -> WatchLoop:
        deps, load = self.world.deps, self.load or self.world.deps.load_profile

        def look(_: Deps, __: Profile) -> Looked:
            self.looks += 1
            return self.seen()

        made = WatchLoop(
            deps,
            holder=self.holder,
            stamps=lambda: dict(self.stamps),
            evaluator=Evaluator(deps, load, self.holder, look),
            starter=self.runs,
            sender=Sender(deps, load, self.holder),
            hears=Nobody(),
            dry_run=self.dry_run,
        )
        made.begin()
        return made

    def again(self, holder: str = "test:2:2") -> "Tower":
        """The watcher that comes after a crash."""
        return Tower(self.world, self.stamps, self.seen, runs=self.runs, holder=holder, load=self.load)

    def pass_time(self, span: timedelta, step: timedelta = timedelta(minutes=10)) -> None:
        """Round after round."""
        until = self.world.now[0] + span
        self.loop.tick()
        while self.world.now[0] < until:
            self.world.pass_time(min(step, until - self.world.now[0]))
            self.world.store.beat_watching(self.holder, self.world.now[0])
            self.loop.tick()

    def codes(self, model_id: str = "prices") -> list[str]:
        """Oldest first; what was counted together once."""
        return [each.code for each in reversed(self.world.store.evaluations(model_id, 1000))]

    @property
    def alerts(self) -> list[TriggerAlert]:
        """All that was ever raised, sent or not."""
        return list(self.world.store._alerts.values())

    @property
    def fired_at(self) -> list[datetime]:
        return [each.at for each in reversed(self.world.store.firings())]


def edit(world: World, tower: Tower, **triggers: Any) -> None:
    """The profile with other triggers; its file has another stamp then."""
    world.profile["triggers"] = {**world.profile["triggers"], **triggers}
    tower.stamps = {name: f"{stamp}+" for name, stamp in tower.stamps.items()}


def profile_triggers(**triggers: Any) -> Mapping[str, Any]:
    """Of a world's profile: no regular look unless the test says so."""
    return {"recent": "20d", "drift": {}, "performance": {"max_loss": 0.03}, "check": None, **triggers}
