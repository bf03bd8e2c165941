# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
"""What does the agent do, on real data, in a few minutes? `retrain demo` plays four runs of the state machine.

Nothing here decides: every outcome comes from the data and the profile. The demo only prepares what an ML engineer
would have already: a champion in a registry, and a source whose latest weeks somebody damaged.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agent.bootstrap import App, bootstrap
from agent.entrypoints.cli.render import Screen, run_lines
from agent.services import adopt, reviews
from tools.contracts.evidence import DatasetRef
from tools.contracts.training import TrainingOrder
from tools.errors import BadInput, NotFound, Unavailable

MARKER: Final = ".retraining-demo"
EXAMPLE: Final = Path(__file__).resolve().parent.parent / "examples" / "electricity"
FIRST_MONTHS_END: Final = datetime(1996, 11, 1, tzinfo=UTC)
IMPROVE_AT: Final = "1997-09-01"
DAMAGED_AT: Final = "1997-10-01"
ASK_AT: Final = "1998-01-01"

_DEFAULTS = """# The demo acts: it registers versions and moves the alias. A new profile only observes.
mode: act
review:
  approvers: [{user}]
  expires_after: 7d
"""


def play(folder: Path, screen: Screen) -> None:
    """Four runs on the electricity stream, on a fresh local MLflow in `folder`.

    Raises:
        NotFound: the examples are not beside the package. BadInput: the folder holds something that is not a demo.
    """
    started = time.monotonic()
    lay_out(folder)
    app = bootstrap(environ=os.environ, start=folder, workspace=folder, progress=screen.progress)
    say = _Narrator(screen)

    say.head("0. What is there already", "A champion, trained on the first six months and registered by somebody.")
    version = make_champion(app, first_model(app))
    say.lines([f"  electricity version {version} is @champion, trained on data up to {FIRST_MONTHS_END:%Y-%m-%d}"])

    say.head(
        "1. Improve", f"It is {IMPROVE_AT}; a drift alert comes in. Has the world moved, and is a new model better?"
    )
    first = _run(app, "electricity", IMPROVE_AT, trigger="drift")
    say.run(first)
    say.lines(["", "  The public JSON, as every door returns it:", ""])
    say.lines(json.dumps(_short(first), indent=2).splitlines())

    say.head(
        "2. Refuse bad data",
        f"It is {DAMAGED_AT}; in the last weeks a unit was changed and a third of a column went missing.",
    )
    _damage(folder)
    say.run(_run(app, "electricity_damaged", DAMAGED_AT))

    say.head("3. Go back", "An engineer distrusts the new version: back to the last known good one, with proof.")
    say.run(_rollback(app))

    say.head("4. Ask", f"It is {ASK_AT}; only five days of labels are in. Can anybody tell from so little?")
    asked = _run(app, "electricity", ASK_AT, strategy="latest:5d")
    say.run(asked)
    say.lines(_where_next(app, folder, asked, time.monotonic() - started))


class _Narrator:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def head(self, title: str, text: str) -> None:
        self.lines(["", "─" * 100, title, text, ""])

    def run(self, output: dict[str, Any]) -> None:
        self.lines(run_lines(output))

    def lines(self, lines: list[str]) -> None:
        self._screen.result(None, lines)


def lay_out(folder: Path) -> None:
    """The electricity example as a fresh workspace in mode act, and a profile of the source that will be damaged."""
    if not (EXAMPLE / "electricity.parquet").exists():
        raise NotFound(
            f"the electricity example is not at {EXAMPLE}",
            thing="examples",
            value=EXAMPLE,
            remedy="run the demo from a checkout",
        )
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise BadInput(
            f"{folder} exists and is not a demo",
            thing="--folder",
            value=folder,
            remedy="name a new folder; nothing was touched",
        )
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("mlruns", "mlflow.db", ".retraining", "__pycache__")
    shutil.copytree(EXAMPLE, folder, ignore=ignored)
    (folder / MARKER).write_text("made by `retrain demo`; safe to delete\n", encoding="utf-8")
    (folder / "profiles" / "defaults.yaml").write_text(
        _DEFAULTS.format(user=json.dumps(reviews.os_user())), encoding="utf-8"
    )
    profile = (folder / "profiles" / "electricity.yaml").read_text(encoding="utf-8")
    damaged = profile.replace("source: electricity.parquet", "source: electricity_damaged.parquet")
    (folder / "profiles" / "electricity_damaged.yaml").write_text(damaged, encoding="utf-8")


@dataclass(frozen=True)
class FirstModel:
    """What an engineer logged by hand, on the first six months."""

    training: DatasetRef
    uri: str
    tracking_run_id: str | None


def first_model(
    app: App, model_id: str = "electricity", *, until: datetime = FIRST_MONTHS_END, key: str = "first-champion"
) -> FirstModel:
    """Train with the example's own pipeline on all rows before `until`; log, and no more."""
    deps, profile = app.deps, app.deps.load_profile(model_id)
    folder = deps.run_dir(key)
    rows = deps.data.write_labelled(profile.data, None, until, until, folder / "training.parquet")
    if profile.training is None:
        raise BadInput("the example's profile says nothing about training", thing="training")
    order = TrainingOrder(
        key=key,
        model_name=profile.registered_model,
        how=profile.training,
        project_dir=str(deps.root),
        training_data=rows.path,
        target=profile.data.target,
        features=profile.data.features,
        event_time=profile.data.event_time,
        task=profile.task,
        window_start=rows.start,
        window_end=rows.end,
        training_digest=rows.digest,
        log_path=str(folder / "training.log"),
    )
    result = deps.trainers[profile.training.kind].train(order, deps.progress)
    if result.model_uri is None:
        raise Unavailable(f"the first champion could not be trained: {result.statement}\n{result.log_tail}")
    return FirstModel(rows, result.model_uri, result.tracking_run_id)


