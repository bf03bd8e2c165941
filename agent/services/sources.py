"""What somebody outside says of a model becomes a claim: it brings a look forward, and starts nothing by its word alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from agent.deps import Deps
from agent.services.train import KEY_TAG
from tools.contracts.alertmanager import Alert
from tools.contracts.profile import Profile
from tools.contracts.triggers import Claim, ClaimKind, FromOutside
from tools.contracts.webhooks import MlflowEvent, SignedTrigger
from tools.errors import RetrainingError

ACTION: Final = "retrain"
"""Value of an alert's label `retraining_action` that asks for a look."""
TAG: Final = "retrain"
"""Tag of a version whose setting asks for a look: `drift` or `performance`."""


@dataclass(frozen=True)
class Taken:
    """Profiles that will be looked at, and why the rest moved nothing."""

    looks: tuple[str, ...]
    ignored: tuple[str, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"looks": list(self.looks), "ignored": list(self.ignored)}


class Sources:
    """Takes what webhooks bring.

    Args:
        deps: Store, clock and profiles.
        profile_ids: All ids of the workspace.
    """

    def __init__(self, deps: Deps, profile_ids: Callable[[], Iterable[str]]) -> None:
        self._deps, self._profile_ids = deps, profile_ids

    def alerts(self, alerts: Iterable[Alert]) -> Taken:
        """Alerts with the label `retraining_action=retrain`; of ten about one model, one claim."""
        taken: list[Taken] = []
        for alert in alerts:
            name = alert.labels.get("retraining_model", "")
            told = alert.annotations.get("summary") or alert.labels.get("alertname", "an alert")
            kind = _kind(alert.labels.get("retraining_trigger", "drift"))
            if alert.status != "firing" or kind is None:
                taken.append(Taken((), (f"{told[:80]}: it is resolved, or names no trigger",)))
                continue
            taken.append(self._claim(name, "alertmanager", kind, told))
        return _together(taken)

    def signed(self, message: SignedTrigger) -> Taken:
        """A signed message of anybody's own."""
        return self._claim(message.model_id, "signed", message.trigger, message.reason)

    def mlflow(self, event: MlflowEvent) -> Taken:
        """A registry event: a new version is a claim where it is not ours, a tag where it is `retrain`."""
        data, name = event.data, event.data.get("name")
        version = data.get("version")
        if event.entity == "model_version" and event.action == "created":
            tags = data.get("tags")
            if isinstance(tags, dict) and KEY_TAG in tags:
                return Taken((), (f"version {version} was registered by a run of ours",))
            return self._of_registered(name, "new_version", f"version {version} was registered", str(version))
        if event.entity == "model_version_tag" and event.action == "set" and data.get("key") == TAG:
            kind = _kind(str(data.get("value")))
            if kind is None:
                return Taken((), (f"the tag {TAG!r} must be drift or performance",))
            return self._of_registered(name, kind, f"tag {TAG}={kind} was set on version {version}", None)
        return Taken((), (f"{event.entity}.{event.action} asks for nothing",))

    def _of_registered(self, name: object, kind: ClaimKind, told: str, version: str | None) -> Taken:
        """Of each profile that this model is registered for."""
        found: list[Taken] = []
        for profile_id in self._profile_ids():
            try:
                profile = self._deps.load_profile(profile_id)
            except RetrainingError:
                continue
            if profile.registered_model == name:
                found.append(self._noted(profile, "mlflow", kind, told, version))
        return _together(found) if found else Taken((), (f"no profile's registered_model is {str(name)[:80]!r}",))

    def _claim(self, name: str, source: FromOutside, kind: ClaimKind, told: str) -> Taken:
        try:
            profile = self._deps.load_profile(name)
        except RetrainingError:
            return Taken((), (f"there is no profile {name[:80]!r}",))
        return self._noted(profile, source, kind, told, None)

    def _noted(self, profile: Profile, source: FromOutside, kind: ClaimKind, told: str, version: str | None) -> Taken:
        if source not in profile.triggers.accept:
            return Taken((), (f"triggers.accept of {profile.id!r} does not name {source}",))
        if kind == "new_version" and not profile.triggers.new_version:
            return Taken((), (f"{profile.id!r} does not say triggers.new_version: true",))
        now = self._deps.clock()
        claim = Claim(source=source, kind=kind, first_at=now, last_at=now, told=told[:500], version=version)
        self._deps.store.note_claim(profile.id, claim)
        return Taken((profile.id,), ())


def _kind(text: str) -> ClaimKind | None:
    return "drift" if text == "drift" else "performance" if text == "performance" else None


def _together(taken: Iterable[Taken]) -> Taken:
    parts = list(taken)
    looks = dict.fromkeys(name for each in parts for name in each.looks)
    return Taken(tuple(looks), tuple(why for each in parts for why in each.ignored))
