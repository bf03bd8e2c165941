"""Killed at any step towards the outside, resumed: the same end, one version, one move of the alias.

By default right after the first of each kind that touches registry, target or people: done, and not yet on record.
`make reliability` stops at every one.

The run is stopped before and after each call of a port that changes something, one stop a try. A stop is no exception
of ours, so nothing on the way may tidy up after it; the next process has only store, checkpoints and the outside world.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.graph.traffic import ROLLOUT, endpoint_world, go_on, play, wake
from tests.graph.world import NAME, World, make_world
from tests.graph.world import with_deps as seen_with
from tools.adapters.memory_notifier import MemoryNotifier
from tools.adapters.memory_target import MemoryTarget

CHANGING = {
    "store": {
        "create_run",
        "update_run",
        "intend",
        "confirm",
        "record_champion",
        "set_hold",
        "record_look",
        "open_review",
        "park",
        "release",
    },
    "registry": {"register", "set_alias", "set_tags"},
    "tracking": {"open_run", "log_json", "log_file", "log_metrics", "set_tags", "close_run"},
    "trainer": {"train"},
    "target": {"apply", "undo", "prepare", "release"},
    "notifier": {"send"},
}


PARTS = 4
"""So that workers can share a scenario."""


class Killed(BaseException):
    """As final as `kill -9`: nobody catches it."""


class Fuse:
    """Blows at the `at`-th changing call: before it, or right after it."""

    def __init__(self, at: int = -1) -> None:
        self.at, self.seen = at, -1
        self.names: list[str] = []

    def burn(self, name: str) -> None:
        self.seen += 1
        self.names.append(name)
        if self.seen == self.at:
            raise Killed(name)


class Fragile:
    """A port whose changing calls burn the fuse."""

    def __init__(self, inner: Any, changing: set[str], fuse: Fuse) -> None:
        self._inner, self._changing, self._fuse = inner, changing, fuse

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name not in self._changing:
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(f"before {name}")
            result = attribute(*args, **kwargs)
            self._fuse.burn(f"after {name}")
            return result

        return call


def fragile(world: World, fuse: Fuse, spared: frozenset[str]) -> World:
    def wrap(port: str, inner: Any) -> Any:
        return inner if port in spared else Fragile(inner, CHANGING[port], fuse)

    deps = world.deps
    notifier = deps.notifier_of(deps.load_profile("prices"))
    return seen_with(
        world,
        store=wrap("store", deps.store),
        registry=wrap("registry", deps.registry),
        tracking=wrap("tracking", deps.tracking),
        trainers={"project": wrap("trainer", deps.trainers["project"])},
        target_of=lambda _: wrap("target", world.target),
        notifier_of=lambda _: wrap("notifier", notifier),
    )


def deploys(folder: Path) -> World:
    return make_world(folder, target=MemoryTarget(can_split=False, weights={"1": 100}))


def rolls_back(folder: Path) -> World:
    world = deploys(folder)
    world.run()
    world.registry.alias_moves.clear()
    world.registry.registrations.clear()
    world.target.calls.clear()
    return world


def told(world: World) -> World:
    """Somebody is to hear of what happens."""
    notifier = MemoryNotifier(("1:mail",))
    return seen_with(world, notifier_of=lambda _: notifier)


def canary(folder: Path) -> World:
    world = told(endpoint_world(folder, rollout={**ROLLOUT, "step_pause": "PT0S", "bake": "PT1M"}))
    play(world, n=40_000)
    return world


def harmful_canary(folder: Path) -> World:
    """Harm shows at the first look; what failed is taken back by the run itself."""
    world = canary(folder)
    play(world, candidate=0.5, n=40_000)
    return world


def aborted(folder: Path) -> World:
    """A canary at 20 % that waits for more answers, about to be taken back by a person."""
    world = told(endpoint_world(folder, rollout={**ROLLOUT, "step_pause": "PT0S", "mirror": 0}))
    assert world.run()["rollout"]["weight"] == 20
    world.target.calls.clear()
    world.registry.registrations.clear()
    return world


SCENARIOS: dict[str, tuple[Callable[[Path], World], str]] = {
    "deploy": (deploys, "retrain"),
    "rollback": (rolls_back, "rollback"),
    "canary": (canary, "retrain"),
    "harmful canary": (harmful_canary, "retrain"),
    "abort": (aborted, "rollback"),
}


def go(world: World, kind: str) -> dict[str, Any]:
    reason = {"reason": "odd prices"} if kind == "rollback" else {}
    return go_on(world, world.run(kind, **reason))  # type: ignore[arg-type]


def resume(world: World, run_id: str) -> None:
    """To its end, by whoever comes next; one that was parked in time is woken at its hour."""
    if world.store.get_run(run_id).wake_at is None:
        go_on(world, world.runs.resume(run_id))
    else:
        go_on(world, wake(world, {"runId": run_id}))


def heard(world: World) -> set[tuple[str, str]]:
    """Channel and event, once each: one that may have left when the process was killed is sent again under the same key."""
    notifier = world.deps.notifier_of(world.deps.load_profile("prices"))
    return (
        {(channel, notice.key) for channel, notice in notifier.sent} if isinstance(notifier, MemoryNotifier) else set()
    )


def traces(world: World) -> dict[str, Any]:
    """What a run left outside; the same for a run that was never killed."""
    return {
        "champion": world.champion,
        "moves": world.moves,
        "versions": [v.version for v in world.registry.list_versions(NAME)],
        "registered": len(world.registry.registrations),
        "history": [(e.version, e.previous, e.how) for e in world.store.champions(NAME)],
        "weights": world.target.weights,
        "mirror": world.target.mirror,
        "loaded": world.target.loaded,
        "asked of the target": {
            (c.action, c.version, c.weight, c.key) for c in world.target.calls if c.action != "status"
        },
        "told": heard(world),
        "held": [hold.scope for hold in world.store.holds()],
        "statuses": sorted(run.status for run in world.store.list_runs()),
        "lease": world.store.current_lease(NAME),
        "kept": sorted(path for run in world.tracking.runs.values() for path in run.artifacts if "lineage/" in path),
        "tracked": sorted(run.status for run in world.tracking.runs.values()),
    }


OUTSIDE = CHANGING["registry"] | CHANGING["target"] | CHANGING["notifier"]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_run_killed_with_a_step_outside_done_and_not_on_record_ends_as_if_never_killed(
    tmp_path: Path, scenario: str
) -> None:
    kill_and_resume(
        tmp_path,
        scenario,
        lambda points: [points.index(f"after {name}") for name in sorted(OUTSIDE) if f"after {name}" in points],
    )


@pytest.mark.reliability
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_run_killed_anywhere_and_resumed_ends_as_if_it_had_never_been_killed(
    tmp_path: Path, scenario: str, part: int
) -> None:
    kill_and_resume(tmp_path, scenario, lambda points: list(range(part, len(points), PARTS)))


def kill_and_resume(tmp_path: Path, scenario: str, chosen: Callable[[list[str]], list[int]]) -> None:
    """One run that is left alone, then one for each of its chosen points: killed there, resumed, compared."""
    make, kind = SCENARIOS[scenario]
    # Training and reports are the same in every scenario, and killed in two of them.
    spared = frozenset() if scenario in ("deploy", "rollback") else frozenset({"tracking", "trainer"})
    whole, fuse = make(tmp_path / "whole"), Fuse()
    go(fragile(whole, fuse, spared), kind)
    expected, points = traces(whole), list(fuse.names)
    runs_of_whole = whole.store.list_runs()
    assert len(points) > 20
    tried = chosen(points)
    resumed = 0

    for at in tried:
        point = points[at]
        world = make(tmp_path / str(at))
        with pytest.raises(Killed):
            go(fragile(world, Fuse(at), spared), kind)
        # The process is gone, its lease is not: whoever comes next sees that nobody holds it any more.
        unfinished = [run for run in world.store.list_runs() if run.status not in ("finished", "aborted")]
        ours = next((run for run in unfinished if run.kind == kind), None)
        if ours is None:
            if unfinished or len(world.store.list_runs()) < len(runs_of_whole):
                continue  # killed before there was a run
            # Killed after its end: the lease of a dead process is anybody's.
            assert {**traces(world), "lease": None} == expected, f"killed {point} ({at})"
            continue
        resume(world, ours.run_id)
        resumed += 1

        assert traces(world) == expected, f"killed {point} ({at})"

    assert resumed > len(tried) / 2
