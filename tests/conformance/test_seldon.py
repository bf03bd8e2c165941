# pyright: basic
"""The Seldon scenarios over the shipped double of an API server; tests/kubernetes runs them over a real one."""

import json
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests import kubernetes_double
from tests.kubernetes.server_scenarios import *  # noqa: F403
from tests.kubernetes.target_scenarios import *  # noqa: F403
from tests.kubernetes.world import World, request
from tests.kubernetes_double import Page
from tools.adapters.seldon.target import SeldonTargetAdapter
from tools.contracts.profile import SeldonTarget
from tools.contracts.rollout import EndpointAnswer
from tools.errors import BadInput, NotAllowed, RetrainingError, TimedOut, Unavailable
from tools.seldon import VERSION_KEY

JSON = {"content-type": "application/json"}
SELDON = SeldonTarget(name="prices", namespace="models", storage_uri="s3://b/{version}")


@pytest.fixture
def world() -> Iterator[World]:
    with kubernetes_double.running() as (api, controller, client):
        yield World(client, controller, api)


@pytest.fixture
def quiet(world: World) -> World:
    """Without a controller."""
    world.controller.stop()
    return world


# --- what only the double can be told to do ---------------------------------------------------------------------------


def test_every_manifest_that_a_rollout_writes_keeps_to_the_real_crds(world: World):
    schemas = kubernetes_double.crd_schemas()
    if not schemas:
        pytest.skip("../shared/kubernetes-crds is not beside this checkout")
    target = world.serving_6(memory="100Mi", requirements=("mlflow", "sklearn"))
    target.apply(request("7", 0, "6", mirror=30))
    target.apply(request("7", 10, "6"))
    target.apply(request("7", 100, "6"))
    target.release("6")
    target.undo(request("6"))
    assert world.api is not None
    written = [
        (path, body) for method, path, body in world.api.log if method in ("POST", "PUT") and "/status" not in path
    ]
    assert len(written) >= 6
    for path, body in written:
        plural = path.split("/namespaces/models/")[1].split("/")[0]
        schema = schemas[plural]
        jsonschema.Draft7Validator(schema).validate(body)
        unknown = set(body["spec"]) - set(schema["properties"]["spec"]["properties"])
        assert not unknown, f"{plural} know no {unknown}: the server would drop it without a word"


def test_conflict_is_read_again_and_the_others_change_stays(world: World):
    world.serving_6()
    left = 3

    def meddle(plural: str, found: dict[str, Any]) -> bool:
        nonlocal left
        if plural != "models" or left == 0:
            return False
        left -= 1
        found["metadata"].setdefault("annotations", {})[f"other/{left}"] = "x"
        return True

    assert world.api is not None
    world.controller.stop()
    world.api.interfere = meddle
    with pytest.raises(TimedOut):  # nobody writes conditions now; the write itself has come through
        world.target(0.5).undo(request("7"))
    notes = world.get("models", "prices")["metadata"]["annotations"]
    assert left == 0
    assert {"other/0", "other/1", "other/2"} <= notes.keys()
    assert (notes[VERSION_KEY], world.get("models", "prices")["spec"]["storageUri"]) == ("7", "s3://b/prices/7")


def test_endless_conflicts_time_out(world: World):
    world.serving_6()
    assert world.api is not None
    world.controller.stop()
    world.api.interfere = lambda plural, found: True
    with pytest.raises(TimedOut, match="others keep changing it"):
        world.target(0.3).undo(request("7"))


# --- answers of the API server


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, NotAllowed, "may not list every Experiment"),
        (403, NotAllowed, "may not list every Experiment in namespace models"),
        (404, BadInput, "cannot list every Experiment"),
        (422, BadInput, "the cluster refuses every Experiment"),
        (429, Unavailable, "429 refused with 429"),
        (500, Unavailable, "500 refused with 500"),
        (503, Unavailable, "503"),
        (504, TimedOut, "in time: 504"),
    ],
)
def test_refusals_are_told_apart(world: World, status: int, kind: type[RetrainingError], said: str):
    target = world.serving_6()
    assert world.api is not None
    world.controller.stop()
    world.api.refuse = status
    with pytest.raises(kind, match=said) as caught:
        target.deployer.cluster.every("Experiment")
    assert type(caught.value) is kind
    assert (caught.value.thing, caught.value.value) == ("Experiment", "models")
    remedies = {
        401: "renew the credentials",
        403: "give the account the role in docs/targets.md",
        404: "is Seldon Core 2",
    }
    assert remedies.get(status, "") in (caught.value.remedy or "")
    assert caught.value.remedy


