"""For every run of the world in memory."""

from collections.abc import Iterator

import pytest

from tests import remembered


@pytest.fixture(scope="module", autouse=True)
def _forests_are_fitted_once() -> Iterator[None]:
    with remembered.forests():
        yield
