# pyright: basic
"""A steady load on an endpoint of this machine: for the demo and for measuring. Bounded in count; it asks loopback only."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tools.adapters.serving.layout import LOOPBACK
from tools.errors import BadInput

CLIENTS = 4
SECONDS = 20.0
MOST = 1_000_000


@dataclass(frozen=True)
class Reply:
    """What one request got."""

    number: int
    request_id: str
    at: float
    """Seconds since 1970 at which it was sent."""
    seconds: float
    status: int
    """0 where there was no answer at all."""
    version: str | None
    said: str = ""

    @property
    def failed(self) -> bool:
        """Nobody was helped by it."""
        return self.status != 200


class SteadyLoad:
    """So many requests a second, round and round over the bodies, while it is entered.

    Args:
        url: Of the endpoint.
        bodies: Requests, used in turn.
        per_second: Requests a second; a slow answer delays none of the others as long as a client is free.
        heard: Called with each reply, in the client's thread.
    """

    def __init__(
        self,
        url: str,
        bodies: Sequence[dict[str, Any]],
        per_second: float,
        heard: Callable[[Reply], None] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.hostname != LOOPBACK or parts.port is None:
            raise BadInput(f"{url} is not on this machine", thing="url", value=url)
        self._port, self._path, self._per_second, self._heard = parts.port, parts.path, per_second, heard
        self._bodies = [json.dumps(body, allow_nan=False) for body in bodies]
        self.replies: list[Reply] = []
        self._number, self._lock, self._over = 0, threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> "SteadyLoad":
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(SECONDS + 5)

    def failed(self, since: float = 0.0) -> list[Reply]:
        """Requests sent since then that failed."""
        return [reply for reply in list(self.replies) if reply.failed and reply.at >= since]

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._over.is_set():
            with self._lock:
                number, self._number = self._number, self._number + 1
            wait = self._begun + number / self._per_second - time.monotonic()
            if number >= MOST or (wait > 0 and self._over.wait(wait)):
                break
            connection = connection or http.client.HTTPConnection(LOOPBACK, self._port, timeout=SECONDS)
            reply = self._ask(connection, number)
            if reply.status == 0:
                connection.close()
                connection = None
            self.replies.append(reply)
            if self._heard is not None:
                self._heard(reply)
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> Reply:
        at, begun, name = time.time(), time.monotonic(), f"load-{time.time_ns()}-{number}"
        headers = {"content-type": "application/json", "x-request-id": name}
        status, version, said = 0, None, ""
        try:
            connection.request("POST", self._path, self._bodies[number % len(self._bodies)], headers)
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
            version, said = answer.getheader("x-model-version"), "" if status == 200 else text[:200].decode()
        except (OSError, http.client.HTTPException) as error:
            said = f"{type(error).__name__}: {error}"
        return Reply(number, name, at, time.monotonic() - begun, status, version, said)
