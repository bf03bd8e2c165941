"""The deployment skill's call for Seldon and its reply. What is ours beside the published fields is marked as added."""

from typing import Any, Literal

from pydantic import Field

from tools.contracts.base import PublicContract

SeldonAction = Literal["deploy", "update", "rollback", "delete", "status", "traffic-split"]


class SeldonResources(PublicContract):
    requests: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None


class SeldonDeployment(PublicContract):
    """One `Model` resource."""

    name: str | None = None
    namespace: str | None = None
    model_uri: str | None = None
    implementation: str | None = None
    """The first of its requirements on a server, e.g. `mlflow`."""
    replicas: int | None = None
    resources: SeldonResources | None = None
    version: str | None = None
    """Added: the registry version whose files lie at `model_uri`."""


class SeldonTraffic(PublicContract):
    canary_percent: int | None = Field(default=None, ge=0, le=100)
    shadow_enabled: bool | None = None
    ab_test_enabled: bool | None = None
    shadow_percent: int | None = Field(default=None, ge=0, le=100)
    """Added: percent of requests mirrored; absent with `shadow_enabled` is 100."""


class SeldonExplainer(PublicContract):
    type: Literal["anchor_tabular", "anchor_text", "shap"] | None = None
    enabled: bool | None = None


class SeldonCall(PublicContract):
    """`deploy` makes a Model beside the default one; `update` points the default Model at other files; `traffic-split` makes the
    Experiment between the two; `rollback` takes the Experiment away; `delete` unloads a Model without traffic."""

    action: SeldonAction
    deployment_config: SeldonDeployment | None = None
    traffic_config: SeldonTraffic | None = None
    explainer_config: SeldonExplainer | None = None


class SeldonReplicas(PublicContract):
    desired: int | None = None
    ready: int | None = None


class SeldonReply(PublicContract):
    """What stands in the cluster after the call."""

    status: Literal["success", "error", "pending"]
    """`error`: a condition is False. `pending`: not all are True yet, or they are of an older generation."""
    action: str
    deployment_name: str | None = None
    endpoint: str | None = None
    deployment_status: Literal["creating", "available", "failed", "unknown"] | None = None
    replicas: SeldonReplicas | None = None
    traffic_split: dict[str, int] | None = None
    """Version to percent; absent while it is not in force."""