def make_champion(app: App, model: FirstModel, model_id: str = "electricity") -> str:
    """Register the model, set the alias, adopt it: what the demo finds in place. Returns the version."""
    deps, profile = app.deps, app.deps.load_profile(model_id)
    version = deps.registry.register(profile.registered_model, model.uri, model.tracking_run_id, {})
    deps.registry.set_alias(version.name, profile.champion.value, version.version)
    later = datetime.fromisoformat(IMPROVE_AT).replace(tzinfo=UTC)
    adopt.adopt(deps, profile, version=version, training=model.training, as_of=later, by=reviews.os_user())
    return version.version


def _run(app: App, model: str, as_of: str, *, trigger: str = "manual", strategy: str | None = None) -> dict[str, Any]:
    from agent.requests import request_from_flags

    request = request_from_flags(model, trigger=trigger, as_of=as_of, strategy=strategy)
    return app.runs.start(app.order("retrain", request))


def _rollback(app: App) -> dict[str, Any]:
    from agent.requests import request_from_flags

    order = app.order(
        "rollback", request_from_flags("electricity"), reason="the desk sees odd prices since the last release"
    )
    return app.runs.start(order)


def _damage(folder: Path) -> None:
    """Megawatts become kilowatts, and a third of the neighbour's demand goes missing, from September 1997 on."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(folder / "electricity.parquet")
    late = frame["event_time"] >= IMPROVE_AT
    frame.loc[late, "nsw_demand"] *= 1000
    frame.loc[late & (np.arange(len(frame)) % 3 == 0), "vic_demand"] = np.nan
    frame.to_parquet(folder / "electricity_damaged.parquet", index=False)


def _short(output: dict[str, Any]) -> dict[str, Any]:
    """For the screen only: long lists of evidence are counted; the artifact holds them whole."""
    shown = {key: value for key, value in output.items() if key not in ("evidence", "staleness", "validation")}
    return shown | {"evidence": f"{len(output.get('evidence', []))} items, see output.json of the MLflow run"}


def _where_next(app: App, folder: Path, asked: dict[str, Any], seconds: float) -> list[str]:
    review = asked["deploymentDecision"].get("reviewId")
    here = ["", "─" * 100, f"Done in {seconds:.0f} s. Where to look:", ""]
    here += [
        f"  {app.deps.tracking.where()}",
        f"  {folder}/.retraining/runs/         data sets, logs and drift reports of each run",
        f"  retrain history electricity -w {folder}",
    ]
    if review is not None:
        here += [
            "",
            "The last run waits for you. In a new process, after a restart, whenever you like:",
            "",
            f"  retrain review show {review} -w {folder}",
            f'  retrain release electricity --reason "understood" -w {folder}      (held since the rollback: first let it go)',
            f'  retrain review approve {review} --reason "I know this week" -w {folder}      (or: reject)',
            f"  retrain runs show {asked['runId']} -w {folder}",
        ]
    return [*here, "", "  (`retrain` is .venv/bin/retrain after `make demo`)"]
