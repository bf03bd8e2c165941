"""How many labels seem wrong, against how many seemed wrong in the champion's training rows?

Two estimates, both only as good as the features: the share of rows that rows with equal features contradict, and the share that a
model fitted on the other rows confidently calls another class (confident learning: above the mean probability of that class
among rows that bear it; the grades of a ranking are classes too), or for a regression misses by more than four robust standard
deviations. Neither is a noise rate: hard rows count too. Their rise over the reference, estimated the same way on as many rows, is
what noise added meanwhile. Warns.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from tools.contracts.evidence import Check
from tools.contracts.profile import ValidationSpec
from tools.out_of_fold import class_shares, misses
from tools.sampled_rows import FloatArray, SampledRows

LEAST_ROWS: Final = 300
DEPENDENCE: Final = 4.0
SIGMAS: Final = 2.0


@dataclass(frozen=True)
class Noise:
    """Estimated on `rows` rows."""

    rows: int
    doubtful: int
    """Labels that a model fitted on other rows confidently contradicts."""
    contradicted: int
    """Rows whose label is not that of most rows with equal features."""

    @property
    def share(self) -> float:
        return self.doubtful / max(self.rows, 1)


def estimate_noise(rows: SampledRows) -> Noise | None:
    """None for fewer than 300 labelled rows, or a single class. Costs about a second for 5,000 rows of 20 features."""
    if len(rows) < LEAST_ROWS or not rows.features or len(np.unique(rows.labels)) < 2:
        return None
    table = np.column_stack([np.where(np.isnan(v), -1e9, v) for v in rows.features.values()])
    if rows.task != "classification" and not rows.graded:
        return Noise(len(rows), _far_misses(table, rows.labels), 0)
    return Noise(len(rows), _confidently_other(table, rows.labels), _contradicted(table, rows.labels))


def noise_check(*, now: Noise | None, then: Noise | None, target: str, spec: ValidationSpec) -> Check:
    """The estimate's rise over the reference, against `max_label_noise`."""
    if now is None or then is None:
        why = "too few labelled rows" if now is None else "no training rows of the champion to compare with"
        text = f"Label noise of {target} cannot be told: {why}."
        return Check(name="label_noise", subject=target, result="could_not_check", severity="warn", statement=text)
    rise = now.share - then.share
    p = max((now.doubtful + then.doubtful) / (now.rows + then.rows), 1 / now.rows)
    noise = SIGMAS * sqrt(p * (1 - p) * DEPENDENCE * (1 / now.rows + 1 / then.rows))
    failed = rise - noise > 0 and rise > spec.max_label_noise
    return Check(
        name="label_noise",
        subject=target,
        result="fail" if failed else "pass",
        severity="warn",
        value=rise,
        threshold=spec.max_label_noise,
        n=now.rows,
        counts={"rows": now.rows, "doubtful": now.doubtful, "contradicted": now.contradicted},
        statement=f"{now.share:.1%} of {now.rows:,} labels seem doubtful to a model of the other rows, {then.share:.1%} of "
        f"{then.rows:,} in the champion's training rows; rows with equal features contradict {now.contradicted:,}"
        f" (a rise of {spec.max_label_noise:.0%} is accepted).",
    )


def _confidently_other(table: FloatArray, labels: FloatArray) -> int:
    shares, coded = class_shares(table, labels)
    rows = np.arange(len(labels))
    usual = np.array([shares[coded == one, one].mean() for one in range(shares.shape[1])])
    confident = shares >= np.maximum(usual, 1e-9)
    confident[rows, coded] = False
    return int(((shares * confident).max(axis=1) > shares[rows, coded]).sum())


def _far_misses(table: FloatArray, labels: FloatArray) -> int:
    missed = misses(table, labels)
    middle = float(np.median(missed))
    spread = 1.4826 * float(np.median(np.abs(missed - middle)))
    return int((np.abs(missed - middle) > 4 * spread).sum()) if spread else 0


def _contradicted(table: FloatArray, labels: FloatArray) -> int:
    _, group = np.unique(table, axis=0, return_inverse=True)
    classes, coded = np.unique(labels, return_inverse=True)
    counts = np.zeros((int(group.max()) + 1, len(classes)), dtype=int)
    np.add.at(counts, (group, coded), 1)
    return int((counts.sum(axis=1) - counts.max(axis=1)).sum())
