# pyright: basic
"""How is the scoring worker started? As a file of its own, in the model's interpreter, without credentials, within limits."""

import os
from pathlib import Path

from tools.adapters.model_environments import Interpreter
from tools.adapters.subprocesses import Finished, bare_environment, run_limited

WORKER = Path(__file__).with_name("scoring_worker.py")


def run_worker(interpreter: Interpreter, order: Path, work: Path, seconds: float, memory_mb: int) -> Finished:
    """Run it on an order (a job's JSON); `work` is made, and is all it has as home."""
    work.mkdir(mode=0o700)
    # -P: beside the worker lie modules of ours; -I: nothing of this environment belongs in a built one.
    flag = "-P" if interpreter.name == "ours" else "-I"
    return run_limited(
        [interpreter.python, flag, str(WORKER), str(order)],
        cwd=work,
        environment=bare_environment(
            {
                "HOME": str(work),
                "TMPDIR": str(work),
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
                "MLFLOW_TRACKING_URI": f"sqlite:///{work}/none.db",
            }
        ),
        seconds=seconds,
        memory_mb=memory_mb,
    )
