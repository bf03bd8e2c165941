"""Who must hear of what the watch finds, and how soon? Lost performance and broken data page; the rest is a digest, once a day.

An alert is raised once: its key names what came before the look that found it, so that a look which is repeated after a crash raises
the same one. What did not leave stays unsent and is tried again.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from agent.deps import Deps
from tools.alerts import LEVELS, Alert
from tools.contracts.incident import Notice
from tools.contracts.profile import Profile
from tools.contracts.run import RunRecord
from tools.contracts.triggers import Firing, TriggerAlert, WatchState
from tools.errors import Conflict, RetrainingError
from tools.ports import ESCALATION
from tools.trigger_rules import Observation

RETRY: Final = timedelta(minutes=1)
DIGEST_HOUR: Final = 7
"""UTC."""
MOST_LINES: Final = 200
_LEASE_SECONDS: Final = 120.0


def raise_of_look(deps: Deps, before: WatchState, alert: Alert, seen: Observation, now: datetime) -> None:
    """What a look adds to what people know: a worse level, evidence that is gone, or that all is well again."""
    known, mark = LEVELS.index(before.told_level), _mark(before)  # type: ignore[arg-type]
    if seen.stale is None and seen.code != "fix_data":
        if before.unmeasured_since is None:
            told = f"could not be measured; nothing is started on missing evidence. {seen.statement}"
            _raise(deps, before.model_id, "ticket", f"unmeasured/{mark}", told, now)
        return
    if before.unmeasured_since is not None:
        told = f"can be measured again, since {before.unmeasured_since:%Y-%m-%d %H:%M} UTC it could not."
        _raise(deps, before.model_id, "digest", f"measured/{mark}", told, now)
    if alert.level != "none" and LEVELS.index(alert.level) < known:
        _raise(deps, before.model_id, alert.level, f"{alert.level}/{mark}", alert.sentence, now)
    elif alert.level == "none" and before.told_level == "page":
        _raise(deps, before.model_id, "digest", f"well/{mark}", f"is well again. {seen.statement}", now)


def raise_broken(deps: Deps, before: WatchState, told: str, now: datetime) -> None:
    """A profile that cannot be used any more."""
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    text = f"is not watched: its profile cannot be used. {told}"
    _raise(deps, before.model_id, "ticket", f"broken/{digest}/{_mark(before)}", text, now)


def raise_refused(deps: Deps, firing: Firing, now: datetime) -> None:
    """A run that was to be started and could not be."""
    told = f"a run was to be started ({firing.why}) and was refused: {firing.told}"
    _raise(deps, firing.model_id, "ticket", f"refused/{firing.key}"[:200], told, now)


def raise_failed(deps: Deps, run: RunRecord, now: datetime) -> None:
    """A run of a trigger that ended in a fault."""
    told = f"run {run.run_id} failed: {run.error}; `retrain run --resume {run.run_id}` goes on with it"
    _raise(deps, run.model_id, "ticket", f"failed/{run.run_id}", told, now)


def _mark(before: WatchState) -> str:
    return f"{before.looked_at or before.watched_since:%Y%m%dT%H%M%S}"


def _raise(deps: Deps, model_id: str, level: str, key: str, told: str, now: datetime) -> None:
    raised = TriggerAlert(key=f"{model_id}/{key}"[:255], model_id=model_id, level=level, at=now, statement=told)  # type: ignore[arg-type]
    if deps.store.raise_alert(raised):
        deps.progress(f"{model_id}: {level}: {told}")


class Sender:
    """Sends what was raised: pages at once, the rest in one message a day to each group of people."""

    def __init__(self, deps: Deps, load: Callable[[str], Profile], holder: str) -> None:
        self._deps, self._load, self._holder = deps, load, holder
        self._next: datetime | None = None

    def due(self, *, now_anyway: bool = False) -> int:
        """Send what is to be sent by now; how many messages left. Of two processes at once, one sends."""
        now = self._deps.clock()
        if not now_anyway and self._next is not None and now < self._next:
            return 0
        self._next = now + RETRY
        unsent = self._deps.store.unsent_alerts()
        pages = [each for each in unsent if each.level == "page"]
        rest = [each for each in unsent if each.level != "page"]
        if rest and min(each.at for each in rest) >= _last_digest(now):
            rest = []
        if not pages and not rest:
            return 0
        try:
            lease = self._deps.store.acquire("notice:triggers", "watch", self._holder, _LEASE_SECONDS)
        except Conflict:
            return 0
        try:
            sent = sum(self._send("trigger_page", [each], now) for each in pages)
            return sent + sum(self._send("trigger_digest", group, now) for group in self._groups(rest))
        finally:
            self._deps.store.release(lease)

    def _groups(self, alerts: Sequence[TriggerAlert]) -> list[list[TriggerAlert]]:
        """By the addresses that their profiles name."""
        groups: dict[tuple[str, ...], list[TriggerAlert]] = {}
        for each in alerts:
            profile = self._profile(each.model_id)
            groups.setdefault(() if profile is None else profile.notify.urls, []).append(each)
        return list(groups.values())

    def _profile(self, model_id: str) -> Profile | None:
        try:
            return self._load(model_id)
        except RetrainingError:
            return None

    def _send(self, event: str, alerts: list[TriggerAlert], now: datetime) -> int:
        profile = next((found for each in alerts if (found := self._profile(each.model_id)) is not None), None)
        if profile is None:  # nobody is left who is named
            self._deps.store.put_alerts([each.model_copy(update={"sent_at": now}) for each in alerts])
            return 0
        notice, notifier, sent = _notice(event, alerts), self._deps.notifier_of(profile), 0
        for channel in notifier.channels():
            if channel.startswith(ESCALATION) or all(channel in each.sent_to for each in alerts):
                continue
            try:
                notifier.send(channel, notice)
            except RetrainingError as failure:
                self._deps.progress(f"not sent yet: {failure.message}")
                return sent
            sent += 1
            # Noted channel by channel: one that fails does not have the others hear twice.
            alerts = [each.model_copy(update={"sent_to": (*each.sent_to, channel)}) for each in alerts]
            self._deps.store.put_alerts(alerts)
        self._deps.store.put_alerts([each.model_copy(update={"sent_at": now}) for each in alerts])
        return sent


def _last_digest(now: datetime) -> datetime:
    at = now.replace(hour=DIGEST_HOUR, minute=0, second=0, microsecond=0)
    return at if at <= now else at - timedelta(days=1)


def _notice(event: str, alerts: Sequence[TriggerAlert]) -> Notice:
    if event == "trigger_page":
        page = alerts[0]
        title = f"{page.model_id}: needs somebody now"
        return Notice(key=f"watch/{page.key}", event="trigger_page", title=title, body=_told(page))
    lines = [f"{each.model_id} ({each.level}): {each.statement}" for each in alerts[:MOST_LINES]]
    more = len(alerts) - len(lines)
    body = "\n".join([*lines, *([f"… and {more} more"] if more else [])])
    models = len({each.model_id for each in alerts})
    about = f"{models} models" if models > 1 else alerts[0].model_id
    title = f"{about}: {len(alerts)} notes of the day"
    return Notice(key=f"watch/digest/{alerts[0].key}/{alerts[-1].key}", event="trigger_digest", title=title, body=body)


def _told(page: TriggerAlert) -> str:
    return f"{page.statement}\nretrain triggers explain {page.model_id}"
