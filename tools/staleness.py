"""Is the champion stale, and what follows from it?

Four rules, each only where the profile configures it: `age`, `freshness` of the data, `drift`, `performance`.

* **Verdict.** `stale` when age, performance or data-set drift was measured bad. A drifted column is shown, but only the
  share of columns decides. `fresh` needs good news: every configured rule is `ok`, except that one of several may be
  `could_not_tell`. Everything else is `could_not_measure`: a rule that was not measured, nothing but doubts, no rule at
  all, or data that are not fresh (old rows say nothing about now).
* **Recommendation**, the first that applies: `fix_data` (the data are late, or a column is broken rather than moved) ·
  `roll_back` (performance is bad within the cool-down after a promotion, and there is a version to go back to) ·
  `retrain` (stale) · `wait_for_labels` (too few recent rows have a mature label) · `keep_watching`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import sqrt
from typing import Final, Literal

from pydantic import model_validator

from tools.contracts.base import Contract
from tools.contracts.evidence import Outcome, Recommendation, Rule, Signal, StalenessReport
from tools.contracts.peers import DriftReply, FeatureDrift
from tools.contracts.profile import TriggersSpec
from tools.contracts.request import Direction

DATA_SET: Final = "data set"
"""Subject of the one drift signal that counts."""
BROKEN_DATA: Final[frozenset[str]] = frozenset({"null_share", "infinite", "unit", "vanished", "type_change"})
"""`driftType`s that ask for the data to be mended before any training on them."""
_DAY: Final = timedelta(days=1)
_OUTCOMES: Final[dict[str, Outcome]] = {
    "none": "ok",
    "drifted": "bad",
    "could_not_tell": "could_not_tell",
    "could_not_measure": "could_not_measure",
}
"""`severity` of a feature in a drift reply; a word that is not here could not be told."""


class PerformanceEvidence(Contract):
    """The champion's primary metric on recent mature labels, against what was recorded at its registration."""

    metric: str
    direction: Direction
    baseline: float
    """Recorded at registration, on the holdout of that time."""
    baseline_n: int | None = None
    """Rows of that holdout."""
    recent: float | None = None
    """On the recent rows; absent when too few have a mature label."""
    loss_low: float | None = None
    loss_high: float | None = None
    """Two-sided interval of the loss; positive is worse, in the metric's unit."""
    n: int
    """Recent rows with a mature label."""

    @model_validator(mode="after")
    def _whole(self) -> "PerformanceEvidence":
        given = (self.recent is not None, self.loss_low is not None, self.loss_high is not None)
        if any(given) != all(given):
            raise ValueError("recent, loss_low and loss_high come together")
        if self.loss_low is not None and self.loss_high is not None and self.loss_low > self.loss_high:
            raise ValueError(f"loss_low {self.loss_low} is above loss_high {self.loss_high}")
        return self

    @property
    def loss(self) -> float | None:
        """Positive when worse than at registration; None without a recent value."""
        if self.recent is None:
            return None
        return self.baseline - self.recent if self.direction == "higher" else self.recent - self.baseline


def performance_evidence(
    *,
    metric: str,
    direction: Direction,
    baseline: float,
    baseline_n: int | None,
    recent: float,
    recent_low: float,
    recent_high: float,
    n: int,
) -> PerformanceEvidence:
    """Turns an interval of the recent value into one of the loss.

    The rows differ, so the loss also carries the baseline's own error. Of that only the number of rows was recorded:
    with the same spread a row, each side of the recent interval grows by sqrt(1 + n / baseline_n).

    Args:
        metric: The primary metric.
        direction: Which way is better.
        baseline: Recorded at registration.
        baseline_n: Rows behind it; None takes it as exact.
        recent: Value on recent rows.
        recent_low: Lower end of its interval.
        recent_high: Upper end of its interval.
        n: Recent rows.
    """
    grow = sqrt(1 + n / baseline_n) if baseline_n else 1.0
    below, above = (recent - recent_low) * grow, (recent_high - recent) * grow
    if direction == "higher":
        low, high = baseline - recent - above, baseline - recent + below
    else:
        low, high = recent - baseline - below, recent - baseline + above
    return PerformanceEvidence(
        metric=metric,
        direction=direction,
        baseline=baseline,
        baseline_n=baseline_n,
        recent=recent,
        loss_low=low,
        loss_high=high,
        n=n,
    )


