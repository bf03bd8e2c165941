"""Should this model be retrained now? *retrain · wait for labels · fix the data · roll back · keep watching*

The first that applies:

1. **evidence**: the staleness report says that data must be mended or the champion taken back, or validation failed: no training
   helps. Or it measured a loss of performance beyond doubt: half of its lower bound, saved until the next scheduled training, is held
   against the cost of a retraining, whatever the strategy.
2. **schedule**: fewer than `min_blocks` blocks with measured losses, or the champion's training rows are unknown. A report that says
   `retrain` (or that labels are to be waited for) is believed; else the champion is retrained when its training rows are older than
   `every`.
3. **history**: the profile's strategy weighs what was measured (`when_expected`, `when_rules`). Where it wants a training and no
   label has matured since the champion's, the answer is to wait for labels.
"""

from datetime import datetime, timedelta

import numpy as np

from tools import when_expected, when_rules
from tools.contracts.evidence import StalenessReport, ValidationReport
from tools.contracts.when import LossHistory, Recommendation, WhenNumber, WhenSpec, WhenVerdict
from tools.when_decay import NEW_SHARE
from tools.when_history import Known, known, loss_per_block
from tools.when_matrix import dense, whole_blocks

_DAY = timedelta(days=1)


def decide_when(
    *,
    spec: WhenSpec,
    history: LossHistory,
    now: datetime,
    staleness: StalenessReport | None = None,
    validation: ValidationReport | None = None,
) -> WhenVerdict:
    """Weighs the loss expected from keeping the model against the cost of retraining.

    Args:
        spec: The profile's strategy and costs.
        history: What was measured of the model so far.
        now: The as-of time; aware.
        staleness: The latest report, where there is one.
        validation: Of the rows that would train, where it was done.
    """
    mend = _to_mend(staleness, validation)
    if mend is not None:
        action, why = mend
        return WhenVerdict(action=action, strategy=spec.strategy, basis="evidence", statement=why)
    lost = _by_measured_loss(spec, history, staleness, now)
    if lost is not None:
        return lost
    found = known(history, spec, now)
    if found is None or found.blocks < spec.min_blocks or len(found.own[0]) == 0:
        return _by_schedule(spec, history, staleness, now, 0 if found is None else found.blocks)
    if spec.strategy == "expected_cost":
        return _by_expected_cost(spec, history, found, now)
    return _by_rule(spec, history, found, now)


def _to_mend(
    staleness: StalenessReport | None, validation: ValidationReport | None
) -> tuple[Recommendation, str] | None:
    if staleness is not None and staleness.recommendation == "fix_data":
        bad = [
            s.statement
            for s in staleness.signals
            if s.outcome == "bad" and s.rule in ("freshness", "drift", "label_delay")
        ]
        return "fix_data", "Fix the data before any training: " + (" ".join(bad[:2]) or staleness.statement)
    if staleness is not None and staleness.recommendation == "roll_back":
        return "roll_back", f"Roll back instead of training. {staleness.statement}"
    if validation is not None and validation.verdict == "fail":
        return "fix_data", f"Fix the data before any training: {validation.statement}"
    return None


