"""The whole machine over the shipped in-memory adapters: no process, no MLflow, a clock that can be turned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from langgraph.checkpoint.memory import InMemorySaver

from agent.deps import Deps
from agent.services import adopt
from agent.services.runs import Runs
from prompts.loader import load as load_prompt
from tests.streams import CHANGE, NOW, stream
from tools.adapters.evaluator_local import LocalModelEvaluator
from tools.adapters.memory_data import MemoryData
from tools.adapters.memory_peers import ScriptedDriftDetective
from tools.adapters.memory_registry import MemoryRegistry, MemoryTracking
from tools.adapters.memory_store import MemoryStore
from tools.adapters.memory_target import MemoryTarget
from tools.adapters.memory_training import ScriptedScorer, ScriptedTrainer, trained
from tools.adapters.template_rationale import TemplateWriter
from tools.contracts.peers import DriftReply
from tools.contracts.profile import Profile
from tools.contracts.request import RetrainingRequest, RunKind, RunOrder
from tools.contracts.training import ModelVersion
from tools.errors import NotFound, Unavailable
from tools.ports import RationaleWriter

NAME = "prices.eu.hourly"
PERSON = "ada"
BETTER, WORSE, TWIN, BROKEN = "models:/m-better", "models:/m-worse", "models:/m-twin", "models:/m-broken"
ROWS = stream("2h")

PROFILE: dict[str, Any] = {
    "id": "prices",
    "registered_model": NAME,
    "mode": "act",
    "task": "classification",
    "data": {
        "source": "rows",
        "event_time": "at",
        "target": "y",
        "features": ["a", "b", "c"],
        "key": ["at"],
        "label_maturity": "1d",
    },
    "data_window": "60d",
    "validation_strategy": "latest:25d",
    # Each of them alone decides the label in its half of the stream: somebody has looked at that.
    "validation": {"min_rows": 100, "allow_leak": ["a", "b"]},
    "metrics": {
        "primary": {"name": "accuracy", "min_improvement": 0.02},
        "guardrails": [{"name": "log_loss", "margin": 0.05}],
    },
    "training": {"kind": "project", "uri": "."},
    "triggers": {"recent": "20d", "drift": {}, "performance": {"max_loss": 0.03}},
    "review": {"approvers": [PERSON], "expires_after": "7d"},
}


def by(column: str, sure: float = 0.9, sign: int = 1) -> Any:
    """A model that goes by one column."""

    def predict(frame: pd.DataFrame) -> Mapping[str, Any]:
        up = frame[column] * sign > 0
        one = up.map({True: sure, False: 1 - sure}).to_numpy()
        return {"prediction": up.astype("int64").to_numpy(), "proba:0": 1 - one, "proba:1": one}

    return predict


def drift(score: float, severity: str) -> DriftReply:
    """What the drift-detective says about all three columns."""
    features = [
        {"feature": name, "driftScore": score, "driftType": "data_drift", "severity": severity}
        for name in ("a", "b", "c")
    ]
    report = {"overallDriftScore": score, "featureDrift": features}
    return DriftReply.model_validate({"driftReport": report, "alerts": [], "recommendations": []})


NO_DRIFT = drift(0.0, "none")


class _Registry(MemoryRegistry):
    """Lets the scorer find a registered version's model, as a real one does by downloading it."""

    scorer: ScriptedScorer

    def register(self, name: str, model_uri: str, source_run_id: str | None, tags: Mapping[str, str]) -> ModelVersion:
        made = super().register(name, model_uri, source_run_id, tags)
        self.scorer.models[made.model_uri] = self.scorer.models[model_uri]
        # The same files, wherever they are fetched from.
        self.scorer.digests[made.model_uri] = self.scorer.digest(model_uri) or model_uri
        return made