def assess(
    *,
    profile_triggers: TriggersSpec,
    trained_until: datetime | None,
    newest_row: datetime | None,
    as_of: datetime,
    drift: DriftReply | None,
    drift_failure: str | None,
    performance: PerformanceEvidence | None,
    performance_failure: str | None,
    primary: str,
    promoted_at: datetime | None = None,
    last_known_good: str | None = None,
) -> StalenessReport:
    """Puts the evidence together; the rules stand in the module's docstring.

    Args:
        profile_triggers: Which rules there are, and their thresholds.
        trained_until: End of the champion's training window.
        newest_row: Latest event time up to `as_of`.
        as_of: The 'now' of the data.
        drift: The drift-detective's reply.
        drift_failure: Why there is none.
        performance: The primary metric on recent mature labels; without `recent`, too few of them were there.
        performance_failure: Why it could not be measured.
        primary: Name of the primary metric.
        promoted_at: When the champion became champion.
        last_known_good: Version to go back to.
    """
    age = _age(profile_triggers.max_age, trained_until, as_of)
    freshness = _freshness(profile_triggers.max_data_lag, newest_row, as_of)
    drift_signals = _drift(profile_triggers, drift, drift_failure)
    loss = _performance(profile_triggers, performance, performance_failure, primary)
    signals = tuple(s for s in (age, freshness, *drift_signals, loss) if s is not None)

    whole_drift = tuple(s for s in drift_signals if s.subject == DATA_SET and profile_triggers.drift is not None)
    deciding = tuple(s for s in (age, *whole_drift, loss) if s is not None)
    verdict = _verdict(deciding, freshness)
    recommendation = _recommend(
        verdict=verdict,
        data_late=freshness is not None and freshness.outcome == "bad",
        broken=_broken_columns(drift),
        peer_says_fix=drift is not None and any(r.action == "fix_data" for r in drift.recommendations),
        worse=loss is not None and loss.outcome == "bad",
        just_promoted=_just_promoted(promoted_at, as_of, profile_triggers.cool_down) and last_known_good is not None,
        no_labels=loss is not None and performance is not None and performance.recent is None,
    )
    return StalenessReport(
        verdict=verdict,
        signals=signals,
        recommendation=recommendation,
        statement=_summary(verdict, deciding, freshness),
    )


def performance_signal(evidence: PerformanceEvidence, max_loss: float) -> Signal:
    """The loss of the primary metric against `max_loss`, in the metric's unit.

    bad: the whole interval lies above 0 and the loss itself is at least `max_loss`. ok: the whole interval lies below
    `max_loss`. could_not_tell: everything between. could_not_measure: too few recent rows have a mature label.
    """
    loss, low, high = evidence.loss, evidence.loss_low, evidence.loss_high
    if loss is None or low is None or high is None:
        return Signal(
            rule="performance",
            subject=evidence.metric,
            outcome="could_not_measure",
            threshold=max_loss,
            n=evidence.n,
            unit=evidence.metric,
            statement=f"{evidence.metric}: {evidence.n} recent rows have a mature label, too few to measure its loss.",
        )
    outcome: Outcome = "could_not_tell"
    if low > 0 and loss >= max_loss:
        outcome = "bad"
    elif high < max_loss:
        outcome = "ok"
    said = {"bad": "has lost", "ok": "holds", "could_not_tell": "may have lost, could not tell"}[outcome]
    return Signal(
        rule="performance",
        subject=evidence.metric,
        outcome=outcome,
        value=loss,
        low=low,
        high=high,
        threshold=max_loss,
        n=evidence.n,
        unit=evidence.metric,
        statement=(
            f"{evidence.metric} {said}: {evidence.recent:.4g} on {evidence.n} recent rows, {evidence.baseline:.4g} at "
            f"registration, a loss of {loss:.4g} ({low:.4g} to {high:.4g}; accepted below {max_loss:g})."
        ),
    )


def _age(max_age: timedelta | None, trained_until: datetime | None, as_of: datetime) -> Signal | None:
    return _days_since("age", "model", "champion's last training row", trained_until, as_of, max_age)


def _freshness(max_lag: timedelta | None, newest_row: datetime | None, as_of: datetime) -> Signal | None:
    return _days_since("freshness", DATA_SET, "newest row", newest_row, as_of, max_lag)


def _days_since(
    rule: Rule, subject: str, what: str, then: datetime | None, as_of: datetime, limit: timedelta | None
) -> Signal | None:
    if limit is None:
        return None
    days = None if then is None else (as_of - then) / _DAY
    if days is None:
        outcome, statement = "could_not_measure", f"The time of the {what} is not known."
    elif days < 0:
        outcome, statement = "could_not_measure", f"The {what} is of {then:%Y-%m-%d %H:%M}, after the as-of time."
    else:
        outcome = "bad" if days > limit / _DAY else "ok"
        statement = f"The {what} is {days:.1f} days old (limit {limit / _DAY:g})."
    return Signal(
        rule=rule,
        subject=subject,
        outcome=outcome,
        value=days if outcome != "could_not_measure" else None,
        threshold=limit / _DAY,
        unit="days",
        statement=statement,
    )


def _drift(triggers: TriggersSpec, reply: DriftReply | None, failure: str | None) -> tuple[Signal, ...]:
    """One signal for the data set, then one a column that drifted."""
    threshold = triggers.drift.share_of_columns if triggers.drift is not None else None
    if reply is None:
        if triggers.drift is None:
            return ()
        why = f"Drift could not be measured: {failure or 'no drift report was made'}."
        return (_data_set(outcome="could_not_measure", threshold=threshold, statement=why),)
    columns = tuple(_column(f) for f in reply.drift_report.feature_drift if _OUTCOMES.get(f.severity) == "bad")
    if threshold is None:
        return columns
    return (_share(reply, threshold), *columns)


