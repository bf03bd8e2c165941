"""What are one model's metrics on labelled rows?"""

from pathlib import Path

from agent.deps import Deps
from tools import comparison
from tools.adapters import frames
from tools.comparison import PairedRows
from tools.contracts.profile import Profile


def rows_of(profile: Profile, rows: str, scored: str, out: Path) -> PairedRows:
    """One model's predictions beside themselves, for what needs only one side."""
    paired, _ = frames.paired_rows(
        [(rows, scored, scored)],
        target=profile.data.target,
        classify=profile.task == "classification",
        slices=(),
        drop=set(),
        scored_out=out,
    )
    return paired


def measured(deps: Deps, profile: Profile, rows: str, scored: str, out: Path) -> dict[str, float]:
    """The profile's metrics, those that are defined on these rows."""
    criteria = comparison.resolve_criteria(profile.metrics, None, profile.task, profile.data.positive_label)
    return comparison.values(rows=rows_of(profile, rows, scored, out), criteria=criteria)
