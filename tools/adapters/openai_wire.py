# pyright: basic
"""One request to an OpenAI-compatible endpoint, and what can be said of its failure.

Whatever the other side does, a request ends within its time and reads no more than its bound. Nothing of an error's text is
passed on: it may echo our key.
"""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from tools.contracts.language import Message, ToolSpec
from tools.errors import ModelFault, ModelUnavailable, chain_of

MAX_BYTES: Final = 8_000_000
"""Of one answer; more is not read."""
UNSUPPORTED: Final = frozenset({400, 415, 422, 501})
"""Statuses with which servers answer an option they do not know."""
PASSING: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
_LONGEST_WAIT: Final = 10.0


@dataclass(frozen=True)
class Wire:
    """Where and as whom we ask."""

    base_url: str | None
    api_key: str | None
    monotonic: Callable[[], float] = time.monotonic

    def post(self, body: Mapping[str, Any], seconds: float) -> Any:
        """The body of the answer, read as JSON. Raises `ModelUnavailable`."""
        client = self._client(seconds)
        box: dict[str, Any] = {}

        def ask() -> None:
            try:
                raw = client.chat.completions.with_raw_response.create(**body)
                box["answer"] = json.loads(raw.http_response.text)
            except Exception as error:  # noqa: BLE001 - told in our own words by the thread that waits
                box["error"] = error

        # A client's own timeout starts anew with each byte; a thread can be left behind whatever the server does.
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(seconds)
        late = thread.is_alive()
        client.close()
        if late:
            raise slow(seconds)
        if "error" in box:
            raise fault_of(box["error"], seconds) from None
        return box["answer"]

    def stream(self, body: Mapping[str, Any], idle: float, seconds: float) -> Iterator[Any]:
        """Chunks as they come. Raises `ModelUnavailable`; closing it ends the request."""
        until = self.monotonic() + seconds
        client = self._client(min(idle, seconds))
        pieces: queue.Queue[Any] = queue.Queue()
        closed = threading.Event()

        def read() -> None:
            try:
                for chunk in client.chat.completions.create(stream=True, **body):
                    if closed.is_set():
                        return
                    pieces.put(("chunk", chunk))
                pieces.put(("end", None))
            except Exception as error:  # noqa: BLE001 - as above
                pieces.put(("error", error))

        threading.Thread(target=read, daemon=True).start()
        try:
            while True:
                wait = min(idle, until - self.monotonic())
                try:
                    kind, found = pieces.get(timeout=max(wait, 0.001))
                except queue.Empty:
                    raise slow(idle if wait == idle else seconds) from None
                if kind == "error":
                    raise fault_of(found, idle) from None
                if kind == "end":
                    return
                yield found
        finally:
            closed.set()
            client.close()

    def _client(self, seconds: float) -> Any:
        import openai

        http = openai.DefaultHttpxClient(
            verify=_trust(), follow_redirects=False, timeout=seconds, event_hooks={"response": [_bounded]}
        )
        return openai.OpenAI(
            base_url=self.base_url,
            api_key=self.api_key or "none",
            timeout=seconds,
            max_retries=0,
            http_client=http,
            default_headers={"Accept-Encoding": "identity"},
        )


@lru_cache(maxsize=1)
def _trust() -> Any:
    """Reading the certificates takes longer than most requests to a server of one's own."""
    import httpx2

    return httpx2.create_ssl_context()


class _TooLarge(Exception):
    """More bytes than are read."""


def _bounded(response: Any) -> None:
    """Refuses what is compressed, and counts what comes: a small answer may unfold into a huge one."""
    import httpx2

    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _TooLarge
    inner = response.stream

    class Counted(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            seen = 0
            for chunk in inner:
                seen += len(chunk)
                if seen > MAX_BYTES:
                    raise _TooLarge
                yield chunk

        def close(self) -> None:
            inner.close()

    response.stream = Counted()


def slow(seconds: float) -> ModelUnavailable:
    """The fault of an answer that did not come in time."""
    return ModelUnavailable(f"no answer within {seconds:g} s", kind="slow", remedy="raise llm.timeout_seconds")


class Passing(ModelUnavailable):
    """A fault that may pass; `wait` is how long the endpoint asks us to be patient."""

    def __init__(self, message: str, *, kind: ModelFault, wait: float = 0.0, remedy: str | None = None) -> None:
        super().__init__(message, kind=kind, remedy=remedy)
        self.wait = wait


def fault_of(error: Exception, seconds: float) -> ModelUnavailable:
    """Any exception of SDK and transport, in our own words."""
    import openai

    chain = chain_of(error)
    if any(isinstance(each, _TooLarge) for each in chain):
        return ModelUnavailable("the answer is huge or compressed: it was not read", kind="garbage")
    if isinstance(error, openai.APIStatusError):
        return _status(error)
    if isinstance(error, openai.APITimeoutError):
        return slow(seconds)
    if isinstance(error, openai.APIConnectionError):
        return Passing("the endpoint cannot be reached, or broke off", kind="off", remedy="see that it runs")
    if isinstance(error, openai.APIError | ValueError | RecursionError):
        return ModelUnavailable("the endpoint's answer is no chat completion", kind="garbage")
    return ModelUnavailable(f"the endpoint could not be used ({type(error).__name__})", kind="off")


def _status(error: Any) -> ModelUnavailable:
    status = error.status_code
    if status in (401, 403):
        return ModelUnavailable(
            f"the endpoint refuses us (HTTP {status})", kind="denied", remedy="check OPENAI_API_KEY"
        )
    if status == 404:
        remedy = "check the base URL (it ends in /v1) and the model's name"
        return ModelUnavailable("the endpoint answered HTTP 404", kind="error", remedy=remedy)
    if 300 <= status < 400:
        return ModelUnavailable("the endpoint sends us to another address, which is not followed", kind="error")
    if status in UNSUPPORTED:
        text = error.response.text if "max_completion_tokens" in error.response.text else ""
        said = "max_completion_tokens" if text else None
        return ModelUnavailable(f"the endpoint answered HTTP {status}", kind="unsupported", said=said)
    if status in PASSING:
        told = error.response.headers.get("retry-after", "")
        wait = min(float(told), _LONGEST_WAIT) if told.isdigit() else 0.0
        return Passing(f"the endpoint answered HTTP {status}", kind="error", wait=wait)
    return ModelUnavailable(f"the endpoint answered HTTP {status}", kind="error")


def wire_message(message: Message) -> dict[str, Any]:
    """As the endpoint wants it."""
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        found["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.call_id is not None:
        found["tool_call_id"] = message.call_id
    return found


def wire_tool(tool: ToolSpec) -> dict[str, Any]:
    """As the endpoint wants it."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
