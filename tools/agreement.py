"""How often do the two models say something else? Evidence beside the verdicts: a change can be large and harmless."""

from typing import Final

import numpy as np

from tools.contracts.comparison import Agreement
from tools.paired_rows import PairedRows

FAR: Final = 0.1
"""Regression: predictions differ from this share of the labels' standard deviation on."""


def agreement(rows: PairedRows) -> Agreement | None:
    """None without rows, or where a prediction is missing."""
    ours, theirs, y = rows.candidate_prediction, rows.baseline_prediction, rows.y
    if not rows.n or not (np.isfinite(ours).all() and np.isfinite(theirs).all() and np.isfinite(y).all()):
        return None
    if rows.task == "classification":
        differs = ours != theirs
        mended, broken = int((differs & (ours == y)).sum()), int((differs & (theirs == y)).sum())
        said = (
            f"The two models predict another class in {int(differs.sum()):,} of {rows.n:,} rows ({differs.mean():.2%}): "
            f"{mended:,} that only the candidate has right, {broken:,} that only the champion has right."
        )
        return Agreement(differing=float(differs.mean()), mended=mended, broken=broken, n=rows.n, statement=said)
    if rows.task == "ranking":
        return _of_a_ranking(rows)
    apart, far = np.abs(ours - theirs), FAR * float(y.std())
    differs = apart > far
    said = (
        f"The two models' predictions lie more than {far:.4g}, a tenth of the labels' standard deviation, apart in "
        f"{int(differs.sum()):,} of {rows.n:,} rows ({differs.mean():.2%}); half of all lie within {float(np.median(apart)):.4g}."
    )
    return Agreement(differing=float(differs.mean()), n=rows.n, statement=said)


def _of_a_ranking(rows: PairedRows) -> Agreement | None:
    """Groups with another row in the first place; rows that share it are as good as each other."""
    ours, theirs = (rows.sample(which, None).ranked for which in ("candidate", "baseline"))
    several = ours.sizes > 1
    count = int(several.sum())
    if not count:
        return None
    apart = ~theirs.share_the_top(ours)[several]
    said = (
        f"The two models put another row first in {int(apart.sum()):,} of {count:,} groups of several rows "
        f"({apart.mean():.2%})."
    )
    return Agreement(differing=float(apart.mean()), n=count, statement=said)
