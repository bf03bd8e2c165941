"""Who must hear of it, and did they? A message that does not leave stops nothing: it stays on record and is tried again.

Each channel is an effect of its own, so that one that fails does not have the others hear twice. Nobody can tell whether a process
that was killed while sending had sent: such a message is sent again, under the same key, because a page that never came is worse
than one that came twice.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from agent.deps import Deps
from agent.services.effects import Result, once
from agent.state import Run
from tools.contracts.incident import Notice
from tools.contracts.profile import Profile
from tools.contracts.rollout import RolloutStatus
from tools.contracts.run import EffectRecord
from tools.errors import Conflict, NotFound, RetrainingError, Unavailable
from tools.ports import ESCALATION

PREFIX: Final = "notify-"
RETRY: Final = timedelta(minutes=1)
"""Between tries of what did not leave."""
_LEASE_SECONDS: Final = 120.0


def rollout(deps: Deps, run: Run, status: RolloutStatus) -> None:
    """Tell of a rollout that was promoted, or that a person must judge. Other phases are told elsewhere, or not at all."""
    if status.phase == "promoted":
        title = f"{run.profile.id}: promoted"
    elif status.phase == "inconclusive":
        title = f"{run.profile.id}: a person is asked about the candidate"
    else:
        return
    body = f"{status.statement}\nRun {run.run_id}: retrain runs show {run.run_id}"
    key = f"{run.run_id}/{status.phase}"
    send(deps, run, Notice(key=key, event=status.phase, title=title, body=body))


def waits_for_a_person(deps: Deps, run: Run, status: RolloutStatus) -> None:
    """Tell, once for each such pause, that the plan waits for an approver."""
    model = run.profile.id
    what_to_do = f'`retrain rollout status {model}`, then `retrain rollout resume {model} --reason "…"` or `abort`'
    body = f"{status.statement}\nRun {run.run_id}: {what_to_do}"
    key = f"{run.run_id}/waits_for_a_person-{status.step_index}"
    send(deps, run, Notice(key=key, event="waits_for_a_person", title=f"{model}: the rollout waits for you", body=body))


def send(deps: Deps, run: Run, notice: Notice) -> None:
    """To every channel of the profile, once each."""
    notifier = deps.notifier_of(run.profile)
    for channel in _channels(deps, run.profile, notice):

        def act(channel: str = channel) -> Result:
            notifier.send(channel, notice)
            return {"sent": True}

        try:
            once(deps, run.run_id, _name(notice, channel), _intent(notice, channel), act, lambda: None)
        except Unavailable as failure:
            deps.progress(f"not sent yet: {failure.message}")


def tell(deps: Deps, holder: str, run_id: str, profile: Profile, notice: Notice, review: int | None = None) -> None:
    """As `send`, by whoever comes, of a run that is parked or over: not its lease is taken, but the message's own.

    Args:
        deps: Store and notifier.
        holder: This process.
        run_id: Whose message it is.
        profile: Who hears.
        notice: What.
        review: The question that it is about: once that is closed, an unsent message is not tried again.
    """
    known = {effect.key for effect in deps.store.effects(run_id)}
    for channel in _channels(deps, profile, notice):
        key = f"{run_id}/{_name(notice, channel)}"
        if key not in known:
            _told(deps, holder, run_id, profile, notice, channel, key, review)


def _told(
    deps: Deps, holder: str, run_id: str, profile: Profile, notice: Notice, channel: str, key: str, review: int | None
) -> None:
    try:
        lease = deps.store.acquire(f"notice:{key}", run_id, holder, _LEASE_SECONDS)
    except Conflict:
        return
    try:
        intent = _intent(notice, channel) | ({} if review is None else {"review": review})
        if deps.store.intend(lease, key, _name(notice, channel), intent).status != "done":
            deps.notifier_of(profile).send(channel, notice)
            deps.store.confirm(key, {"sent": True})
    except Unavailable as failure:
        deps.progress(f"not sent yet: {failure.message}")
    finally:
        deps.store.release(lease)


def _channels(deps: Deps, profile: Profile, notice: Notice) -> list[str]:
    found = deps.notifier_of(profile).channels()
    return [each for each in found if notice.event == "review_escalated" or not each.startswith(ESCALATION)]


def _name(notice: Notice, channel: str) -> str:
    """The effect: a run may ask more than once, so the question's number is in it."""
    return f"{PREFIX}{notice.key.rpartition('/')[2]}-{channel}"


def _intent(notice: Notice, channel: str) -> dict[str, Any]:
    return {"channel": channel, "notice": notice.to_state()}


def unsent(deps: Deps) -> list[EffectRecord]:
    """Messages on record that are not known to have left, of runs that are not at it right now."""
    found = deps.store.unconfirmed(PREFIX)
    return [effect for effect in found if deps.store.get_run(effect.run_id).status != "running"]


def retry(deps: Deps, holder: str) -> int:
    """Try once what did not leave; how many left now. Of two processes at once, one tries."""
    return sum(_tried(deps, holder, effect) for effect in unsent(deps))


def _tried(deps: Deps, holder: str, effect: EffectRecord) -> bool:
    try:
        lease = deps.store.acquire(f"notice:{effect.key}", effect.run_id, holder, _LEASE_SECONDS)
    except Conflict:
        return False
    try:
        if all(each.key != effect.key for each in deps.store.unconfirmed(PREFIX)):
            return False
        if _is_moot(deps, effect):
            deps.store.confirm(effect.key, {"sent": False, "why": "the question is closed"})
            return False
        profile = deps.load_profile(deps.store.get_run(effect.run_id).model_id)
        channel = str(effect.intent["channel"])
        if channel not in deps.notifier_of(profile).channels():
            deps.store.confirm(effect.key, {"sent": False, "why": "the profile names the channel no more"})
            return False
        deps.notifier_of(profile).send(channel, Notice.model_validate(effect.intent["notice"]))
        deps.store.confirm(effect.key, {"sent": True, "late": True})
        return True
    except NotFound:
        deps.store.confirm(effect.key, {"sent": False, "why": "the profile is gone"})
        return False
    except RetrainingError as failure:
        deps.progress(f"not sent yet: {failure.message}")
        return False
    finally:
        deps.store.release(lease)


def _is_moot(deps: Deps, effect: EffectRecord) -> bool:
    """Nobody is to be called to a question that is answered."""
    number, event = effect.intent.get("review"), effect.intent["notice"]["event"]
    return number is not None and event != "review_expired" and deps.store.get_review(int(number)).status != "open"


class Retries:
    """When a watcher tries again. Kept in memory: whoever comes next begins at once."""

    def __init__(self, deps: Deps, holder: str) -> None:
        self._deps, self._holder = deps, holder
        self._next: datetime | None = None

    def due(self) -> int:
        """Try if it is time."""
        now = self._deps.clock()
        if self._next is not None and now < self._next:
            return 0
        self._next = now + RETRY
        return retry(self._deps, self._holder)
