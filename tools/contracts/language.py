"""What is said to a language model, what it says, and what an endpoint was found to do."""

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from tools.contracts.base import Contract, UtcDatetime

Mode = Literal["json_schema", "json_object", "text"]
"""How an endpoint is asked for structure, the most exact first."""
MODES: Final[tuple[Mode, ...]] = ("json_schema", "json_object", "text")


class ToolCall(Contract):
    """A call that the model asks for. Nothing is called by this: who reads it checks name and arguments."""

    id: str
    name: str
    arguments: str
    """JSON as the model wrote it, unchecked; may be no JSON at all."""


class Message(Contract):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant's message: what it asked for."""
    call_id: str | None = None
    """Of a tool's message: the call it answers."""


class ToolSpec(Contract):
    """A tool as the model reads of it."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments, e.g. `SomeModel.model_json_schema()`."""


class Usage(Contract):
    """What an answer took."""

    tokens_in: int | None = None
    """None where the endpoint did not say."""
    tokens_out: int | None = None
    cost: float | None = None
    """In the currency of the prices; None where prices or tokens are not known. Unknown is not zero."""


class Completion(Contract):
    """One whole answer."""

    text: str
    """As it came, without a reasoning model's thoughts."""
    parsed: Any = None
    """An instance of the schema asked for."""
    model: str
    mode: Mode
    """How it was asked."""
    usage: Usage = Usage()
    seconds: float
    """From the question to the last byte; of the first asking where it is `reused`."""
    reused: bool = False
    """The same question was asked before: nothing was sent and nothing spent."""


class Delta(Contract):
    """A piece of a streamed answer; exactly one of the fields is set."""

    text: str = ""
    call: ToolCall | None = None
    """Whole, behind the last of its pieces."""
    usage: Usage | None = None
    """The last delta of every stream that came to its end."""


class Abilities(Contract):
    """What an endpoint really did when it was tried; a status of 200 proves nothing."""

    mode: Mode
    tools: bool
    """Whether it answered with a native tool call."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How it wants to be told the longest answer."""
    found_at: UtcDatetime


class ModelCall(Contract):
    """One question and what became of it, for a trace. Texts are masked by who keeps them."""

    purpose: str
    model: str
    mode: Mode | None = None
    messages: tuple[Message, ...]
    answer: str | None = None
    calls: tuple[ToolCall, ...] = ()
    fault: str | None = None
    usage: Usage = Usage()
    seconds: float = 0.0
    reused: bool = False


class Prices(Contract):
    """Per million tokens, in any one currency."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class LanguageSpec(Contract):
    """How patient and how generous we are with the endpoint."""

    base_url: str | None = None
    """Of the endpoint, with `/v1`; OPENAI_BASE_URL wins over it, OpenAI's own where both are absent."""
    timeout_seconds: float = Field(default=60, gt=0, le=3600)
    """For one answer, from first to last byte; of a stream, between two pieces."""
    total_seconds: float = Field(default=180, gt=0, le=7200)
    """For one question with all its retries, and for a whole stream."""
    retries: int = Field(default=2, ge=0, le=10)
    """After an error that may pass: no connection, HTTP 429 or 5xx. Never after a timeout."""
    max_answer_tokens: int = Field(default=2000, ge=64)
    """Longest answer; raise it for a model that thinks before it answers."""
    max_tokens_per_run: int = Field(default=60_000, ge=1000)
    """Tokens in and out for one rationale with its second try, or one turn of a chat."""
    max_cost_per_run: float | None = Field(default=None, gt=0)
    """The same in the currency of the prices."""
    prices: Prices | None = None
    """Per million tokens. Without them costs are unknown."""
    trace: bool = True
    """Keep questions and answers as traces in MLflow, without secrets."""
    probe_days: float = Field(default=7, gt=0, le=365)
    """How long it is believed what an endpoint was found to support."""

    @model_validator(mode="after")
    def _consistent(self) -> "LanguageSpec":
        if self.max_cost_per_run is not None and self.prices is None:
            raise ValueError("max_cost_per_run cannot be kept without `prices`: without them costs are unknown")
        if self.base_url is not None:
            check_base_url(self.base_url)
        return self


def check_base_url(text: str) -> None:
    """Raises `ValueError` for what is no address of an endpoint, or holds a password."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address of an endpoint is http://HOST:PORT/v1 or https://HOST/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("the address of an endpoint holds neither a password nor a query: set OPENAI_API_KEY")


class PromptVersion(Contract):
    """A prompt as a registry keeps it."""

    name: str
    number: str
    """The registry's own."""
    version: str
    """Ours, from the front matter; empty where somebody else registered it."""
    hash: str
    """sha256 of the prompt's file; empty where somebody else registered it."""
    text: str
