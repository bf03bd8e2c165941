"""How soon is harm over that no crash gives away?

`python -m evals.reliability.harm` serves the electricity example (MLServer behind Envoy) under a steady load of real rows and lets the
graph roll out a better version, as `retrain watch` would. That version keeps running and begins to refuse every request, once in the
middle of the canary, once after it was promoted. Measured are the seconds until a look says so, and from there until the champion
answers everything; after the promotion, the seconds from the order to go back. Nothing is faked; all servers are on loopback.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agent.bootstrap import bootstrap, serving_target
from agent.demo import IMPROVE_AT, first_model, lay_out, make_champion
from agent.requests import request_from_flags
from agent.services import holds, reviews, serving
from evals.report import Row, arguments, publish
from tools.adapters.serving.asking import bodies
from tools.adapters.serving.load import SteadyLoad
from tools.errors import Unavailable

MODEL: Final = "electricity"
ASKS: Final = "whoever measures"
"""Where the risk is high, nobody approves what he asked for."""
BETTER_UNTIL: Final = datetime(1997, 7, 1, tzinfo=UTC)
PER_SECOND: Final = 30.0
PATIENCE: Final = 240.0
LOOKS: Final = 1.0
"""Seconds between two looks."""
PROFILE: Final = """
target: {kind: serving}
rollout:
  risk: high
  mirror: 0
  canary_weights: [50]
  step_pause: 1s
  bake: 1s
  promote_on: no_harm
  max_duration: 10m
"""
CODE: Final = '''
import os
import mlflow.pyfunc
from mlflow.models import set_model

class Model(mlflow.pyfunc.PythonModel):
    """The trained model, until a file appears."""

    def load_context(self, context):
        self.inner = mlflow.pyfunc.load_model(context.artifacts["model"])

    def predict(self, context, model_input, params=None):
        if os.path.exists(FLAG):
            raise RuntimeError("no such column")
        return self.inner.predict(model_input)

set_model(Model())
'''


class Bench:
    """A champion under load, and a better version that turns bad when told."""

    def __init__(self, folder: Path) -> None:
        lay_out(folder)
        self.flag = folder / "harm"
        profile = folder / "profiles" / f"{MODEL}.yaml"
        profile.write_text(profile.read_text(encoding="utf-8") + PROFILE, encoding="utf-8")
        self.said: list[tuple[float, str]] = []
        self.app = bootstrap(environ=os.environ, start=folder, workspace=folder, progress=self._hear)
        self.champion = make_champion(self.app, first_model(self.app))
        profile = self.app.deps.load_profile(MODEL)
        self.name = profile.registered_model
        self.better = self._wrapped(first_model(self.app, until=BETTER_UNTIL, key="better").uri, folder)
        self.target = serving_target(self.app.workspace, profile, self._hear)
        self.url = serving.up(self.app.deps, profile, self.target).url
        rows = folder / "rows.parquet"
        self.app.deps.data.write_window(profile.data, None, self.app.deps.clock(), rows, 500)
        self.bodies = bodies(rows, profile.data.features)

    def _hear(self, text: str) -> None:
        self.said.append((time.time(), text))
        print(f"  · {text}", flush=True)

    def _wrapped(self, uri: str, folder: Path) -> str:
        import mlflow
        import mlflow.artifacts
        import mlflow.models
        import mlflow.pyfunc

        mlflow.set_tracking_uri(self.app.workspace.tracking_uri)
        code = folder / "turns_bad.py"
        code.write_text(CODE.replace("FLAG", repr(str(self.flag))), encoding="utf-8")
        inner = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder / "better"))
        loaded = mlflow.models.get_model_info(uri)
        with mlflow.start_run():
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(code),
                artifacts={"model": inner},
                signature=loaded.signature,
                pip_requirements=[f"mlflow=={mlflow.__version__}", "scikit-learn"],
            )
        return logged.model_uri

    def candidate(self) -> str:
        """A version of its own for each trial."""
        return self.app.deps.registry.register(self.name, self.better, None, {}).version

    def load(self) -> SteadyLoad:
        """Real rows, one a request."""
        assert self.url is not None
        return SteadyLoad(self.url, self.bodies, PER_SECOND)

    def roll_out(self, version: str) -> str:
        """The run that rolls the version out, begun."""
        request = request_from_flags(MODEL, as_of=IMPROVE_AT)
        output = self.app.runs.start(self.app.order("judge", request, candidate_version=version, requested_by=ASKS))
        review = output["deploymentDecision"].get("reviewId")
        if review is not None:
            output = self.app.answer(review, "canary", "it is what is measured")
        if output["rollout"]["phase"] in ("refused", "not_started"):
            raise Unavailable(f"nothing is rolled out: {output['deploymentDecision']['rationale']} {output['rollout']}")
        return str(output["runId"])

    def look_until(self, run_id: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """A look every second, until the run's output is as wanted."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.app.runs.resume(run_id)
            output = self.app.deps.store.get_run(run_id).output or {}
            if true(output):
                return output
            time.sleep(LOOKS)
        raise Unavailable(f"run {run_id} did not come there within {PATIENCE:g} s: {output.get('rollout')}")

    def first_said(self, what: str, since: float) -> float:
        """When the graph first said so."""
        return next(at for at, text in self.said if at >= since and what in text)

    def free(self) -> None:
        """Held after a rollback; let go for the next trial."""
        me = reviews.os_user()
        holds.release(self.app.deps, holds.of_model(self.name), "the next trial", approvers=[me])
        self.flag.unlink(missing_ok=True)


