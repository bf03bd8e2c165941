"""How do a model's triggers stand, and why did they not fire? Read from the store: asking changes nothing."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from agent.deps import Deps
from agent.services import holds
from agent.services.evaluate import Evaluator
from agent.services.looks import look
from tools import trigger_rules as rules
from tools import trigger_times as times
from tools.contracts.profile import Profile
from tools.contracts.triggers import Claim, Evaluation, Firing, Watcher, WatchState
from tools.schedules import delay
from tools.spoken_times import spoken

AROUND: Final = timedelta(hours=1)
"""Before and after the moment that is asked about."""


@dataclass(frozen=True)
class Standing:
    """One model's triggers."""

    profile: Profile
    state: WatchState | None
    claims: tuple[Claim, ...]
    newest: Evaluation | None
    paused: str | None
    runs: int
    """Retrainings that were started by themselves in this month."""
    spent: float

    def to_json_dict(self) -> dict[str, Any]:
        """What a machine reads."""
        state, spec = self.state, self.profile.triggers
        told: dict[str, Any] = {
            "modelId": self.profile.id,
            "kinds": list(kinds(self.profile)),
            "watched": state is not None,
            "paused": self.paused,
            "dryRun": spec.dry_run,
            "priority": spec.priority,
            "nextAt": None if state is None or state.next_at is None else state.next_at.isoformat(),
            "nextRun": _iso(next_run(self)),
            "armed": None if state is None else state.armed,
            "looks": None if state is None else list(state.looks),
            "claims": [claim.to_json_dict() for claim in self.claims],
            "runsThisMonth": self.runs,
            "spentThisMonth": self.spent,
            "latest": None if self.newest is None else self.newest.to_json_dict(),
        }
        return {name: value for name, value in told.items() if value is not None}


def kinds(profile: Profile) -> tuple[str, ...]:
    """What may start a run of this model."""
    spec, found = profile.triggers, ["manual"]
    found += ["scheduled"] * (spec.scheduled is not None)
    if spec.check is not None or spec.accept or spec.new_data is not None:
        found += ["drift"] * (spec.drift is not None) + ["performance"] * (spec.performance is not None)
    return (*found, *(["new_data"] * (spec.new_data is not None)), *(["new_version"] * spec.new_version))


def next_run(standing: Standing) -> datetime | None:
    """The next scheduled hour, jitter and all."""
    state, schedule = standing.state, standing.profile.triggers.scheduled
    if state is None or schedule is None or state.scheduled_due is None:
        return None
    return state.scheduled_due + delay(schedule, state.model_id, state.scheduled_due)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def standing(deps: Deps, profile: Profile) -> Standing:
    """How one model's triggers stand now."""
    started = deps.store.firings(profile.id, rules.month_of(profile.triggers, deps.clock()))
    counted = [each for each in started if each.kind == "retrain" and each.status != "refused"]
    hold = holds.found(deps, holds.ALL, holds.TRIGGERS, holds.of_triggers(profile.id))
    return Standing(
        profile=profile,
        state=deps.store.watch_state(profile.id),
        claims=tuple(deps.store.claims(profile.id)),
        newest=next(iter(deps.store.evaluations(profile.id, 1)), None),
        paused=None if hold is None else f"by {hold.by} since {hold.at:%Y-%m-%d %H:%M} UTC, {hold.why}",
        runs=len(counted),
        spent=sum(each.cost for each in counted),
    )


def tried(deps: Deps, profile: Profile) -> tuple[Evaluation, ...]:
    """What would come of it if everything were due now. Looks at the data, records nothing, tells nobody."""
    now, spec = deps.clock(), profile.triggers
    known = deps.store.watch_state(profile.id) or WatchState(model_id=profile.id, watched_since=now)
    due = {
        "spec": times.digest_of(spec),
        "scheduled_due": None if spec.scheduled is None else now - spec.scheduled.jitter,
        "check_due": None if spec.check is None else now - spec.check.jitter,
        "fingerprint": "",
    }
    asked = () if spec.check is not None else (_asked(now),)
    evaluator = Evaluator(deps, lambda _: profile, "test", look, tell=False)
    scheduled = evaluator.evaluate(known.model_copy(update=due | {"check_due": None}), (), dry_run=True)
    looked = evaluator.evaluate(known.model_copy(update=due | {"scheduled_due": None}), asked, dry_run=True)
    return (*scheduled.evaluations, *looked.evaluations)


def _asked(now: datetime) -> Claim:
    return Claim(source="signed", kind="drift", first_at=now, last_at=now, told="`retrain triggers test`")


