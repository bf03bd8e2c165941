"""What does the drift-detective's reply mean for staleness?

One signal for the data set, which alone can count; one a column, worst first; one for the predictions and one for the labels,
which are shown and never count.

The data set drifted (`bad`) when the weighted share of drifted columns is at least `share_of_columns`, and it did not (`ok`)
when it is below even if every column that could not be told or measured had drifted. Columns weigh by the champion's
importance where every column has a weight, else all the same.
"""

from collections.abc import Sequence
from typing import Final

from tools.contracts.evidence import Outcome, Rule, Signal
from tools.contracts.peers import DriftReply, FeatureDrift
from tools.contracts.profile import DriftTrigger

DATA_SET: Final = "data set"
"""Subject of the one drift signal that counts."""
BROKEN_DATA: Final[frozenset[str]] = frozenset(
    {"null_share", "infinite", "unit", "stuck", "detached", "vanished", "type_change"}
)
"""`driftType`s that ask for the data to be mended before any training on them."""
MOST_COLUMNS: Final = 60
"""Columns shown one by one: drifted ones first. The share counts all of them, and the whole reply is kept with the run."""
_LEAST_P: Final = 1e-99
_OUTCOMES: Final[dict[str, Outcome]] = {
    "none": "ok",
    "drifted": "bad",
    "could_not_tell": "could_not_tell",
    "could_not_measure": "could_not_measure",
}
"""`severity` of a feature in a drift reply; a word that is not here could not be told."""
_WORST_FIRST: Final[tuple[Outcome, ...]] = ("bad", "could_not_tell", "could_not_measure", "ok")
_SAID: Final[dict[Outcome, str]] = {
    "bad": "drifted",
    "ok": "did not drift",
    "could_not_tell": "may have drifted, could not tell",
    "could_not_measure": "could not be measured",
}


def drift_signals(trigger: DriftTrigger | None, reply: DriftReply | None, failure: str | None) -> tuple[Signal, ...]:
    """The data set's signal (only where the profile has a drift trigger), then one a column."""
    threshold = None if trigger is None else trigger.share_of_columns
    if reply is None:
        if trigger is None:
            return ()
        why = f"Drift could not be measured: {failure or 'no drift report was made'}."
        return (
            Signal(
                rule="drift",
                subject=DATA_SET,
                outcome="could_not_measure",
                threshold=threshold,
                unit="share",
                statement=why,
            ),
        )
    columns = [_column("drift", f.feature, f, f"Column {f.feature}") for f in reply.drift_report.feature_drift]
    columns.sort(key=lambda s: _WORST_FIRST.index(s.outcome))
    shown = tuple(columns[:MOST_COLUMNS])
    return shown if threshold is None else (_share(reply, threshold), *shown)


def side_signals(
    trigger: DriftTrigger | None, reply: DriftReply | None, failure: str | None, target: str
) -> tuple[Signal, ...]:
    """Predictions and labels, where the profile has them compared."""
    if trigger is None or not trigger.predictions:
        return ()
    report = None if reply is None else reply.drift_report
    why = failure or "the drift-detective did not say"
    return (
        _side(
            "prediction_drift", "predictions", "Predictions", None if report is None else report.prediction_drift, why
        ),
        _side("label_drift", target, f"Label {target}", None if report is None else report.label_drift, why),
    )


def broken_columns(reply: DriftReply | None) -> tuple[str, ...]:
    """Columns that are broken rather than moved."""
    features = reply.drift_report.feature_drift if reply is not None else ()
    return tuple(f.feature for f in features if f.severity == "drifted" and f.drift_type in BROKEN_DATA)


def _side(rule: Rule, subject: str, what: str, found: FeatureDrift | None, why: str) -> Signal:
    if found is None:
        statement = f"{what}: drift could not be measured: {why}."
        return Signal(rule=rule, subject=subject, outcome="could_not_measure", unit="distance", statement=statement)
    return _column(rule, subject, found, what)


