# pyright: basic
"""A deployment target in memory: for tests and for rehearsing a rollout. Its health, lies and failures can be set."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tools.adapters.alias_target import wanted_weight, whole_weight
from tools.contracts.peers import DeploymentReply, DeploymentRequest
from tools.contracts.rollout import EndpointAnswer
from tools.errors import Conflict, RetrainingError
from tools.observations import Observations, no_observations, thinned
from tools.ports import TrafficLog


class MemoryTrafficLog:
    """Port `TrafficLog`. `rows` is replaced by whoever plays the traffic; `failure` is raised by every look."""

    def __init__(self, rows: Observations | None = None) -> None:
        self.rows = rows or no_observations()
        self.failure: RetrainingError | None = None

    def observations(self, versions: Sequence[str], since: datetime, until: datetime, limit: int) -> Observations:
        """The rows in [since, until); labels known only later are hidden."""
        if self.failure is not None:
            raise self.failure
        at = self.rows.at
        wanted = np.isin(self.rows.version, list(versions)) & (at >= since.timestamp()) & (at < until.timestamp())
        cut = False
        for version in versions:
            (mine,) = np.nonzero(wanted & (self.rows.version == version))
            wanted[mine] = thinned([str(name) for name in self.rows.request_id[mine]], limit)
            cut = cut or len(mine) > limit
        found = replace(self.rows.of(wanted), cut=cut)
        late = ~(found.label_at <= until.timestamp())
        found.label[late], found.label_at[late] = None, np.nan
        return found


class Call(NamedTuple):
    """One request that arrived."""

    action: str
    version: str
    weight: int | None
    key: str | None


class MemoryTarget:
    """Port `DeploymentTarget`.

    Set `healthy` (None is no data), `serves` (weights to report in place of the true ones: a target that lies), `failure`
    (raised by every call) or `failures` (by the calls named) at any time; `calls`, `weights`, `mirror` and `loaded` tell what
    happened.
    With `answers` it can be loaded and asked: a function from version and rows file to what the version answers, which
    raises what a version that cannot be loaded would raise.

    Args:
        can_split: Whether weights between 0 and 100 are accepted.
        can_prove: Whether the replies carry weights and health.
        weights: What is served at first.
        can_mirror: Whether requests can be mirrored.
        answers: See above.
        log: The target's own log of answers.
    """

    def __init__(
        self,
        can_split: bool = True,
        can_prove: bool = True,
        weights: dict[str, int] | None = None,
        *,
        can_mirror: bool = False,
        answers: Callable[[str, Path], EndpointAnswer] | None = None,
        log: TrafficLog | None = None,
    ) -> None:
        self.can_mirror, self.can_load, self.log = can_mirror, answers is not None, log
        self.mirror: dict[str, int] = {}
        self.loaded: set[str] = set(weights or {})
        self._answers = answers
        self.can_split = can_split
        self.can_prove = can_prove
        self.weights: dict[str, int] = dict(weights or {})
        self.healthy: bool | None = True
        self.serves: dict[str, int] | None = None
        self.failure: RetrainingError | None = None
        self.failures: dict[str, RetrainingError] = {}
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
        percent = 0 if request.traffic_config is None else request.traffic_config.mirror_percent or 0
        self.mirror = {version: percent} if percent and self.can_mirror else {}
        self.loaded |= set(self.weights) | set(self.mirror)
        return self._reply(request)

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """What is served."""
        self._arrived("status", request, None)
        return self._reply(request)

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """All traffic to the version."""
        self._arrived("undo", request, 100)
        self.weights, self.mirror = {request.model_artifact.version: 100}, {}
        self.loaded.add(request.model_artifact.version)
        return self._reply(request)

    def prepare(self, request: DeploymentRequest) -> None:
        """Loads the version, which gets no traffic by that."""
        self._arrived("prepare", request, None)
        self.loaded.add(request.model_artifact.version)

    def ask(self, version: str, rows: Path) -> EndpointAnswer | None:
        """What `answers` says."""
        return None if self._answers is None else self._answers(version, rows)

    def release(self, version: str) -> None:
        """Unloads it. Raises `Conflict` for a version with traffic."""
        if self.weights.get(version):
            raise Conflict(
                f"version {version} gets {self.weights[version]} % of the traffic", thing="version", value=version
            )
        self.calls.append(Call("release", version, None, None))
        if "release" in self.failures:
            raise self.failures["release"]
        self.loaded.discard(version)

    def _arrived(self, action: str, request: DeploymentRequest, weight: int | None) -> None:
        self.calls.append(Call(action, request.model_artifact.version, weight, request.idempotency_key))
        failure = self.failures.get(action, self.failure)
        if failure is not None:
            raise failure

    def _reply(self, request: DeploymentRequest) -> DeploymentReply:
        return DeploymentReply(
            deployment_config={"strategy": {"type": "memory"}},
            traffic_config=request.traffic_config,
            observed_weights=dict(self.weights if self.serves is None else self.serves) if self.can_prove else None,
            observed_mirror=self.mirror.get(request.model_artifact.version, 0) if self.can_mirror else None,
            healthy=self.healthy if self.can_prove else None,
        )
