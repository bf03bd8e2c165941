"""Does the candidate bear missing values worse than the champion?

Opt-in by `metrics.null_margin`. Both models are scored once more on holdout rows in which each feature's value is missing with a
fixed chance, and the change of the primary metric there is a guardrail of its own:

    both answer                             the verdict of the interval, with `null_margin`
    only the candidate fails                regressed: what the champion bears, it does not
    only the champion fails                 improved
    both fail                               non_inferior: measured, and nothing is lost. Whoever serves a champion that needs
                                            whole rows has seen to that, and asking a person each night would tell nothing new
    anything else kept a model from         no_data
    answering (time, memory, a signal, files)

To fail is the model's own doing: it raised, ended, or gave values that are no finite number, on rows that it scored when
nothing was missing.
"""

from dataclasses import dataclass
from typing import Final

from tools.contracts.comparison import Criteria, Criterion, MetricComparison, Verdict
from tools.contracts.training import ScoringResult
from tools.paired_rows import PairedRows
from tools.verdicts import judge, no_data

SHARE: Final = 0.1
"""Chance of each feature's value to be missing."""
ROWS: Final = 5_000
"""Most holdout rows; more are thinned evenly."""
SEED: Final = 20_240_229
"""The same rows lose the same values."""


@dataclass(frozen=True)
class NullScores:
    """What came of scoring the rows with missing values. `rows` where both models answered."""

    champion: ScoringResult
    candidate: ScoringResult
    n: int
    rows: PairedRows | None = None


def judge_nulls(criterion: Criterion, criteria: Criteria, scores: NullScores | str) -> MetricComparison:
    """The table at the top of this module.

    Args:
        criterion: The guardrail, with `nulls` set.
        criteria: With the error that this look may spend.
        scores: Or why nothing was scored, as half a sentence.
    """
    if isinstance(scores, str):
        return no_data(criterion, 0, f"{criterion.about}: {scores}")
    sides = (("champion", scores.champion), ("candidate", scores.candidate))
    for who, result in sides:
        if result.status != "scored" and not result.by_model:
            return no_data(criterion, scores.n, f"{criterion.about}: the {who} was not scored: {_said(result)}")
    champion, candidate = (result.status == "scored" for _, result in sides)
    if champion and candidate:
        if scores.rows is None:
            return no_data(criterion, scores.n, f"{criterion.about}: the rows could not be paired")
        return judge(scores.rows, criterion, criteria)
    verdict: Verdict
    if champion:
        verdict, told = "regressed", f"the champion answers, the candidate does not: {_said(scores.candidate)}"
    elif candidate:
        verdict, told = "improved", f"the candidate answers, the champion does not: {_said(scores.champion)}"
    else:
        verdict, told = "non_inferior", f"neither model answers, so nothing is lost: {_said(scores.candidate)}"
    return MetricComparison(
        criterion=criterion,
        verdict=verdict,
        n=scores.n,
        statement=f"{criterion.about} (each value missing with chance {SHARE:g}, {scores.n:,} rows): {told}.",
    )


def _said(result: ScoringResult) -> str:
    return result.statement.removesuffix(".")
