# pyright: basic
"""Which process holds a lease, and is it still there?"""

import os
import socket
from typing import Final

_CLOCK_SLACK: Final = 2.0
"""Seconds. Linux derives start times from a boot time in whole seconds, which shifts as the clock is set."""


def this_holder() -> str:
    """`HOST:PID:START_TIME` of this process; the start time tells a reused pid apart."""
    import psutil

    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_alive(holder: str) -> bool | None:
    """Whether the process named is running; None where that cannot be seen from here."""
    import psutil

    host, pid, started = holder.rsplit(":", 2)
    if host != socket.gethostname():
        return None
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < _CLOCK_SLACK
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None
