"""`retrain serve` over a workspace, with its training and scoring made cheap and timed.

`python -m evals.reliability.load_server FOLDER LOG BETTER`: the command line is what a user types, every service and adapter is the
product's. Only the two programs that it starts are others: training is a process that reads its rows, works for a moment and hands
out the model BETTER; scoring is a process that predicts by the weights written beside the model. Each of them, with the wait for its
place, stands in LOG, and so does what a run does while it holds its model.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final

from tools.adapters import capped_scorer, capped_trainer, project_trainer, scoring_process
from tools.contracts.training import ScoringJob, ScoringResult, TrainingOrder, TrainingResult

WORKER: Final = Path(__file__).with_name("load_worker.py")
_RUN: Final = re.compile(r"r\d{8}-\d{6}-[0-9a-f]{8}")


class Log:
    """A line a span, as JSON."""

    def __init__(self, path: Path) -> None:
        self._file, self._lock = path.open("a", encoding="utf-8"), Lock()

    def write(self, **entry: Any) -> None:
        """Add one."""
        with self._lock:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()

    @contextmanager
    def span(self, kind: str, run_id: str) -> Any:
        """Add one, from the beginning of a block to its end."""
        begun = time.time()
        try:
            yield
        finally:
            self.write(kind=kind, run=run_id, begun=begun, ended=time.time())


def make_cheap(better: str) -> None:
    """Other programs are started in place of the pipeline and of the scoring worker."""

    class CheapTrainer:
        """Port `Trainer`."""

        def __init__(self, _: str) -> None:
            """As the product's is built."""

        def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
            words = [sys.executable, "-S", "-c", "import sys; sum(open(sys.argv[1], 'rb').read())", order.training_data]
            ended = subprocess.run(words, capture_output=True, check=False)
            if ended.returncode != 0:
                return TrainingResult(status="failed", statement=f"exit code {ended.returncode}")
            return TrainingResult(status="trained", model_uri=better, statement="trained")

    project_trainer.ProjectTrainer = CheapTrainer  # type: ignore[misc, assignment]
    scoring_process.WORKER = WORKER  # type: ignore[misc]


def make_timed(log: Log) -> None:
    """Whatever is not the agent's own work is written down, with the wait for a place."""

    class TimedTrainer(capped_trainer.CappedTrainer):
        def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
            with log.span("training", order.key.partition(".")[0]):
                return super().train(order, progress)

    class TimedScorer(capped_scorer.CappedScorer):
        def score(self, job: ScoringJob) -> ScoringResult:
            found = _RUN.search(job.output)
            with log.span("scoring", "" if found is None else found[0]):
                return super().score(job)

    capped_trainer.CappedTrainer, capped_scorer.CappedScorer = TimedTrainer, TimedScorer  # type: ignore[misc]


def make_told(log: Log) -> None:
    """Each drive of a run, and each line that it says while it holds its model."""
    import agent.bootstrap

    real = agent.bootstrap.bootstrap

    def bootstrap(**given: Any) -> Any:
        opened = real(**given)
        start = opened.runs.start

        def timed(order: Any, *, recorded: Any = None, repeated: Any = None) -> Any:
            begun, ids = time.time(), list[str]()

            def heard(told: Any) -> Callable[[str], None]:
                def hear(run_id: str) -> None:
                    ids.append(run_id)
                    told(run_id)

                return hear

            output = start(order, recorded=heard(recorded), repeated=heard(repeated))
            log.write(kind="drive", run=ids[0], begun=begun, ended=time.time())
            return output

        opened.runs.start = timed
        opened.runs.listen(lambda run_id, line: log.write(kind="line", run=run_id, at=time.time(), line=line))
        return opened

    agent.bootstrap.bootstrap = bootstrap


def main(folder: str, log: str, better: str) -> None:
    """Serves until it is asked to end."""
    written = Log(Path(log))
    make_cheap(better)
    make_timed(written)
    make_told(written)
    from agent.entrypoints.cli.app import main as command

    sys.argv = ["retrain", "serve", "--port", "0", "-w", folder]
    command()


if __name__ == "__main__":
    main(*sys.argv[1:])
