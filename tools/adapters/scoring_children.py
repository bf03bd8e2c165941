# pyright: basic
"""How does an interrupt reach scoring processes? Each has a session of its own, so the terminal's Ctrl-C does not."""

from tools.adapters.own_metric_runner import WORKER as METRIC_WORKER
from tools.adapters.scoring_process import WORKER


def end_scoring() -> int:
    """Kill the scoring processes that this process started, and those of users' metrics; whoever waits for one gets its
    failure as a result.

    Returns:
        How many there were.
    """
    import psutil

    ended = 0
    for child in psutil.Process().children():
        try:
            if {str(WORKER), str(METRIC_WORKER)} & set(child.cmdline()):
                child.kill()
                ended += 1
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return ended
