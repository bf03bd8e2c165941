"""May this version get traffic at all? What the loaded version answered, held against what was recorded and the bounds."""

import statistics
from collections.abc import Sequence
from typing import Any

from tools.contracts.base import Contract
from tools.contracts.rollout import EndpointAnswer
from tools.rollback import matches


class Soundness(Contract):
    """What was found before any traffic, in the order in which it was looked at."""

    version: str
    golden_rows: int
    golden_matches: int
    latency_ms: float | None = None
    """Median of single-row requests."""
    memory_mb: float | None = None
    load_seconds: float | None = None
    answered: bool = True
    """False where it could not be asked at all."""
    same_files: bool = True
    """False where the endpoint says that its files are others."""
    faults: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Nothing speaks against traffic."""
        return not self.faults


def soundness(
    *,
    version: str,
    answer: EndpointAnswer | None,
    golden_expected: Sequence[Any],
    digest_recorded: str | None,
    latency_limit_ms: float | None,
    memory_limit_mb: float | None,
    load_limit_seconds: float | None,
) -> Soundness:
    """Whether the version that the endpoint holds is the one that was registered, and keeps its bounds.

    Args:
        version: Wanted.
        answer: What it answered to its golden rows; None where it could not be asked.
        golden_expected: Recorded at registration; empty is a fault, since nothing could be proved by it.
        digest_recorded: Of the registered files.
        latency_limit_ms: Bound of the median single-row request; None where there is none.
        memory_limit_mb: Bound; None where there is none.
        load_limit_seconds: Bound; None where there is none.
    """
    if answer is None:
        return Soundness(
            version=version,
            golden_rows=len(golden_expected),
            golden_matches=0,
            answered=False,
            faults=("it could not be asked",),
        )
    faults: list[str] = []
    if answer.version != version:
        faults.append(f"asked for version {version}, version {answer.version} answered")
    same_files = answer.digest is None or digest_recorded is None or answer.digest == digest_recorded
    if not same_files:
        faults.append("the files it serves are not the registered ones")
    same = matches(golden_expected, answer.predictions)
    if not golden_expected:
        faults.append("no golden rows are on record for it")
    elif len(answer.predictions) != len(golden_expected):
        faults.append(f"{len(golden_expected)} golden rows were asked, {len(answer.predictions)} answered")
    elif same < len(golden_expected):
        faults.append(f"only {same} of {len(golden_expected)} golden rows come out as recorded")
    latency = statistics.median(answer.latency_ms) if answer.latency_ms else None
    for name, value, limit, unit in (
        ("its median latency", latency, latency_limit_ms, "ms"),
        ("its memory", answer.memory_mb, memory_limit_mb, "MB"),
        ("its loading time", answer.load_seconds, load_limit_seconds, "s"),
    ):
        if limit is None:
            continue
        if value is None:
            faults.append(f"{name} could not be measured, and a limit of {limit:g} {unit} is set")
        elif value > limit:
            faults.append(f"{name} is {value:.4g} {unit}, more than {limit:g}")
    return Soundness(
        version=version,
        golden_rows=len(golden_expected),
        golden_matches=same,
        latency_ms=latency,
        memory_mb=answer.memory_mb,
        load_seconds=answer.load_seconds,
        same_files=same_files,
        faults=tuple(faults),
    )
