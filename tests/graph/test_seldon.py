# pyright: basic
"""Whole runs over Seldon's doubles: promoted, taken back, killed between any two writes, and an API server that fails in the middle.

Three things are played: the API server, the controller that writes conditions, and the mesh that answers for the Models.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kubernetes.client import ApiClient

from agent.services import active
from agent.services.watch import Watch
from tests import kubernetes_double
from tests.graph.test_kill_points import Killed, resume
from tests.graph.traffic import ROLLOUT, endpoint_world, go_on, play, wake
from tests.graph.world import NAME, World, with_deps
from tests.kubernetes.world import request
from tests.kubernetes_double import ControllerDouble, FakeApi, Page
from tools.adapters.seldon.answers import one_retry
from tools.adapters.seldon.target import SeldonTargetAdapter
from tools.contracts.profile import SeldonTarget
from tools.errors import Unavailable


@contextmanager
def mesh(api: FakeApi, world: World) -> Iterator[str]:
    """Answers requests for a Model as the version does whose files it holds."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            name = self.headers["seldon-model"]
            version = api.objects["models", "models", name]["spec"]["storageUri"].rpartition("/")[2]
            rows = pd.DataFrame({each["name"]: each["data"] for each in asked["inputs"]})
            predict: Any = world.scorer.models[f"models:/{NAME}/{version}"]
            given = predict(rows)["prediction"]
            outputs = [{"name": "y", "shape": [len(rows)], "datatype": "INT64", "data": given.tolist()}]
            data = json.dumps({"model_name": f"{name}_1", "outputs": outputs}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


class Mortal(ApiClient):
    """A client whose process is killed after every write, once it is told to be."""

    dies = False

    def call_api(self, method: str, *args: Any, **given: Any) -> Any:
        result = super().call_api(method, *args, **given)
        if self.dies and method != "GET":
            raise Killed(method)
        return result


@dataclass
class Scene:
    """A model whose version 1 serves on Seldon, with traffic on it."""

    world: World
    api: FakeApi
    controller: ControllerDouble
    target: SeldonTargetAdapter

    @property
    def served(self) -> dict[str, int] | None:
        return self.target.status(request("1")).observed_weights

    @property
    def objects(self) -> dict[str, Any]:
        return {f"{plural}/{name}": each["spec"] for (_, plural, name), each in self.api.objects.items()}

    def traces(self) -> dict[str, Any]:
        world = self.world
        return {
            "cluster": self.objects,
            "champion": world.champion,
            "moves": world.moves,
            "registered": len(world.registry.registrations),
            "history": [(e.version, e.previous, e.how) for e in world.store.champions(NAME)],
            "held": [hold.scope for hold in world.store.holds()],
            "statuses": [run.status for run in world.store.list_runs()],
            "effects": {effect.name: effect.status for effect in world.store.effects("r1")},
        }


Make = Callable[..., Scene]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def made(name: str = "one", *, candidate: float = 0.01, dies: bool = False, **rollout: Any) -> Scene:
            api, controller, client = stack.enter_context(kubernetes_double.running())
            # Whether the champion is stale is asked elsewhere: a person insists here.
            content = {"triggers": {"recent": "20d"}, "rollout": {**ROLLOUT, "bake": "PT1M", **rollout}}
            world = endpoint_world(tmp_path / name, **content)
            play(world, candidate=candidate)
            log = world.target.log
            url = stack.enter_context(mesh(api, world))
            mortal = Mortal(one_retry(client.configuration))
            stack.callback(mortal.rest_client.pool_manager.clear)
            spec = SeldonTarget(
                name="prices",
                namespace="models",
                storage_uri="s3://b/{version}",
                inference_url=url,
                time_limit=timedelta(seconds=20),
            )
            target = SeldonTargetAdapter(spec, NAME, str, mortal, poll_seconds=0.02)
            target.apply(request("1"))
            mortal.dies = dies
            seen = with_deps(world, target_of=lambda _: target, traffic_log_of=lambda *_: log)
            return Scene(seen, api, controller, target)

        yield made


ONLY_CHAMPION = {"models/prices": {"storageUri": "s3://b/1", "requirements": ["mlflow"]}}
ONLY_CANDIDATE = {"models/prices": {"storageUri": "s3://b/2", "requirements": ["mlflow"]}}


def test_canary_on_seldon_is_mirrored_weighed_baked_and_promoted_to_one_model(make: Make):
    scene = make()
    output = scene.world.run()
    assert scene.objects["experiments/prices"]["mirror"] == {"name": "prices-v2", "percent": 100}
    output = go_on(scene.world, output, until=lambda now: now["rollout"].get("weight") == 20)
    assert scene.served == {"1": 80, "2": 20}

    output = go_on(scene.world, output)

    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("promoted", "proved")
    assert (scene.world.champion, scene.world.moves) == ("2", [("1", "2")])
    assert (scene.objects, scene.served) == (ONLY_CANDIDATE, {"2": 100})


def test_harmful_canary_on_seldon_is_taken_back_and_unloaded(make: Make):
    scene = make()
    output = go_on(scene.world, scene.world.run(), until=lambda now: now["rollout"].get("weight") == 20)
    play(scene.world, candidate=0.5)

    output = go_on(scene.world, output)

    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("rolled_back", "proved")
    assert (scene.world.champion, scene.world.moves) == ("1", [])
    assert (scene.objects, scene.served) == (ONLY_CHAMPION, {"1": 100})


def test_api_server_that_fails_for_some_looks_costs_a_rollout_nothing(make: Make):
    scene = make()
    output = go_on(scene.world, scene.world.run(), until=lambda now: now["rollout"].get("weight") == 20)
    for status in (429, 500):
        scene.api.refuse = status
        output = wake(scene.world, output)
        assert (output["rollout"]["phase"], output["rollout"]["weight"]) == ("waiting", 20)
        assert f"{status} refused with {status}" in output["rollout"]["statement"]
    scene.api.refuse, scene.api.page = None, Page(502, b"<html>bad gateway</html>")
    output = wake(scene.world, output)
    assert "502 Bad Gateway" in output["rollout"]["statement"]
    assert "<html" not in output["rollout"]["statement"]
    scene.api.page = None

    assert go_on(scene.world, output)["rollout"]["phase"] == "promoted"
    assert scene.objects == ONLY_CANDIDATE


@pytest.mark.parametrize(("status", "told"), [(403, "give the account the role"), (422, "refuses")])
def test_api_server_that_refuses_for_good_ends_the_rollout_once_it_can_be_told(make: Make, status: int, told: str):
    scene = make()
    output = go_on(scene.world, scene.world.run(), until=lambda now: now["rollout"].get("weight") == 20)
    scene.api.refuse = status
    with pytest.raises(Unavailable, match="could not be told to go back"):
        wake(scene.world, output)
    record = scene.world.store.get_run(output["runId"])
    assert (record.status, scene.world.champion, scene.world.moves) == ("failed", "1", [])
    assert "The target refuses to go on" in (record.error or "")
    assert told in (record.error or "")
    assert active.find(scene.world.deps, scene.world.deps.load_profile("prices")) is not None
    scene.api.refuse = None

    scene.world.pass_time(timedelta(minutes=10))
    (look,) = Watch(scene.world.deps, scene.world.runs).looks()

    assert look.output is not None
    assert look.output["rollout"]["phase"] == "rolled_back"
    assert (scene.objects, scene.served) == (ONLY_CHAMPION, {"1": 100})


@pytest.mark.parametrize(
    ("candidate", "writes"), [pytest.param(0.01, 7, id="promoted"), pytest.param(0.5, 4, id="taken back")]
)
def test_rollout_killed_after_every_write_to_the_cluster_ends_as_if_it_had_never_been(
    make: Make, candidate: float, writes: int
):
    whole = make("whole", candidate=candidate, step_pause="PT0S")
    go_on(whole.world, whole.world.run())
    scene = make("killed", candidate=candidate, dies=True, step_pause="PT0S")

    kills = 0
    with suppress(Killed):
        go_on(scene.world, scene.world.run())
    while scene.world.store.get_run("r1").status != "finished":
        kills += 1
        assert kills <= writes, "what was done is done again"
        with suppress(Killed):
            resume(scene.world, "r1")

    assert kills == writes
    assert scene.traces() == whole.traces()
    assert scene.objects == (ONLY_CANDIDATE if candidate == 0.01 else ONLY_CHAMPION)
