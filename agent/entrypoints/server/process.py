"""How does the server begin and end as a process? It says where it listens, and leaves nothing half done."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.entrypoints.server.app import Server
from tools.errors import BadInput, Conflict

HEADER_BYTES: Final = 16_384
HEADER_SECONDS: Final = 10.0
"""In which the head of a request must have come."""
MOST_CONNECTIONS: Final = 512
END_SECONDS: Final = 10
"""Answers under way may still take so long once the server stops."""
LEFT: Final = 130


def listen(host: str, port: int) -> socket.socket:
    """The address to listen at, taken before anything else is done.

    Raises:
        Conflict: somebody listens there already. BadInput: no such address, or not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise BadInput(f"{host!r} is no address", thing="--host", value=host, remedy="e.g. 127.0.0.1") from error
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(1024)
    except OSError as error:
        taken.close()
        if error.errno in (98, 48):  # EADDRINUSE on Linux and macOS
            raise Conflict(
                f"port {port} on {host} is taken by another program",
                thing="--port",
                value=port,
                remedy="take another one, or --port 0 for any that is free",
            ) from error
        raise BadInput(
            f"cannot listen on {host} port {port}: {error.strerror}",
            thing="--host",
            value=host,
            remedy="take an address of this machine, and a port above 1023",
        ) from error
    return taken


def url_of(taken: socket.socket) -> str:
    """Where it listens."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Protocol(H11Protocol):
    """A connection on which the head of a request does not come in time is closed."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """Between two requests the shorter time of an idle connection counts; from the first byte on, this one."""
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._late is None and (self.cycle is None or self.conn.trailing_data[0]):  # pyright: ignore[reportUnnecessaryComparison]
            self._late = self.loop.call_later(HEADER_SECONDS, self._close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


class _Uvicorn(uvicorn.Server):
    """Ends with 0 when it is asked to; asked again, it leaves at once."""

    def __init__(self, config: uvicorn.Config, server: Server, tell: Callable[[str], None]) -> None:
        super().__init__(config)
        self._server, self._tell = server, tell

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self._tell("left at once: `retrain runs list` shows what was under way, `retrain run --resume RUN` goes on")
            # Threads that drive runs would keep the process; each step of theirs is recorded before and after.
            os._exit(LEFT)
        self.should_exit = True
        self._tell("stopping: what is under way ends first; once more leaves it (it can be resumed)")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._server.stop()
        await super().shutdown(sockets)


def uvicorn_server(server: Server, tell: Callable[[str], None] = lambda _: None, **options: Any) -> uvicorn.Server:
    """The server as it is run: its addresses are those of the peers themselves, whatever a header claims."""
    config = uvicorn.Config(
        server.app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=END_SECONDS,
        **options,
    )
    return _Uvicorn(config, server, tell)
