"""Twenty-four recorded cases of evidence, each a whole world in memory that any process can make again.

`python -m evals.decisions.doors_cases CASE FOLDER retrain …` is the command line over such a world: a real process with real pipes.
Several commands are parted by `then`; `pass 8d` lets time go by, `alter` asks more of candidates than before, `approver NAME` names who
may answer. Last comes a line of JSON with the exit codes and what the champion's alias did.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from agent.bootstrap import App
from tools.adapters.memory_target import MemoryTarget
from tools.adapters.memory_training import ScriptedTrainer
from tools.contracts.training import TrainingResult

AS_OF: Final = "2026-07-01T00:00:00Z"


@dataclass(frozen=True)
class Case:
    """One world and what is asked of it."""

    name: str
    trains: str = "better"
    """What the pipeline gives: better, worse, twin or nothing."""
    champion: bool = True
    splits: bool = False
    """Whether the target can split traffic."""
    profile: Mapping[str, Any] = field(default_factory=dict[str, Any])
    request: Mapping[str, Any] = field(default_factory=dict[str, Any])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def asked(self) -> dict[str, Any]:
        """The public request."""
        return {
            "modelId": "prices",
            "retrainingConfig": {"trigger": "manual", "asOf": AS_OF, **self.config},
            **self.request,
        }


def _metrics(primary: Mapping[str, Any], *guardrails: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"metrics": {"primary": dict(primary), "guardrails": [dict(each) for each in guardrails], **more}}


_ACCURACY: Final = {"name": "accuracy", "min_improvement": 0.02}
_LOSS: Final = {"name": "log_loss", "margin": 0.05}

CASES: Final = (
    Case("a clear win"),
    Case("a worse candidate", trains="worse"),
    Case("the same model again", trains="twin"),
    Case("a training that fails", trains="nothing"),
    Case("observed only", profile={"mode": "observe"}),
    Case("every effect is asked for", profile={"mode": "recommend"}),
    Case("high risk where traffic cannot be split", profile={"rollout": {"risk": "high"}}),
    Case("a holdout of three days", config={"validationStrategy": "latest:3d"}),
    Case("high risk where traffic can be split", splits=True, profile={"rollout": {"risk": "high"}}),
    Case("two rolling holdouts", config={"validationStrategy": "rolling:2x10d"}),
    Case("more is asked than is gained", request={"deploymentCriteria": {"minImprovement": 0.9}}),
    Case("nothing is asked", request={"deploymentCriteria": {"minImprovement": 0.0}}),
    Case("a guardrail by name", request={"deploymentCriteria": {"guardrailMetrics": ["roc_auc"]}}),
    Case(
        "a guardrail with a relative margin",
        trains="worse",
        request={"deploymentCriteria": {"guardrailMetrics": [{"name": "f1", "margin": 0.1, "unit": "relative"}]}},
    ),
    Case("a drift alert", config={"trigger": "drift"}),
    Case("a performance alert", config={"trigger": "performance"}),
    Case("on schedule", config={"trigger": "scheduled", "triggerSource": "cron"}),
    Case("no champion yet", champion=False),
    Case("too few rows", profile={"validation": {"min_rows": 100_000, "allow_leak": ["a", "b"]}}),
    Case("a baseline that is not the champion", request={"baselineModel": {"version": "7"}}),
    Case("a baseline with other figures", request={"baselineModel": {"version": "1", "metrics": {"accuracy": 0.99}}}),
    Case("a refresh that loses nothing", trains="twin",
         profile=_metrics({"name": "accuracy", "margin": 0.01}, _LOSS, promote_on="non_inferior")),
    Case("kept where rows cannot tell", config={"validationStrategy": "latest:3d"},
         profile=_metrics(_ACCURACY, _LOSS, on_inconclusive="keep")),
    Case("judged by log loss", profile=_metrics({"name": "log_loss", "min_improvement": 0.01})),
)  # fmt: skip


def app(case: Case, folder: Path) -> App:
    """The case's world behind a desk, with its clock and ids fixed."""
    from tests.graph.doors import app_of

    return app_of(world(case, folder))


def world(case: Case, folder: Path) -> Any:
    """The case's world. Evals run from a checkout: the tests are there."""
    import yaml

    from tests.graph import world as worlds

    trains = {"better": worlds.BETTER, "worse": worlds.WORSE, "twin": worlds.TWIN, "nothing": worlds.BROKEN}
    target = MemoryTarget(weights={"1": 100}) if case.splits else None
    made = worlds.make_world(folder, champion=case.champion, trains=trains[case.trains], target=target, **case.profile)
    if case.trains == "nothing":
        failed = TrainingResult(status="failed", log_tail="boom", statement="The pipeline exited with 1: boom")
        trainer: Any = ScriptedTrainer(failed)
        made = worlds.with_deps(made, trainers={"project": trainer})
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "prices.yaml").write_text(yaml.safe_dump(made.profile), encoding="utf-8")
    return made


def alter(made: Any) -> None:
    """Somebody changes the profile: what was asked about is no longer what would be done."""
    made.profile["metrics"] = {**made.profile["metrics"], "primary": {"name": "accuracy", "min_improvement": 0.03}}


def main(argv: list[str]) -> None:
    """The command line over a case."""
    import agent.bootstrap
    from agent.entrypoints.cli.app import main as command
    from tests.graph.doors import app_of

    name, folder, *words = argv
    made = world(next(each for each in CASES if each.name == name), Path(folder))
    opened = app_of(made)
    agent.bootstrap.bootstrap = lambda **_: opened
    if "then" not in words:
        sys.argv = words
        command()
    codes: list[int] = []
    for step in _steps(words):
        if step[0] == "pass":
            made.pass_time(timedelta(days=int(step[1].removesuffix("d"))))
        elif step[0] == "alter":
            alter(made)
        elif step[0] == "approver":
            made.profile["review"] = {**made.profile["review"], "approvers": [step[1]]}
        else:
            sys.argv = step
            try:
                command()
            except SystemExit as ended:
                codes.append(int(ended.code or 0))
    print(json.dumps({"codes": codes, "moves": made.moves}))


def _steps(words: list[str]) -> list[list[str]]:
    steps: list[list[str]] = [[]]
    for word in words:
        if word == "then":
            steps.append([])
        else:
            steps[-1].append(word)
    return steps


if __name__ == "__main__":
    main(sys.argv[1:])
