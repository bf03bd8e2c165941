"""Is the champion stale, and what follows from it?

| signal | measured bad when | can make stale | shown as |
|---|---|---|---|
| `age` | the last training row is older than `max_age` | yes | days |
| `freshness` | the newest row is older than `max_data_lag`, or there is none to look at | no: nothing is known then | days |
| `drift`, data set | the weighted share of drifted columns reaches `share_of_columns` (`drift_signals`) | yes | share |
| `drift`, a column | both significant (corrected over columns and nights) and at least `min_effect` | no | distance |
| `prediction_drift` | the champion's predictions moved against the baseline rows | no | distance |
| `label_drift` | the mature labels moved against the baseline rows | no | distance |
| `performance` | on mature labels lost at least `max_loss`, significantly (`performance_loss`) | yes | the metric |
| `estimated_performance` | the same is expected without labels (`estimated_loss`) | if reliable, by `act_on_estimate` | the metric |
| `label_delay` | rows have come whose labels should be there (`label_delay`) | no | days |

* **Verdict.** `stale` when one that can make stale was measured bad. `fresh` needs good news: of those (an estimate aside)
  every configured one is `ok`, except that one of several may be `could_not_tell`. Everything else is `could_not_measure`: a
  signal that was not measured, nothing but doubts, no rule at all, or data that are not fresh (old rows say nothing about now).
* **Recommendation**, the first that applies:
  `fix_data`: the data are late, gone or cannot be read, a column is broken rather than moved, or labels stopped ·
  `roll_back`: performance is bad within the cool-down after a promotion, and there is a version to go back to ·
  `retrain`: stale ·
  `wait_for_labels`: too few recent rows have a mature label; or nothing is measured bad on labels, but the estimate fell or the
  predictions moved, and the labels that would tell are coming ·
  `keep_watching`.
  Where a history of losses is there to weigh by, `tools.when` puts its own answer in place of `retrain`, `wait_for_labels` and
  `keep_watching`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from tools.contracts.evidence import Effort, Recommendation, Rule, Signal, StalenessReport
from tools.contracts.peers import DriftReply
from tools.contracts.profile import TriggersSpec
from tools.contracts.when import LossCell, WhenVerdict
from tools.drift_signals import DATA_SET, broken_columns, drift_signals, side_signals
from tools.performance_loss import PerformanceEvidence, performance_signal

_DAY: Final = timedelta(days=1)


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
    target: str,
    estimated: Signal | None = None,
    label_delay: Signal | None = None,
    sides_failure: str | None = None,
    promoted_at: datetime | None = None,
    last_known_good: str | None = None,
    nothing_recent: Signal | None = None,
    effort: Effort | None = None,
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
        target: The label column.
        estimated: The primary metric where labels are not known yet.
        label_delay: Whether labels come as expected.
        sides_failure: Why predictions and labels could not be compared, where the reply does not have them.
        promoted_at: When the champion became champion.
        last_known_good: Version to go back to.
        nothing_recent: That there are no recent rows at all, or that they cannot be read; see `no_recent_rows`.
        effort: What it all cost.
    """
    age = _days_since("age", "model", "champion's last training row", trained_until, as_of, profile_triggers.max_age)
    freshness = _days_since("freshness", DATA_SET, "newest row", newest_row, as_of, profile_triggers.max_data_lag)
    freshness = freshness or nothing_recent
    columns = drift_signals(profile_triggers.drift, drift, drift_failure)
    sides = side_signals(profile_triggers.drift, drift, sides_failure or drift_failure, target)
    loss = _performance(profile_triggers, performance, performance_failure, primary)
    whole_drift = tuple(s for s in columns if s.subject == DATA_SET and profile_triggers.drift is not None)
    deciding = tuple(s for s in (age, *whole_drift, loss) if s is not None)
    acting = _acts(profile_triggers, estimated)
    verdict = _verdict(deciding, acting, freshness)
    recommendation = _recommend(
        verdict=verdict,
        broken=nothing_recent is not None
        or _is_bad(freshness)
        or _is_bad(label_delay)
        or bool(broken_columns(drift))
        or (drift is not None and any(r.action == "fix_data" for r in drift.recommendations)),
        roll_back=_is_bad(loss)
        and _just_promoted(promoted_at, as_of, profile_triggers.cool_down)
        and last_known_good is not None,
        wait=_should_wait(loss, performance, estimated, sides, label_delay),
    )
    signals = (age, freshness, label_delay, loss, estimated, *columns[:1], *sides, *columns[1:])
    return StalenessReport(
        verdict=verdict,
        signals=tuple(s for s in signals if s is not None),
        recommendation=recommendation,
        statement=_summary(verdict, (*deciding, *acting), freshness),
        effort=effort,
    )


