"""A deployment-engineer that says what is not so: nothing is proved by it, and what it said is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.services.peer_work import Answer, engineer
from evals.decisions.doors_peers import served
from tests.graph.world import World, make_world, with_deps
from tools.adapters.memory_target import MemoryTarget
from tools.adapters.remote_peer import RemotePeer
from tools.adapters.remote_ports import RemoteTarget
from tools.contracts.peer_settings import PeerSpec

Reply = dict[str, Any]


def run_with(folder: Path, target: MemoryTarget, lies: Callable[[str, Any, Reply], None]) -> tuple[World, Reply]:
    """One run of a clearly better candidate; the peer answers over its real transport."""
    world = make_world(folder, target=target)
    honest = engineer(world.deps)

    def answer(action: str, message: Any, files: Any) -> Reply:
        reply = honest(action, message, files)
        lies(action, message, reply["payload"])
        return reply

    told: Answer = answer
    with served("deployment-engineer", told) as url:
        peer = RemotePeer("deployment-engineer", PeerSpec(url=url))
        remote = RemoteTarget(peer, "prices", target, world.deps.clock, world.deps.new_id)
        world = with_deps(world, target_of=lambda _: remote)
        return world, world.run()


def _claim(message: Any, payload: Reply) -> None:
    version = message["payload"]["modelArtifact"]["version"]
    payload |= {"observedWeights": {version: 100}, "healthy": True}


def stuck() -> MemoryTarget:
    """An endpoint that serves the old version whatever it is told."""
    target = MemoryTarget(can_split=False, weights={"1": 100})
    target.serves = {"1": 100}
    return target


def test_claim_at_the_deployment_is_not_believed_over_the_next_look(tmp_path: Path) -> None:
    def lies(action: str, message: Any, payload: Reply) -> None:
        if action == "apply":
            _claim(message, payload)

    world, output = run_with(tmp_path, stuck(), lies)

    assert (output["rollout"]["phase"], world.moves, world.champion) == ("rolled_back", [], "1")


def test_claim_at_every_look_is_held_against_the_endpoint_and_named(tmp_path: Path) -> None:
    world, output = run_with(tmp_path, stuck(), lambda _, message, payload: _claim(message, payload))

    assert (output["rollout"]["proof"], world.moves, world.champion) == ("unproved", [], "1")
    assert (
        "the deployment-engineer says that version 2 at 100 % is served, the endpoint itself reports version 1 at 100 %"
        in output["rollout"]["statement"]
    )


def test_claim_of_health_is_held_against_the_endpoint(tmp_path: Path) -> None:
    target = MemoryTarget(can_split=False, weights={"1": 100})
    target.healthy = False

    def lies(action: str, message: Any, payload: Reply) -> None:
        payload["healthy"] = True

    world, output = run_with(tmp_path, target, lies)

    assert (output["rollout"]["phase"], world.moves, world.champion) == ("rolled_back", [], "1")


def test_honest_engineer_brings_the_new_version_and_the_proof(tmp_path: Path) -> None:
    world, output = run_with(tmp_path, MemoryTarget(can_split=False, weights={"1": 100}), lambda *_: None)

    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("promoted", "proved")
    assert (world.moves, world.champion) == ([("1", "2")], "2")
