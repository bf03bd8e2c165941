# pyright: basic
"""Models and Experiments of one namespace, written so that a repeated or interrupted call ends in the same place."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from tools.adapters.seldon.answers import Absent, Clash, answer, one_retry
from tools.adapters.seldon.watching import woken
from tools.errors import BadInput, TimedOut, Unavailable
from tools.seldon import Manifest, Readiness, changed, merged, readiness

GROUP: Final = "mlops.seldon.io"
VERSION: Final = "v1alpha1"
PLURAL: Final = {"Model": "models", "Experiment": "experiments"}
POLL_SECONDS: Final = 0.2
"""Between two looks where no watch tells of a change."""
POLLS_A_WATCH: Final = 50
"""An object that is waited for is read after so many polls' time even where its watch is silent: a proxy may hold back events."""
SETTLE_SECONDS: Final = 0.02
"""After a change: a controller seldom writes once."""
ANSWER_SECONDS: Final = 10.0
"""A single request that is not answered by then has failed."""


def connect(context: str | None) -> Any:
    """The API by kubeconfig, or by the pod's own account where there is none.

    Raises:
        BadInput: The client is not installed, or neither way is configured.
    """
    try:
        import yaml
        from kubernetes import client, config
        from kubernetes.config import ConfigException
    except ImportError as error:
        raise BadInput(
            "the target `seldon` needs the Kubernetes client, which is not installed",
            thing="target.kind",
            value="seldon",
            remedy="pip install retraining-orchestrator[seldon]",
        ) from error
    settings = client.Configuration()
    try:
        config.load_kube_config(context=context, client_configuration=settings)
    except yaml.YAMLError:
        # Not its words: they quote the file, and tokens stand in it.
        raise BadInput(
            "the kubeconfig is no YAML", thing="KUBECONFIG", remedy="kubectl config view says where it is broken"
        ) from None
    except ConfigException as error:
        pod = client.Configuration()
        try:
            if context is not None:
                raise
            config.load_incluster_config(client_configuration=pod)
        except ConfigException:
            raise BadInput(
                f"no cluster is configured: {error}",
                thing="target.context",
                value=context,
                remedy="set KUBECONFIG, name a context of it, or run in a pod with a service account",
            ) from error
        settings = pod
    return client.ApiClient(one_retry(settings))


