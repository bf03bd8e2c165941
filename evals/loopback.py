"""A server in this process, for as long as a block lasts. Evals and tests stand clients before it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn


@contextmanager
def running(server: uvicorn.Server, taken: socket.socket) -> Iterator[None]:
    """The server in a thread of its own, at the address that was taken for it.

    Raises:
        RuntimeError: it did not start within a minute, or did not end.
    """
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    try:
        until = time.monotonic() + 60
        while not server.started:
            if not thread.is_alive() or time.monotonic() > until:
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(60)
        taken.close()
    if thread.is_alive():
        raise RuntimeError("the server did not end")