def _data_set(
    *,
    outcome: Outcome,
    threshold: float | None,
    statement: str,
    value: float | None = None,
    low: float | None = None,
    high: float | None = None,
    n: int | None = None,
) -> Signal:
    return Signal(
        rule="drift",
        subject=DATA_SET,
        outcome=outcome,
        value=value,
        low=low,
        high=high,
        threshold=threshold,
        n=n,
        unit="share",
        statement=statement,
    )


def _share(reply: DriftReply, threshold: float) -> Signal:
    """Share of drifted columns; undecided ones make it an interval, and the whole of it must agree."""
    features, overall = reply.drift_report.feature_drift, reply.drift_report.overall_drift_score
    outcomes = [_OUTCOMES.get(f.severity, "could_not_tell") for f in features]
    n = max((f.current_rows for f in features if f.current_rows is not None), default=None)
    if overall is None or not 0 <= overall <= 1:
        seen = "no column could be measured" if overall is None else f"the reported share {overall:g} is outside 0 to 1"
        undecided: Outcome = "could_not_tell" if "could_not_tell" in outcomes else "could_not_measure"
        return _data_set(outcome=undecided, threshold=threshold, n=n, statement=f"Drift is unknown: {seen}.")
    drifted = outcomes.count("bad")
    open_columns = len(outcomes) - drifted - outcomes.count("ok")
    low = drifted / len(outcomes) if outcomes else overall
    high = (drifted + open_columns) / len(outcomes) if outcomes else overall
    outcome: Outcome = "could_not_tell"
    if overall >= threshold and low >= threshold:
        outcome = "bad"
    elif overall < threshold and high < threshold:
        outcome = "ok"
    counted = f"{drifted} of {len(outcomes)} columns drifted" if outcomes else f"a share of {overall:.2f} drifted"
    doubt = f", {open_columns} could not be told" if open_columns else ""
    return _data_set(
        outcome=outcome,
        value=overall,
        low=low,
        high=high,
        threshold=threshold,
        n=n,
        statement=f"Drift: {counted}{doubt} (share {overall:.2f}, counts from {threshold:g}).",
    )


def _column(feature: FeatureDrift) -> Signal:
    score = "" if feature.drift_score is None else f", distance {feature.drift_score:.3f}"
    return Signal(
        rule="drift",
        subject=feature.feature,
        outcome="bad",
        value=feature.drift_score,
        n=feature.current_rows,
        unit="distance",
        statement=f"Column {feature.feature} drifted ({feature.drift_type}{score}).",
    )


def _performance(
    triggers: TriggersSpec, evidence: PerformanceEvidence | None, failure: str | None, primary: str
) -> Signal | None:
    if triggers.performance is None:
        return None
    if evidence is not None:
        return performance_signal(evidence, triggers.performance.max_loss)
    return Signal(
        rule="performance",
        subject=primary,
        outcome="could_not_measure",
        threshold=triggers.performance.max_loss,
        unit=primary,
        statement=f"The loss of {primary} could not be measured: {failure or 'no measurement was made'}.",
    )


def _verdict(deciding: Sequence[Signal], freshness: Signal | None) -> Literal["stale", "fresh", "could_not_measure"]:
    outcomes = [s.outcome for s in deciding]
    if "bad" in outcomes:
        return "stale"
    if freshness is not None and freshness.outcome != "ok":
        return "could_not_measure"
    if "ok" not in outcomes or "could_not_measure" in outcomes or outcomes.count("could_not_tell") > 1:
        return "could_not_measure"
    return "fresh"


def _broken_columns(reply: DriftReply | None) -> tuple[str, ...]:
    features = reply.drift_report.feature_drift if reply is not None else ()
    return tuple(f.feature for f in features if f.severity == "drifted" and f.drift_type in BROKEN_DATA)


def _just_promoted(promoted_at: datetime | None, as_of: datetime, cool_down: timedelta) -> bool:
    return promoted_at is not None and timedelta(0) <= as_of - promoted_at <= cool_down


def _recommend(
    *,
    verdict: str,
    data_late: bool,
    broken: tuple[str, ...],
    peer_says_fix: bool,
    worse: bool,
    just_promoted: bool,
    no_labels: bool,
) -> Recommendation:
    if data_late or broken or peer_says_fix:
        return "fix_data"
    if worse and just_promoted:
        return "roll_back"
    if verdict == "stale":
        return "retrain"
    return "wait_for_labels" if no_labels else "keep_watching"


def _summary(verdict: str, deciding: Sequence[Signal], freshness: Signal | None) -> str:
    if verdict == "stale":
        return "The champion is stale: " + " ".join(s.statement for s in deciding if s.outcome == "bad")
    if verdict == "fresh":
        doubts = [s.statement for s in deciding if s.outcome != "ok"]
        return " ".join(["The champion is fresh: every rule that could be told is good.", *doubts])
    if not deciding:
        return "Whether the champion is stale could not be measured: the profile configures no rule that tells."
    late = [freshness.statement] if freshness is not None and freshness.outcome != "ok" else []
    open_rules = [s.statement for s in deciding if s.outcome != "ok"]
    return "Whether the champion is stale could not be measured: " + " ".join([*late, *open_rules])
