"""Should a run of this model be started now? One evaluation: what is due is decided by the rules, recorded with its evidence, and
what fires is written down with the same stroke. Whoever is killed in between has done nothing.

Cheap things come first. A scheduled hour reads the profile and the store; only a look opens the data and the registry.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from agent.deps import Deps
from agent.services import holds, trigger_alerts
from agent.services.looks import Looked, fingerprint, look, registered_since, rows_of
from tools import trigger_rules as rules
from tools import trigger_times as times
from tools.contracts.profile import Profile
from tools.contracts.request import TriggerKind
from tools.contracts.run import Hold
from tools.contracts.triggers import Claim, Evaluation, Firing, Source, WatchState
from tools.errors import RetrainingError
from tools.schedules import next_due
from tools.trigger_rules import Facts, Verdict

CLAIM_KEPT: Final = timedelta(days=1)
"""What was said from outside, and could not be looked into for so long, is let go."""

Look = Callable[[Deps, Profile], Looked]


@dataclass(frozen=True)
class Found:
    """What an evaluation brought: to be settled in one transaction."""

    state: WatchState
    evaluations: tuple[Evaluation, ...] = ()
    taken: tuple[Claim, ...] = ()
    firing: Firing | None = None


class Evaluator:
    """Evaluates models. Keeps nothing between two of them.

    Args:
        deps: Its drift-detective need write no page.
        load: A profile by its id.
        holder: This process, as evaluations name it.
        look: What a look is.
        tell: Whether alerts are raised.
    """

    def __init__(
        self, deps: Deps, load: Callable[[str], Profile], holder: str, look: Look = look, *, tell: bool = True
    ) -> None:
        self._deps, self._load, self._holder, self._look, self._tell = deps, load, holder, look, tell

    def evaluate(self, state: WatchState, claims: Sequence[Claim], *, dry_run: bool = False) -> Found:
        """What is due now. Records nothing but alerts, which are the same however often they are raised."""
        now = self._deps.clock()
        try:
            profile = self._load(state.model_id)
        except RetrainingError as fault:
            return self._broken(state, fault, now)
        one = _One(self._deps, profile, state, tuple(claims), now, self._holder, self._look, dry_run, self._tell)
        return one.run()

    def _broken(self, state: WatchState, fault: RetrainingError, now: datetime) -> Found:
        told = _first_line(fault.message)
        if state.broken != told and self._tell:
            trigger_alerts.raise_broken(self._deps, state, told, now)
        found = Evaluation(
            model_id=state.model_id, at=now, trigger="profile", code="profile_broken", statement=told, by=self._holder
        )
        # Its file's next change makes it due again.
        return Found(state.model_copy(update={"broken": told, "next_at": None, "spec": ""}), (found,))


def _first_line(text: str) -> str:
    lines = text.splitlines()
    return (lines[0] + (f" {lines[1].strip()}" if len(lines) > 1 else ""))[:500] if lines else "it cannot be read"


class _One:
    """One evaluation of one model: `state` changes as it goes on."""

    def __init__(
        self,
        deps: Deps,
        profile: Profile,
        state: WatchState,
        claims: tuple[Claim, ...],
        now: datetime,
        holder: str,
        look: Look,
        dry_run: bool,
        tell: bool,
    ) -> None:
        self._deps, self._profile, self._claims, self._now = deps, profile, claims, now
        self._holder, self._look, self._tell = holder, look, tell
        spec = profile.triggers
        self._spec = spec.model_copy(update={"dry_run": True}) if dry_run else spec
        self._state, self._before = state, state
        self._found: list[Evaluation] = []
        self._taken: list[Claim] = []
        self._firing: Firing | None = None
        self._in_force: dict[str, Hold] | None = None

    def run(self) -> Found:
        self._reschedule()
        waits = self._state.retry_at
        self._update(retry_at=waits if waits is not None and waits > self._now else None)
        self._scheduled()
        self._versions()
        self._looked()
        self._update(next_at=times.next_at(self._state, self._spec, self._now))
        return Found(self._state, tuple(self._found), tuple(self._taken), self._firing)

    def _update(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)

    def _later(self, at: datetime | None) -> None:
        """Try again then, unless sooner anyway."""
        if at is not None and (self._state.retry_at is None or at < self._state.retry_at):
            self._update(retry_at=at)

    # --- hours ---------------------------------------------------------------------------------------------------

    def _reschedule(self) -> None:
        was = self._state
        self._state = times.rescheduled(was, self._spec, self._now)
        if (
            was.spec
            and was.spec != self._state.spec
            and was.scheduled_due is not None
            and was.scheduled_due <= self._now
        ):
            told = (
                f"The profile was edited while its hour {was.scheduled_due:%Y-%m-%d %H:%M} UTC was due: it begins anew."
            )
            self._record("scheduled", "cron", Verdict(False, "schedule_changed", told), due=was.scheduled_due)

    def _scheduled(self) -> None:
        schedule = self._spec.scheduled
        hour = times.come(schedule, self._state.scheduled_due, self._state.model_id, self._now)
        if schedule is None or hour is None:
            return
        verdict = rules.judge_schedule(self._spec, self._facts("scheduled"), hour.at, hour.missed)
        if verdict.retry_at is None:
            self._update(scheduled_due=next_due(schedule, hour.at))
        self._later(verdict.retry_at)
        self._record("scheduled", "cron", verdict, due=hour.at, evidence={"missed": hour.missed})

    # --- versions that others have registered --------------------------------------------------------------------

    def _versions(self) -> None:
        for claim in self._claims:
            if claim.kind != "new_version" or claim.version is None or self._firing is not None:
                continue
            verdict = self._judge_version(claim)
            if verdict.retry_at is None or self._is_old(claim):
                self._taken.append(claim)
            else:
                self._later(verdict.retry_at)
            self._record("new_version", claim.source, verdict, due=claim.first_at, version=claim.version)

    def _judge_version(self, claim: Claim) -> Verdict:
        if not self._spec.new_version:
            told = f"Version {claim.version} is new; the profile does not say triggers.new_version: true."
            return Verdict(False, "not_wanted", told)
        stopped = rules.gate(self._spec, self._facts("manual"), "manual", judging=True)
        if stopped is not None:
            return stopped if stopped.retry_at else replace(stopped, retry_at=self._now + rules.WAIT)
        return Verdict(True, "fires", f"Version {claim.version} was registered, and is judged.")

    def _registered(self) -> None:
        """Whether somebody has registered a version since; a webhook tells it sooner. It is judged in an evaluation of its own."""
        if not self._spec.new_version or not self._tell:
            return
        newest, theirs = registered_since(self._deps, self._profile, self._state.newest_version)
        self._update(newest_version=newest)
        if theirs is not None:
            told, now = f"version {theirs} was registered", self._now
            claim = Claim(
                source="new_version", kind="new_version", first_at=now, last_at=now, told=told, version=theirs
            )
            self._deps.store.note_claim(self._state.model_id, claim)

    # --- looks ---------------------------------------------------------------------------------------------------

    def _looked(self) -> None:
        """At most one look; its reason is the first that there is."""
        check = self._spec.check
        hour = times.come(check, self._state.check_due, self._state.model_id, self._now)
        if check is not None and hour is not None:
            self._update(check_due=next_due(check, hour.at))
            self._registered()
        polled = self._polled()
        asked = tuple(claim for claim in self._claims if claim.kind != "new_version")
        retried = self._before.retry_at is not None and self._before.retry_at <= self._now
        again = retried and self._state.looks[-1:] == (True,)
        if hour is None and not polled and not asked and not again:
            return
        source: Source = asked[0].source if asked else "new_data" if polled and hour is None else "check"
        due = hour.at if hour is not None else asked[0].first_at if asked else self._now
        stopped = self._stopped_before(regular=hour is not None)
        if stopped is not None:
            if asked:
                self._later(stopped.retry_at or self._now + rules.WAIT)
                self._let_go(asked)
            self._record("drift", source, stopped, due=due)
            return
        print_now = fingerprint(self._deps, self._profile, self._state.stamp)
        if not asked and not again and self._is_unchanged(print_now):
            told = f"Nothing has changed since the look at {self._state.looked_at:%Y-%m-%d %H:%M} UTC."
            self._record("drift", source, Verdict(False, "unchanged", told), due=due)
            return
        self._take(source, due, asked, print_now, again=again)

    def _stopped_before(self, *, regular: bool) -> Verdict | None:
        """Whether a look is left out. A regular one is taken while a run waits for a person, too: it may find what pages."""
        if self._firing is not None:
            return Verdict(False, "busy", "A run that is started now looks for itself.", self._now + rules.WAIT)
        facts = self._facts("drift", cheap=True)
        if facts.paused is None and (regular or facts.busy is None):
            return None
        return rules.gate(self._spec, replace(facts, held=None, trains=True), "drift")

    def _is_unchanged(self, now: str) -> bool:
        state = self._state
        if not now or now != state.fingerprint or state.looked_at is None or state.unmeasured_since is not None:
            return False
        return self._now - state.looked_at < rules.look_again_after(self._spec)

    def _take(self, source: Source, due: datetime, asked: tuple[Claim, ...], print_now: str, *, again: bool) -> None:
        seen, alert = self._look(self._deps, self._profile)
        events = self._deps.store.champions(self._profile.registered_model)
        seen = replace(seen, champion=events[0].version if events else None)
        facts = self._facts(seen.kind)
        before = self._state
        # What was waited with is looked at anew, and is no further witness.
        state = before.model_copy(update={"looks": before.looks[:-1]}) if again else before
        judged = rules.judge_look(self._spec, facts, state, seen, asked)
        self._state, verdict = judged.state, judged.verdict
        if self._tell:
            trigger_alerts.raise_of_look(self._deps, before, alert, seen, self._now)
        measured = seen.stale is not None or seen.code == "fix_data"
        self._update(
            told_level=alert.level if measured else before.told_level,
            unmeasured_since=None if measured else before.unmeasured_since or self._now,
            fingerprint=print_now if measured else before.fingerprint,
            looked_at=self._now,
        )
        if measured and self._spec.new_data is not None:
            self._update(rows=rows_of(self._deps, self._profile))
        unknown = verdict.code == "no_evidence"
        if asked and unknown:
            self._later(self._now + rules.WAIT)
            self._let_go(asked)
        else:
            self._taken += asked
            # What another run comes before is looked at anew when it is regular: the champion may be another one by then.
            self._later(None if verdict.code == "busy" else verdict.retry_at)
        told: dict[str, Any] = {"looks": list(self._state.looks), "armed": self._state.armed, **seen.evidence}
        if asked:
            told["claims"] = [claim.to_json_dict() for claim in asked]
        self._record(seen.kind, source, verdict, due=due, evidence=told)

    def _is_old(self, claim: Claim) -> bool:
        return self._now - claim.first_at >= CLAIM_KEPT

    def _let_go(self, asked: Sequence[Claim]) -> None:
        self._taken += [claim for claim in asked if self._is_old(claim)]

    def _polled(self) -> bool:
        """Whether enough new rows have come. Files that are as they were are not opened."""
        wanted, state = self._spec.new_data, self._state
        if wanted is None or state.poll_due is None or state.poll_due > self._now:
            return False
        self._update(poll_due=self._now + wanted.poll)
        if self._is_unchanged(fingerprint(self._deps, self._profile, state.stamp)):
            return False
        rows = rows_of(self._deps, self._profile)
        if rows is None:
            return False
        if state.rows is None:
            self._update(rows=rows)
            return False
        return rows - state.rows >= wanted.min_rows

    # --- facts ---------------------------------------------------------------------------------------------------

    def _facts(self, kind: TriggerKind, *, cheap: bool = False) -> Facts:
        """What stands in the way; budget and history are asked for only where they are looked at."""
        deps, profile, spec = self._deps, self._profile, self._spec
        finished, started = None, ()
        if not cheap and kind in ("drift", "performance") and spec.cool_down > timedelta(0):
            ended = [run for run in deps.store.list_runs(profile.id) if run.status == "finished"]
            finished = ended[0].updated_at if ended else None
        if not cheap and (spec.budget.runs is not None or spec.budget.money is not None):
            found = deps.store.firings(profile.id, rules.month_of(spec, self._now))
            started = tuple(each for each in found if each.kind == "retrain" and each.status != "refused")
        return Facts(
            now=self._now,
            paused=self._held(holds.ALL, holds.TRIGGERS, holds.of_triggers(profile.id)),
            held=self._held(holds.of_model(profile.registered_model)),
            busy=self._busy(),
            trains=profile.training is not None,
            last_finished=finished,
            runs=len(started),
            spent=sum(each.cost for each in started),
        )

    def _held(self, *scopes: str) -> str | None:
        if self._in_force is None:
            self._in_force = {hold.scope: hold for hold in self._deps.store.holds()}
        found = next((self._in_force[scope] for scope in scopes if scope in self._in_force), None)
        return None if found is None else f"by {found.by} since {found.at:%Y-%m-%d %H:%M} UTC, {found.why}"

    def _busy(self) -> str | None:
        if self._firing is not None:
            return "The run that is started now"
        for run in self._deps.store.unfinished(self._profile.id):
            if run.status == "parked":
                return (
                    f"Run {run.run_id}, which waits for a {run.parked_for}," if run.parked_for else f"Run {run.run_id}"
                )
            if run.status == "running":
                return f"Run {run.run_id}"
        waiting = [each for each in self._deps.store.firings(self._profile.id, limit=20) if each.status == "waiting"]
        return f"The run of {waiting[0].at:%Y-%m-%d %H:%M} UTC, which waits to be started," if waiting else None

    # --- what is written down ------------------------------------------------------------------------------------

    def _record(
        self,
        trigger: str,
        source: Source,
        verdict: Verdict,
        *,
        due: datetime,
        evidence: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> None:
        fires, key = verdict.fires and not self._spec.dry_run, None
        if fires:
            key = _key(self._state.model_id, trigger, source, due, version)
            self._firing = Firing(
                key=key,
                model_id=self._state.model_id,
                kind="retrain" if version is None else "judge",
                trigger="manual" if trigger == "new_version" else trigger,  # type: ignore[arg-type]
                source=source,
                due=due,
                at=self._now,
                priority=self._spec.priority,
                version=version,
                cost=0.0 if version else self._spec.budget.cost_a_run,
                why=verdict.statement,
            )
        code = "would_fire" if verdict.fires and not fires else verdict.code
        self._found.append(
            Evaluation(
                model_id=self._state.model_id,
                at=self._now,
                trigger=trigger,  # type: ignore[arg-type]
                source=source,
                due=due,
                fires=fires,
                code=code,
                statement=verdict.statement,
                evidence=dict(evidence or {}),
                key=key,
                by=self._holder,
            )
        )


def _key(model_id: str, trigger: str, source: str, due: datetime, version: str | None) -> str:
    """The idempotency key of the run: of one hour, one run, whoever comes to it and however often."""
    if version is not None:
        return f"trigger/{model_id}/judge/{version}"
    return f"trigger/{model_id}/{trigger}/{source}/{due:%Y%m%dT%H%M%SZ}"
