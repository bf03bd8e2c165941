"""What do champion and candidate say on every holdout row? By running both models, or by the table that holds predictions."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.deps import Deps
from agent.services import lineage
from agent.state import Findings, Run
from tools.contracts.evidence import Fold, PreparedData
from tools.contracts.training import ScoringResult
from tools.errors import BadInput

Side = Literal["champion", "candidate"]
SIDES: tuple[Side, ...] = ("champion", "candidate")
FROM_TABLE = "no model is run, the predictions come from scoring.predictions"
"""Why nothing else than predictions can be compared, as half a sentence."""


@dataclass(frozen=True)
class Score:
    """One model on one fold's holdout."""

    side: Side
    fold: int
    result: ScoringResult
    code: str = "scoring_failed"
    """The doubt that a failure raises."""


def score_all(deps: Deps, run: Run, findings: Findings, data: PreparedData, models: tuple[str, ...]) -> list[Score]:
    """Both sides on every fold; without a champion the candidate stands for it.

    Args:
        models: The candidate's model a fold.
    """
    if run.profile.scoring.predictions is not None:
        return _from_table(deps, run, findings, data)
    return _by_models(deps, run, data, models)


def candidate_digest(deps: Deps, scored: list[Score], model_uri: str) -> str | None:
    """Of the files that were judged; of those that there are where no model was run."""
    newest = [score.result.artifact_digest for score in scored if score.side == "candidate"][-1:]
    return newest[0] if newest and newest[0] is not None else deps.scorer.digest(model_uri)


def doubts_of(scores: list[Score]) -> list[tuple[str, str]]:
    """(code, sentence) a code, of what failed."""
    found: dict[str, list[str]] = {}
    for score in scores:
        if score.result.status != "scored":
            found.setdefault(score.code, []).append(f"{score.side}: {score.result.statement}")
    return [(code, " ".join(dict.fromkeys(told))) for code, told in found.items()]


def _tasks(data: PreparedData) -> list[tuple[Side, int, Fold]]:
    return [(side, number, fold) for number, fold in enumerate(data.folds) for side in SIDES]


def _by_models(deps: Deps, run: Run, data: PreparedData, models: tuple[str, ...]) -> list[Score]:
    """Two subprocesses at a time."""
    folder = deps.run_dir(run.run_id)
    champion_uri = models[-1] if run.champion is None else run.champion.model_uri
    digest = None if run.champion is None else lineage.read(run.champion).artifact_digest

    def one(task: tuple[Side, int, Fold]) -> Score:
        side, number, fold = task
        uri, expected = (champion_uri, digest) if side == "champion" else (models[number], None)
        out = folder / f"{side}-{number}.parquet"
        deps.progress(f"scoring {fold.holdout.rows:,} holdout rows with the {side}")
        job = lineage.scoring_job(run.profile, uri, fold.holdout.path, out, expected)
        return Score(side, number, deps.scorer.score(job))

    tasks = _tasks(data)
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(one, tasks))


def _from_table(deps: Deps, run: Run, findings: Findings, data: PreparedData) -> list[Score]:
    """Looked up by row key and version; every row or none."""
    candidate = None if findings.candidate is None else findings.candidate.version
    champion = candidate if run.champion is None else run.champion.version
    versions: dict[Side, str | None] = {"champion": champion, "candidate": candidate}
    folder = deps.run_dir(run.run_id)
    tasks = _tasks(data)
    table, spec = folder / "predictions.parquet", run.profile.scoring.predictions
    known = sorted({version for version in versions.values() if version is not None})
    try:
        if spec is None:
            raise BadInput("no predictions table is declared", thing="scoring.predictions")
        deps.progress(f"reading the predictions of version {' and '.join(known) or 'none'}")
        deps.data.write_predictions(run.profile.data, spec, known, table)
    except BadInput as fault:
        said = f"the predictions table cannot be used: {fault.message}."
        result = ScoringResult(status="failed", statement=said)
        return [Score(side, number, result, "predictions_unusable") for side, number, _ in tasks]
    return [_looked_up(side, number, fold, table, versions[side], folder) for side, number, fold in tasks]


def _looked_up(side: Side, number: int, fold: Fold, table: Path, version: str | None, folder: Path) -> Score:
    from tools.adapters.prediction_tables import TableFault, outputs_of

    out = folder / f"{side}-{number}.parquet"
    if version is None:
        said = (
            "it is not registered, so no row of the predictions table can be its own; register it, keep its predictions "
            "there, and hand it in with `retrain judge`."
        )
        result = ScoringResult(status="failed", statement=said)
        return Score(side, number, result, "predictions_version_unknown")
    found = outputs_of(fold.holdout.path, table, version, out)
    if isinstance(found, TableFault):
        return Score(side, number, ScoringResult(status="failed", statement=found.sentence), found.code)
    said = f"{found:,} predictions of version {version} found."
    return Score(side, number, ScoringResult(status="scored", output=str(out), rows=found, statement=said))