class Cluster:
    """The objects that a target works on.

    Args:
        api: A `kubernetes.client.ApiClient`; None connects by `context` at the first call.
        namespace: Of all objects.
        seconds: Limit of one wait.
        context: Of the kubeconfig.
        poll_seconds: Between two looks at an object that is waited for, where no watch tells of a change.
    """

    def __init__(
        self,
        api: Any,
        namespace: str,
        seconds: float,
        context: str | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.namespace = namespace
        self.seconds = seconds
        self._poll = poll_seconds
        self._context, self._given, self._objects = context, api, None

    @property
    def _api(self) -> Any:
        if self._objects is None:
            api = connect(self._context) if self._given is None else self._given
            from kubernetes import client

            self._objects = client.CustomObjectsApi(api)
        return self._objects

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object; None where there is none."""
        with suppress(Absent):
            return self._call("get", kind, name)
        return None

    def every(self, kind: str) -> Sequence[Manifest]:
        """All objects of a kind, by name."""
        found = self._call("list", kind, None)
        return sorted(found["items"], key=lambda each: each["metadata"]["name"])

    def ensure(self, wanted: Manifest) -> Manifest:
        """Create the object, or write over it what differs. Somebody else's change in between is read again first."""
        kind, name = wanted["kind"], wanted["metadata"]["name"]

        def once(found: Manifest | None) -> Manifest | None:
            if found is None:
                return self._call("create", kind, name, body=wanted)
            if found["metadata"].get("deletionTimestamp"):
                return None  # its finalizers are still at work; what comes after it is a new object
            if not changed(found, wanted):
                return found
            return self._call("replace", kind, name, body=merged(found, wanted))

        return self._until(kind, name, once, lambda: f"{kind} {name} could not be written: others keep changing it")

    def wait_ready(self, kind: str, name: str) -> Manifest:
        """The object, once the controller says so of its newest generation.

        Raises:
            Unavailable: A condition is False, or the object is gone.
            TimedOut: Neither True nor False within the limit.
        """
        last = Readiness("waiting", "it was not looked at")

        def once(found: Manifest | None) -> Manifest | None:
            nonlocal last
            if found is None:
                raise Unavailable(
                    f"{kind} {name} was deleted while it was waited for",
                    thing=kind,
                    value=name,
                    remedy="find out who deletes it; it is written again at the next look",
                )
            last = readiness(found)
            if last.state == "failed":
                raise Unavailable(
                    f"{kind} {name} failed: {last.why}",
                    thing=kind,
                    value=name,
                    remedy=f"kubectl describe {PLURAL[kind]} {name} -n {self.namespace}",
                )
            return found if last.state == "ready" else None

        return self._until(kind, name, once, lambda: f"{kind} {name} is not ready after {self.seconds:g} s: {last.why}")

    def delete(self, kind: str, name: str) -> None:
        """Delete the object and wait until its finalizers are done; one that is not there is fine."""
        found = self.get(kind, name)
        if found is None:
            return
        uid = found["metadata"].get("uid")
        if not found["metadata"].get("deletionTimestamp"):
            # By its uid: a namesake that somebody made meanwhile is not the one that was meant.
            body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
            with suppress(Absent, Clash):
                self._call("delete", kind, name, body=body)

        def once(now: Manifest | None) -> bool | None:
            return True if now is None or now["metadata"].get("uid") != uid else None

        late = f"{kind} {name} is not gone after {self.seconds:g} s: its finalizers are not done"
        self._until(kind, name, once, lambda: late)

    def _until(self, kind: str, name: str, once: Callable[[Manifest | None], Any], late: Callable[[], str]) -> Any:
        """Read the object until `once` makes something of it; between two reads, a change is waited for."""
        deadline = time.monotonic() + self.seconds
        while True:
            found, since = self._read(kind, name)
            clash = False
            try:
                result = once(found)
            except (Absent, Clash):  # changed or deleted since it was read
                result, clash = None, True
            if result is not None:
                return result
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(
                    late(),
                    thing="target.time_limit",
                    value=self.seconds,
                    remedy=f"kubectl describe {PLURAL[kind]} {name} -n {self.namespace}; raise target.time_limit where it is slow",
                )
            # A watch that ends at once, whyever, makes this a poll.
            seconds = min(left, POLLS_A_WATCH * self._poll)
            changes = not clash and woken(
                self._api.list_namespaced_custom_object, at=self._at(kind), name=name, since=since, seconds=seconds
            )
            time.sleep(max(0.0, min(SETTLE_SECONDS if changes else self._poll, deadline - time.monotonic())))

    def _read(self, kind: str, name: str) -> tuple[Manifest | None, str]:
        """The object, and from where a watch misses nothing. By a list: an object's own version may be too old to watch from."""
        found = self._call("list", kind, name, field_selector=f"metadata.name={name}")
        there = next((each for each in found["items"] if each["metadata"]["name"] == name), None)
        return there, str(found["metadata"].get("resourceVersion", ""))

    def _at(self, kind: str) -> dict[str, str]:
        return {"group": GROUP, "version": VERSION, "namespace": self.namespace, "plural": PLURAL[kind]}

    def _call(self, verb: str, kind: str, name: str | None, **given: Any) -> Any:
        method = getattr(self._api, f"{verb}_namespaced_custom_object")
        if verb in ("get", "replace", "delete"):
            given["name"] = name
        return answer(
            lambda: method(**self._at(kind), **given, _request_timeout=ANSWER_SECONDS),
            verb=verb,
            kind=kind,
            name=name,
            namespace=self.namespace,
        )