def _by_measured_loss(
    spec: WhenSpec, history: LossHistory, staleness: StalenessReport | None, now: datetime
) -> WhenVerdict | None:
    """What follows from a loss that the report measured beyond doubt; None where there is none."""
    bad = [] if staleness is None else [s for s in staleness.signals if s.rule == "performance" and s.outcome == "bad"]
    if not bad or bad[0].low is None or staleness is None or staleness.recommendation == "wait_for_labels":
        return None
    day = loss_per_block(history, spec) / (history.block / _DAY)
    scale = NEW_SHARE * day * (spec.every / _DAY)
    least = max(bad[0].low, 0.0) * scale
    cost = _cost(spec, history)
    saved = _number(
        "saved",
        (bad[0].value or 0.0) * scale,
        spec,
        low=least,
        high=None if bad[0].high is None else bad[0].high * scale,
        n=bad[0].n,
        what=f"half of the measured loss, saved for {_days(spec.every)}, is worth",
    )
    told = (
        f"{history.metric} has lost {bad[0].value:.3g} ({bad[0].low:.3g} at least); to save half of that for {_days(spec.every)} "
        f"is worth {_told(least, spec)} at least, and a retraining costs {_told(cost.value, spec)}"
    )
    numbers = (saved, cost)

    def verdict(action: Recommendation, statement: str) -> WhenVerdict:
        return WhenVerdict(
            action=action,
            strategy=spec.strategy,
            basis="evidence",
            statement=statement,
            numbers=numbers,
            next_look=now + history.block,
        )

    if least <= cost.value:
        return verdict("keep_watching", f"Keep watching: {told}.")
    until, trained = history.labelled_until, history.trained_until
    if until is not None and trained is not None and until <= trained:
        return verdict("wait_for_labels", f"Wait for labels: none has matured since the champion was trained. {told}.")
    return verdict("retrain", f"Retrain: {told}.")


# --- without a history


def _by_schedule(
    spec: WhenSpec, history: LossHistory, staleness: StalenessReport | None, now: datetime, blocks: int
) -> WhenVerdict:
    numbers = [_cost(spec, history)]
    lacks = f"{blocks} of {spec.min_blocks} blocks with measured losses are there to weigh by"

    def verdict(action: Recommendation, statement: str, next_look: datetime | None = None) -> WhenVerdict:
        return WhenVerdict(
            action=action,
            strategy=spec.strategy,
            basis="schedule",
            statement=statement,
            numbers=tuple(numbers),
            next_look=next_look or now + history.block,
        )

    due = None if history.trained_until is None else history.trained_until + spec.every
    if staleness is not None and staleness.recommendation == "wait_for_labels":
        return verdict("wait_for_labels", f"Wait for labels: {staleness.statement}")
    if staleness is not None and staleness.recommendation == "retrain":
        return verdict("retrain", f"Retrain: {staleness.statement}")
    if due is None:
        return verdict(
            "keep_watching",
            "Keep watching: it is not known until when the champion was trained, so no schedule can tell.",
        )
    age = now - (due - spec.every)
    numbers.append(
        WhenNumber(
            name="age", value=age / _DAY, unit="days", statement=f"The champion's training rows end {_days(age)} ago."
        )
    )
    if now >= due:
        if history.labelled_until is not None and history.labelled_until <= due - spec.every:
            return verdict(
                "wait_for_labels",
                f"Wait for labels: the schedule of {_days(spec.every)} is due, and no label has come since.",
            )
        return verdict(
            "retrain", f"Retrain by schedule: trained {_days(age)} ago, due after {_days(spec.every)}; {lacks}."
        )
    return verdict(
        "keep_watching",
        f"Keep watching: trained {_days(age)} ago, due after {_days(spec.every)}; {lacks}.",
        min(due, now + history.block),
    )


# --- by the history


def _by_expected_cost(spec: WhenSpec, history: LossHistory, found: Known, now: datetime) -> WhenVerdict:
    weighed = when_expected.weigh(found)
    money, span = loss_per_block(history, spec), found.horizon * history.block
    saved, spread = weighed.saved * money, when_expected.spread(found) * money
    cost = _cost(spec, history)
    current = _number(
        "saved", saved, spec, low=saved - spread, high=saved + spread, n=len(found.t), what="retraining now saves"
    )
    numbers = (current, cost, *_facts(found, history))
    told = (
        f"over the next {_days(span)} it is expected to save {_told(saved, spec)} ({saved - spread:.3g} to "
        f"{saved + spread:.3g}) and costs {_told(cost.value, spec)}"
    )
    learned = f"learned from {len(found.t)} measured losses on {found.blocks} blocks"
    if not weighed.retrain:
        later = weighed.plan.trainings
        put_off = f"; the best time is in about {_days(later[0] * history.block)}" if later else ""
        return _weighed(
            spec,
            history,
            found,
            now,
            "keep_watching",
            f"Keep watching: retraining now is not worth it yet: {told}{put_off} ({learned}).",
            numbers,
        )
    return _weighed(spec, history, found, now, "retrain", f"Retrain: {told} ({learned}).", numbers)


