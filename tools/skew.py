"""Did the model see, when it served, what the data say it saw?

Rows of the prediction log and of the data are joined by their key. Beyond `max_skew` of the rows a difference warns; beyond five
times that it blocks: training on values that serving does not have makes a model for another world.
"""

from collections.abc import Iterator
from typing import Final

from tools.contracts.evidence import Check
from tools.contracts.profile import ValidationSpec
from tools.contracts.profiling import SkewCounts

BLOCKS_AT: Final = 5.0
"""Times `max_skew`."""
FEWEST: Final = 30
FEWEST_PARTNERS: Final = 0.1
"""A smaller share of the log's rows with a partner means that the keys do not fit."""


def skew_checks(counts: SkewCounts, spec: ValidationSpec) -> Iterator[Check]:
    """One check for the partners, and one a feature that differs; a single passing one where none does."""
    lonely = counts.logged - counts.paired
    told = f"{counts.paired:,} of {counts.logged:,} rows of the prediction log looked at have a row of the data"
    if counts.paired < FEWEST or counts.paired < FEWEST_PARTNERS * counts.logged:
        yield Check(
            name="skew",
            subject="prediction log",
            result="could_not_check",
            severity="warn",
            n=counts.logged,
            counts={"logged": counts.logged, "paired": counts.paired, "without partner": lonely},
            statement=f"{told}: too few to compare. Do log and data have the same data.key, in the same form?",
        )
        return
    yield Check(
        name="skew",
        subject="prediction log",
        result="pass",
        n=counts.logged,
        counts={"logged": counts.logged, "paired": counts.paired, "without partner": lonely},
        statement=f"{told}; {lonely:,} have none.",
    )
    for feature in counts.features:
        share = feature.different / counts.paired
        failed = share > spec.max_skew
        blocks = share > spec.max_skew * BLOCKS_AT
        yield Check(
            name="skew",
            subject=feature.name,
            result="fail" if failed else "pass",
            severity="block" if blocks or not failed else "warn",
            value=share,
            threshold=spec.max_skew,
            n=counts.paired,
            counts={"rows": counts.paired, "failing": feature.different},
            examples=feature.examples,
            statement=f"{feature.name} was another value when it was served in {feature.different:,} of {counts.paired:,} rows "
            f"({share:.2%}; up to {spec.max_skew:.2%} is accepted).",
        )
    if counts.absent:
        yield Check(
            name="skew",
            subject="features not logged",
            result="could_not_check",
            severity="warn",
            statement=f"The prediction log does not hold {', '.join(counts.absent)}.",
        )
