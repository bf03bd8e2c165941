# pyright: basic
"""The deployment skill for Seldon: one call, the objects it takes, one reply."""

from collections.abc import Mapping

from tools.adapters.seldon.cluster import Cluster
from tools.contracts.profile import SeldonTarget
from tools.contracts.seldon import SeldonCall, SeldonDeployment, SeldonReplicas, SeldonReply
from tools.errors import BadInput, Conflict, NotFound
from tools.seldon import Manifest, experiment_manifest, is_ours, model_manifest, percents, readiness, version_of


class SeldonDeployer:
    """Carries out calls on the default Model of a profile, its candidates, and the Experiment between them.

    Args:
        spec: The profile's target.
        cluster: Where the objects are.
    """

    def __init__(self, spec: SeldonTarget, cluster: Cluster) -> None:
        self.spec, self.cluster = spec, cluster

    def carry_out(self, call: SeldonCall, known: Mapping[str, str] | None = None) -> SeldonReply:
        """Do what the call says and wait until the controller has done it; idempotent.

        Args:
            call: Absent fields of its configuration are the profile's.
            known: Storage URI to version, for Models that somebody else wrote.

        Raises:
            BadInput: A field is missing or senseless, or the API server refuses the object (422).
            Conflict: A Model with traffic was to be deleted, or somebody else's Experiment splits the traffic.
            Unavailable: A condition is False, or the cluster does not answer.
            TimedOut: No answer of the controller within the target's limit.
        """
        config = call.deployment_config or SeldonDeployment()
        if config.namespace not in (None, self.spec.namespace):
            raise BadInput(
                f"namespace {config.namespace!r} is not the profile's, {self.spec.namespace!r}",
                thing="deploymentConfig.namespace",
                value=config.namespace,
            )
        if call.explainer_config is not None and call.explainer_config.enabled:
            raise BadInput("no explainers are deployed here", thing="explainerConfig.enabled", value=True)
        name = config.name or self.spec.name
        match call.action:
            case "deploy":
                self._put(name, config)
            case "update":
                if self.cluster.get("Model", name) is None:
                    raise NotFound(f"there is no Model {name!r} to update", thing="Model", value=name)
                self._put(name, config)
            case "traffic-split":
                self._split(name, call)
            case "rollback":
                self.experiment()  # somebody else's is not ours to delete
                self.cluster.delete("Experiment", self.spec.name)
            case "delete":
                self._delete(name)
            case "status":
                pass
        return self._reply(call.action, name, known or {})

    def experiment(self) -> Manifest | None:
        """The Experiment on the default Model; None where all requests go to that.

        Raises:
            Conflict: There is one that is not ours.
        """
        there = [each for each in self.cluster.every("Experiment") if each["spec"].get("default") == self.spec.name]
        foreign = [each["metadata"]["name"] for each in there if each["metadata"]["name"] != self.spec.name]
        if foreign:
            raise Conflict(
                f"Experiment {foreign[0]} splits the traffic of Model {self.spec.name} too",
                thing="Experiment",
                value=foreign[0],
                remedy="delete it, or wait until whoever made it is done",
            )
        return there[0] if there else None

    def weights(self, known: Mapping[str, str]) -> dict[str, int] | None:
        """Version to percent as it is in force; None while it is not, or cannot be told."""
        experiment = self.experiment()
        if experiment is not None and readiness(experiment).state != "ready":
            return None
        shares = {self.spec.name: 100} if experiment is None else percents(experiment)
        if shares is None:
            return None
        served: dict[str, int] = {}
        for name, percent in shares.items():
            model = self.cluster.get("Model", name)
            if model is None and experiment is None:
                return {}
            if model is None or readiness(model).state != "ready":
                return None
            version = version_of(model, known)
            served[version] = served.get(version, 0) + percent
        return served

    def _put(self, name: str, config: SeldonDeployment) -> None:
        if config.model_uri is None or config.version is None:
            raise BadInput(f"Model {name}: which files, of which version?", thing="deploymentConfig.modelUri")
        there = self.cluster.get("Model", name)
        if there is not None and name != self.spec.name and not is_ours(there):
            raise Conflict(
                f"Model {name} is there already, and somebody else made it",
                thing="Model",
                value=name,
                remedy="rename or delete it",
            )
        asked = (config.resources.requests or {}).get("memory") if config.resources is not None else None
        manifest = model_manifest(
            name=name,
            namespace=self.spec.namespace,
            version=config.version,
            storage_uri=config.model_uri,
            requirements=(config.implementation,) if config.implementation else self.spec.requirements,
            memory=asked or self.spec.memory,
        )
        if config.replicas is not None:
            manifest["spec"]["replicas"] = config.replicas
        self.cluster.ensure(manifest)
        self.cluster.wait_ready("Model", name)

    def _split(self, candidate: str, call: SeldonCall) -> None:
        traffic = call.traffic_config
        if traffic is None or traffic.canary_percent is None:
            raise BadInput("a traffic split without a percent", thing="trafficConfig.canaryPercent")
        shadow = traffic.shadow_percent if traffic.shadow_percent is not None else 100
        self.experiment()
        wanted = experiment_manifest(
            default=self.spec.name,
            namespace=self.spec.namespace,
            candidate=candidate,
            weight=traffic.canary_percent,
            mirror=shadow if traffic.shadow_enabled else 0,
            models=[each["metadata"]["name"] for each in self.cluster.every("Model")],
        )
        self.cluster.ensure(wanted)
        self.cluster.wait_ready("Experiment", self.spec.name)

    def _delete(self, name: str) -> None:
        if name == self.spec.name:
            raise Conflict(f"Model {name} is the default: it always has traffic", thing="Model", value=name)
        experiment = self.experiment()
        if experiment is not None:
            shares = percents(experiment)
            if shares is None or shares.get(name):
                given = "unreadable weights" if shares is None else f"{shares[name]} % of the traffic"
                raise Conflict(f"Model {name} has {given} in Experiment {self.spec.name}", thing="Model", value=name)
            mirror = (experiment["spec"].get("mirror") or {}).get("name")
            if mirror == name or any(each["name"] == name for each in experiment["spec"]["candidates"]):
                self.cluster.delete("Experiment", self.spec.name)
        self.cluster.delete("Model", name)

    def _reply(self, action: str, name: str, known: Mapping[str, str]) -> SeldonReply:
        model = self.cluster.get("Model", name)
        state = None if model is None else readiness(model).state
        word = {"ready": "available", "waiting": "creating", "failed": "failed", None: "unknown"}[state]
        status = {"failed": "error", "waiting": "pending"}.get(state or "", "success")
        if action == "status" and model is None:
            status = "pending"
        try:
            split = self.weights(known)
        except Conflict:
            split = None
        replicas = None
        if model is not None:
            ready = (model.get("status") or {}).get("replicas")
            replicas = SeldonReplicas(desired=model["spec"].get("replicas", 1), ready=ready)
        return SeldonReply(
            status=status,  # type: ignore[arg-type]
            action=action,
            deployment_name=name,
            endpoint=self.spec.inference_url,
            deployment_status=word,  # type: ignore[arg-type]
            replicas=replicas,
            traffic_split=split,
        )