def _by_rule(spec: WhenSpec, history: LossHistory, found: Known, now: datetime) -> WhenVerdict:
    strategy = spec.strategy
    assert strategy != "expected_cost"
    matrix = dense(found)
    lag = max(round(found.coming - 1 - found.fresh), 0)
    given = spec.threshold if strategy == "threshold" else None
    if given is None and len(np.unique(found.s)) < 2:
        given = when_rules.untuned(strategy, cost=found.cost, every=spec.every / history.block)
    parameter = when_rules.tuned(strategy, matrix, lag=lag, cost=found.cost) if given is None else given
    _, losses = found.own
    saving = when_rules.linear_saving(found.s, found.t, found.loss)
    ahead = 1 if parameter == when_rules.NEVER else max(int(parameter), 1)
    seen = when_rules.Seen(
        losses=losses,
        since=found.coming - (found.current + 1),
        saved=lambda: saving(found.current, found.fresh, found.coming, ahead),
        cost=found.cost,
    )
    train = when_rules.wants(strategy, parameter, seen)
    told = when_rules.said(strategy, parameter, seen, history.block)
    how = f"tuned on {len(matrix)} blocks" if given is None else "not tuned: that takes losses of two versions"
    how = "set in the profile" if strategy == "threshold" and spec.threshold is not None else how
    numbers = (_cost(spec, history), *_facts(found, history))
    head = "Retrain" if train else "Keep watching"
    return _weighed(
        spec, history, found, now, "retrain" if train else "keep_watching", f"{head}: {told} ({how}).", numbers
    )


def _weighed(
    spec: WhenSpec,
    history: LossHistory,
    found: Known,
    now: datetime,
    action: Recommendation,
    statement: str,
    numbers: tuple[WhenNumber, ...],
) -> WhenVerdict:
    if action == "retrain" and found.fresh <= found.current:
        action = "wait_for_labels"
        statement = f"Wait for labels: none has matured since the champion was trained. {statement}"
    return WhenVerdict(
        action=action,
        strategy=spec.strategy,
        basis="history",
        statement=statement,
        numbers=numbers,
        next_look=_next_look(found, history, now),
    )


def _next_look(found: Known, history: LossHistory, now: datetime) -> datetime:
    """When the next block is over."""
    return now + (whole_blocks(found.coming) - found.coming) * history.block


# --- numbers


def _facts(found: Known, history: LossHistory) -> tuple[WhenNumber, ...]:
    age = (found.coming - found.current - 1) * history.block
    return (
        WhenNumber(
            name="age", value=age / _DAY, unit="days", statement=f"The champion's training rows end {_days(age)} ago."
        ),
        WhenNumber(
            name="blocks",
            value=found.blocks,
            unit="blocks",
            n=len(found.t),
            statement=f"{found.blocks} blocks of {_days(history.block)} have measured losses.",
        ),
    )


def _cost(spec: WhenSpec, history: LossHistory) -> WhenNumber:
    hours = history.training_hours
    took = "" if hours is None else f" (trainings took {hours * 60:.0f} minutes on average)"
    value = spec.costs.of_retraining(hours)
    return WhenNumber(
        name="retraining_cost",
        value=value,
        unit=spec.costs.unit,
        statement=f"A retraining costs {_told(value, spec)} with review and risk{took}.",
    )


def _number(
    name: str, value: float, spec: WhenSpec, *, low: float | None, high: float | None, n: int | None, what: str
) -> WhenNumber:
    return WhenNumber(
        name=name,
        value=value,
        low=low,
        high=high,
        n=n,
        unit=spec.costs.unit,
        statement=f"{what} {_told(value, spec)}.".capitalize(),
    )


def _told(amount: float, spec: WhenSpec) -> str:
    return f"{amount:,.3g} {spec.costs.unit}"


def _days(span: timedelta) -> str:
    days = span / _DAY
    return f"{days:.0f} days" if days >= 3 else f"{days * 24:.0f} hours"