SECRET = "hunter2"
LONG = {"kind": "Status", "message": f"https://u:{SECRET}@registry/?token={SECRET} " + "x" * 10_000}


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        pytest.param(Page(200, b"<html>log in, please</html>"), Unavailable, id="a login page"),
        pytest.param(Page(200, b'["log in"]', JSON), Unavailable, id="other JSON"),
        pytest.param(Page(200, b'{"items": [{}], "metadata": {}}', JSON), Unavailable, id="objects without a name"),
        pytest.param(Page(200, b"{half", JSON), Unavailable, id="broken JSON"),
        pytest.param(Page(200, b"\xff\xfe", JSON), Unavailable, id="no text"),
        pytest.param(Page(302, b"<html>elsewhere</html>", {"location": "/login"}), Unavailable, id="a redirect"),
        pytest.param(Page(404, b"404 page not found", {"content-type": "text/plain"}), BadInput, id="no such kind"),
        pytest.param(Page(403, b"<html>nobody may</html>"), NotAllowed, id="a proxy that refuses"),
        pytest.param(Page(502, b"<html>bad gateway</html>"), Unavailable, id="a gateway without a server"),
        pytest.param(Page(429, b"later", {"retry-after": "3600"}), Unavailable, id="an hour's patience"),
        pytest.param(Page(500, json.dumps(LONG).encode(), JSON), Unavailable, id="a long story with a secret"),
    ],
)
def test_what_is_no_answer_of_an_api_server_is_an_error_without_its_page(
    world: World, page: Page, kind: type[RetrainingError]
):
    target = world.serving_6()
    assert world.api is not None
    world.api.page = page
    for ask in (
        lambda: target.deployer.cluster.get("Model", "prices"),
        lambda: target.deployer.cluster.every("Model"),
        lambda: target.apply(request("7", 10, "6")),
    ):
        with pytest.raises(kind) as caught:
            ask()
        assert type(caught.value) is kind, "nor is it taken for the absence of the object"
        told = str(caught.value)
        assert (len(told) < 700, "<html" in told, SECRET in told) == (True, False, False)
        assert (caught.value.thing, bool(caught.value.value), bool(caught.value.remedy)) == ("Model", True, True)
    world.api.page = None
    assert target.status(request("6")).observed_weights == {"6": 100}


