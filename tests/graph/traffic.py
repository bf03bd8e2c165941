"""An endpoint in memory with traffic on it: both versions answer, one of them as badly as a test says."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.graph.world import NAME, World, make_world
from tools.adapters.memory_target import MemoryTarget, MemoryTrafficLog
from tools.contracts.rollout import EndpointAnswer
from tools.observations import Observations

ROLLOUT: dict[str, Any] = {
    "risk": "high",
    "canary_weights": [20],
    "step_pause": "PT1M",
    "bake": "PT5M",
    "max_duration": "PT2H",
    "metrics": [{"name": "errors", "margin": 0.05, "min_samples": 100}],
}


def endpoint_world(folder: Path, **profile: Any) -> World:
    """Version 1 serves, at an endpoint that can split, mirror, be loaded into and be asked."""
    log = MemoryTrafficLog()
    target = MemoryTarget(weights={"1": 100}, can_mirror=True, log=log, answers=lambda v, rows: answer(v, rows))
    world = make_world(folder, target=target, **{"rollout": ROLLOUT, **profile})

    def answer(version: str, rows: Path) -> EndpointAnswer:
        predict: Any = world.scorer.models[f"models:/{NAME}/{version}"]
        got = [value.item() for value in predict(pd.read_parquet(rows))["prediction"]]
        return EndpointAnswer(
            version=version, predictions=tuple(got), latency_ms=(2.0,) * len(got), memory_mb=100.0, load_seconds=3.0
        )

    return world


def play(world: World, *, champion: float = 0.01, candidate: float = 0.01, n: int = 4000) -> None:
    """Traffic from now on for an hour: `n` requests to each version, of which these shares fail."""
    g, start = np.random.default_rng(5), world.now[0].timestamp()
    at = start + np.sort(g.uniform(0, 3600, 2 * n))
    candidates = g.random(2 * n) < 0.5
    failed = g.random(2 * n) < np.where(candidates, candidate, champion)
    count = 2 * n
    world.target.log.rows = Observations(  # type: ignore[union-attr]
        request_id=np.array([f"q{i}" for i in range(count)], dtype=object),
        version=np.where(candidates, "2", "1").astype(object),
        at=at,
        mirrored=np.zeros(count, dtype=bool),
        failed=failed,
        latency_ms=np.full(count, 2.0),
        prediction=np.array([None if gone else 1 for gone in failed], dtype=object),
        probability=np.full(count, np.nan),
        label=np.full(count, None, dtype=object),
        label_at=np.full(count, np.nan),
    )


def wake(world: World, output: dict[str, Any], *, at_least: timedelta = timedelta(0)) -> dict[str, Any]:
    """The next look, at its hour or later."""
    hour = world.store.get_run(output["runId"]).wake_at
    assert hour is not None
    world.now[0] = max(hour, world.now[0] + at_least)
    return world.runs.resume(output["runId"])


def go_on(
    world: World, output: dict[str, Any], until: Callable[[dict[str, Any]], bool] | None = None
) -> dict[str, Any]:
    """Looks, ten minutes apart, until the run ends, a person is asked, or `until` says so."""
    for _ in range(60):
        if output["status"] != "parked" or "reviewId" in output["deploymentDecision"]:
            return output
        if until is not None and until(output):
            return output
        output = wake(world, output, at_least=timedelta(minutes=10))
    raise AssertionError(f"the rollout does not end: {output['rollout']}")