def p_told(p_value: float) -> str:
    """A p-value in words; below `_LEAST_P` the tails' own approximations decide the digits."""
    return f"p {p_value:.2g}" if p_value >= _LEAST_P else f"p below {_LEAST_P:.0e}"


def _column(rule: Rule, subject: str, found: FeatureDrift, what: str) -> Signal:
    outcome: Outcome = _OUTCOMES.get(found.severity, "could_not_tell")
    parts = [found.drift_type]
    if found.drift_score is not None:
        parts.append(f"distance {found.drift_score:.3f}")
    if found.p_value is not None:
        parts.append(f"corrected {p_told(found.p_value)}")
    if found.since is not None and outcome == "bad":
        parts.append(f"since {found.since:%Y-%m-%d}")
    return Signal(
        rule=rule,
        subject=subject,
        outcome=outcome,
        value=found.drift_score,
        n=found.current_rows,
        n_reference=found.reference_rows,
        p_value=found.p_value,
        method=found.method or "",
        kind=found.drift_type,
        weight=found.weight if rule == "drift" else None,
        since=found.since,
        unit="distance",
        statement=found.statement or f"{what} {_SAID[outcome]} ({', '.join(parts)}).",
    )


def _share(reply: DriftReply, threshold: float) -> Signal:
    features, overall = reply.drift_report.feature_drift, reply.drift_report.overall_drift_score
    outcomes: list[Outcome] = [_OUTCOMES.get(f.severity, "could_not_tell") for f in features]
    rows = [f.current_rows for f in features if f.current_rows is not None]
    before = [f.reference_rows for f in features if f.reference_rows is not None]

    def signal(
        outcome: Outcome,
        statement: str,
        value: float | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> Signal:
        return Signal(
            rule="drift",
            subject=DATA_SET,
            outcome=outcome,
            value=value,
            low=low,
            high=high,
            threshold=threshold,
            n=max(rows, default=None),
            n_reference=max(before, default=None),
            method="share of columns",
            unit="share",
            statement=statement,
        )

    if overall is None or not 0 <= overall <= 1:
        seen = "no column could be measured" if overall is None else f"the reported share {overall:g} is outside 0 to 1"
        undecided: Outcome = "could_not_tell" if "could_not_tell" in outcomes else "could_not_measure"
        return signal(undecided, f"Drift is unknown: {seen}.")
    weights, weighed = _weights(features)
    drifted, undecided_share = _weight(weights, outcomes, ("bad",)), _weight(weights, outcomes, _WORST_FIRST[1:3])
    low, high = (drifted, drifted + undecided_share) if features else (overall, overall)
    outcome: Outcome = "could_not_tell"
    if overall >= threshold and low >= threshold - 1e-9:
        outcome = "bad"
    elif overall < threshold and high < threshold:
        outcome = "ok"
    count = outcomes.count("bad")
    undecided_columns = len(outcomes) - count - outcomes.count("ok")
    counted = f"{count} of {len(outcomes)} columns drifted" if outcomes else f"a share of {overall:.2f} drifted"
    doubt = f", {undecided_columns} could not be told" if undecided_columns else ""
    how = "share by importance" if weighed else "share"
    span = "" if f"{low:.2f}" == f"{high:.2f}" else f", {low:.2f} to {high:.2f}"
    said = f"Drift: {counted}{doubt} ({how} {overall:.2f}{span}; counts from {threshold:g})."
    return signal(outcome, said, overall, low, high)


def _weights(features: Sequence[FeatureDrift]) -> tuple[list[float], bool]:
    """Shares that sum to 1, and whether they are the champion's importance."""
    given = [f.weight for f in features if f.weight is not None and f.weight >= 0]
    total = sum(given)
    if len(given) == len(features) and total > 0:
        return [weight / total for weight in given], True
    return [1 / len(features) for _ in features], False


def _weight(weights: Sequence[float], outcomes: Sequence[Outcome], counted: Sequence[Outcome]) -> float:
    return sum(weight for weight, outcome in zip(weights, outcomes, strict=True) if outcome in counted)