def test_server_that_never_answers_is_timed_out(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tools.adapters.seldon.cluster.ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = kubernetes_double.api_client(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(TimedOut, match=r"did not answer \(ReadTimeoutError\)") as caught:
            SeldonTargetAdapter(SELDON, "prices", str, api).status(request("6"))
        api.rest_client.pool_manager.clear()
    assert (caught.value.thing, caught.value.value) == ("Model", "prices")
    assert "target.context" in (caught.value.remedy or "")


def test_credentials_that_cannot_be_read_anew_are_told_without_them(world: World):
    target = world.serving_6()

    def gone(_: Any) -> None:
        raise OSError(f"/var/run/token-{SECRET}")

    world.client.configuration.api_key = {"authorization": f"Bearer {SECRET}"}
    world.client.configuration.refresh_api_key_hook = gone
    with pytest.raises(Unavailable, match=r"the credentials could not be read \(OSError\)") as caught:
        target.deployer.cluster.every("Model")
    assert SECRET not in str(caught.value)


# --- watches


PLAYED = ["gone", "bookmark", "ended", "dropped", "garbage", "held back", "forbidden", "busy", "late"]


@pytest.mark.parametrize("played", ["true", *PLAYED])
def test_wait_ends_with_what_is_true_however_its_watches_go(world: World, played: str):
    target = world.serving_6()
    world.controller.delay = 0.3
    assert world.api is not None
    world.api.plays = [played, played, "bookmark", played]

    assert target.apply(request("7", 10, "6")).observed_weights == {"6": 90, "7": 10}
    assert played in world.api.watches
    world.api.plays = [played] * 3
    target.undo(request("6"))
    target.release("7")

    assert (world.names("models"), world.names("experiments")) == (["prices"], [])


def test_watch_wakes_where_a_poll_would_come_too_late_and_costs_a_read_a_change(world: World):
    world.controller.delay = 0.3
    limit = timedelta(seconds=20)
    spec = SeldonTarget(name="prices", namespace="models", storage_uri="s3://b/{version}", time_limit=limit)
    slow = SeldonTargetAdapter(spec, "prices", str, world.client, poll_seconds=60)

    slow.apply(request("6"))

    assert world.api is not None
    # The controller writes three times: its finalizer, that it loads, that it is ready.
    assert 1 <= len(world.api.watches) <= 4


def test_schema_fault_of_the_cluster_is_bad_input_with_its_words(world: World):
    if not kubernetes_double.crd_schemas():
        pytest.skip("../shared/kubernetes-crds is not beside this checkout")
    with pytest.raises(BadInput, match=r"the cluster refuses Model prices: .*12 potatoes"):
        world.target(memory="12 potatoes").apply(request("6"))
    assert world.names("models") == []


def test_cluster_that_is_gone_is_unavailable(world: World):
    gone = kubernetes_double.api_client("http://127.0.0.1:1")
    spec = SeldonTarget(name="prices", namespace="models", storage_uri="s3://b/{version}")
    with pytest.raises(Unavailable, match="the cluster did not answer"):
        SeldonTargetAdapter(spec, "prices", str, gone).status(request("6"))


def test_missing_client_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    spec = SeldonTarget(name="prices", storage_uri="s3://b/{version}")
    with pytest.raises(BadInput, match=r"pip install retraining-orchestrator\[seldon\]"):
        SeldonTargetAdapter(spec, "prices", str).status(request("6"))


def test_missing_kubeconfig_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from kubernetes.config import kube_config

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    spec = SeldonTarget(name="prices", storage_uri="s3://b/{version}")
    with pytest.raises(BadInput, match="set KUBECONFIG"):
        SeldonTargetAdapter(spec, "prices", str).status(request("6"))


def test_storage_uri_is_filled_in_or_refused(world: World):
    def sourced(template: str) -> SeldonTargetAdapter:
        spec = SeldonTarget(name="prices", namespace="models", storage_uri=template)
        return SeldonTargetAdapter(spec, "prices", lambda uri: f"gs://r/{uri[8:]}", world.client, poll_seconds=0.02)

    sourced("{source}/x").apply(request("6"))
    assert world.get("models", "prices")["spec"]["storageUri"] == "gs://r/prices/6/x"
    with pytest.raises(BadInput, match="cannot be filled in"):
        sourced("s3://{bucket}").apply(request("7", 10, "6"))
    with pytest.raises(BadInput, match="Seldon cannot fetch 'models:/prices/7'"):
        sourced("models:/{name}/{version}").apply(request("7"))


STEPS: list[tuple[str, Callable[[SeldonTargetAdapter], object], dict[str, int], list[str]]] = [
    ("split", lambda t: t.apply(request("7", 10, "6")), {"6": 90, "7": 10}, ["prices", "prices-v7"]),
    ("all", lambda t: t.apply(request("7", 100, "6")), {"7": 100}, ["prices", "prices-v7"]),
    ("promotion", lambda t: t.release("6"), {"7": 100}, ["prices"]),
    ("next", lambda t: t.apply(request("8", 0, "7", mirror=5)), {"7": 100}, ["prices", "prices-v8"]),
    ("unload", lambda t: t.release("8"), {"7": 100}, ["prices"]),
    ("rollback", lambda t: t.undo(request("6")), {"6": 100}, ["prices"]),
]


def test_step_cut_off_before_and_after_every_write_ends_in_the_same_place_when_repeated(world: World):
    target, cuts = world.serving_6(), 0

    def cut() -> str:
        nonlocal cuts
        cuts += 1
        return "before" if cuts % 2 else "after"

    assert world.api is not None
    for name, step, served, models in STEPS:
        world.api.cut = cut
        for _ in range(20):  # each try ends at its first write, every second time with the write done
            try:
                step(target)
                break
            except Unavailable:
                continue
        else:
            pytest.fail(f"{name} never ended")
        world.api.cut = None
        step(target)
        assert (target.status(request("7")).observed_weights, world.names("models")) == (served, models), name
    assert cuts == 2 * 11, "eleven writes, each cut off twice"


# --- asking a version -----------------------------------------------------------------------------------------------


def test_version_is_asked_by_its_own_models_name_and_never_through_a_split(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    asked: list[tuple[Any, ...]] = []

    def answers(*given: Any) -> EndpointAnswer:
        asked.append(given[:3])
        return EndpointAnswer(version=given[2])

    monkeypatch.setattr("tools.adapters.seldon.target.ask_model", answers)
    target = world.serving_6(inference_url="http://mesh")
    target.ask("6", tmp_path)
    with pytest.raises(Unavailable, match="version 7 is not loaded"):
        target.ask("7", tmp_path)
    target.apply(request("7", 0, "6", mirror=50))
    target.ask("6", tmp_path)
    target.apply(request("7", 10, "6"))
    target.ask("7", tmp_path)
    with pytest.raises(Unavailable, match="version 6 cannot be asked by itself"):
        target.ask("6", tmp_path)
    assert asked == [
        ("http://mesh", "prices", "6"),
        ("http://mesh", "prices", "6"),
        ("http://mesh", "prices-v7", "7"),
    ]


def test_without_an_address_a_version_cannot_be_asked(world: World, tmp_path: Path):
    with pytest.raises(Unavailable, match=r"no target\.inference_url"):
        world.serving_6().ask("6", tmp_path)
