"""Was a model trained on the rows that judge it?

By row hash: the comparison drops such rows; beyond `max_overlap` that is told as a warning, and when more than half of the
holdout is gone it blocks. By content: rows that came in again under another time or key have other hashes but the same features
and label; they are held against the rate at which rows of these data repeat each other anyway.
"""

from math import sqrt
from typing import Final, Literal

from tools.contracts.evidence import Check
from tools.contracts.profile import ValidationSpec
from tools.contracts.profiling import Overlap

MOST_LOST: Final = 0.5
"""More of the holdout than this in training rows leaves nothing to judge on."""
LEAST_EXCESS: Final = 0.002
SIGMAS: Final = 4.0


def overlap_check(*, who: str, fold: int, overlap: Overlap | None, spec: ValidationSpec, why: str = "") -> Check:
    """Holdout rows of a fold that `who` was trained on; `overlap` is None where that is unknown, for the reason `why`."""
    subject = f"{who}, fold {fold}"
    if overlap is None:
        return Check(
            name="contamination",
            subject=subject,
            result="could_not_check",
            severity="warn",
            statement=f"Whether the {who} was trained on rows of holdout {fold} is unknown: {why}.",
        )
    share = overlap.overlapping / max(overlap.rows, 1)
    result, severity = _verdict(share, spec.max_overlap)
    told = f"{overlap.overlapping:,} of {overlap.rows:,} rows of holdout {fold} stand in the {who}'s training rows"
    return Check(
        name="contamination",
        subject=subject,
        result=result,
        severity=severity,
        value=share,
        threshold=spec.max_overlap,
        n=overlap.rows,
        counts={"rows": overlap.rows, "overlapping": overlap.overlapping, "trained_on": overlap.trained_on},
        examples=tuple({"row_hash": one} for one in overlap.examples),
        statement=told
        + ("; the comparison drops them." if overlap.overlapping and severity == "warn" else "")
        + ("; too few are left to judge on." if severity == "block" and result == "fail" else "")
        + ("." if not overlap.overlapping else ""),
    )


def _verdict(share: float, most: float) -> tuple[Literal["pass", "fail"], Literal["block", "warn"]]:
    if share > MOST_LOST:
        return "fail", "block"
    return ("fail", "warn") if share > most else ("pass", "block")


def content_check(
    *, fold: int, rows: int, repeated: int, natural_rows: int, natural_repeated: int, examples: tuple[str, ...] = ()
) -> Check:
    """Holdout rows whose features and label stand in the training rows under another time or key.

    Args:
        rows: holdout rows looked at.
        repeated: those among them that training rows repeat, beyond row hashes that are equal.
        natural_rows: the latest training rows looked at, as many as the holdout has.
        natural_repeated: those among them that earlier training rows repeat: how often these data repeat themselves.
    """
    subject = f"content, fold {fold}"
    if rows == 0 or natural_rows == 0:
        why = "too few rows to tell a repetition from a coincidence."
        return Check(
            name="contamination", subject=subject, result="could_not_check", severity="warn", n=rows, statement=why
        )
    share, natural = repeated / rows, natural_repeated / natural_rows
    pooled = (repeated + natural_repeated) / (rows + natural_rows)
    noise = SIGMAS * sqrt(max(pooled * (1 - pooled), 1 / (rows + natural_rows)) * (1 / rows + 1 / natural_rows))
    # Where rows hardly ever repeat, the normal error above is too wide: five of a kind are enough.
    rare = natural_repeated == 0 and repeated >= 5
    bound = LEAST_EXCESS if rare else max(LEAST_EXCESS, noise)
    excess = share - natural
    failed = excess > bound
    return Check(
        name="contamination",
        subject=subject,
        result="fail" if failed else "pass",
        severity="block" if failed and excess > MOST_LOST else "warn",
        value=excess,
        threshold=bound,
        n=rows,
        counts={"rows": rows, "repeated": repeated, "natural_rows": natural_rows, "natural": natural_repeated},
        examples=tuple({"content_hash": one} for one in examples) if failed else (),
        statement=f"{share:.2%} of {rows:,} rows of holdout {fold} have the features and label of a training row under another "
        f"time or key; {natural:.2%} of the training rows repeat earlier ones so"
        + (": rows that came in again?" if failed else "."),
    )


def duplicate_check(
    *, rows: int, repeated: int, reference_rows: int | None, reference_repeated: int | None, spec: ValidationSpec
) -> Check:
    """Whole rows that stand there again under another key. A warning: a row without much in it may happen twice."""
    if rows == 0:
        return Check(name="duplicates", subject="other keys", result="pass", statement="There are no rows.")
    share = repeated / rows
    usual = None if not reference_rows else (reference_repeated or 0) / reference_rows
    bound = spec.max_duplicates + (usual or 0.0)
    return Check(
        name="duplicates",
        subject="other keys",
        result="fail" if share > bound else "pass",
        severity="warn",
        value=share,
        threshold=bound,
        n=rows,
        counts={"rows": rows, "repeated": repeated},
        statement=f"{share:.2%} of {rows:,} rows looked at repeat another row's features and label under another key"
        + ("" if usual is None else f", {usual:.2%} in the champion's training rows")
        + f"; up to {bound:.2%} is accepted.",
    )
