"""When is a model worth retraining? The rule over histories whose truth is known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tools import staleness
from tools.contracts.evidence import Recommendation, Signal, StalenessReport, ValidationReport
from tools.contracts.profile import TriggersSpec
from tools.contracts.when import LossCell, LossHistory, PastTraining, RetrainingCosts, Strategy, WhenSpec
from tools.evidence import collect
from tools.triggers import judge_trigger
from tools.when import decide_when

START = datetime(2025, 1, 2, tzinfo=UTC)
WEEK = timedelta(days=7)
SPEC = WhenSpec()
STRATEGIES: tuple[Strategy, ...] = ("expected_cost", "periodic", "threshold", "cumulative_loss", "forecast")


def cell(version: str, trained: int, block: int, loss: float, n: int = 2_000) -> LossCell:
    return LossCell(
        version=version,
        trained_until=START + trained * WEEK,
        start=START + block * WEEK,
        end=START + (block + 1) * WEEK,
        loss=loss,
        n=n,
    )


def decaying(rate: float, blocks: int = 20, every: int = 5, seed: int = 0) -> LossHistory:
    """Versions trained every few weeks, each measured to the end, each losing `rate` a week of age."""
    g = np.random.default_rng(seed)
    hard = g.normal(0, 0.01, blocks)
    cells = tuple(
        cell(str(version), trained, t, 0.2 + hard[t] + rate * (t - trained) + g.normal(0, 0.001))
        for version, trained in enumerate(range(0, blocks - every + 1, every))
        for t in range(trained, blocks)
    )
    last = max(cells, key=lambda one: one.trained_until)
    return LossHistory(
        metric="accuracy",
        block=WEEK,
        version=last.version,
        trained_until=last.trained_until,
        labelled_until=START + blocks * WEEK,
        cells=cells,
    )


def report(
    recommendation: Recommendation = "keep_watching", verdict: Any = "fresh", *signals: Signal
) -> StalenessReport:
    return StalenessReport(verdict=verdict, signals=signals, recommendation=recommendation, statement="As reported.")


def lost(low: float) -> Signal:
    return Signal(
        rule="performance",
        subject="accuracy",
        outcome="bad",
        value=low * 2,
        low=low,
        high=low * 3,
        n=500,
        statement="Lost.",
    )


NOW = START + 20 * WEEK


def test_a_model_that_decays_is_retrained_and_one_that_does_not_is_not() -> None:
    falling = decide_when(spec=SPEC, history=decaying(0.01), now=NOW)
    steady = decide_when(spec=SPEC, history=decaying(0.0), now=NOW)

    assert (falling.action, falling.basis) == ("retrain", "history")
    assert (steady.action, steady.basis) == ("keep_watching", "history")


def test_the_same_decay_is_not_worth_a_dear_retraining() -> None:
    dear = WhenSpec(costs=RetrainingCosts(training=5_000))

    assert decide_when(spec=dear, history=decaying(0.01), now=NOW).action == "keep_watching"


def test_the_sentence_holds_the_numbers_that_the_evidence_holds() -> None:
    verdict = decide_when(spec=SPEC, history=decaying(0.01), now=NOW)
    numbers = {one.name: one for one in verdict.numbers}

    assert f"{numbers['saved'].value:,.3g} point-days" in verdict.statement
    assert f"{numbers['retraining_cost'].value:,.3g} point-days" in verdict.statement
    assert (numbers["saved"].low or 0) > numbers["retraining_cost"].value
    assert numbers["age"].value == 35
    items = collect(staleness=staleness.with_verdict(report(), verdict))
    assert {"when/verdict", "when/saved", "when/retraining_cost", "when/age", "when/blocks"} <= {i.key for i in items}
    assert [i.outcome for i in items if i.key == "when/verdict"] == ["retrain"]


def test_costs_in_money_and_hours_of_training_move_the_verdict() -> None:
    history = decaying(0.002).model_copy(update={"trainings": (PastTraining(at=START, minutes=600.0),)})
    cheap = WhenSpec(costs=RetrainingCosts(unit="EUR", loss=1_000, training=10, review=0, bad_deploy=0))
    by_the_hour = cheap.model_copy(update={"costs": cheap.costs.model_copy(update={"training_hour": 1_000.0})})

    assert decide_when(spec=cheap, history=history, now=NOW).action == "retrain"
    verdict = decide_when(spec=by_the_hour, history=history, now=NOW)
    assert verdict.action == "keep_watching"
    assert "10,010 EUR" in verdict.numbers[1].statement or "1e+04 EUR" in verdict.numbers[1].statement


def test_relative_losses_are_shares_of_the_baseline() -> None:
    minutes = decaying(0.0)
    scaled = minutes.model_copy(
        update={
            "baseline": 200.0,
            "cells": tuple(c.model_copy(update={"loss": c.loss * 1_000}) for c in decaying(0.0005).cells),
        }
    )
    absolute = decide_when(spec=SPEC, history=scaled, now=NOW)
    relative = decide_when(spec=WhenSpec(costs=RetrainingCosts(loss_unit="relative")), history=scaled, now=NOW)

    assert relative.numbers[0].value == pytest.approx(absolute.numbers[0].value / 200)


def test_without_a_history_the_schedule_holds_and_says_so() -> None:
    young = decaying(0.01, blocks=3, every=3)
    early = decide_when(spec=SPEC, history=young, now=START + 3 * WEEK)
    due = decide_when(spec=SPEC, history=young, now=START + 5 * WEEK)

    assert (early.action, early.basis) == ("keep_watching", "schedule")
    assert "due after 30 days" in early.statement
    assert (due.action, due.basis) == ("retrain", "schedule")


def test_a_schedule_that_is_due_waits_where_no_label_has_come() -> None:
    history = decaying(0.01, blocks=3, every=3).model_copy(update={"labelled_until": START, "cells": ()})

    assert decide_when(spec=SPEC, history=history, now=START + 5 * WEEK).action == "wait_for_labels"


def test_a_history_that_wants_a_training_waits_where_no_label_has_matured_since() -> None:
    history = decaying(0.01)
    late = history.model_copy(update={"labelled_until": history.trained_until})
    worn = late.model_copy(update={"cells": history.cells})

    verdict = decide_when(spec=WhenSpec(strategy="periodic", every=timedelta(days=7)), history=worn, now=NOW)
    assert verdict.action == "wait_for_labels"
    assert decide_when(
        spec=WhenSpec(strategy="periodic", every=timedelta(days=7)), history=history, now=NOW
    ).action == ("retrain")


def test_broken_data_and_a_bad_promotion_come_before_any_weighing() -> None:
    history = decaying(0.01)
    failed = ValidationReport(verdict="fail", checks=(), statement="Nulls.")

    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"staleness": report("fix_data", "stale")}, "fix_data"),
        ({"staleness": report("roll_back", "stale")}, "roll_back"),
        ({"validation": failed}, "fix_data"),
        ({"staleness": report()}, "retrain"),
    )
    for given, wanted in cases:
        assert decide_when(spec=SPEC, history=history, now=NOW, **given).action == wanted


def test_a_loss_measured_beyond_doubt_is_retrained_unless_it_is_too_cheap_to_mend() -> None:
    bad = report("retrain", "stale", lost(0.05))
    none = LossHistory(metric="accuracy", block=WEEK, trained_until=START)
    dear = WhenSpec(costs=RetrainingCosts(training=1_000))

    assert decide_when(spec=SPEC, history=none, now=NOW, staleness=bad).action == "retrain"
    assert decide_when(spec=dear, history=none, now=NOW, staleness=bad).action == "keep_watching"


def test_a_stale_report_without_history_is_believed() -> None:
    aged = report("retrain", "stale")
    none = LossHistory(metric="accuracy", block=WEEK, trained_until=NOW - WEEK)

    assert decide_when(spec=SPEC, history=none, now=NOW, staleness=aged).action == "retrain"
    assert decide_when(spec=SPEC, history=none, now=NOW, staleness=report()).action == "keep_watching"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_retrains_what_decays_fast(strategy: Strategy) -> None:
    verdict = decide_when(spec=WhenSpec(strategy=strategy), history=decaying(0.03), now=NOW)

    assert (verdict.action, verdict.strategy) == ("retrain", strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_retrains_what_does_not_decay_at_a_great_cost(strategy: Strategy) -> None:
    spec = WhenSpec(strategy=strategy, costs=RetrainingCosts(training=2_000))

    assert decide_when(spec=spec, history=decaying(0.0), now=NOW).action == "keep_watching"


def test_one_version_alone_leaves_the_simple_rules_untuned() -> None:
    alone = decaying(0.01, blocks=12, every=12)

    said = {s: decide_when(spec=WhenSpec(strategy=s), history=alone, now=START + 12 * WEEK) for s in STRATEGIES}
    assert said["periodic"].action == "retrain"
    assert "not tuned" in said["periodic"].statement
    assert said["cumulative_loss"].action == "retrain"
    assert said["forecast"].action == "keep_watching"


def test_a_threshold_of_the_profile_is_used_as_it_is() -> None:
    tight, wide = (
        decide_when(spec=WhenSpec(strategy="threshold", threshold=at), history=decaying(0.01), now=NOW)
        for at in (0.0, 10.0)
    )

    assert (tight.action, wide.action) == ("retrain", "keep_watching")
    assert "set in the profile" in wide.statement


def test_the_verdict_is_the_same_whatever_the_order_of_the_history() -> None:
    history = decaying(0.004)
    turned = history.model_copy(update={"cells": tuple(reversed(history.cells))})

    assert decide_when(spec=SPEC, history=history, now=NOW) == decide_when(spec=SPEC, history=turned, now=NOW)


def test_a_loss_on_rows_that_the_version_was_trained_on_is_refused() -> None:
    with pytest.raises(ValidationError, match="behind its training"):
        cell("1", 5, 4, 0.1)


# --- what triggers make of it


def judged(given: StalenessReport, trigger: Any = "performance") -> tuple[bool, str]:
    verdict = judge_trigger(trigger=trigger, report=given, triggers=TriggersSpec(), last_finished=None, now=NOW)
    return verdict.proceed, verdict.code


def test_a_trigger_goes_by_what_a_retraining_is_worth_and_one_that_insists_does_not() -> None:
    dear = WhenSpec(costs=RetrainingCosts(training=50_000))
    stale = report("retrain", "stale")
    worth = staleness.with_verdict(stale, decide_when(spec=SPEC, history=decaying(0.01), now=NOW))
    not_worth = staleness.with_verdict(stale, decide_when(spec=dear, history=decaying(0.01), now=NOW))
    fresh = staleness.with_verdict(report(), decide_when(spec=SPEC, history=decaying(0.01), now=NOW))
    idle = staleness.with_verdict(report(), decide_when(spec=SPEC, history=decaying(0.0), now=NOW))

    assert judged(worth) == (True, "stale")
    assert judged(not_worth) == (False, "not_worth_it")
    assert not_worth.recommendation == "keep_watching"
    assert judged(not_worth, "scheduled") == (True, "insists")
    assert judged(fresh) == (True, "worth_it")
    assert judged(idle) == (False, "fresh")


def test_a_loss_that_the_profile_surely_accepts_is_no_reason_to_train() -> None:
    held = lost(0.01).model_copy(update={"outcome": "ok"})
    verdict = decide_when(spec=SPEC, history=decaying(0.01), now=NOW)

    accepted = staleness.with_verdict(report("keep_watching", "fresh", held), verdict)

    assert accepted.recommendation == "keep_watching"
    assert judged(accepted) == (False, "fresh")
