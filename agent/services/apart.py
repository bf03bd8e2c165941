"""What do guardrails say that are not about the holdout's predictions: latency, model size, rows with missing values?"""

from dataclasses import dataclass, replace
from pathlib import Path

from agent.deps import Deps
from agent.services import lineage, own_values
from agent.state import Run
from tools import nulls, operational
from tools.contracts.comparison import Criteria, Criterion, MetricComparison
from tools.contracts.evidence import DatasetRef
from tools.contracts.measuring import TimingJob
from tools.contracts.training import ScoringResult
from tools.metric_names import LATENCY, SIZE
from tools.verdicts import no_data


@dataclass(frozen=True)
class Duel:
    """The two models, the newest holdout, and how each scored it."""

    champion_uri: str
    candidate_uri: str
    champion_digest: str | None
    holdout: DatasetRef
    trained_on: set[str]
    """Row hashes that either model was trained on."""
    champion: ScoringResult
    candidate: ScoringResult


def judge(deps: Deps, run: Run, criteria: Criteria, duel: Duel | str) -> list[MetricComparison]:
    """A verdict for each of `criteria.apart`, one measurement after the other: nothing else of ours runs meanwhile.

    Args:
        criteria: With the error that this look may spend.
        duel: Or why no model is run, as half a sentence.
    """
    if isinstance(duel, str):
        return [no_data(criterion, 0, f"{criterion.about}: {duel}") for criterion in criteria.apart]
    return [_judge(deps, run, criteria, criterion, duel) for criterion in criteria.apart]


def _judge(deps: Deps, run: Run, criteria: Criteria, criterion: Criterion, duel: Duel) -> MetricComparison:
    if criterion.nulls:
        return nulls.judge_nulls(criterion, criteria, _with_nulls(deps, run, criteria, duel))
    if criterion.metric == SIZE:
        return operational.judge_size(criterion, duel.champion.model_bytes, duel.candidate.model_bytes)
    if criterion.metric == LATENCY:
        deps.progress("timing single-row predictions of both models in turn")
        timing = deps.scorer.time(_timing_job(deps, run, criteria, duel))
        return operational.judge_latency(criterion, timing, criteria.confidence)
    return no_data(criterion, 0, f"{criterion.about}: nobody measures it")


def _timing_job(deps: Deps, run: Run, criteria: Criteria, duel: Duel) -> TimingJob:
    from tools.adapters import frames

    profile = run.profile
    rows = frames.sample_rows(duel.holdout.path, operational.ROWS, deps.run_dir(run.run_id) / "timed-rows.parquet")
    return TimingJob(
        champion_uri=duel.champion_uri,
        candidate_uri=duel.candidate_uri,
        champion_digest=duel.champion_digest,
        rows=str(rows),
        features=profile.data.features,
        task=profile.task,
        pairs=operational.pairs_needed(criteria.confidence) + operational.MORE_PAIRS,
        calls=operational.CALLS,
        warm_up=operational.WARM_UP,
        time_limit=profile.scoring.time_limit,
        memory_limit_mb=profile.scoring.memory_limit_mb,
        environment=profile.scoring.environment,
    )


def _with_nulls(deps: Deps, run: Run, criteria: Criteria, duel: Duel) -> nulls.NullScores:
    """Both models on the same rows with the same values missing, judged by the labels of those rows."""
    from tools.adapters import frames

    profile, folder = run.profile, deps.run_dir(run.run_id)
    whole = Path(duel.holdout.path)
    if profile.data.group is None:  # thinning rows would tear the groups of a ranking
        whole = frames.sample_rows(whole, nulls.ROWS, folder / "whole-rows.parquet")
    holed = folder / "rows-with-nulls.parquet"
    count = frames.with_nulls(whole, profile.data.features, nulls.SHARE, nulls.SEED, holed)
    deps.progress(f"scoring {count:,} rows with missing values with both models")
    sides = (
        ("champion", duel.champion_uri, duel.champion_digest),
        ("candidate", duel.candidate_uri, None),
    )
    champion, candidate = (
        deps.scorer.score(
            lineage.scoring_job(profile, uri, str(holed), folder / f"{side}-with-nulls.parquet", expected)
        )
        for side, uri, expected in sides
    )
    scores = nulls.NullScores(champion, candidate, count)
    if champion.output is None or candidate.output is None:
        return scores
    only_primary = criteria.model_copy(update={"guardrails": ()})
    # A user's function sees the rows as they are: what it counts is what the prediction is worth, not what the model saw.
    own = own_values.add(deps, profile, only_primary, [(str(whole), champion.output), (str(whole), candidate.output)])
    rows = frames.paired_rows(
        [(str(whole), champion.output, candidate.output)],
        target=profile.data.target,
        task=profile.task,
        slices=(),
        drop=[duel.trained_on],
        scored_out=folder / "scored-with-nulls.parquet",
        group=profile.data.group,
    )
    return replace(scores, rows=replace(rows, unmeasured=own.faults))
