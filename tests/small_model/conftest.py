"""The small model behind its endpoint, for as long as this folder's tests last. `make language` builds it."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.small_model.build import NAME, is_built, model_in, python_in
from tools.adapters.openai_model import OpenAIModel
from tools.contracts.language import LanguageSpec

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("SMALL_MODEL", ROOT / ".small-model"))
PATIENT = LanguageSpec(timeout_seconds=600, total_seconds=1200, max_answer_tokens=300)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not is_built(FOLDER):
        why = "the small model is not built: `make language` does that"
        assert not os.environ.get("LANGUAGE_REQUIRED"), why
        pytest.skip(why)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("small") / "server.log"
    command = [str(python_in(FOLDER)), str(Path(__file__).with_name("serve.py")), str(model_in(FOLDER)), str(port)]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), log.read_text()[-2000:]
            yield f"{address}/v1"
        finally:
            server.kill()


@pytest.fixture(scope="session")
def model(url: str) -> OpenAIModel:
    return OpenAIModel(base_url=url, api_key=None, model=NAME, spec=PATIENT)
