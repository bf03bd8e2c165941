"""The suite that every deployment target passes, on real servers."""

from collections.abc import Callable

import pytest

from tests.conformance.test_targets import (  # noqa: F401 - collected here with this module's target
    test_apply_of_a_split_is_served_or_refused_as_declared,
    test_apply_of_everything_serves_only_that_version,
    test_apply_of_zero_leaves_the_previous_version,
    test_apply_twice_ends_in_the_same_place,
    test_apply_without_a_weight_means_everything_in_a_rolling_deployment,
    test_canary_without_a_weight_is_refused,
    test_health_is_never_claimed_without_proof,
    test_undo_gives_all_traffic_back_and_may_be_repeated,
)
from tests.serving.conftest import World
from tools.adapters.serving.target import ServingTargetAdapter

pytestmark = pytest.mark.serving


@pytest.fixture(scope="module")
def target(made: Callable[..., World]) -> ServingTargetAdapter:
    world = made()
    world.models.add("6")
    world.models.add("7", "also good")
    return world.target
