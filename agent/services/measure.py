"""What are one model's metrics on labelled rows?"""

from pathlib import Path

from tools import comparison, criteria
from tools.adapters import frames
from tools.contracts.comparison import Criteria
from tools.contracts.profile import Profile
from tools.contracts.request import DeploymentCriteria
from tools.paired_rows import PairedRows
from tools.verdicts import metric_of


def rows_of(profile: Profile, rows: str, scored: str, out: Path) -> PairedRows:
    """One model's predictions beside themselves, for what needs only one side."""
    return frames.paired_rows(
        [(rows, scored, scored)],
        target=profile.data.target,
        task=profile.task,
        slices=(),
        drop=[set()],
        scored_out=out,
        group=profile.data.group,
    )


def criteria_of(profile: Profile, request: DeploymentCriteria | None = None) -> Criteria:
    """What a candidate of this profile must show."""
    return criteria.resolve_criteria(
        metrics=profile.metrics, request=request, task=profile.task, positive_label=profile.data.positive_label
    )


def measured(profile: Profile, rows: str, scored: str, out: Path) -> tuple[dict[str, float], int]:
    """The profile's metrics, those that are defined on these rows; and what the primary one is a mean over: rows or groups."""
    paired, wanted = rows_of(profile, rows, scored, out), criteria_of(profile)
    return comparison.measure_all(rows=paired, criteria=wanted), paired.counted(metric_of(wanted.primary))[0]
