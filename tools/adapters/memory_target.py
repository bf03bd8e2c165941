# pyright: basic
"""A deployment target in memory: for tests and for rehearsing a rollout. Its health, lies and failures can be set."""

from typing import NamedTuple

from tools.adapters.alias_target import wanted_weight, whole_weight
from tools.contracts.peers import DeploymentReply, DeploymentRequest
from tools.errors import RetrainingError


class Call(NamedTuple):
    """One request that arrived."""

    action: str
    version: str
    weight: int | None
    key: str | None


class MemoryTarget:
    """Port `DeploymentTarget`.

    Set `healthy` (None is no data), `serves` (weights to report in place of the true ones: a target that lies) or
    `failure` (raised by every call) at any time; `calls` and `weights` tell what happened.

    Args:
        can_split: Whether weights between 0 and 100 are accepted.
        can_prove: Whether the replies carry weights and health.
        weights: What is served at first.
    """

    def __init__(self, can_split: bool = True, can_prove: bool = True, weights: dict[str, int] | None = None) -> None:
        self.can_split = can_split
        self.can_prove = can_prove
        self.weights: dict[str, int] = dict(weights or {})
        self.healthy: bool | None = True
        self.serves: dict[str, int] | None = None
        self.failure: RetrainingError | None = None
        self.calls: list[Call] = []

    @property
    def abilities(self) -> "MemoryTarget":
        """As given."""
        return self

    def apply(self, request: DeploymentRequest) -> DeploymentReply:
        """Puts the weight on the version; the rest on `previousVersion`, or on what was served before."""
        weight = wanted_weight(request) if self.can_split else whole_weight(request, "memory")
        self._arrived("apply", request, weight)
        version = request.model_artifact.version
        others = [v for v in sorted(self.weights, key=lambda v: -self.weights[v]) if v != version]
        rest = request.previous_version or (others[0] if others else None)
        served = {version: weight, rest: 100 - weight} if rest is not None else {version: 100}
        self.weights = {v: w for v, w in served.items() if w > 0}
        return self._reply(request)

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """What is served."""
        self._arrived("status", request, None)
        return self._reply(request)

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """All traffic to the version."""
        self._arrived("undo", request, 100)
        self.weights = {request.model_artifact.version: 100}
        return self._reply(request)

    def _arrived(self, action: str, request: DeploymentRequest, weight: int | None) -> None:
        self.calls.append(Call(action, request.model_artifact.version, weight, request.idempotency_key))
        if self.failure is not None:
            raise self.failure

    def _reply(self, request: DeploymentRequest) -> DeploymentReply:
        return DeploymentReply(
            deployment_config={"strategy": {"type": "memory"}},
            traffic_config=request.traffic_config,
            observed_weights=dict(self.weights if self.serves is None else self.serves) if self.can_prove else None,
            healthy=self.healthy if self.can_prove else None,
        )
