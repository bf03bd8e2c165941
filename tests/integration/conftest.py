"""One real workspace for the tests of a file; each test brings models of its own."""

from pathlib import Path

import pytest

from tests.integration.shop import Shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder: Path = tmp_path_factory.mktemp("shop")
    return Shop(folder)
