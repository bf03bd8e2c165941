"""A file's lock between processes: the system frees it when the process ends, however it ends."""

import fcntl
from typing import IO, Any


def take(file: IO[Any], *, wait: bool) -> bool:
    """Whether the lock is this process's now; without `wait`, another may have it. Closing the file gives it back."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
