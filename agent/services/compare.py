"""Is the candidate better than the champion on the same rows, and what puts the answer in doubt?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from agent.deps import Deps
from agent.services import apart, claimed_baseline, lineage, own_values, report, scores, second_opinion
from agent.services.measure import criteria_of
from agent.state import Findings, Run
from tools import comparison, error_budget
from tools.contracts.comparison import ComparisonResult, Contamination, ErrorBudget, Look, Span
from tools.contracts.evidence import PreparedData
from tools.contracts.training import ModelVersion
from tools.errors import BrokenInvariant, RetrainingError
from tools.metrics import metric_named, noun


def compare(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """The paired comparison on the holdout; with no champion, only the candidate's metrics."""
    data, uri = findings.data, findings.candidate_uri
    if data is None or uri is None:
        raise BrokenInvariant("the comparison was reached without data or candidate", thing="candidate")
    criteria = criteria_of(run.profile, run.order.request.deployment_criteria)
    models = findings.fold_models or tuple(uri for _ in data.folds)
    scored = scores.score_all(deps, run, findings, data, models)
    failed = scores.doubts_of(scored)
    judged = scores.candidate_digest(deps, scored, models[-1])
    overlap = _contamination(deps, run, findings, data)
    doubts = _doubts(run)
    digest = data.folds[-1].holdout.digest
    if failed:
        result = comparison.unmeasured(
            criteria=criteria,
            holdout_rows=sum(fold.holdout.rows for fold in data.folds),
            contamination=overlap.report,
            holdout_digest=digest,
            reason="there are no predictions to compare"
            if run.profile.scoring.predictions
            else "a model could not be scored",
            doubts=(*doubts, *failed),
            failures=tuple(told for _, told in failed),
        )
        return {"comparison": result.to_state(), "candidate_digest": judged}
    from tools.adapters import frames

    spec = run.profile.data
    scored_path = deps.run_dir(run.run_id) / "scored.parquet"
    triples = _triples(data, scored)
    own = own_values.add(deps, run.profile, criteria, [(rows, side) for rows, *both in triples for side in both])
    rows = frames.paired_rows(
        triples,
        target=run.profile.data.target,
        task=run.profile.task,
        slices=run.profile.metrics.columns,
        drop=overlap.hashes,
        scored_out=scored_path,
        group=run.profile.data.group,
        features=tuple(name for name in spec.features if name not in spec.text) if criteria.search_slices else (),
        # A declared slice's values are shown anyway; of other columns only those that the profile calls public.
        unnamed=set(spec.features) - set(spec.public) - set(run.profile.metrics.columns),
        duel_out=deps.run_dir(run.run_id) / report.DUEL,
        event_time=spec.event_time,
    )
    rows = replace(rows, unmeasured=own.faults)
    spent = _budget(deps, run, data)
    deps.progress(f"comparing on {rows.n:,} rows" + (f", look {spent.look} at this holdout" if spent.look > 1 else ""))
    duel = _duel(run, data, scored, models[-1], overlap)
    result = comparison.compare(
        rows=rows,
        criteria=criteria,
        contamination=overlap.report,
        holdout_digest=digest,
        doubts=doubts,
        budget=spent,
        apart=() if run.champion is None else apart.judge(deps, run, comparison.at_look(criteria, spent), duel),
        sources=own.digests,
    )
    result = _next_look(result, data)
    metrics, peer_doubt = second_opinion.ask(deps, run, criteria, result, scored_path, uri)
    for found in (claimed_baseline.doubt(run, result), peer_doubt):
        if found is not None:
            result = result.model_copy(
                update={
                    "doubts": (*result.doubts, found[0]),
                    "doubt_statements": (*result.doubt_statements, found[1]),
                }
            )
    ours = comparison.measure_all(rows=rows, criteria=criteria)
    changes: dict[str, Any] = {
        "validation_metrics": metrics | ours,
        "candidate_digest": judged,
        "notes": claimed_baseline.notes(run, criteria, result, findings),
    }
    if run.champion is not None:
        deps.tracking.log_metrics(
            run.tracking_run_id,
            {
                # MLflow takes no @ in a name.
                f"candidate.{m.criterion.metric.replace('@', '_at_')}": m.candidate
                for m in result.metrics
                if m.criterion.plain and m.candidate is not None
            },
        )
        changes["comparison"] = result.to_state()
    return changes


def _triples(data: PreparedData, scored: list[scores.Score]) -> list[tuple[str, str, str]]:
    outputs = {(s.side, s.fold): s.result.output or "" for s in scored}
    return [
        (fold.holdout.path, outputs["champion", number], outputs["candidate", number])
        for number, fold in enumerate(data.folds)
    ]


@dataclass(frozen=True)
class _Overlap:
    report: Contamination
    hashes: tuple[set[str], ...]
    """A set a fold: what its two models were trained on."""


