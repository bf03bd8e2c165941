"""What do the user's own metrics say of the scored rows? Each is called once a model and fold, in a subprocess."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.deps import Deps
from tools.contracts.comparison import Criteria
from tools.contracts.measuring import MetricJob
from tools.contracts.profile import Profile
from tools.own_metrics import OWN, is_own


@dataclass(frozen=True)
class OwnValues:
    """What could not be measured, and with which files the rest was."""

    faults: Mapping[str, str] = field(default_factory=dict[str, str])
    """Metric to why not, as half a sentence."""
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    """Metric to the sha256 of its file."""


def add(deps: Deps, profile: Profile, criteria: Criteria, parts: Iterable[tuple[str, str]]) -> OwnValues:
    """Measure each of the user's own metrics and put its values beside the outputs, as columns `own:<metric>`.

    A metric that fails on one model is measured on neither: half a comparison is none.

    Args:
        criteria: Name the metrics.
        parts: (rows, a model's outputs) Parquet files, row by row; the second is written anew.
    """
    names = [c.metric for c in (criteria.primary, *criteria.guardrails) if is_own(c.metric)]
    files = list(dict.fromkeys(parts))
    faults, digests = dict[str, str](), dict[str, str]()
    for name in dict.fromkeys(names):
        deps.progress(f"measuring {name}")
        fault, digest = _measure(deps, profile, name, files)
        if fault is not None:
            faults[name] = fault
        if digest is not None:
            digests[name] = digest
    return OwnValues(faults, digests)


def _measure(deps: Deps, profile: Profile, name: str, files: list[tuple[str, str]]) -> tuple[str | None, str | None]:
    """(why not, sha256 of the file)."""
    from tools.adapters import frames

    made: list[tuple[str, str]] = []
    digest: str | None = None
    for number, (rows, scored) in enumerate(files):
        output = Path(scored).with_suffix(f".own-{number}.parquet")
        result = deps.scorer.measure(_job(deps, profile, name, rows, scored, output))
        if result.status != "measured" or result.output is None:
            return result.statement, result.digest
        if digest not in (None, result.digest):
            return "its file was changed between one model and the next", result.digest
        digest = result.digest
        made.append((scored, result.output))
    for scored, values in made:
        frames.add_column(scored, OWN + name, values)
    return None, digest


def _job(deps: Deps, profile: Profile, name: str, rows: str, scored: str, output: Path) -> MetricJob:
    return MetricJob(
        name=name,
        root=str(deps.root),
        rows=rows,
        scored=scored,
        features=profile.data.features,
        target=profile.data.target,
        output=str(output),
        time_limit=profile.scoring.time_limit,
        memory_limit_mb=profile.scoring.memory_limit_mb,
    )
