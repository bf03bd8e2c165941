# pyright: basic
"""The rollout plan on Seldon Core 2. How each step of the port becomes calls stands in docs/design/seldon.md."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.adapters.alias_target import wanted_weight
from tools.adapters.seldon.cluster import POLL_SECONDS, Cluster
from tools.adapters.seldon.deployer import SeldonDeployer
from tools.adapters.seldon.inference import ask_model
from tools.contracts.peers import DeploymentReply, DeploymentRequest, ModelArtifact, ServingEndpoint
from tools.contracts.profile import SeldonTarget
from tools.contracts.rollout import EndpointAnswer
from tools.contracts.seldon import SeldonAction, SeldonCall, SeldonDeployment, SeldonReply, SeldonTraffic
from tools.errors import BadInput, Conflict, RetrainingError, Unavailable
from tools.ports import TrafficLog
from tools.seldon import Manifest, candidate_name, mirrored, percents, readiness, version_of

SourceOf = Callable[[str], str]
"""`models:/NAME/VERSION` to where the registry keeps its files."""


class SeldonTargetAdapter:
    """Port `DeploymentTarget`.

    Args:
        spec: The profile's target.
        model: The registered model's name.
        source_of: For `{source}` in `storage_uri`.
        api: A `kubernetes.client.ApiClient`; by kubeconfig or the pod's account where None.
        poll_seconds: Between two looks at an object that is waited for.
    """

    can_split = True
    can_prove = True
    can_mirror = True
    can_load = True

    def __init__(
        self, spec: SeldonTarget, model: str, source_of: SourceOf, api: Any = None, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self.spec = spec
        self._model, self._source_of = model, source_of
        self._cluster = Cluster(api, spec.namespace, spec.time_limit.total_seconds(), spec.context, poll_seconds)
        self.deployer = SeldonDeployer(spec, self._cluster)

    @property
    def abilities(self) -> "SeldonTargetAdapter":
        """All: an Experiment splits and mirrors, conditions prove, Models load."""
        return self

    @property
    def log(self) -> TrafficLog | None:
        """Seldon's metrics hold no predictions: the answers are read from the profile's `rollout.log`."""
        return None

    def apply(self, request: DeploymentRequest) -> DeploymentReply:
        """An Experiment with this weight or mirror; all traffic with no default Model yet makes that."""
        weight, version = wanted_weight(request), request.model_artifact.version
        mirror = 0 if request.traffic_config is None else request.traffic_config.mirror_percent or 0
        holds = self._held(self._known(request))
        if holds not in (None, version):
            self._finish_earlier(request)
            holds = self._held(self._known(request))
        if holds in (None, version):
            self._alone(request, holds, weight, mirror)
        elif weight == 0 and mirror == 0:
            self._call("rollback", self.spec.name)
        else:
            if weight < 100 and request.previous_version not in (None, holds):
                raise Conflict(
                    f"the rest of the traffic would go to version {holds}, not to {request.previous_version}",
                    thing="previousVersion",
                    value=request.previous_version,
                    remedy=f"give version {request.previous_version} all traffic first",
                )
            candidate = candidate_name(self.spec.name, version)
            self._call("deploy", candidate, self._files(request.model_artifact))
            traffic = SeldonTraffic(
                canary_percent=weight, shadow_enabled=mirror > 0, shadow_percent=mirror if mirror > 0 else None
            )
            self._call("traffic-split", candidate, traffic=traffic)
        return self.status(request)

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """What the objects say, read back now."""
        version, known = request.model_artifact.version, self._known(request)
        name, model = self._model_of(version, known)
        reply = self.deployer.carry_out(
            SeldonCall(action="status", deployment_config=SeldonDeployment(name=name)), known
        )
        try:
            experiment = self.deployer.experiment()
        except Conflict:
            experiment = None
        healthy = self._healthy([self._cluster.get("Model", self.spec.name), model], experiment)
        in_force = experiment is not None and readiness(experiment).state == "ready"
        return DeploymentReply(
            deployment_config={"strategy": {"type": "seldon"}, "seldon": reply.to_json_dict()},
            serving_endpoint=ServingEndpoint(url=self.spec.inference_url),
            traffic_config=request.traffic_config,
            observed_weights=reply.traffic_split,
            observed_mirror=mirrored(experiment, name) if experiment is not None and in_force else 0,
            healthy=healthy,
        )

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """Where the default Model holds the version, only the Experiment goes: nothing has to load. Else it is pointed back."""
        self._settle(request.model_artifact, self._known(request))
        return self.status(request)

    def prepare(self, request: DeploymentRequest) -> None:
        """A Model of its own, in no Experiment."""
        version = request.model_artifact.version
        if self._held(self._known(request)) == version:
            self._cluster.wait_ready("Model", self.spec.name)
            return
        self._call("deploy", candidate_name(self.spec.name, version), self._files(request.model_artifact))

    def ask(self, version: str, rows: Path) -> EndpointAnswer | None:
        """Through the mesh, by the Model's own name.

        Raises:
            Unavailable: There is no `inference_url`, it does not answer, or its name is the one that an Experiment splits.
        """
        if self.spec.inference_url is None:
            # Not None, "cannot be asked at all": with the address in the profile it can.
            raise Unavailable(
                f"version {version} cannot be asked: the profile names no target.inference_url",
                thing="target.inference_url",
                remedy="set it to the address of the mesh, http://HOST:PORT",
            )
        name, model = self._model_of(version, self._known_by(version))
        if model is None:
            raise Unavailable(f"version {version} is not loaded", thing="version", value=version)
        experiment = self.deployer.experiment()
        if name == self.spec.name and experiment is not None and percents(experiment) != {name: 100}:
            raise Unavailable(
                f"version {version} cannot be asked by itself: Experiment {name} splits its requests",
                thing="version",
                value=version,
            )
        return ask_model(self.spec.inference_url, name, version, rows, self.spec.time_limit.total_seconds())

    def release(self, version: str) -> None:
        """Unload a version without traffic. Of the default Model's version this is the promotion of the one with all traffic:
        the default is pointed at it, then Experiment and candidate go."""
        holds = self._held(self._known_by(version))
        experiment = self.deployer.experiment()
        if holds == version:
            shares = {self.spec.name: 100} if experiment is None else percents(experiment) or {}
            others = [name for name, percent in shares.items() if percent == 100 and name != self.spec.name]
            if not others:
                raise Conflict(
                    f"version {version} gets {shares.get(self.spec.name, 'some')} % of the traffic",
                    thing="version",
                    value=version,
                )
            self._promote(others[0])
            return
        name = candidate_name(self.spec.name, version)
        if self._cluster.get("Model", name) is not None:
            self._call("delete", name)
        if holds is not None:
            self._tidy(holds)

    def _alone(self, request: DeploymentRequest, holds: str | None, weight: int, mirror: int) -> None:
        """The default Model is not there yet, or holds the version itself."""
        if weight == 100:
            self._settle(request.model_artifact, self._known(request))
        elif holds is not None or weight > 0 or mirror > 0:
            version = request.model_artifact.version
            raise Conflict(
                f"version {version} cannot get {weight} %: "
                + ("it is the default itself" if holds else f"there is no Model {self.spec.name} to take the rest"),
                thing="trafficConfig.canaryPercent",
                value=weight,
                remedy="give all traffic to the version that is to take the rest first",
            )

    def _finish_earlier(self, request: DeploymentRequest) -> None:
        """An Experiment of another version: one with all traffic was promoted, and only its release is missing."""
        experiment = self.deployer.experiment()
        mine = candidate_name(self.spec.name, request.model_artifact.version)
        shares = {} if experiment is None else percents(experiment) or {}
        for name, percent in shares.items():
            if name in (self.spec.name, mine):
                continue
            if percent < 100:
                raise Conflict(f"Model {name} gets {percent} % of the traffic already", thing="Experiment", value=name)
            self._promote(name)

    def _promote(self, candidate: str) -> None:
        model = self._cluster.get("Model", candidate)
        if model is None:
            raise Unavailable(f"Model {candidate} has all traffic and is not there", thing="Model", value=candidate)
        files = SeldonDeployment(model_uri=model["spec"]["storageUri"], version=version_of(model, {}))
        self._point_default(files)
        self._call("rollback", self.spec.name)
        self._call("delete", candidate)

    def _settle(self, artifact: ModelArtifact, known: dict[str, str]) -> None:
        """All traffic to the default Model, which holds the version."""
        model = self._cluster.get("Model", self.spec.name)
        if model is None or version_of(model, known) != artifact.version:
            self._point_default(self._files(artifact))
        self._call("rollback", self.spec.name)
        self._tidy(artifact.version)

    def _point_default(self, files: SeldonDeployment) -> None:
        there = self._cluster.get("Model", self.spec.name) is not None
        self._call("update" if there else "deploy", self.spec.name, files)

    def _tidy(self, version: str) -> None:
        """The candidate's Model of a version that the default serves is not needed any more."""
        twin = candidate_name(self.spec.name, version)
        if self._cluster.get("Model", twin) is None:
            return
        experiment = self.deployer.experiment()
        if experiment is not None and percents(experiment) == {twin: 100}:
            self._call("rollback", self.spec.name)
        with suppress(Conflict):
            self._call("delete", twin)

    def _call(
        self,
        action: SeldonAction,
        name: str,
        files: SeldonDeployment | None = None,
        traffic: SeldonTraffic | None = None,
    ) -> SeldonReply:
        config = (files or SeldonDeployment()).model_copy(update={"name": name, "namespace": self.spec.namespace})
        return self.deployer.carry_out(SeldonCall(action=action, deployment_config=config, traffic_config=traffic))

    def _held(self, known: dict[str, str]) -> str | None:
        """The version that the default Model holds; None where there is no such Model."""
        model = self._cluster.get("Model", self.spec.name)
        return None if model is None else version_of(model, known)

    def _model_of(self, version: str, known: dict[str, str]) -> tuple[str, Manifest | None]:
        """Name and object of the Model that holds a version, or would."""
        default = self._cluster.get("Model", self.spec.name)
        if default is not None and version_of(default, known) == version:
            return self.spec.name, default
        name = candidate_name(self.spec.name, version)
        found = self._cluster.get("Model", name)
        return name, found if found is not None and version_of(found, known) == version else None

    def _healthy(self, models: list[Manifest | None], experiment: Manifest | None) -> bool | None:
        states = [None if each is None else readiness(each).state for each in models]
        if experiment is not None:
            states.append(readiness(experiment).state)
        return False if "failed" in states else True if set(states) == {"ready"} else None

    def _files(self, artifact: ModelArtifact) -> SeldonDeployment:
        return SeldonDeployment(model_uri=self._uri(artifact.version), version=artifact.version)

    def _uri(self, version: str) -> str:
        template = self.spec.storage_uri
        values = {"name": self._model, "version": version}
        if "{source}" in template:
            values["source"] = self._source_of(f"models:/{self._model}/{version}")
        try:
            return template.format(**values)
        except (KeyError, IndexError, ValueError) as error:
            raise BadInput(
                f"target.storage_uri {template!r} cannot be filled in",
                thing="target.storage_uri",
                value=template,
                remedy="only {name}, {version} and {source} are known",
            ) from error

    def _known(self, request: DeploymentRequest) -> dict[str, str]:
        return self._known_by(request.model_artifact.version, request.previous_version)

    def _known_by(self, *versions: str | None) -> dict[str, str]:
        """Storage URI to version: a default Model that somebody else made is known by its files."""
        known: dict[str, str] = {}
        for version in filter(None, versions):
            with suppress(RetrainingError):
                known[self._uri(version)] = version
        return known
