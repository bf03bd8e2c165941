"""What becomes of an answer that is still being given when its bearer's key ends? It ends too, and says why."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WHY: Final = "the key is no longer good: revoked or expired"


async def while_known(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, known: Callable[[], Awaitable[bool]], every: float
) -> bool:
    """Let it answer; False where it was ended because its bearer is known no more.

    Args:
        app: Who answers.
        scope: As of ASGI.
        receive: As of ASGI.
        send: As of ASGI.
        known: Whether the bearer still is.
        every: Seconds between two such looks.
    """
    answering = asyncio.ensure_future(app(scope, receive, send))  # pyright: ignore[reportArgumentType]
    try:
        while not (await asyncio.wait({answering}, timeout=every))[0]:
            if not await known():
                return False
        answering.result()
        return True
    finally:
        if not answering.done():
            answering.cancel()
            await asyncio.wait({answering})


class Told:
    """What of an answer has gone out."""

    def __init__(self) -> None:
        self.status, self._streams, self._ended = 0, False, False

    def note(self, message: Message) -> None:
        """It goes out now."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kind = Headers(raw=message.get("headers", [])).get("content-type", "")
            self._streams = kind.startswith("text/event-stream")
        elif message["type"] == "http.response.body":
            self._ended = not message.get("more_body", False)

    async def end(self, send: Send, *, as_event: bool) -> None:
        """The last word of a stream. Clients of other protocols would not know the event: they get a comment."""
        if not self._streams or self._ended:
            return
        data = json.dumps({"title": "Unauthorised", "detail": WHY, "remedy": "come again with a good key"})
        text = f"event: closed\ndata: {data}\n\n" if as_event else f": {WHY}\n\n"
        await send({"type": "http.response.body", "body": text.encode(), "more_body": False})
