# pyright: basic
"""Port `DeploymentTarget` over servers on this machine: see the package's docstring and docs/design/serving.md."""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tools.adapters.alias_target import wanted_weight
from tools.adapters.model_files import digest_of
from tools.adapters.serving import asking, envoy_config
from tools.adapters.serving.control import SEEN_SECONDS, Control
from tools.adapters.serving.environment import Servers, environment_for
from tools.adapters.serving.layout import LOOPBACK, Layout, fit_name, fit_version, read, replace, unwritten
from tools.adapters.serving.segments import Labels, SegmentLog
from tools.contracts.peers import DeploymentReply, DeploymentRequest, ModelArtifact, ServingEndpoint
from tools.contracts.profile import Profile, ServingTarget
from tools.contracts.rollout import EndpointAnswer
from tools.errors import BadInput, Conflict, RetrainingError, Unavailable

HEALTH_SECONDS = 10.0
"""For Envoy to find a ready server healthy: it asks each second."""


class Files(Protocol):
    """Where model files come from."""

    def fetch(self, model_uri: str, folder: Path) -> Path:
        """Copies them into the folder; see `ModelFiles`."""
        ...


class ServingTargetAdapter:
    """One MLServer a version, Envoy in front.

    Args:
        profile: Of the model; its target is `serving`.
        layout: Where everything of the model lies.
        files: The registry's, which fetches and never opens them.
        environments: Where built environments are kept.
        progress: Told what takes long.
        labels: Joins labels to the log's answers.
        build: Makes the environment; another one in tests.
    """

    can_split = can_prove = can_mirror = can_load = True

    def __init__(
        self,
        profile: Profile,
        layout: Layout,
        files: Files,
        environments: Path,
        progress: Callable[[str], None] = lambda _: None,
        labels: Labels | None = None,
        build: Callable[[Path, Path, Callable[[str], None]], Servers] = environment_for,
    ) -> None:
        assert isinstance(profile.target, ServingTarget)
        self._profile, self._spec = profile, profile.target
        self.layout, self.control = layout, Control(layout)
        self._files, self._environments, self._progress, self._build = files, environments, progress, build
        self.log = SegmentLog(layout.answers, labels)
        self.model = fit_name(profile.id)
        """Its name in the servers' addresses."""

    @property
    def abilities(self) -> "ServingTargetAdapter":
        """All."""
        return self

    @property
    def url(self) -> str | None:
        """Where requests go; None before the first version was loaded."""
        port = self.control.wanted.get("port")
        return None if port is None else f"http://{LOOPBACK}:{port}/v2/models/{self.model}/infer"

    def routed(self) -> dict[str, int]:
        """Weights as last ordered, whether or not Envoy runs; empty where nothing is to be served."""
        if not self.control.wanted.get("versions"):
            return {}
        found = read(self.layout.routes).get("resources", [{}])
        weights, _ = envoy_config.weights_of(found[0])
        return {version: weight for version, weight in weights.items() if weight > 0}

    def revive(self) -> None:
        """Everything that is wanted runs again, under the route as it was. Raises `Unavailable`."""
        for version in self.control.wanted.get("versions", {}):
            self._wait_until_ready(version)

    def prepare(self, request: DeploymentRequest) -> None:
        """Load the version beside what serves.

        Raises:
            Unavailable: It could not be fetched, loaded or reached in time; it is not kept.
            BadInput: No Python takes both MLServer and the model.
            Conflict: The endpoint's port is taken.
        """
        self._load(request.model_artifact)

    def apply(self, request: DeploymentRequest) -> DeploymentReply:
        """Loads what is not loaded, then puts the route in force. Raises as `prepare`, and `Unavailable` for a full disk."""
        version, weight = fit_version(request.model_artifact.version), wanted_weight(request)
        mirror = 0 if request.traffic_config is None else request.traffic_config.mirror_percent or 0
        rest = self._rest(version, request.previous_version) if weight < 100 else request.previous_version
        if weight > 0 or mirror > 0:
            self._load(request.model_artifact)
        if weight < 100 and rest is not None:
            self._load(self._artifact(request.model_artifact, rest))
        loaded = self.control.wanted.get("versions", {})
        if weight == 100:
            stable = rest if rest is not None and rest in loaded else version
            weights = {version: 100}
        elif rest is None:
            raise BadInput(
                f"who gets the other {100 - weight} % of the traffic? Nothing else is served",
                thing="previousVersion",
                value=version,
                remedy="name the version that keeps the rest",
            )
        else:
            stable, weights = rest, {version: weight, rest: 100 - weight}
        self._route(weights, stable=stable, mirror={version: mirror} if mirror else {})
        return self.status(request)

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """All traffic to the version, at once where it is loaded."""
        version = fit_version(request.model_artifact.version)
        if self.control.version(version).get("state") != "ready" or not self.control.supervised:
            self._load(request.model_artifact)
        self._route({version: 100}, stable=version, mirror={})
        return self.status(request)

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """Weights as Envoy has them in force; health of the version and of the endpoint. What Envoy does not know yet is None.

        A version that is not the stable one is unhealthy too after it crashed since it was loaded, or where it hangs: its
        clients were answered by the stable one, so no error of theirs tells.
        """
        version = request.model_artifact.version
        route = self.control.admin.route()
        record, wanted = self.control.version(version), self.control.wanted
        host = self.control.admin.hosts().get(version)
        healthy = None if host is None else host.healthy and record.get("state") == "ready"
        crashed = record.get("restarts", 0) > 0 or record.get("killed_for_memory", 0) > 0
        hung = host is not None and host.hangs
        if record.get("state") == "failed" or (version != wanted.get("stable") and (crashed or hung)):
            healthy = False
        base = f"http://{LOOPBACK}:{wanted.get('port')}"
        return DeploymentReply(
            deployment_config={"strategy": {"type": request.deployment_strategy}},
            serving_endpoint=ServingEndpoint(url=self.url, health_endpoint=f"{base}/v2/models/{self.model}/ready"),
            traffic_config=request.traffic_config,
            monitoring=_monitoring(record, host, self.control.supervised),
            observed_weights=None if route is None else {v: w for v, w in route[0].items() if w > 0},
            observed_mirror=None if route is None else route[1].get(version, 0),
            healthy=healthy,
        )

    def ask(self, version: str, rows: Path) -> EndpointAnswer | None:
        """Each row asked of the version's own server. Raises `Unavailable` where it is not loaded or does not answer."""
        record = self.control.version(version)
        if record.get("state") != "ready":
            raise Unavailable(
                f"version {version} is not loaded: {record.get('said') or 'nobody asked for it'}", thing="version"
            )
        return asking.ask(version, rows, self._profile.data.features, self.model, record)

    def lost_answers(self, version: str) -> int | None:
        """How many answers its server could not log, as on a full disk; None where it does not say."""
        record = self.control.version(version)
        if record.get("state") != "ready":
            return None
        return asking.lost_answers(self.model, record)

    def release(self, version: str) -> None:
        """Unload it. Raises `Conflict` for a version with traffic."""
        if version not in self.control.wanted.get("versions", {}):
            return
        if self.control.supervised:
            # Not known is not none: an Envoy that has just started may be about to send it all of the traffic.
            weights, mirror = self.control.wait(self.control.admin.route, SEEN_SECONDS, "Envoy tells no route")
            if weights.get(version):
                raise Conflict(
                    f"version {version} gets {weights[version]} % of the traffic",
                    thing="version",
                    value=version,
                    remedy="put its weight to 0 first",
                )
            # A route that names it as stand-in, or mirrors to it, would lead nowhere.
            if weights:
                most = max(weights, key=lambda v: weights[v])
                self._route(weights, stable=most, mirror={v: p for v, p in mirror.items() if v != version})
        self.control.unwant(version)
        self.control.wait(
            lambda: True if not self.control.supervised or version not in self._servers() else None,
            SEEN_SECONDS * 3,
            f"version {version} was not unloaded",
        )
        shutil.rmtree(self.layout.files(version), ignore_errors=True)
        shutil.rmtree(self.layout.server(version), ignore_errors=True)

    def _servers(self) -> Mapping[str, Any]:
        return self.control.running.get("versions", {})

    def _rest(self, version: str, named: str | None) -> str | None:
        """Who keeps the rest: as named, else who has most of the traffic now."""
        if named is not None:
            return named
        try:
            route = self.control.admin.route()
        except Unavailable:
            return None
        weights = self.routed() if route is None else route[0]
        others = [v for v in sorted(weights, key=lambda v: -weights[v]) if v != version]
        return others[0] if others else None

    def _artifact(self, like: ModelArtifact, version: str) -> ModelArtifact:
        return ModelArtifact(path=f"{like.path.rpartition('/')[0]}/{version}", version=version)

    def _load(self, artifact: ModelArtifact) -> None:
        version = fit_version(artifact.version)
        self.control.settle(
            model=self.model,
            task=self._profile.task,
            positive=_text(self._profile.data.positive_label),
            port=self._spec.port,
            limits={
                "memory_limit_mb": self._spec.memory_limit_mb,
                "load_seconds": self._spec.load_limit.total_seconds(),
            },
        )
        known = version in self.control.wanted["versions"]
        if not known or self.control.version(version).get("state") == "failed":
            files, digest = self._fetched(artifact)
            servers = self._build(files, self._environments, self._progress)
            self._progress(f"loading version {version} of {self._profile.id}")
            self.control.want(version, files=str(files), python=servers.python, envoy=servers.envoy, digest=digest)
        try:
            self._wait_until_ready(version)
        except RetrainingError:
            if not known:
                self.control.unwant(version)
            raise

    def _wait_until_ready(self, version: str) -> None:
        def ready() -> bool | None:
            # One that was about to end, for nothing was wanted, may have missed what was asked.
            self.control.supervise()
            if self.control.version(version).get("state") != "ready":
                return None
            host = self.control.admin.hosts().get(version)
            return True if host is not None and host.healthy else None

        def fault() -> str | None:
            record = self.control.version(version)
            if record.get("state") == "failed":
                return record["said"]
            said = self.control.running.get("envoy", {})
            return said.get("said") if said.get("process") is None and said.get("said") else None

        limit = self._spec.load_limit.total_seconds() + HEALTH_SECONDS
        # The supervisor takes a moment to see what was asked, and an Envoy that is being restarted is no fault yet.
        self.control.wait(ready, limit, f"version {version} could not be loaded", fault=fault, patience=1.0)

    def _fetched(self, artifact: ModelArtifact) -> tuple[Path, str]:
        """(folder, digest) of the model's files, whole or not at all."""
        place = self.layout.files(artifact.version)
        try:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetch-", ignore_cleanup_errors=True) as name:
                self._progress(f"fetching the files of {artifact.path}")
                found = self._files.fetch(artifact.path, Path(name) / "model")
                shutil.rmtree(place, ignore_errors=True)
                found.rename(place)
        except OSError as error:
            raise unwritten(place, error) from error
        return place, digest_of(place)

    def _route(self, weights: Mapping[str, int], *, stable: str, mirror: Mapping[str, int]) -> None:
        """In force when this returns. Raises `Unavailable`: the old route stands, or what is in force is not known."""
        wanted = envoy_config.routes(weights, stable=stable, mirror=mirror)
        shares = {version: weight for version, weight in weights.items() if weight > 0}
        names = sorted(envoy_config.cluster_of(version, stable) for version in shares)
        replace(self.layout.routes, wanted)
        self.control.name_stable(stable)
        admin = self.control.admin

        def in_force() -> bool | None:
            return True if admin.route() == (shares, dict(mirror)) and admin.route_names() == names else None

        self.control.wait(in_force, SEEN_SECONDS, "Envoy did not take up the new route")


def _monitoring(record: Mapping[str, Any], host: Any, supervised: bool) -> dict[str, Any]:
    kept = {key: record.get(key) for key in ("state", "restarts", "memory_mb", "load_seconds", "said") if key in record}
    if host is not None:
        kept |= {"connectFailures": host.connect_failures, "timeouts": host.timeouts, "requests": host.requests}
    return kept | {"supervised": supervised, "at": round(time.time(), 1)}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
