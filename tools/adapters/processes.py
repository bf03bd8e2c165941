# pyright: basic
"""Which process holds a lease, and is it still there?

A process is known by its pid and its start in clock ticks since the machine's boot, with the boot's id: no setting of the clock
moves either. Where there is no /proc, by its start on the wall clock; so were all processes in records of earlier releases.
"""

import os
import socket
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_LETTERS: Final = 8
"""Enough to tell boots of one machine apart: a holder is shown to people."""
_AFTER_NAME: Final = 19
"""Index of field 22 of /proc/PID/stat behind the name, which may hold blanks and parentheses."""
_CLOCK_SLACK: Final = 2.0
"""Seconds. Start times on the wall clock are derived from a boot time that shifts as the clock is set."""


def this_holder() -> str:
    """`HOST:PID:START` of this process; the start tells a reused pid apart."""
    return f"{socket.gethostname()}:{os.getpid()}:{start_of(os.getpid())}"


def is_alive(holder: str) -> bool | None:
    """Whether the process named is running; None where that cannot be seen from here."""
    host, pid, started = holder.rsplit(":", 2)
    return is_running(int(pid), started) if host == socket.gethostname() else None


def start_of(pid: int) -> str:
    """`TICKS@BOOT`, or seconds on the wall clock where there is no /proc. Raises `psutil.NoSuchProcess`."""
    import psutil

    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return f"{psutil.Process(pid).create_time():.2f}"
    return f"{stat.rpartition(b')')[2].split()[_AFTER_NAME].decode()}@{boot[:_BOOT_LETTERS]}"


def is_running(pid: int, started: str) -> bool | None:
    """Whether the process with this start, as `start_of` or an earlier release told it, runs; None where that cannot be seen.

    A zombie does not run.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        now = start_of(pid)
        if "@" not in started:
            same = abs(process.create_time() - float(started)) < _CLOCK_SLACK
        elif "@" in now:
            same = now == started
        else:
            return None
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None
