# pyright: basic
"""The Seldon scenarios on a real kube-apiserver. One declared double is left: the controller that writes the status."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubernetes import real_server
from tests.kubernetes.server_scenarios import *  # noqa: F403
from tests.kubernetes.target_scenarios import *  # noqa: F403
from tests.kubernetes.world import World
from tests.kubernetes_double import ControllerDouble

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
