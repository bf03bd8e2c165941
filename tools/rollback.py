"""Is the version to go back to really there, unaltered, and served?"""

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

from tools.contracts.rollout import ProofOfVersion, RollbackReport

RELATIVE_TOLERANCE: Final = 1e-6
"""Of golden predictions that are floating-point numbers; labels and whole numbers must be equal."""
ABSOLUTE_TOLERANCE: Final = 1e-9
"""For predictions next to 0, where a share means nothing."""

Served = Literal["proved", "unproved", "contradicted"]


def proof(
    *,
    version: str,
    loaded: bool,
    digest_recorded: str | None,
    digest_now: str | None,
    golden_expected: Sequence[Any],
    golden_got: Sequence[Any],
    served: Served,
) -> ProofOfVersion:
    """What is known of a version after it was loaded and had scored its golden rows.

    Args:
        version: The version wanted.
        loaded: Whether it loaded in a subprocess.
        digest_recorded: sha256 of its files at registration; None where never recorded.
        digest_now: sha256 of its files now; None where they could not be fetched.
        golden_expected: Predictions recorded at registration.
        golden_got: Predictions now, in the same order; another count matches nothing.
        served: What the endpoint reports.
    """
    same = matches(golden_expected, golden_got)
    artifact = "not_recorded" if digest_recorded is None else "not_fetched" if digest_now is None else "differs"
    artifact = "matches" if artifact == "differs" and digest_recorded == digest_now else artifact
    files = {
        "matches": "are as registered",
        "differs": "differ from those registered",
        "not_recorded": "have no record",
        "not_fetched": "could not be fetched",
    }
    tried = loaded or bool(golden_expected)
    loads = "loads" if loaded else "does not load" if tried else "was not tried: its golden rows are not at hand"
    told = {
        "proved": "the target reports it as served",
        "unproved": "what is served is not reported",
        "contradicted": "the target reports another version",
    }
    return ProofOfVersion(
        version=version,
        loaded=loaded,
        artifact_digest=artifact,
        golden_rows=len(golden_expected),
        golden_matches=same,
        served=served,
        statement=(
            f"Version {version} {loads}, its files {files[artifact]}, "
            f"{same} of {len(golden_expected)} golden rows come out as recorded, {told[served]}."
        ),
    )


def speaks_against(proof: ProofOfVersion) -> bool:
    """Whether something was measured and is bad. What could not be measured for want of files or rows speaks neither way."""
    wrong_answers = proof.golden_rows > 0 and (not proof.loaded or proof.golden_matches < proof.golden_rows)
    return proof.artifact_digest == "differs" or wrong_answers or proof.served == "contradicted"


def matches(expected: Sequence[Any], got: Sequence[Any]) -> int:
    """How many predictions are as recorded, in the same order; another count matches nothing."""
    if len(expected) != len(got):
        return 0
    return sum(_same(old, new) for old, new in zip(expected, got, strict=True))


def report(
    *, from_version: str | None, to_version: str | None, reason: str, applied: bool, proved: ProofOfVersion | None
) -> RollbackReport:
    """What a rollback did; done only where it was applied and its proof holds.

    Args:
        from_version: In production before.
        to_version: Wanted; None where there was none to go back to.
        reason: Why.
        applied: Whether the target and the alias were moved.
        proved: Of `to_version`; None where nothing could be loaded.
    """
    done = applied and to_version is not None and proved is not None and proved.version == to_version and proved.holds
    if to_version is None:
        statement = "There is no version to go back to."
    elif done:
        assert proved is not None
        statement = f"Back on version {to_version}. {proved.statement}"
    elif not applied:
        statement = f"Nothing was moved: version {to_version} is not in production."
    else:
        statement = f"Moved to version {to_version}, but not proved."
    if proved is not None and not done:
        statement = f"{statement} {proved.statement}"
    return RollbackReport(
        from_version=from_version, to_version=to_version, done=done, proof=proved, reason=reason, statement=statement
    )


def _same(old: Any, new: Any) -> bool:
    """Numbers by tolerance when either is a float; lists item by item; everything else exactly. NaN matches nothing."""
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        pairs: list[tuple[Any, Any]] = list(zip(old, new, strict=False))  # pyright: ignore[reportUnknownArgumentType]
        return len(old) == len(new) and all(_same(a, b) for a, b in pairs)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(old, int | float) and isinstance(new, int | float) and float in (type(old), type(new)):
        return math.isclose(old, new, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    return bool(old == new)