@dataclass
class World:
    """Everything a test may turn or read. `runs` is what a door would call."""

    deps: Deps
    store: MemoryStore
    registry: MemoryRegistry
    tracking: MemoryTracking
    trainer: ScriptedTrainer
    scorer: ScriptedScorer
    target: MemoryTarget
    data: MemoryData
    checkpoints: InMemorySaver
    now: list[datetime]
    profile: dict[str, Any]

    @property
    def runs(self) -> Runs:
        """A new process each time: nothing but store, checkpoints and the outside world is kept."""
        return Runs(self.deps, self.checkpoints, "test:1:1")

    def order(self, kind: RunKind = "retrain", *, by: str = PERSON, request: Any = None, **changes: Any) -> RunOrder:
        config = {"trigger": "manual", **((request or {}).get("retrainingConfig", {}))}
        parsed = RetrainingRequest.model_validate({"modelId": "prices", **(request or {}), "retrainingConfig": config})
        return RunOrder(kind=kind, request=parsed, requested_by=by, as_of=NOW, **changes)

    def run(self, kind: RunKind = "retrain", **changes: Any) -> dict[str, Any]:
        return self.runs.start(self.order(kind, **changes))

    def pass_time(self, time: timedelta) -> None:
        self.now[0] += time

    @property
    def champion(self) -> str | None:
        found = self.registry.by_alias(NAME, "champion")
        return None if found is None else found.version

    @property
    def moves(self) -> list[tuple[str | None, str]]:
        """Moves of the champion alias since the world began."""
        return [(move.was, move.to) for move in self.registry.alias_moves if move.alias == "champion"]

    @property
    def touched(self) -> bool:
        """Whether anything outside moved: a version, an alias, traffic."""
        applied = [call for call in self.target.calls if call.action != "status"]
        return bool(self.registry.registrations or self.registry.alias_moves or applied)


def make_world(
    folder: Path,
    *,
    champion: bool = True,
    trains: str = BETTER,
    target: MemoryTarget | None = None,
    rationale: RationaleWriter | None = None,
    rows: pd.DataFrame = ROWS,
    **profile: Any,
) -> World:
    """A champion (version 1) from before the change, adopted; a pipeline that gives `trains`."""
    now = [datetime(2026, 7, 1, 12, tzinfo=UTC)]
    clock = lambda: now[0]  # noqa: E731
    content = PROFILE | profile
    store, tracking = MemoryStore(clock), MemoryTracking()
    registry = _Registry(clock)
    registry.scorer = scorer = ScriptedScorer({BETTER: by("b"), WORSE: by("b", sign=-1), TWIN: by("a")})
    served = target or MemoryTarget(can_split=False, can_prove=False)
    trainer, data = ScriptedTrainer(trained(trains)), MemoryData({"rows": rows})
    numbers = iter(range(1, 1000))

    def load(model_id: str) -> Profile:
        if model_id not in ("prices", NAME):
            raise NotFound(f"no profile for model {model_id!r}", thing="modelId", value=model_id, remedy="prices")
        return Profile.model_validate(world.profile)

    deps = Deps(
        store=store,
        registry=registry,
        tracking=tracking,
        data=data,
        trainers={"project": trainer},
        scorer=scorer,
        drift_detective=ScriptedDriftDetective(NO_DRIFT),
        model_evaluator=LocalModelEvaluator(clock),
        target_of=lambda _: served,
        rationale=rationale or TemplateWriter(load_prompt("template_rationale")),
        root=folder,
        work_dir=folder / "work",
        clock=clock,
        new_id=lambda: f"r{next(numbers)}",
        load_profile=load,
    )
    world = World(deps, store, registry, tracking, trainer, scorer, served, data, InMemorySaver(), now, content)
    if champion:
        _adopt(world)
    return world


def add_version(world: World, predict: Any, **tags: str) -> str:
    """A version that somebody registered by hand."""
    made = world.registry.add(NAME, tags=tags)
    world.scorer.models[made.model_uri] = predict
    return made.version


def _adopt(world: World) -> None:
    add_version(world, by("a"))
    world.registry.set_alias(NAME, "champion", "1")
    profile = world.deps.load_profile("prices")
    rows = world.data.write_labelled(profile.data, None, CHANGE, CHANGE, world.deps.run_dir("first") / "rows.parquet")
    version = world.registry.get_version(NAME, "1")
    adopt.adopt(world.deps, profile, version=version, training=rows, as_of=CHANGE + timedelta(days=30), by="test")
    world.registry.alias_moves.clear()


def with_deps(world: World, **changes: Any) -> World:
    """The same world seen through other ports."""
    return replace(world, deps=replace(world.deps, **changes))


class Broken(MemoryData):
    """A source in which one thing does not work any more."""

    def __init__(self, inner: MemoryData, method: str) -> None:
        super().__init__(inner.frames)
        self._method = method

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "__dict__").get("_method"):
            raise Unavailable(f"{name}: the connection was closed in mid-read", thing="data.source")
        return object.__getattribute__(self, name)
