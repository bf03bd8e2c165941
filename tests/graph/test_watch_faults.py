"""What a watch does when a look goes wrong: it tells, tries again, and never leaves the other rollouts without anybody who looks."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.services.watch import Watch
from tests.graph.test_rollback import roll_back
from tests.graph.traffic import endpoint_world, go_on, play, wake
from tests.graph.world import World, with_deps
from tools.adapters.memory_notifier import MemoryNotifier
from tools.errors import TimedOut, Unavailable

FULL = OSError(28, "No space left on device")
LOOK, HOUR = timedelta(minutes=10), timedelta(hours=1)


def at(world: World, weight: int) -> dict[str, Any]:
    """A rollout that waits with this share."""
    play(world)
    return go_on(world, world.run(by="joan"), until=lambda now: now["rollout"].get("weight") == weight)


def asked(world: World, weight: int = 20) -> dict[str, Any]:
    """A person is asked about a candidate with this share, because the target was silent for too long. It answers again."""
    output = at(world, weight)
    world.target.failure = TimedOut("no answer")
    while output["rollout"]["phase"] == "waiting":
        output = wake(world, output)
    world.target.failure = None
    assert (output["rollout"]["phase"], world.target.weights["2"]) == ("inconclusive", weight)
    return output


def looked(world: World, watch: Watch, time: timedelta = LOOK) -> list[Any]:
    world.pass_time(time)
    return list(watch.looks())


# --- a disk that is full -------------------------------------------------------------------------------------------------


def test_people_hear_of_a_rollback_that_no_disk_takes_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier, lines = MemoryNotifier(("1:mail",)), list[str]()
    world = with_deps(endpoint_world(tmp_path), notifier_of=lambda _: notifier, progress=lines.append)
    at(world, 20)
    real = Path.write_text

    def write_text(path: Path, *args: Any, **more: Any) -> int:
        if path.name.startswith("incident"):
            raise FULL
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "write_text", write_text)

    assert roll_back(world)["rollout"]["phase"] == "rolled_back"
    assert [notice.event for _, notice in notifier.sent] == ["rolled_back"]
    assert any("could not be written down" in line for line in lines)


def test_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    world = endpoint_world(tmp_path)
    blocked = world.deps.work_dir / "runs" / "odd"
    blocked.write_text("a file")
    with pytest.raises(Unavailable, match="folder of run odd cannot be made") as caught:
        world.deps.run_dir("odd")
    assert (caught.value.value, caught.value.remedy is not None) == (str(blocked), True)
