"""Shared by all tests: no model call leaves this machine by accident."""

import os

import pytest
from hypothesis import settings

# A check that gates a landing must give the same answer twice; on a developer's machine the search goes on.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

os.environ["DO_NOT_TRACK"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture(autouse=True)
def _no_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that want an endpoint set one on loopback themselves."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "RETRAIN_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)
