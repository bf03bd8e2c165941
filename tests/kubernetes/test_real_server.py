# pyright: basic
"""The Seldon scenarios on a real kube-apiserver. One declared double is left: the controller that writes the status."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes import real_server
from tests.kubernetes.server_scenarios import *  # noqa: F403
from tests.kubernetes.server_scenarios import eventually, watched
from tests.kubernetes.target_scenarios import *  # noqa: F403
from tests.kubernetes.world import World, request
from tests.kubernetes_double import ControllerDouble
from tools.errors import NotAllowed

pytestmark = pytest.mark.kubernetes


@pytest.fixture(scope="session")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    why = real_server.missing()
    if why is not None:
        if os.environ.get("KUBERNETES_REQUIRED"):
            pytest.fail(why)
        pytest.skip(why)
    with real_server.running(tmp_path_factory.mktemp("kubernetes")) as connect:
        yield connect


@pytest.fixture
def quiet(connect: Any) -> Iterator[World]:
    """Without a controller."""
    world = World(connect(), ControllerDouble(connect(), "models"))
    yield world
    _empty(world)


@pytest.fixture
def world(connect: Any) -> Iterator[World]:
    world = World(connect(), ControllerDouble(connect(), "models"))
    world.controller.start()
    yield world
    world.controller.stop()
    _empty(world)


def _empty(world: World) -> None:
    """Nothing may be left for the next test: finalizers are taken away, whoever set them."""
    from kubernetes.client import ApiException

    deadline = time.monotonic() + 30
    while left := [(plural, name) for plural in ("models", "experiments") for name in world.names(plural)]:
        assert time.monotonic() < deadline, left
        for plural, name in left:
            try:
                world.objects.delete_namespaced_custom_object(**world.where(plural, name))
                world.replace(plural, name, lambda each: each["metadata"].pop("finalizers", None))
            except ApiException as error:
                if error.status not in (404, 409):
                    raise


def test_the_documented_role_is_needed_and_enough(world: World, connect: Any):
    from kubernetes import client

    plain = World(connect("plain"), world.controller)
    with pytest.raises(NotAllowed, match=r'(?s)User "plain" cannot get resource "models".*the role in docs/targets.md'):
        plain.serving_6()
    page = (Path(__file__).parents[2] / "docs" / "targets.md").read_text(encoding="utf-8")
    (text,) = [each for each in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL) if "kind: Role" in each]
    roles, role = client.RbacAuthorizationV1Api(world.client), yaml.safe_load(text)
    roles.create_namespaced_role("models", role)
    binding: Any = {
        "metadata": {"name": "plain"},
        "subjects": [{"kind": "User", "name": "plain", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "Role", "name": role["metadata"]["name"], "apiGroup": "rbac.authorization.k8s.io"},
    }
    roles.create_namespaced_role_binding("models", binding)
    assert eventually(lambda: _may(plain))  # the authorizer learns of it by a watch
    target = plain.serving_6()
    target.apply(request("7", 10, "6"))
    target.apply(request("7", 100, "6"))
    target.release("6")
    assert watched(plain, _version(plain)) == [], "one that is not allowed would raise"
    assert target.status(request("7")).observed_weights == {"7": 100}


def _version(world: World) -> str:
    return world.objects.list_namespaced_custom_object(**world.where("models"))["metadata"]["resourceVersion"]


def _may(world: World) -> bool:
    from kubernetes.client import ApiException

    try:
        world.names("models")
    except ApiException:
        return False
    return True
