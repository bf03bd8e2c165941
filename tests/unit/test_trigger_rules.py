"""Should a run be started now? Every rule beside the twin that fires."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.contracts.profile import TriggersSpec
from tools.contracts.triggers import Claim, MonthlyBudget, QuietHours, Violations, WatchState
from tools.trigger_rules import Facts, Observation, gate, judge_look, judge_schedule

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
FACTS = Facts(now=NOW)
STALE = Observation("drift", True, "stale", "It drifted.")
FRESH = Observation("drift", False, "fresh", "It is fresh.")
UNKNOWN = Observation("drift", None, "could_not_measure", "The source is gone.")
STATE = WatchState(model_id="prices", watched_since=NOW - timedelta(days=30))
SPEC = TriggersSpec()


def looked(spec: TriggersSpec, seen: list[Observation], state: WatchState = STATE, facts: Facts = FACTS) -> list[str]:
    """Codes of looks in a row."""
    codes: list[str] = []
    for number, each in enumerate(seen):
        judged = judge_look(spec, replace(facts, now=facts.now + timedelta(hours=number)), state, each)
        codes.append(judged.verdict.code)
        state = judged.state
    return codes


@pytest.mark.parametrize(
    ("facts", "spec", "code", "retries"),
    [
        ({"paused": "by ada"}, {}, "paused", None),
        ({"held": "by ada"}, {}, "held", None),
        ({"trains": False}, {}, "no_training", None),
        ({"busy": "Run r1"}, {}, "busy", NOW + timedelta(minutes=5)),
        (
            {"last_finished": NOW - timedelta(days=1)},
            {"cool_down": timedelta(days=3)},
            "cool_down",
            NOW + timedelta(days=2),
        ),
        ({}, {"quiet_hours": QuietHours(start="11:00", end="13:00")}, "quiet_hours", NOW + timedelta(hours=1)),
        ({"runs": 4}, {"budget": MonthlyBudget(runs=4)}, "budget_runs", datetime(2026, 4, 1, tzinfo=UTC)),
        ({}, {"budget": MonthlyBudget(runs=0)}, "budget_runs", datetime(2026, 4, 1, tzinfo=UTC)),
        ({}, {"budget": MonthlyBudget(money=0)}, "budget_money", datetime(2026, 4, 1, tzinfo=UTC)),
        (
            {"spent": 95.0},
            {"budget": MonthlyBudget(money=100, cost_a_run=10)},
            "budget_money",
            datetime(2026, 4, 1, tzinfo=UTC),
        ),
        # The honest twins.
        ({"last_finished": NOW - timedelta(days=4)}, {"cool_down": timedelta(days=3)}, None, None),
        ({}, {"quiet_hours": QuietHours(start="13:00", end="11:00")}, None, None),
        ({"runs": 3}, {"budget": MonthlyBudget(runs=4)}, None, None),
        ({"spent": 90.0}, {"budget": MonthlyBudget(money=100, cost_a_run=10)}, None, None),
    ],
)
def test_what_stands_in_the_way_is_named_and_tried_again_in_time(
    facts: dict[str, Any], spec: dict[str, Any], code: str | None, retries: datetime | None
) -> None:
    found = gate(TriggersSpec(**spec), replace(FACTS, **facts), "drift")
    assert (None if found is None else found.code, None if found is None else found.retry_at) == (code, retries)


def test_clock_set_back_does_not_lengthen_the_cool_down() -> None:
    facts = replace(FACTS, last_finished=NOW + timedelta(days=300))
    found = gate(TriggersSpec(cool_down=timedelta(days=3)), facts, "drift")
    assert found is not None
    assert found.retry_at == NOW + timedelta(days=3)


def test_schedule_insists_but_keeps_to_what_people_have_said() -> None:
    due = NOW - timedelta(minutes=1)
    spec = TriggersSpec(cool_down=timedelta(days=30))
    assert judge_schedule(spec, replace(FACTS, last_finished=NOW), due, 1).fires
    assert judge_schedule(spec, FACTS, due, 7).statement.endswith("7 hours were missed and are made up by one run.")
    busy = judge_schedule(spec, replace(FACTS, busy="Run r1"), due, 1)
    assert (busy.fires, busy.retry_at) == (False, None)  # that run does what the schedule wants


def test_scheduled_hour_in_quiet_hours_waits_for_their_end_and_one_over_budget_is_over() -> None:
    quiet = TriggersSpec(quiet_hours=QuietHours(start="11:00", end="13:00"))
    assert judge_schedule(quiet, FACTS, NOW, 1).retry_at == NOW + timedelta(hours=1)
    poor = TriggersSpec(budget=MonthlyBudget(runs=0))
    assert judge_schedule(poor, FACTS, NOW, 1).retry_at is None


def test_two_of_three_looks_are_needed_where_the_profile_says_so() -> None:
    spec = TriggersSpec(violations=Violations(needed=2, of=3))
    assert looked(spec, [STALE, FRESH, FRESH, STALE]) == ["not_enough", "fresh", "fresh", "not_enough"]
    assert looked(spec, [STALE, FRESH, STALE]) == ["not_enough", "fresh", "fires"]


def test_missing_evidence_counts_neither_for_nor_against() -> None:
    spec = TriggersSpec(violations=Violations(needed=2, of=2))
    assert looked(spec, [STALE, UNKNOWN, UNKNOWN, STALE]) == ["not_enough", "no_evidence", "no_evidence", "fires"]
    assert looked(spec, [UNKNOWN] * 50) == ["no_evidence"] * 50


def test_data_that_want_mending_start_nothing() -> None:
    broken = replace(UNKNOWN, code="fix_data")
    assert looked(SPEC, [broken, broken]) == ["fix_data", "fix_data"]


def test_finding_that_stays_fires_once_until_it_has_gone() -> None:
    assert looked(SPEC, [STALE, STALE, STALE, FRESH, STALE]) == [
        "fires",
        "not_rearmed",
        "not_rearmed",
        "fresh",
        "fires",
    ]
    twice = TriggersSpec(clear_after=2)
    assert looked(twice, [STALE, FRESH, STALE, FRESH, FRESH, STALE]) == [
        "fires",
        "fresh",
        "not_rearmed",
        "fresh",
        "fresh",
        "fires",
    ]


def test_finding_that_stays_fires_again_after_rearm_after_or_with_a_new_champion() -> None:
    fired = STATE.model_copy(update={"armed": False, "fired_at": NOW - timedelta(days=8), "champion": "1"})
    assert looked(SPEC, [STALE], fired) == ["fires"]
    assert looked(TriggersSpec(rearm_after=None), [STALE], fired) == ["not_rearmed"]
    assert looked(TriggersSpec(rearm_after=None), [replace(STALE, champion="2")], fired) == ["fires"]
    assert looked(TriggersSpec(rearm_after=None), [replace(STALE, champion="1")], fired) == ["not_rearmed"]


def test_claim_that_our_own_look_confirms_needs_no_further_looks() -> None:
    spec = TriggersSpec(violations=Violations(needed=3, of=5))
    claim = Claim(source="alertmanager", kind="drift", first_at=NOW, last_at=NOW)
    assert judge_look(spec, FACTS, STATE, STALE, (claim,)).verdict.fires
    assert judge_look(spec, FACTS, STATE, FRESH, (claim,)).verdict.code == "fresh"  # a word alone starts nothing
    other = claim.model_copy(update={"kind": "performance"})
    assert judge_look(spec, FACTS, STATE, STALE, (other,)).verdict.code == "not_enough"


def test_finding_that_had_to_wait_is_still_armed() -> None:
    judged = judge_look(TriggersSpec(budget=MonthlyBudget(runs=0)), FACTS, STATE, STALE)
    assert (judged.verdict.code, judged.state.armed) == ("budget_runs", True)


def test_dry_run_uses_nothing_up() -> None:
    judged = judge_look(TriggersSpec(dry_run=True), FACTS, STATE, STALE)
    assert (judged.verdict.fires, judged.state.armed) == (True, True)


SEEN = st.lists(st.sampled_from([STALE, FRESH, UNKNOWN]), max_size=60)


@given(seen=SEEN, needed=st.integers(1, 4), more=st.integers(0, 3))
def test_between_two_firings_something_has_cleared_and_each_had_its_looks(
    seen: list[Observation], needed: int, more: int
) -> None:
    spec = TriggersSpec(violations=Violations(needed=needed, of=needed + more), rearm_after=None)
    codes = looked(spec, seen)
    since: list[str] = []
    first = True
    for code, each in zip(codes, seen, strict=True):
        if code == "fires":
            assert each.stale
            assert first or "fresh" in since
            assert since.count("stale") + 1 >= needed
            since, first = [], False
        else:
            since.append(code if each.stale is not True else "stale")
