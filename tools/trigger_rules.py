"""Should a run be started now? A model's state, what was observed, its profile and the time in; a verdict with its reason out.

The first rule that applies decides, in this order; `code` names it:

| code | when |
|---|---|
| `paused` · `held` | a person has stopped the triggers, or everything · the model is held after a rollback |
| `no_training` | the profile names no training |
| `busy` | a run of the model is under way, or waits to be started |
| `cool_down` | drift and performance: the last run ended too shortly before |
| `quiet_hours` | until they are over |
| `budget_runs` · `budget_money` | what may be spent in this month is spent |
| `fires` | else |

A look that finds the model fresh, not worth a retraining, not measurable or wanting its data mended asks for nothing, and stops at
`fresh`, `not_worth_it`, `no_evidence` or `fix_data`; one that finds it stale must have been found so often enough (`not_enough`), and
not be a finding that has fired already and stands (`not_rearmed`).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from tools.contracts.profile import TriggersSpec
from tools.contracts.request import TriggerKind
from tools.contracts.triggers import Claim, WatchState
from tools.schedules import month_start, next_month, quiet_until

WAIT: Final = timedelta(minutes=5)
"""Before what had to wait for another run, or for evidence, is tried again."""


@dataclass(frozen=True)
class Facts:
    """What stands in the way of a run, as it is now."""

    now: datetime
    paused: str | None = None
    """By whom and why."""
    held: str | None = None
    busy: str | None = None
    """The run, or the firing that waits."""
    trains: bool = True
    last_finished: datetime | None = None
    runs: int = 0
    """Started by itself in this month."""
    spent: float = 0.0


@dataclass(frozen=True)
class Observation:
    """What a look found."""

    kind: Literal["drift", "performance"]
    stale: bool | None
    """None: it could not be told."""
    code: str
    """`stale`, `fresh`, `could_not_measure`, `fix_data`, `roll_back_instead`, … as the trigger's own rule says."""
    statement: str
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    champion: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a run is to be started."""

    fires: bool
    code: str
    statement: str
    retry_at: datetime | None = None
    """When what is still wanted is tried again; None: it is not wanted any more, or comes by itself."""


def month_of(spec: TriggersSpec, now: datetime) -> datetime:
    """From when on the budget counts."""
    return month_start(spec.budget.zone, now)


def gate(spec: TriggersSpec, facts: Facts, kind: TriggerKind, *, judging: bool = False) -> Verdict | None:
    """What keeps a run that is wanted from starting now; None where nothing does.

    Args:
        spec: The profile's rules.
        facts: What is so now.
        kind: Why the run is wanted.
        judging: Whether it would judge a version that exists: that takes neither training nor budget, nor has it to wait.
    """
    now = facts.now
    if facts.paused is not None:
        return Verdict(False, "paused", f"Triggers are paused: {facts.paused}.")
    if facts.held is not None:
        return Verdict(False, "held", f"The model is held: {facts.held}.")
    if not judging and not facts.trains:
        return Verdict(False, "no_training", "The profile names no training: there is nothing to start.")
    if facts.busy is not None:
        return Verdict(False, "busy", f"{facts.busy} comes first.", now + WAIT)
    if not judging and kind in ("drift", "performance") and facts.last_finished is not None:
        # A clock that went backwards must not lengthen it.
        left = spec.cool_down - max(now - facts.last_finished, timedelta(0))
        if left > timedelta(0):
            told = f"The last run ended at {_at(facts.last_finished)}; the cool-down lasts until {_at(now + left)}."
            return Verdict(False, "cool_down", told, now + left)
    quiet = None if spec.quiet_hours is None else quiet_until(spec.quiet_hours, now)
    if quiet is not None:
        return Verdict(False, "quiet_hours", f"Quiet hours last until {_at(quiet)}.", quiet)
    return None if judging else _budget(spec, facts)


def _budget(spec: TriggersSpec, facts: Facts) -> Verdict | None:
    budget, later = spec.budget, next_month(spec.budget.zone, facts.now)
    if budget.runs is not None and facts.runs >= budget.runs:
        told = (
            f"{facts.runs} of {budget.runs} retrainings of this month are used; the next month begins at {_at(later)}."
        )
        return Verdict(False, "budget_runs", told, later)
    if budget.money is not None and (facts.spent + budget.cost_a_run > budget.money or budget.money == 0):
        told = (
            f"{facts.spent:g} of {budget.money:g} are spent in this month and a retraining costs {budget.cost_a_run:g}; "
            f"the next month begins at {_at(later)}."
        )
        return Verdict(False, "budget_money", told, later)
    return None


def judge_schedule(spec: TriggersSpec, facts: Facts, due: datetime, missed: int) -> Verdict:
    """A scheduled run insists: only what stands in its way is asked.

    A run under way already does what the schedule wants: such an hour is over. A budget that is spent is not waited for either.
    """
    stopped = gate(spec, facts, "scheduled")
    if stopped is not None:
        waits = stopped.code == "quiet_hours"
        return stopped if waits else replace(stopped, retry_at=None)
    late = f" {missed} hours were missed and are made up by one run." if missed > 1 else ""
    return Verdict(True, "fires", f"The schedule's hour {_at(due)} has come.{late}")


@dataclass(frozen=True)
class Judged:
    """The verdict on a look, and the state after it."""

    verdict: Verdict
    state: WatchState


def judge_look(
    spec: TriggersSpec, facts: Facts, state: WatchState, seen: Observation, claims: tuple[Claim, ...] = ()
) -> Judged:
    """One look. What could not be measured changes no count: neither for a firing nor against it.

    A claim from outside that our own look confirms needs no further looks: two witnesses agree.
    """
    state = _champion_of(state, seen)
    if seen.stale is None:
        code = "fix_data" if seen.code == "fix_data" else "no_evidence"
        return Judged(Verdict(False, code, seen.statement), state)
    window = (*state.looks, seen.stale)[-spec.violations.of :]
    state = state.model_copy(update={"looks": window, "clean": 0 if seen.stale else state.clean + 1})
    if not seen.stale:
        if state.clean >= spec.clear_after:
            state = state.model_copy(update={"armed": True})
        code = "not_worth_it" if seen.code == "not_worth_it" else "fresh"
        return Judged(Verdict(False, code, seen.statement), state)
    found = sum(window)
    if found < spec.violations.needed and not any(claim.kind == seen.kind for claim in claims):
        told = f"{found} of the last {spec.violations.of} looks found this; {spec.violations.needed} are needed. {seen.statement}"
        return Judged(Verdict(False, "not_enough", told), state)
    if not state.armed and not _rearmed(spec, state, facts.now):
        told = f"This has fired at {_at(state.fired_at)} and stands. {_how_rearmed(spec, state)} {seen.statement}"
        return Judged(Verdict(False, "not_rearmed", told), state)
    stopped = gate(spec, facts, seen.kind)
    if stopped is not None:
        return Judged(replace(stopped, statement=f"{stopped.statement} {seen.statement}"), state)
    if spec.dry_run:
        return Judged(Verdict(True, "fires", seen.statement), state)
    fired = {"armed": False, "fired_at": facts.now, "looks": (), "clean": 0}
    return Judged(Verdict(True, "fires", seen.statement), state.model_copy(update=fired))


def _champion_of(state: WatchState, seen: Observation) -> WatchState:
    """Another champion has another past."""
    if seen.champion is None or seen.champion == state.champion:
        return state
    fresh = {} if state.champion is None else {"armed": True, "looks": (), "clean": 0}
    return state.model_copy(update={"champion": seen.champion, **fresh})


def _rearmed(spec: TriggersSpec, state: WatchState, now: datetime) -> bool:
    if state.fired_at is None:
        return True
    return spec.rearm_after is not None and now - state.fired_at >= spec.rearm_after


def _how_rearmed(spec: TriggersSpec, state: WatchState) -> str:
    looks = "one look that finds nothing" if spec.clear_after == 1 else f"{spec.clear_after} looks that find nothing"
    if spec.rearm_after is None or state.fired_at is None:
        return f"It fires again after {looks}, or with a new champion."
    return f"It fires again after {looks}, with a new champion, or at {_at(state.fired_at + spec.rearm_after)}."


def look_again_after(spec: TriggersSpec) -> timedelta:
    """How long a look at unchanged data need not be repeated: labels ripen, and rows that stop are news too."""
    quarter = spec.recent / 4
    return quarter if spec.max_data_lag is None else min(quarter, spec.max_data_lag)


def _at(at: datetime | None) -> str:
    return "?" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
