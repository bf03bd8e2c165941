"""A scripted OpenAI-compatible endpoint on loopback: honest, broken or hostile, as its script says.

The SDK brings its own transport, which mocks of another never see: evals and tests stand it before a real server.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

FORMATS: Final = ("json_schema", "json_object")
"""What a capable server enforces."""


@dataclass(frozen=True)
class Reply:
    """One answer. `pieces` are sent one by one where given; None among them waits until the server ends."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    pieces: Iterable[bytes | None] | None = None


Script = Callable[[int, dict[str, Any]], Reply]
"""What to answer to the n-th request (from 1) with this body."""


@dataclass
class Endpoint:
    """A running server."""

    script: Script
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """The Authorization headers that came."""
    ended: threading.Event = field(default_factory=threading.Event)

    def sent(self) -> str:
        """All that it was told, as text."""
        return json.dumps(self.requests, ensure_ascii=False)


@contextmanager
def endpoint(script: Script) -> Iterator[Endpoint]:
    """The server, for as long as the block lasts."""
    found, counting = Endpoint(script), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with counting:
                found.requests.append(body)
                found.keys.append(self.headers.get("Authorization", ""))
                number = len(found.requests)
            reply = found.script(number, body)
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in (reply.body.encode(),) if reply.pieces is None else reply.pieces:
                    if piece is None:
                        found.ended.wait(30)
                    else:
                        self.wfile.write(piece)
                        self.wfile.flush()
            except OSError:
                return  # the client gave up on us

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield found
    finally:
        found.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def completion(content: str | None, **message: Any) -> Reply:
    """A whole answer, 100 tokens in and 20 out."""
    ended = message.pop("finish_reason", "stop")
    choice = {"index": 0, "finish_reason": ended, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return Reply(body=json.dumps({**head, "choices": [choice], "usage": usage}))


def called(name: str, arguments: Mapping[str, Any]) -> Reply:
    """A whole answer that asks for one tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(dict(arguments))}}
    return completion(None, tool_calls=[call], finish_reason="tool_calls")


def event(delta: Mapping[str, Any] | None, **more: Any) -> bytes:
    """One chunk of a stream; without a delta, one without choices."""
    choices = [] if delta is None else [{"index": 0, "delta": dict(delta), "finish_reason": None}]
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n".encode()


DONE: Final = b"data: [DONE]\n\n"
USED: Final = event(None, usage={"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120})


def streamed(pieces: Sequence[bytes | None]) -> Reply:
    """An answer in pieces."""
    return Reply(headers={"Content-Type": "text/event-stream"}, pieces=pieces)


def asked_format(body: Mapping[str, Any]) -> str:
    """`json_schema`, `json_object` or `text`."""
    return body.get("response_format", {"type": "text"})["type"]


def is_probe(body: Mapping[str, Any]) -> bool:
    """Whether a request only finds out what the endpoint supports."""
    text = json.dumps(body["messages"])
    return any(part in text for part in ("Is water wet?", "prose about the sea", "tide at Oban"))


def capable(answer: Script, *, formats: Sequence[str] = FORMATS, tools: bool = True, declines: bool = False) -> Script:
    """A server that enforces these formats and leaves everything but probes to `answer`.

    A format that it does not enforce it ignores with a 200, as servers do, or declines with a 400.
    """

    def script(number: int, body: dict[str, Any]) -> Reply:
        kind = asked_format(body)
        if declines and kind != "text" and kind not in formats:
            return Reply(400, '{"error": {"message": "unknown response_format"}}')
        if not is_probe(body):
            return answer(number, body)
        if "tools" in body:
            return called("tide_at", {"harbour": "Oban"}) if tools else completion("High, I think.")
        if kind in formats:
            return completion('{"answer": "kiwi"}' if kind == "json_schema" else '{"sea": "wide"}')
        return completion('{"answer": "yes"}' if kind == "json_schema" else "The sea is wide.")

    return script
