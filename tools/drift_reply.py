"""What does the drift-detective say about what was measured: which columns, since when, why, how urgent, and what to do?

* **Alerts.** `page` for broken data and a measured loss of performance; `ticket` for a data set, predictions or labels that
  drifted; `digest` for single columns and notes.
* **Root cause**, the first that applies: a broken pipeline · performance lost while the features hold (the concept moved) ·
  performance lost and the features moved (both) · new categories upstream · features and predictions moved while performance
  holds (the population moved) · features moved · nothing. Columns that moved at the same time are named together.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tools import drift
from tools.contracts.peers import (
    ConceptDrift,
    DriftAlert,
    DriftReply,
    DriftReport,
    FeatureDrift,
    PeerRecommendation,
    PerformanceClaim,
    RootCause,
)
from tools.drift import ColumnDrift

_SEVERITY: Final = {
    "ok": "none",
    "bad": "drifted",
    "could_not_tell": "could_not_tell",
    "could_not_measure": "could_not_measure",
}
_NAMED: Final = 12
"""Columns named in one sentence; the evidence has them all."""


def reply(
    *,
    columns: Sequence[ColumnDrift],
    predictions: ColumnDrift | None,
    labels: ColumnDrift | None,
    performance: PerformanceClaim | None,
    share: float,
    report_path: str | None = None,
    notes: Sequence[str] = (),
) -> DriftReply:
    """The whole answer.

    Args:
        columns: Every feature, corrected and weighed.
        predictions: The champion's outputs against those on the baseline rows; None where they were not asked for.
        labels: Mature labels against the baseline's.
        performance: What the caller measured on labels.
        share: Share of drifted columns from which the data set counts as drifted.
        report_path: HTML page for people.
        notes: What else must be told.
    """
    overall = drift.share_drifted(columns)
    drifted = [c for c in columns if c.outcome == "bad"]
    over = overall is not None and overall >= share
    return DriftReply(
        drift_report=DriftReport(
            overall_drift_score=overall,
            feature_drift=tuple(_feature(c) for c in columns),
            prediction_drift=None if predictions is None else _feature(predictions),
            label_drift=None if labels is None else _feature(labels),
            concept_drift=_concept(performance),
        ),
        root_cause=_root_cause(columns, predictions, performance, notes),
        alerts=_alerts(columns, predictions, labels, performance, overall, share, notes),
        recommendations=_recommendations(drifted, predictions, performance, over),
        report_path=report_path,
    )


def _feature(column: ColumnDrift) -> FeatureDrift:
    return FeatureDrift(
        feature=column.column,
        drift_score=column.effect,
        drift_type=column.drift_type,
        severity=_SEVERITY[column.outcome],
        p_value=column.p_value,
        method=column.method or None,
        reference_rows=column.reference_rows,
        current_rows=column.current_rows,
        weight=column.weight,
        since=column.since,
        statement=column.statement,
    )


def _concept(performance: PerformanceClaim | None) -> ConceptDrift | None:
    """Said only where labels told."""
    if performance is None or performance.outcome not in ("ok", "bad"):
        return None
    return ConceptDrift(detected=performance.outcome == "bad", evidence=performance.statement)


def _root_cause(
    columns: Sequence[ColumnDrift],
    predictions: ColumnDrift | None,
    performance: PerformanceClaim | None,
    notes: Sequence[str],
) -> RootCause:
    drifted = sorted((c for c in columns if c.outcome == "bad"), key=lambda c: -(c.effect or 1.0))
    undecided = [c for c in columns if c.outcome.startswith("could_not")]
    moved = predictions is not None and predictions.outcome == "bad"
    lost = performance is not None and performance.outcome == "bad"
    holds = performance is not None and performance.outcome == "ok"
    sides = [predictions.statement] if predictions is not None and moved else []
    claims = [performance.statement] if performance is not None and (lost or holds) else []
    evidence = (*(c.statement for c in drifted), *sides, *claims, *(c.statement for c in undecided), *notes)
    broken = [c for c in drifted if c.broken]
    if broken:
        return _cause(
            f"The data themselves are broken or were changed at their source: {_dated(broken)}.", evidence, "high"
        )
    if lost and not drifted:
        return _cause("The concept moved: performance fell while no feature drifted.", evidence, "medium")
    if lost:
        return _cause(
            f"Features and concept moved: performance fell, and the features drifted: {_dated(drifted)}.",
            evidence,
            "medium",
        )
    new = [c for c in drifted if c.drift_type == "new_category"]
    if new and len(new) == len(drifted):
        return _cause(f"New categories came from upstream: {_dated(new)}.", evidence, "medium")
    if drifted and holds:
        rest = " and the predictions" if moved else ""
        return _cause(f"The population moved, performance holds: {_dated(drifted)}{rest}.", evidence, "medium")
    if drifted:
        return _cause(f"The distribution moved in {_dated(drifted)}.", evidence, "medium")
    if moved:
        return _cause("The predictions moved, and no single feature did by enough to count.", evidence, "low")
    if undecided:
        names = ", ".join(c.column for c in undecided[:_NAMED])
        return _cause(f"No drift was found, but it could not be told for {names}.", evidence, "low")
    return _cause("No column drifted.", evidence, "high")


def _cause(hypothesis: str, evidence: Sequence[str], confidence: str) -> RootCause:
    return RootCause(hypothesis=hypothesis, evidence=tuple(evidence), confidence=confidence)


def _dated(columns: Sequence[ColumnDrift]) -> str:
    """`a and b, both since 2026-03-04 06:00; c`: those that moved at the same time together, the earliest first."""
    groups: dict[datetime | None, list[str]] = defaultdict(list)
    for column in columns[:_NAMED]:
        groups[column.since].append(column.column)
    parts: list[str] = []
    for when, names in sorted(groups.items(), key=lambda item: (item[0] is None, item[0])):
        listed = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
        every = {1: "", 2: "both "}.get(len(names), "all ")
        parts.append(listed if when is None else f"{listed}, {every}since {when:%Y-%m-%d %H:%M}")
    rest = len(columns) - _NAMED
    return "; ".join(parts) + (f"; and {rest} more" if rest > 0 else "")


def _alerts(
    columns: Sequence[ColumnDrift],
    predictions: ColumnDrift | None,
    labels: ColumnDrift | None,
    performance: PerformanceClaim | None,
    overall: float | None,
    share: float,
    notes: Sequence[str],
) -> tuple[DriftAlert, ...]:
    if overall is None:
        message = "No column could be measured: whether the data drifted is unknown."
        alerts = [DriftAlert(type="data_drift", severity="digest", message=message, triggered=True)]
    else:
        drifted, decided = (
            sum(c.outcome == "bad" for c in columns),
            sum(c.outcome in ("ok", "bad") for c in columns),
        )
        weighed = f" (share {overall:.2f} by importance)" if any(c.weight is not None for c in columns) else ""
        message = f"{drifted} of {decided} measured columns drifted{weighed}; the data set counts from {share:g}."
        over = overall >= share
        alerts = [
            DriftAlert(type="data_drift", severity="ticket" if over else "digest", message=message, triggered=over)
        ]
    if performance is not None and performance.outcome == "bad":
        alerts.append(DriftAlert(type="performance", severity="page", message=performance.statement, triggered=True))
    for side, kind in ((predictions, "prediction_drift"), (labels, "label_drift")):
        if side is not None and side.outcome == "bad":
            alerts.append(DriftAlert(type=kind, severity="ticket", message=side.statement, triggered=True))
    alerts += [
        DriftAlert(type=c.drift_type, severity="page" if c.broken else "digest", message=c.statement, triggered=True)
        for c in columns
        if c.outcome == "bad"
    ]
    alerts += [DriftAlert(type="report_missing", severity="digest", message=note, triggered=True) for note in notes]
    return tuple(alerts)


def _recommendations(
    drifted: Sequence[ColumnDrift], predictions: ColumnDrift | None, performance: PerformanceClaim | None, over: bool
) -> tuple[PeerRecommendation, ...]:
    broken = [c for c in drifted if c.broken]
    if broken:
        why = f"The pipeline broke, the world need not have moved: mend {_dated(broken)} before any training on them."
        return (PeerRecommendation(action="fix_data", priority="high", rationale=why),)
    if performance is not None and performance.outcome == "bad":
        return (PeerRecommendation(action="retrain", priority="high", rationale=performance.statement),)
    if not over and (predictions is None or predictions.outcome != "bad"):
        return (PeerRecommendation(action="keep_watching", priority="low", rationale="Too little drifted to act on."),)
    what = _dated(drifted) if over and drifted else "the predictions"
    if performance is None or performance.outcome.startswith("could_not"):
        why = f"{what} moved; whether the model suffers is for labels to say, and they do not say it yet."
        return (PeerRecommendation(action="wait_for_labels", priority="medium", rationale=why),)
    why = f"{what} moved, and performance holds on the labels there are: look again as more come."
    return (PeerRecommendation(action="check_performance", priority="medium", rationale=why),)
