# pyright: basic
"""A trainer and a scorer that do as they are told: for tests and rehearsals. No process, no tracking server."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools.adapters.own_metric_worker import Refused, numbers
from tools.adapters.subprocess_scorer import checked
from tools.contracts.measuring import MetricJob, MetricResult, TimingJob, TimingResult
from tools.contracts.training import ScoringJob, ScoringResult, TrainingOrder, TrainingResult
from tools.errors import RetrainingError

Step = TrainingResult | RetrainingError | Callable[[TrainingOrder], TrainingResult]
"""A result to give, an error to raise, or a function of the order."""
Predict = Callable[[Any], Mapping[str, Any]]
"""From a frame of the features to columns: `prediction`, and `proba:<class>` where there are."""


def trained(
    model_uri: str, tracking_run_id: str = "scripted", metrics: Mapping[str, float] | None = None
) -> TrainingResult:
    """A success to put into a script."""
    return TrainingResult(
        status="trained",
        tracking_run_id=tracking_run_id,
        model_uri=model_uri,
        metrics=dict(metrics or {}),
        seconds=0.0,
        statement="Trained: the pipeline logged a model.",
    )


class ScriptedTrainer:
    """Port `Trainer`: each new training takes the next step of the script, the last one again and again.

    `orders` holds every order in turn, `started` those that were not adopted.
    """

    def __init__(self, *script: Step) -> None:
        if not script:
            raise ValueError("a scripted trainer needs at least one step")
        self._script = list(script)
        self._finished: dict[str, TrainingResult] = {}
        self.orders: list[TrainingOrder] = []
        self.started: list[TrainingOrder] = []

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        """Adopts what this trainer trained with the key; failures start anew."""
        self.orders.append(order)
        if order.key in self._finished:
            earlier = self._finished[order.key]
            progress(f"adopted the finished training run {earlier.tracking_run_id}")
            statement = "Trained: an earlier finished run was adopted."
            return earlier.model_copy(update={"adopted": True, "statement": statement})
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        self.started.append(order)
        progress("pipeline: scripted")
        if isinstance(step, RetrainingError):
            raise step
        result = step if isinstance(step, TrainingResult) else step(order)
        if result.status == "trained":
            self._finished[order.key] = result
        return result


class ScriptedScorer:
    """Port `Scorer`: models are functions, by URI. Predictions are written as the real one writes them.

    Args:
        models: What each model predicts, or the result to give in its place.
        digests: Each model's digest; a model without one has its URI's text as digest.

    `functions` holds users' metrics by name, from a frame to one number a row, or the result to give in their place;
    `milliseconds` what one prediction of a model takes, by URI, and `sizes` its bytes.
    """

    def __init__(self, models: Mapping[str, Predict | ScoringResult], digests: Mapping[str, str] | None = None) -> None:
        self.models = dict(models)
        self.digests = dict(digests or {})
        self.functions: dict[str, Callable[[Any], Any] | MetricResult] = {}
        self.milliseconds: dict[str, float] = {}
        self.sizes: dict[str, int] = {}
        self.jobs: list[ScoringJob] = []

    def digest(self, model_uri: str) -> str | None:
        """As given; None for an unknown model."""
        return self.digests.get(model_uri, model_uri) if model_uri in self.models else None

    def score(self, job: ScoringJob) -> ScoringResult:
        """The model's predictions on the rows; its scripted result where it has one."""
        import pandas as pd

        self.jobs.append(job)
        model, digest = self.models.get(job.model_uri), self.digest(job.model_uri)
        if model is None:
            said = f"{job.model_uri} could not be fetched: no model at {job.model_uri}"
            return ScoringResult(status="failed", statement=said)
        if job.expected_digest is not None and job.expected_digest != digest:
            said = f"{job.model_uri} was altered: it was not opened."
            return ScoringResult(status="digest_differs", artifact_digest=digest, statement=said)
        if isinstance(model, ScoringResult):
            return model
        frame = pd.read_parquet(job.rows, columns=list(job.features))
        scored = pd.DataFrame(dict(model(frame)))
        size = self.sizes.get(job.model_uri)
        common: dict[str, Any] = {
            "seconds": 0.0,
            "environment": "ours",
            "artifact_digest": digest,
            "model_bytes": size,
        }
        Path(job.output).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scored.to_parquet(job.output, index=False)
        rows, problem = checked(Path(job.output), job)
        if problem is not None:
            Path(job.output).unlink()
            return ScoringResult(status="failed", statement=f"{job.model_uri} {problem}.", by_model=True, **common)
        return ScoringResult(
            status="scored", output=job.output, rows=rows, statement=f"{rows:,} rows scored.", **common
        )

    def measure(self, job: MetricJob) -> MetricResult:
        """The function's numbers, checked as the real one checks them."""
        import pandas as pd

        given = self.functions.get(job.name)
        if given is None:
            return MetricResult(status="failed", statement=f"there is no file {job.name.partition(':')[0]}")
        if isinstance(given, MetricResult):
            return given
        rows = pd.read_parquet(job.rows, columns=[*job.features, job.target])
        scored = pd.read_parquet(job.scored)
        for name in scored.columns:
            rows[name] = scored[name].to_numpy()
        try:
            values = numbers(given(rows), len(rows), job.name.rpartition(":")[2])
        except Refused as refused:
            return MetricResult(status="failed", digest=job.name, statement=str(refused))
        pd.DataFrame({"value": values}).to_parquet(job.output, index=False)
        return MetricResult(
            status="measured", output=job.output, digest=job.name, statement=f"{len(rows):,} rows measured"
        )

    def time(self, job: TimingJob) -> TimingResult:
        """Always the same time, in each process a little more."""
        found: list[tuple[tuple[float, ...], ...]] = []
        for uri in (job.champion_uri, job.candidate_uri):
            if uri not in self.milliseconds:
                return TimingResult(fault=f"{uri} could not be timed")
            took = self.milliseconds[uri]
            found.append(tuple((took * (1 + number / 100),) * job.calls for number in range(job.pairs)))
        return TimingResult(champion_ms=found[0], candidate_ms=found[1])
