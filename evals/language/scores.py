"""Where do the results of the language evals go? Into MLflow's evaluation, case by case, with the reason of each score."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

_MOST: Final = 100
"""Cases of one eval that are logged; the failed ones come first."""


@dataclass(frozen=True)
class Scored:
    """One case, whether it came out as it should, and why that is said."""

    kind: str
    case: str
    good: bool
    reason: str


def log(name: str, scored: Sequence[Scored], model: str) -> None:
    """One MLflow run of the experiment `language-evals`, at MLFLOW_TRACKING_URI; without that variable nothing is kept."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        print("MLFLOW_TRACKING_URI is not set: the scores stand in the table only.")
        return
    evaluated(name, scored, model, uri)
    print(f"Logged to experiment language-evals at {uri}.")


def evaluated(name: str, scored: Sequence[Scored], model: str, uri: str) -> Any:
    """What `mlflow.genai.evaluate` made of it, offline."""
    os.environ.setdefault("MLFLOW_GENAI_EVAL_MAX_WORKERS", "2")
    os.environ.setdefault("TQDM_DISABLE", "1")
    import mlflow
    from mlflow.entities import Feedback
    from mlflow.genai import evaluate, scorer

    @scorer(name="as_it_should_be")
    def judged(outputs: dict[str, Any]) -> Feedback:
        return Feedback(value=outputs["good"], rationale=outputs["reason"][:2000])

    first = sorted(scored, key=lambda each: each.good)[:_MOST]
    rows = [{"inputs": {"kind": each.kind, "case": each.case}, "outputs": asdict(each)} for each in first]
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("language-evals")
    with mlflow.start_run(run_name=f"{name}: {model}"):
        mlflow.set_tags({"eval": name, "model": model, "cases": str(len(scored))})
        return evaluate(data=rows, scorers=[judged])


def scratch() -> str:
    """A tracking store of its own, for a trial."""
    return f"sqlite:///{tempfile.mkdtemp()}/mlflow.db"
