"""What do services need? Everything from outside, built in one place and handed in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.services.leases import LeaseKeeper
from tools.contracts.incident import Notice
from tools.contracts.profile import Profile
from tools.errors import Unavailable
from tools.ports import (
    Clock,
    DataSource,
    DeploymentTarget,
    DriftDetective,
    ModelEvaluator,
    NewId,
    Notifier,
    RationaleWriter,
    Registry,
    Scorer,
    Store,
    Tracking,
    TrafficLog,
    Trainer,
)

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """The progress of those who want none."""


def targets_own_log(profile: Profile, target: DeploymentTarget) -> TrafficLog | None:
    """The log of answers, where a profile names none of its own."""
    return target.log


class Nobody:
    """The notifier of a profile that names nobody."""

    def channels(self) -> Sequence[str]:
        return ()

    def send(self, channel: str, notice: Notice) -> None:
        """Nobody hears."""


def nobody(_: Profile) -> Notifier:
    """Who hears of it where nothing else is said."""
    return Nobody()


@dataclass(frozen=True)
class Deps:
    """Ports, clock and folders. `lease` is set for the time of one drive of the graph."""

    store: Store
    registry: Registry
    tracking: Tracking
    data: DataSource
    trainers: Mapping[str, Trainer]
    """By `training.kind`."""
    scorer: Scorer
    drift_detective: DriftDetective
    model_evaluator: ModelEvaluator
    target_of: Callable[[Profile], DeploymentTarget]
    rationale: RationaleWriter
    root: Path
    """Folder of the workspace: relative paths of profiles start here."""
    work_dir: Path
    """Run folders and environments; readable by the owner only."""
    clock: Clock
    new_id: NewId
    load_profile: Callable[[str], Profile]
    traffic_log_of: Callable[[Profile, DeploymentTarget], TrafficLog | None] = targets_own_log
    """The log that a rollout is judged by; None where there is none."""
    notifier_of: Callable[[Profile], Notifier] = nobody
    """Who is told of rollbacks and rollouts."""
    progress: Progress = field(default=silent)
    lease: LeaseKeeper | None = None

    def run_dir(self, run_id: str) -> Path:
        """The run's own folder, made on first use.

        Raises:
            Unavailable: it cannot be made: the disk is full, or forbids it.
        """
        path = self.work_dir / "runs" / run_id
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Unavailable(
                f"the folder of run {run_id} cannot be made: {error}",
                thing="work folder",
                value=str(path),
                remedy="free space there, or let this user write; then go on with the run",
            ) from error
        return path
