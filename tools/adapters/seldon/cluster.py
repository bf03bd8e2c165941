# pyright: basic
"""Models and Experiments of one namespace, written so that a repeated or interrupted call ends in the same place."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from tools.errors import BadInput, NotAllowed, RetrainingError, TimedOut, Unavailable
from tools.seldon import Manifest, Readiness, changed, merged, readiness

GROUP: Final = "mlops.seldon.io"
VERSION: Final = "v1alpha1"
PLURAL: Final = {"Model": "models", "Experiment": "experiments"}
POLL_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 10.0
"""A single request that is not answered by then has failed."""


def connect(context: str | None) -> Any:
    """The API by kubeconfig, or by the pod's own account where there is none.

    Raises:
        BadInput: The client is not installed, or neither way is configured.
    """
    try:
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
    return client.ApiClient(settings)


class Cluster:
    """The objects that a target works on.

    Args:
        api: A `kubernetes.client.ApiClient`; None connects by `context` at the first call.
        namespace: Of all objects.
        seconds: Limit of one wait.
        context: Of the kubeconfig.
        poll_seconds: Between two looks at an object that is waited for.
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
        return self._call("get", kind, name, missing_is_none=True)

    def every(self, kind: str) -> Sequence[Manifest]:
        """All objects of a kind, by name."""
        found = self._call("list", kind, None)
        return sorted(found["items"], key=lambda each: each["metadata"]["name"])

    def ensure(self, wanted: Manifest) -> Manifest:
        """Create the object, or write over it what differs. Somebody else's change in between is read again first."""
        kind, name = wanted["kind"], wanted["metadata"]["name"]

        def once() -> Manifest | None:
            found = self.get(kind, name)
            if found is None:
                return self._call("create", kind, name, body=wanted, conflict_is_none=True)
            if found["metadata"].get("deletionTimestamp"):
                return None  # its finalizers are still at work; what comes after it is a new object
            if not changed(found, wanted):
                return found
            return self._call("replace", kind, name, body=merged(found, wanted), conflict_is_none=True)

        return self._until(once, lambda: f"{kind} {name} could not be written: others keep changing it")

    def wait_ready(self, kind: str, name: str) -> Manifest:
        """The object, once the controller says so of its newest generation.

        Raises:
            Unavailable: A condition is False, or the object is gone.
            TimedOut: Neither True nor False within the limit.
        """
        last = Readiness("waiting", "it was not looked at")

        def once() -> Manifest | None:
            nonlocal last
            found = self.get(kind, name)
            if found is None:
                raise Unavailable(f"{kind} {name} was deleted while it was waited for", thing=kind, value=name)
            last = readiness(found)
            if last.state == "failed":
                raise Unavailable(f"{kind} {name} failed: {last.why}", thing=kind, value=name)
            return found if last.state == "ready" else None

        return self._until(once, lambda: f"{kind} {name} is not ready after {self.seconds:g} s: {last.why}")

    def delete(self, kind: str, name: str) -> None:
        """Delete the object and wait until its finalizers are done; one that is not there is fine."""
        found = self.get(kind, name)
        if found is None:
            return
        uid = found["metadata"]["uid"]
        if not found["metadata"].get("deletionTimestamp"):
            # By its uid: a namesake that somebody made meanwhile is not the one that was meant.
            body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
            self._call("delete", kind, name, body=body, missing_is_none=True, conflict_is_none=True)

        def once() -> bool | None:
            now = self.get(kind, name)
            return True if now is None or now["metadata"]["uid"] != uid else None

        self._until(once, lambda: f"{kind} {name} is not gone after {self.seconds:g} s: its finalizers are not done")

    def _until(self, once: Callable[[], Any], late: Callable[[], str]) -> Any:
        """Repeat until there is a result."""
        deadline = time.monotonic() + self.seconds
        while (result := once()) is None:
            if time.monotonic() >= deadline:
                raise TimedOut(late(), thing="target.time_limit", value=self.seconds)
            time.sleep(self._poll)
        return result

    def _call(
        self,
        verb: str,
        kind: str,
        name: str | None,
        *,
        body: Any = None,
        missing_is_none: bool = False,
        conflict_is_none: bool = False,
    ) -> Any:
        api = self._api
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        method = getattr(api, f"{verb}_namespaced_custom_object")
        given: dict[str, Any] = {
            "group": GROUP,
            "version": VERSION,
            "namespace": self.namespace,
            "plural": PLURAL[kind],
        }
        if verb in ("get", "replace", "delete"):
            given["name"] = name
        if body is not None:
            given["body"] = body
        try:
            return method(**given, _request_timeout=ANSWER_SECONDS)
        except ApiException as error:
            if (missing_is_none and error.status == 404) or (conflict_is_none and error.status == 409):
                return None
            raise _translated(error, verb, kind, name, self.namespace) from error
        except HTTPError as error:
            raise Unavailable(
                f"the cluster did not answer: {type(error).__name__}", thing="target.context", value=self._context
            ) from error


def _translated(error: Any, verb: str, kind: str, name: str | None, namespace: str) -> RetrainingError:
    """The API server's refusal as one of ours."""
    said = str(error.reason)
    with suppress(ValueError, TypeError, AttributeError):
        said = str(json.loads(error.body)["message"])
    what = f"{kind} {name}" if name else f"{PLURAL[kind]}"
    if error.status in (401, 403):
        return NotAllowed(
            f"may not {verb} {what} in namespace {namespace}: {said}",
            thing=kind,
            value=name,
            remedy="give the account the role in docs/targets.md",
        )
    if error.status == 404:
        return BadInput(
            f"cannot {verb} {what}: {said}",
            thing=kind,
            value=name,
            remedy=f"is Seldon Core 2 installed, and is there a namespace {namespace}?",
        )
    if error.status in (400, 422):
        return BadInput(
            f"the cluster refuses {what}: {said}", thing=kind, value=name, remedy="see `target` in the profile"
        )
    return Unavailable(f"cannot {verb} {what}: {error.status} {said}", thing=kind, value=name)
