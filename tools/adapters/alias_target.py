# pyright: basic
"""The registry alias is the deployment: somebody loads `models:/NAME@champion`. Nothing is to be applied here.

The orchestrator moves the alias itself, under its lease. So this target cannot split traffic, and it cannot prove
what is served: its replies carry neither weights nor health.
"""

from tools.adapters.plain_target import NothingToLoad
from tools.contracts.peers import DeploymentReply, DeploymentRequest
from tools.errors import BadInput


def wanted_weight(request: DeploymentRequest) -> int:
    """The percent asked for. A rolling deployment without one means all traffic; any other must say.

    Raises:
        BadInput: A strategy other than `rolling` without `trafficConfig`.
    """
    if request.traffic_config is not None:
        return request.traffic_config.canary_percent
    if request.deployment_strategy == "rolling":
        return 100
    raise BadInput(
        f"a {request.deployment_strategy} deployment of version {request.model_artifact.version} names no weight",
        thing="trafficConfig.canaryPercent",
        remedy="give the percent of traffic, 0 to 100",
    )


def whole_weight(request: DeploymentRequest, target: str) -> int:
    """The percent asked for, where a target serves one version at a time.

    Raises:
        BadInput: The weight lies between 0 and 100.
    """
    weight = wanted_weight(request)
    if 0 < weight < 100:
        raise BadInput(
            f"the {target} target cannot split traffic: {weight} % asked for version {request.model_artifact.version}",
            thing="trafficConfig.canaryPercent",
            value=weight,
            remedy="ask for 0 or 100, or deploy through a target that can split",
        )
    return weight


class AliasTargetAdapter(NothingToLoad):
    """Port `DeploymentTarget` for batch and other readers of the alias."""

    can_split = False
    can_prove = False

    @property
    def abilities(self) -> "AliasTargetAdapter":
        """Neither: see the module's docstring."""
        return self

    def apply(self, request: DeploymentRequest) -> DeploymentReply:
        """Accepts 0 or 100 percent; does nothing besides."""
        whole_weight(request, "alias")
        return self._reply(request)

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """What is served is not known here."""
        return self._reply(request)

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """Nothing to take back: moving the alias is the orchestrator's."""
        return self._reply(request)

    def _reply(self, request: DeploymentRequest) -> DeploymentReply:
        return DeploymentReply(deployment_config={"strategy": {"type": "alias"}}, traffic_config=request.traffic_config)