def _duel(
    run: Run, data: PreparedData, scored: list[scores.Score], candidate_uri: str, overlap: _Overlap
) -> apart.Duel | str:
    if run.profile.scoring.predictions is not None:
        return scores.FROM_TABLE
    newest = len(data.folds) - 1
    results = {score.side: score.result for score in scored if score.fold == newest}
    return apart.Duel(
        champion_uri=candidate_uri if run.champion is None else run.champion.model_uri,
        candidate_uri=candidate_uri,
        champion_digest=None if run.champion is None else lineage.read(run.champion).artifact_digest,
        holdout=data.folds[-1].holdout,
        trained_on=overlap.hashes[-1],
        champion=results["champion"],
        candidate=results["candidate"],
    )


def _contamination(deps: Deps, run: Run, findings: Findings, data: PreparedData) -> _Overlap:
    """Holdout rows that either model was trained on, by row-key hash; unknown training rows are `could not check`."""
    from tools.adapters import frames

    folder = deps.run_dir(run.run_id) / "lineage-read"
    folder.mkdir(exist_ok=True, mode=0o700)

    def known(version: ModelVersion | None) -> set[str] | None:
        path = None if version is None else _hash_file(deps, version, folder)
        return None if path is None else frames.row_hashes(path)

    champion = known(run.champion)
    judged = known(findings.candidate) if run.order.kind == "judge" else None
    candidates = [judged if run.order.kind == "judge" else frames.row_hashes(fold.training.path) for fold in data.folds]
    if run.profile.scoring.predictions is not None:
        # One version's predictions are looked up for all folds: the one that the last fold made.
        candidates = [candidates[-1]] * len(data.folds)

    def rows(models: Sequence[set[str] | None]) -> int | None:
        """Holdout rows that stand in the training rows of the model that is judged on them."""
        counts = [
            None if hashes is None else frames.overlap(fold.holdout.path, hashes)
            for fold, hashes in zip(data.folds, models, strict=True)
        ]
        return None if None in counts else sum(count or 0 for count in counts)

    def word(count: int | None) -> Literal["clean", "overlaps", "could_not_check"]:
        return "could_not_check" if count is None else "overlaps" if count else "clean"

    on_champion, on_candidate = rows([champion] * len(data.folds)), rows(candidates)
    return _Overlap(
        Contamination(
            candidate=word(on_candidate),
            champion="clean" if run.champion is None else word(on_champion),
            candidate_rows=on_candidate,
            champion_rows=on_champion,
        ),
        tuple((champion or set()) | (candidate or set()) for candidate in candidates),
    )


def _hash_file(deps: Deps, version: ModelVersion, folder: Path) -> Path | None:
    try:
        return lineage.fetch(deps, version, "row_hashes", folder)
    except RetrainingError as failure:
        deps.progress(f"training rows of version {version.version} are not known: {failure.message}")
        return None


def _doubts(run: Run) -> tuple[tuple[str, str], ...]:
    """What makes the case ambiguous before a number is looked at: (code, sentence)."""
    found: list[tuple[str, str]] = []
    wanted = run.order.request.baseline_model
    if wanted is not None and wanted.version is not None:
        current = None if run.champion is None else run.champion.version
        if wanted.version != current:
            sentence = (
                f"The request's baseline is version {wanted.version}, but the champion is version {current or 'none'}."
            )
            found.append(("baseline_version_mismatch", sentence))
    return tuple(found)


def _budget(deps: Deps, run: Run, data: PreparedData) -> ErrorBudget:
    """What this look may spend. Recorded before a verdict is known: a look that was cut short was a look."""
    holdouts = [fold.holdout for fold in data.folds]
    known = all(holdout.start is not None and holdout.end is not None for holdout in holdouts)
    look = Look(
        model_name=run.profile.registered_model,
        run_id=run.run_id,
        digest=holdouts[-1].digest,
        spans=tuple(Span(start=h.start, end=h.end) for h in holdouts if h.start and h.end) if known else (),
        at=deps.clock(),
    )
    looks = deps.store.looks(look.model_name)
    own = next((place for place, one in enumerate(looks) if one.run_id == look.run_id), len(looks))
    earlier = looks[:own]
    metrics = run.profile.metrics
    found = error_budget.budget(look, earlier, confidence=metrics.confidence, most=metrics.max_looks)
    stands = deps.store.record_look(look.model_copy(update={"alpha": found.alpha}))
    return found.model_copy(update={"alpha": stands.alpha})


def _next_look(result: ComparisonResult, data: PreparedData) -> ComparisonResult:
    """By when enough rows (groups, of a ranking) will have come, where the holdout's own rate can be told."""
    first = min((f.holdout.start for f in data.folds if f.holdout.start is not None), default=None)
    last = max((f.holdout.end for f in data.folds if f.holdout.end is not None), default=None)
    if first is None or last is None or last <= first:
        return result
    rows = sum(f.holdout.sampled_from or f.holdout.rows for f in data.folds)
    if noun(metric_named(result.primary.criterion.metric, result.primary.criterion.direction)) == "groups":
        rows = result.primary.n
    return comparison.with_next_look(result, rows / ((last - first) / timedelta(days=1)), last)