def in_mid_rollout(bench: Bench) -> dict[str, float]:
    """Every request to the candidate fails from some time at 50 % on."""
    with bench.load() as load:
        time.sleep(2)
        run_id = bench.roll_out(bench.candidate())
        bench.look_until(run_id, lambda now: now["rollout"].get("weight") == 50)
        bench.flag.touch()
        harmed = time.time()
        output = bench.look_until(run_id, lambda now: now["rollout"]["phase"] in ("rolled_back", "promoted"))
        time.sleep(2)
    assert output["rollout"]["phase"] == "rolled_back", output["rollout"]
    verdict = bench.first_said("rollout: unhealthy", harmed)
    lost = [reply for reply in load.replies if reply.failed]
    assert all(reply.at >= harmed - 1 for reply in lost), "requests were lost before there was harm"
    served = max((r.at + r.seconds for r in load.replies if r.failed or r.version != bench.champion), default=verdict)
    return {
        "from harm to the verdict": verdict - harmed,
        "from the verdict to the champion serving everything": max(0.0, served - verdict),
        "requests lost": float(len(lost)),
    }


def after_promotion(bench: Bench) -> dict[str, float]:
    """The same after the promotion; a person orders the way back."""
    with bench.load() as load:
        run_id = bench.roll_out(bench.candidate())
        bench.look_until(run_id, lambda now: now["rollout"]["phase"] in ("promoted", "rolled_back"))
        bench.flag.touch()
        time.sleep(1)
        ordered = time.time()
        order = bench.app.order("rollback", request_from_flags(MODEL), reason="every request fails")
        output = bench.app.runs.start(order)
        time.sleep(2)
    assert output["rollout"]["phase"] == "rolled_back", output["rollout"]
    served = max((r.at + r.seconds for r in load.replies if r.failed or r.version != bench.champion), default=ordered)
    return {"from the order to the champion serving everything": max(0.0, served - ordered)}


TRIALS: Final[tuple[tuple[str, Callable[[Bench], dict[str, float]]], ...]] = (
    ("harm at 50 %", in_mid_rollout),
    ("harm after the promotion", after_promotion),
)


def main() -> None:
    """Prints the table."""
    given = arguments(__doc__ or "").parse_args()
    trials = 1 if given.quick else 5
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="retraining-eval-", ignore_cleanup_errors=True) as name:
        bench = Bench(Path(name) / "demo")
        try:
            for what, trial in TRIALS:
                found: dict[str, list[float]] = {}
                for number in range(trials):
                    for part, value in trial(bench).items():
                        found.setdefault(part, []).append(value)
                    bench.free()
                    print(
                        f"  · {what}, trial {number + 1}: { ({k: round(v[-1], 2) for k, v in found.items()}) }",
                        flush=True,
                    )
                rows += [_row(what, part, values) for part, values in found.items()]
        finally:
            bench.target.control.down()
    publish(rows, given.json, per_second=PER_SECOND, trials=trials)


def _row(what: str, part: str, values: list[float]) -> Row:
    low, high = min(values), max(values)
    unit = "" if "requests" in part else "seconds "
    row = Row(f"{what}: {unit}{part}, median (least to most)", statistics.median(values), low, high, len(values))
    if "serving everything" not in part:
        return row
    return Row(row.name, row.value, low, high, row.n, "at most 2 s", high <= 2.0)


if __name__ == "__main__":
    main()
