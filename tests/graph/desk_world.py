"""A desk over the world in memory, and callers of every kind."""

from typing import Any

from agent.bootstrap import App
from agent.desk import Desk
from tests.graph.world import World
from tools.contracts.access import Caller, Scope
from tools.contracts.request import RetrainingRequest

ALL: frozenset[Scope] = frozenset({"read", "run", "review", "roll_back"})


def desk_over(world: World, **options: Any) -> Desk:
    """What a server builds once; `close` it."""
    workspace: Any = None  # sweeps alone need one
    return Desk(App(workspace, world.deps, world.runs), **options)


def caller(
    name: str = "ada", kind: Any = "person", scopes: Any = ALL, door: Any = "http", models: Any = None
) -> Caller:
    return Caller(name=name, kind=kind, scopes=frozenset(scopes), door=door, models=models)


def asks(model: str = "prices", key: str | None = None, **config: Any) -> RetrainingRequest:
    return RetrainingRequest.model_validate(
        {"modelId": model, "retrainingConfig": {"trigger": "manual", "asOf": "2026-07-01T00:00:00Z", **config}}
        | ({} if key is None else {"idempotencyKey": key})
    )
