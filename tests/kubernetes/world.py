# pyright: basic
"""What the Seldon scenarios run in: an API server (double or real), the controller's double, and a target."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.kubernetes_double import ControllerDouble, FakeApi
from tools.adapters.seldon.target import SeldonTargetAdapter
from tools.contracts.peers import DeploymentRequest, ModelArtifact, TrafficConfig
from tools.contracts.profile import SeldonTarget

NAMESPACE = "models"


def request(version: str, weight: int = 100, previous: str | None = None, mirror: int | None = None):
    """deployment-engineer's message."""
    return DeploymentRequest(
        model_artifact=ModelArtifact(path=f"models:/prices/{version}", version=version),
        deployment_strategy="canary",
        traffic_config=TrafficConfig(canary_percent=weight, mirror_percent=mirror),
        previous_version=previous,
    )


@dataclass
class World:
    """One namespace."""

    client: Any
    controller: ControllerDouble
    api: FakeApi | None = None
    """Absent where the server is real."""

    def target(self, seconds: float = 20, **spec: Any) -> SeldonTargetAdapter:
        limits = {"time_limit": timedelta(seconds=seconds), "storage_uri": "s3://b/{name}/{version}"}
        target = SeldonTarget(**{"name": "prices", "namespace": NAMESPACE, **limits, **spec})
        return SeldonTargetAdapter(target, "prices", _no_source, self.client, poll_seconds=0.02)

    @property
    def objects(self) -> Any:
        from kubernetes import client

        return client.CustomObjectsApi(self.client)

    def where(self, plural: str, name: str | None = None) -> dict[str, str]:
        at = {"group": "mlops.seldon.io", "version": "v1alpha1", "namespace": NAMESPACE, "plural": plural}
        return at if name is None else {**at, "name": name}

    def get(self, plural: str, name: str) -> dict[str, Any]:
        return self.objects.get_namespaced_custom_object(**self.where(plural, name))

    def names(self, plural: str) -> list[str]:
        found = self.objects.list_namespaced_custom_object(**self.where(plural))
        return [each["metadata"]["name"] for each in found["items"]]

    def create(self, plural: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
        kind = {"models": "Model", "experiments": "Experiment"}[plural]
        body = {"apiVersion": "mlops.seldon.io/v1alpha1", "kind": kind, "spec": spec}
        body["metadata"] = {"name": name, "namespace": NAMESPACE, **metadata}
        return self.objects.create_namespaced_custom_object(**self.where(plural), body=body)

    def replace(self, plural: str, name: str, change: Callable[[dict[str, Any]], Any], found: Any = None) -> Any:
        """Write an object changed; without `found` it is read first, and again where the controller was quicker."""
        from kubernetes.client import ApiException

        for left in reversed(range(20)):
            body = found or self.get(plural, name)
            change(body)
            try:
                return self.objects.replace_namespaced_custom_object(**self.where(plural, name), body=body)
            except ApiException as error:
                if error.status != 409 or found is not None or left == 0:
                    raise
        raise AssertionError("unreachable")

    def serving_6(self, seconds: float = 20, **spec: Any) -> SeldonTargetAdapter:
        """A target with version 6 as its default."""
        target = self.target(seconds, **spec)
        target.apply(request("6"))
        return target


def _no_source(uri: str) -> str:
    raise AssertionError(f"nobody should ask where {uri} is")
