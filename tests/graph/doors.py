"""The in-memory world behind a desk: what the tests of the doors stand on."""

import threading
from collections.abc import Callable
from typing import Any

from agent.bootstrap import App
from agent.desk import Desk
from agent.requests import parse_request
from agent.services.runs import Runs
from agent.workspace import Workspace
from tests.graph.world import PERSON, World, with_deps
from tools.adapters.processes import this_holder
from tools.contracts.access import Caller, Scope
from tools.contracts.request import RetrainingRequest
from tools.contracts.training import TrainingOrder, TrainingResult

ALL: frozenset[Scope] = frozenset({"read", "run", "review", "roll_back"})
ADA = Caller(name=PERSON, kind="person", scopes=ALL, door="http")


def app_of(world: World) -> App:
    root = world.deps.root
    space = Workspace(
        root=root,
        tracking_uri="memory",
        registry_uri="memory",
        store="memory",
        profiles_dir=root / "profiles",
        work_dir=world.deps.work_dir,
    )
    # A holder that lives: of two drives of one run, the second is refused.
    return App(space, world.deps, Runs(world.deps, world.checkpoints, this_holder()))


def desk_of(world: World) -> Desk:
    return Desk(app_of(world))


def asked(model: str = "prices", *, key: str | None = None, **config: Any) -> RetrainingRequest:
    data = {"modelId": model, "retrainingConfig": {"trigger": "manual", **config}}
    return parse_request(data if key is None else {**data, "idempotencyKey": key})[0]


class Gate:
    """A trainer that begins and then waits until the test lets it go on."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.begun, self.open = threading.Event(), threading.Event()

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        progress("training has begun")
        self.begun.set()
        assert self.open.wait(60)
        return self._inner.train(order, progress)


def gated(world: World) -> tuple[World, Gate]:
    gate = Gate(world.trainer)
    return with_deps(world, trainers={"project": gate}), gate