# --- why it did or did not fire --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explained:
    """What happened around a time, in one sentence and in full."""

    start: datetime
    end: datetime
    answer: str
    evaluations: tuple[Evaluation, ...]
    firings: tuple[Firing, ...]
    unwatched: tuple[tuple[datetime, datetime], ...]
    """When nobody watched."""

    def to_json_dict(self) -> dict[str, Any]:
        """What a machine reads."""
        return {
            "from": self.start.isoformat(),
            "until": self.end.isoformat(),
            "answer": self.answer,
            "evaluations": [each.to_json_dict() for each in self.evaluations],
            "firings": [each.to_json_dict() for each in self.firings],
            "unwatched": [[start.isoformat(), end.isoformat()] for start, end in self.unwatched],
        }


def explain(deps: Deps, profile: Profile, *, at: str | None = None, since: str | None = None) -> Explained:
    """Why a model's triggers fired, or did not, around a time or since one; in the last day where neither is said.

    Raises:
        BadInput: the time cannot be read.
    """
    now, zone = deps.clock(), zone_of(profile)
    if at is not None:
        start, end = spoken(at, zone, now)
        start, end = (start - AROUND, end + AROUND) if start == end else (start, end)
    else:
        start, end = spoken(since or "24h", zone, now)[0], now
    end = min(end, now)
    found = [e for e in deps.store.evaluations(profile.id, 1000) if e.at <= end and (e.until or e.at) >= start]
    fired = [each for each in deps.store.firings(profile.id, start) if each.at <= end]
    gaps = _gaps(deps.store.watchers(), start, end)
    answer = _answer(deps, profile, found, fired, gaps, start, end)
    return Explained(start, end, answer, tuple(reversed(found)), tuple(reversed(fired)), gaps)


def zone_of(profile: Profile) -> str:
    """The zone that a person who asks about this model thinks in."""
    spec = profile.triggers
    return next((each.zone for each in (spec.scheduled, spec.check) if each is not None), "UTC")


def _answer(
    deps: Deps,
    profile: Profile,
    found: list[Evaluation],
    fired: list[Firing],
    gaps: tuple[tuple[datetime, datetime], ...],
    start: datetime,
    end: datetime,
) -> str:
    if fired:
        first = fired[-1]
        became = f"run {first.run_id}" if first.run_id else first.status + (f": {first.told}" if first.told else "")
        more = f" ({len(fired) - 1} more fired in that time)" if len(fired) > 1 else ""
        return f"It fired at {_at(first.at)} by {first.trigger} ({first.source}): {first.why} → {became}{more}"
    told = next((each for each in found if each.code not in ("unchanged", "fresh")), next(iter(found), None))
    if told is not None:
        times_ = f", {told.count} times until {_at(told.until)}" if told.until is not None else ""
        return f"It did not fire: {told.code} at {_at(told.at)}{times_}. {told.statement}"
    state = deps.store.watch_state(profile.id)
    if not deps.store.watchers():
        return "Nobody has ever watched this run store: start `retrain watch`."
    if gaps and gaps[0] == (start, end):
        return f"Nobody watched between {_at(start)} and {_at(end)}: no trigger was evaluated."
    if state is None:
        return "The model was not watched: its profile was not there."
    if state.watched_since > end:
        return f"The model has been watched only since {_at(state.watched_since)}."
    some = f" Nobody watched from {_at(gaps[0][0])} to {_at(gaps[0][1])}." if gaps else ""
    following = "nothing is due" if state.next_at is None else f"the model is evaluated next at {_at(state.next_at)}"
    return f"Nothing was due between {_at(start)} and {_at(end)}; {following}.{some}"


def _gaps(watchers: Any, start: datetime, end: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Spans in which no process watched; shorter ones than two minutes are beats that came late."""
    spans = sorted((each.started_at, _ended(each)) for each in watchers)
    gaps: list[tuple[datetime, datetime]] = []
    reached = start
    for begun, ended in spans:
        if begun > reached and reached < end:
            gaps.append((reached, min(begun, end)))
        reached = max(reached, ended)
    if reached < end:
        gaps.append((reached, end))
    return tuple((a, b) for a, b in gaps if b - a > timedelta(minutes=2))


def _ended(watcher: Watcher) -> datetime:
    return watcher.ended_at or watcher.beat_at


def _at(at: datetime | None) -> str:
    return "?" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def without_page(deps: Deps, quick: Any) -> Deps:
    """With the drift-detective that writes no page, where there is one."""
    return deps if quick is None else replace(deps, drift_detective=quick)
