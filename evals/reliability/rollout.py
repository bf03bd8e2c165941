"""How many requests does a rollout lose on real servers, and how soon is a harmful one over?

`python -m evals.reliability.rollout` serves the electricity example's model as two versions (MLServer behind Envoy) under a
steady load of real rows, moves the weights 0, 5, 25, 50, 100 and back, kills the candidate at 50 %, and kills Envoy. Nothing is
faked; all servers are on loopback and ended at the end. Every request's outcome is counted.
"""

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.bootstrap import bootstrap, serving_target
from agent.demo import first_model, lay_out, make_champion
from evals.report import Row, arguments, publish, share
from tools.adapters.serving.asking import bodies
from tools.adapters.serving.load import Reply, SteadyLoad
from tools.contracts.peers import DeploymentRequest, ModelArtifact, TrafficConfig
from tools.errors import Unavailable

PER_SECOND = 20.0
STEPS = (0, 5, 25, 50, 100)
CHAMPION, CANDIDATE = "1", "2"
PATIENCE = 60.0


@dataclass
class Counted:
    """Requests of one kind of trial, and seconds measured in each."""

    sent: int = 0
    failed: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, replies: list[Reply]) -> None:
        """One trial's replies."""
        self.sent += len(replies)
        self.failed += sum(reply.failed for reply in replies)

    def took(self, what: str, seconds: float) -> None:
        """One trial's time."""
        self.seconds.setdefault(what, []).append(seconds)


class Bench:
    """Two versions of the example's model behind one endpoint."""

    def __init__(self, folder: Path) -> None:
        lay_out(folder)
        profile = folder / "profiles" / "electricity.yaml"
        profile.write_text(profile.read_text(encoding="utf-8") + "target: {kind: serving}\n", encoding="utf-8")
        app = bootstrap(environ=os.environ, start=folder, workspace=folder, progress=_say)
        model = first_model(app)
        for _ in (CHAMPION, CANDIDATE):
            make_champion(app, model)
        found = app.deps.load_profile("electricity")
        self.target = serving_target(app.workspace, found, _say)
        rows = folder / "rows.parquet"
        app.deps.data.write_window(found.data, None, app.deps.clock(), rows, 500)
        self.bodies = bodies(rows, found.data.features)

    def load(self) -> SteadyLoad:
        """Real rows, one a request."""
        assert self.target.url is not None
        return SteadyLoad(self.target.url, self.bodies, PER_SECOND)

    def weight(self, percent: int) -> None:
        """Percent on the candidate."""
        self.target.apply(_request(CANDIDATE, percent, CHAMPION))

    def fresh(self) -> None:
        """All traffic on the champion, the candidate newly loaded."""
        self.target.undo(_request(CHAMPION, 100, None))
        self.target.release(CANDIDATE)
        self.target.prepare(_request(CANDIDATE, 0, CHAMPION))

    def healthy(self) -> bool:
        """Of the candidate, as the target says."""
        return self.target.status(_request(CANDIDATE, 50, CHAMPION)).healthy is True


def whole_canary(bench: Bench, counted: Counted, pause: float) -> None:
    """Up through the steps, and back."""
    with bench.load() as load:
        for percent in (*STEPS, 0):
            bench.weight(percent)
            time.sleep(pause)
    counted.add(load.replies)


def killed_candidate(bench: Bench, counted: Counted, pause: float) -> None:
    """`kill -9` at 50 %; looked at until it shows, then undone."""
    with bench.load() as load:
        bench.weight(50)
        time.sleep(pause)
        killed = time.time()
        os.kill(bench.target.control.version(CANDIDATE)["process"]["pid"], signal.SIGKILL)
        _until(lambda: not bench.healthy())
        seen = time.time()
        bench.target.undo(_request(CHAMPION, 100, None))
        back = time.time()
        time.sleep(pause)
    counted.add(load.replies)
    late = [r for r in load.replies if r.at > back and r.version != CHAMPION]
    counted.took("from the kill to its detection", seen - killed)
    counted.took("from detection to all traffic on the champion", back - seen + (PATIENCE if late else 0.0))


def killed_envoy(bench: Bench, counted: Counted, pause: float) -> None:
    """`kill -9`; the supervisor starts it again."""
    with bench.load() as load:
        time.sleep(pause)
        killed = time.time()
        os.kill(bench.target.control.running["envoy"]["process"]["pid"], signal.SIGKILL)
        _until(lambda: any(r.at > killed + 0.05 and not r.failed for r in list(load.replies)))
        time.sleep(pause)
    counted.add(load.replies)
    lost = load.failed(killed - 1.0)
    counted.took("from the kill to the last lost request", max((r.at for r in lost), default=killed) - killed)


def killed_supervisor(bench: Bench, counted: Counted, pause: float) -> None:
    """`kill -9`; the next command starts another, which adopts the servers."""
    with bench.load() as load:
        time.sleep(pause)
        os.kill(bench.target.control.running["supervisor"]["pid"], signal.SIGKILL)
        time.sleep(pause)
        bench.target.revive()
        time.sleep(pause)
    counted.add(load.replies)


Trial = Callable[[Bench, Counted, float], None]
TRIALS: tuple[tuple[str, Trial, bool], ...] = (
    ("a whole canary 0→5→25→50→100→0", whole_canary, True),
    ("the candidate killed at 50 %", killed_candidate, True),
    ("the supervisor killed", killed_supervisor, True),
    ("Envoy killed", killed_envoy, False),
)


def main() -> None:
    """Prints the table."""
    given = arguments(main.__doc__ or "").parse_args()
    trials, pause = (1, 1.5) if given.quick else (5, 3.0)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="retraining-eval-", ignore_cleanup_errors=True) as name:
        bench = Bench(Path(name) / "demo")
        try:
            bench.target.apply(_request(CHAMPION, 100, None))
            for what, trial, has_target in TRIALS:
                counted = Counted()
                for number in range(trials):
                    bench.fresh()
                    trial(bench, counted, pause)
                    _say(f"{what}, trial {number + 1}: {counted.failed} of {counted.sent} requests failed")
                rows += _rows(what, counted, has_target)
        finally:
            bench.target.control.down()
    publish(rows, given.json, per_second=PER_SECOND, trials=trials)


def _rows(what: str, counted: Counted, has_target: bool) -> list[Row]:
    target, met = ("0", counted.failed == 0) if has_target else ("", None)
    rows = [share(f"{what}: share of requests failed", counted.failed, counted.sent, target, met)]
    for part, seconds in counted.seconds.items():
        low, high = min(seconds), max(seconds)
        limit = "at most 2 s" if "detection to" in part else ""
        row = Row(
            f"{what}: seconds {part}, median (least to most)", statistics.median(seconds), low, high, len(seconds)
        )
        rows.append(row if not limit else Row(row.name, row.value, low, high, row.n, limit, high <= 2.0))
    return rows


def _request(version: str, percent: int, previous: str | None) -> DeploymentRequest:
    return DeploymentRequest(
        model_artifact=ModelArtifact(path=f"models:/electricity/{version}", version=version),
        deployment_strategy="canary",
        traffic_config=TrafficConfig(canary_percent=percent),
        previous_version=previous,
    )


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise Unavailable(f"it did not show within {PATIENCE:g} s")
        time.sleep(0.05)


def _say(text: str) -> None:
    print(f"  · {text}", flush=True)


if __name__ == "__main__":
    main()
