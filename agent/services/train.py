"""What does the pipeline make of the window, and is it in the registry once?"""

from typing import Any

from agent.deps import Deps
from agent.services import holds, lineage, reviews
from agent.services.effects import Result, once
from agent.state import Findings, Run
from tools.contracts.evidence import Fold, PreparedData
from tools.contracts.training import ModelVersion, TrainingOrder, TrainingResult
from tools.errors import BrokenInvariant, Conflict

KEY_TAG = "retraining.key"


def train(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """Train once a fold; the last fold's model is the candidate. In `act` it is registered, keyed by the run id."""
    data = _data(findings)
    how = run.profile.training
    if how is None:
        raise BrokenInvariant("training was reached without a training section", thing="training")
    holds.require_going_on(deps, "nothing is trained")
    void = reviews.why_void(deps, findings, "train")
    if void is not None:
        raise Conflict(
            f"the approval to train counts no more: {void}",
            thing="review",
            value=run.run_id,
            remedy="start a new run for what is so now; nothing was trained",
        )
    trainer = deps.trainers[how.kind]
    models: list[str] = []
    result: TrainingResult | None = None
    for number, fold in enumerate(data.folds, start=1):
        deps.progress(f"training {number} of {len(data.folds)}: {fold.training.rows:,} rows up to {fold.training.end}")
        result = trainer.train(_order(deps, run, data, number, fold), deps.progress)
        if result.status != "trained" or result.model_uri is None:
            return {"training": result.to_state(), "training_status": "failed"}
        models.append(result.model_uri)
    if result is None:
        raise BrokenInvariant("prepared data without folds", thing="folds", value=0)
    changes: dict[str, Any] = {
        "training": result.to_state(),
        "training_status": "trained",
        "fold_models": models,
        "candidate_uri": models[-1],
    }
    if run.profile.mode == "act":
        changes["candidate"] = register(deps, run, data, models[-1], result.tracking_run_id).to_state()
    return changes


def register(deps: Deps, run: Run, data: PreparedData, model_uri: str, source_run_id: str | None) -> ModelVersion:
    """The one registered version of this run, with its lineage recorded."""
    name = run.profile.registered_model

    def found() -> Result | None:
        versions = deps.registry.find_by_tag(name, KEY_TAG, run.run_id)
        return {"version": versions[0].version} if versions else None

    def act() -> Result:
        tags = {KEY_TAG: run.run_id, "retraining.status": "candidate"}
        return {"version": deps.registry.register(name, model_uri, source_run_id, tags).version}

    made = once(deps, run.run_id, "register", {"model_uri": model_uri}, act, found)
    version = deps.registry.get_version(name, str(made["version"]))
    deps.progress(f"registered {name} version {version.version}")
    last = data.folds[-1]
    lineage.record(
        deps,
        run.profile,
        version,
        run.tracking_run_id,
        deps.run_dir(run.run_id) / "lineage",
        training=last.training,
        golden_source=last.holdout,
    )
    return deps.registry.get_version(name, version.version)


def _order(deps: Deps, run: Run, data: PreparedData, number: int, fold: Fold) -> TrainingOrder:
    profile, how = run.profile, run.profile.training
    if how is None:
        raise BrokenInvariant("a training order without a training section", thing="training")
    last = number == len(data.folds)
    return TrainingOrder(
        key=run.run_id if last else f"{run.run_id}.{number}",
        model_name=profile.registered_model,
        how=how,
        project_dir=str(deps.root),
        training_data=fold.training.path,
        target=profile.data.target,
        features=profile.data.features,
        event_time=profile.data.event_time,
        task=profile.task,
        group=profile.data.group,
        window_start=fold.training.start,
        window_end=fold.training.end,
        training_digest=fold.training.digest,
        log_path=str(deps.run_dir(run.run_id) / f"training-{number}.log"),
    )


def _data(findings: Findings) -> PreparedData:
    if findings.data is None:
        raise BrokenInvariant("training was reached without prepared data", thing="data")
    return findings.data
