"""What targets have in common that keep no server of their own which we could load a version into, or ask."""

from pathlib import Path

from tools.contracts.peers import DeploymentRequest
from tools.contracts.rollout import EndpointAnswer
from tools.ports import TrafficLog


class NothingToLoad:
    """The part of port `DeploymentTarget` that such a target leaves out."""

    can_mirror = False
    can_load = False

    @property
    def log(self) -> TrafficLog | None:
        """It keeps none."""
        return None

    def prepare(self, request: DeploymentRequest) -> None:
        """Nothing to load."""

    def ask(self, version: str, rows: Path) -> EndpointAnswer | None:
        """Nobody to ask."""
        return None

    def release(self, version: str) -> None:
        """Nothing to unload."""