def with_verdict(report: StalenessReport, verdict: WhenVerdict, losses: Sequence[LossCell] = ()) -> StalenessReport:
    """The report with what a retraining is worth: weighed by evidence or history, that is the recommendation.

    But a loss that was measured and surely lies below `max_loss` is accepted by the profile: then a history alone makes no training.
    """
    accepted = any(s.rule == "performance" and s.outcome == "ok" for s in report.signals)
    by_history = verdict.basis == "history" and verdict.action == "retrain"
    own = verdict.basis == "schedule" or (by_history and accepted)
    recommendation = report.recommendation if own else verdict.action
    return report.model_copy(update={"when": verdict, "losses": tuple(losses), "recommendation": recommendation})


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
        statement = f"The {what} is {days:,.1f} days old (limit {limit / _DAY:g})."
    return Signal(
        rule=rule,
        subject=subject,
        outcome=outcome,
        value=days if outcome != "could_not_measure" else None,
        threshold=limit / _DAY,
        unit="days",
        statement=statement,
    )


def no_recent_rows(rows: int | None, failure: str | None, since: datetime) -> Signal | None:
    """The signal for a source without recent rows (`rows` is 0) or one that cannot be read (None); None where there are some."""
    if rows is None:
        why = f"The recent rows could not be read: {failure or 'it is not known why'}"
        return Signal(rule="freshness", subject=DATA_SET, outcome="could_not_measure", statement=why)
    if rows:
        return None
    return Signal(
        rule="freshness", subject=DATA_SET, outcome="bad", n=0, statement=f"There are no rows since {since:%Y-%m-%d}."
    )


def _performance(
    triggers: TriggersSpec, evidence: PerformanceEvidence | None, failure: str | None, primary: str
) -> Signal | None:
    if triggers.performance is None:
        return None
    if evidence is not None:
        return performance_signal(evidence, triggers.performance.max_loss, triggers.checks_a_year)
    return Signal(
        rule="performance",
        subject=primary,
        outcome="could_not_measure",
        threshold=triggers.performance.max_loss,
        unit=primary,
        statement=f"The loss of {primary} could not be measured: {failure or 'no measurement was made'}.",
    )


def _acts(triggers: TriggersSpec, estimated: Signal | None) -> tuple[Signal, ...]:
    """The estimate where the profile lets it act, it is reliable, and it is bad: it is never counted as good news."""
    wanted = triggers.performance is not None and triggers.performance.act_on_estimate
    if not wanted or estimated is None or not estimated.reliable or not _is_bad(estimated):
        return ()
    return (estimated,)


def _is_bad(signal: Signal | None) -> bool:
    return signal is not None and signal.outcome == "bad"


def _verdict(
    deciding: Sequence[Signal], acting: Sequence[Signal], freshness: Signal | None
) -> Literal["stale", "fresh", "could_not_measure"]:
    outcomes = [s.outcome for s in deciding]
    if "bad" in outcomes or acting:
        return "stale"
    if freshness is not None and freshness.outcome != "ok":
        return "could_not_measure"
    if "ok" not in outcomes or "could_not_measure" in outcomes or outcomes.count("could_not_tell") > 1:
        return "could_not_measure"
    return "fresh"


def _just_promoted(promoted_at: datetime | None, as_of: datetime, cool_down: timedelta) -> bool:
    return promoted_at is not None and timedelta(0) <= as_of - promoted_at <= cool_down


def _should_wait(
    loss: Signal | None,
    performance: PerformanceEvidence | None,
    estimated: Signal | None,
    sides: Sequence[Signal],
    label_delay: Signal | None,
) -> bool:
    if loss is not None and performance is not None and performance.recent is None:
        return True
    coming = label_delay is not None and label_delay.outcome == "ok"
    moved = _is_bad(estimated) or any(_is_bad(s) for s in sides if s.rule == "prediction_drift")
    return moved and coming and not _is_bad(loss)


def _recommend(*, verdict: str, broken: bool, roll_back: bool, wait: bool) -> Recommendation:
    if broken:
        return "fix_data"
    if roll_back:
        return "roll_back"
    if verdict == "stale":
        return "retrain"
    return "wait_for_labels" if wait else "keep_watching"


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
