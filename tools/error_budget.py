"""How sure must this look at a holdout be, after all the looks that were taken at its rows?

Whoever judges a candidate every night on the same rows promotes noise one night. So a holdout has a budget of one-sided error,
`1 - confidence` in all, and its k-th look may spend

    alpha_k = (1 - confidence) / (k (k + 1)),      sum over all k = 1 - confidence.

The first look gets half of it, which is the two-sided interval at `confidence` itself. By the union bound the chance that any of
the looks moves a candidate that should not move is at most the budget, however the candidates depend on each other.

The budget follows the rows: a look at a holdout that shares time with an earlier one counts as one more look at that. That is
on the safe side: one shared hour counts as much as the same rows again, rows whose labels came later count as seen, and a
holdout whose times are not known counts as overlapping all. After `most` looks the rest would show nothing, and fresh labels
are asked for.
"""

from collections.abc import Sequence

from tools.contracts.comparison import ErrorBudget, Look


def overlapping(look: Look, earlier: Sequence[Look]) -> list[Look]:
    """The earlier looks of other runs at rows that this one may look at again."""
    return [one for one in earlier if one.run_id != look.run_id and _shares_rows(look, one)]


def budget(look: Look, earlier: Sequence[Look], *, confidence: float, most: int) -> ErrorBudget:
    """What this look may spend.

    Args:
        look: Without its `alpha`.
        earlier: Recorded looks of the same model.
        confidence: Of a first look's two-sided interval.
        most: Looks after which fresh labels are asked for.
    """
    before = overlapping(look, earlier)
    total, spent, number = 1 - confidence, sum(one.alpha for one in before), len(before) + 1
    alpha = min(total / (number * (number + 1)), total - spent)
    exhausted = number > most or alpha <= 0
    return ErrorBudget(
        look=number,
        most=most,
        alpha=0.0 if exhausted else alpha,
        spent=spent,
        total=total,
        exhausted=exhausted,
        statement=_statement(number, most, alpha, spent, total, exhausted),
    )


def _shares_rows(one: Look, other: Look) -> bool:
    if one.digest == other.digest or not one.spans or not other.spans:
        return True
    return any(a.start <= b.end and b.start <= a.end for a in one.spans for b in other.spans)


def _statement(number: int, most: int, alpha: float, spent: float, total: float, exhausted: bool) -> str:
    if exhausted:
        return (
            f"These holdout rows were looked at {number - 1} times before (at most {most} looks), and {spent:.3g} of an error of "
            f"{total:.3g} is spent: the case needs fresh labels."
        )
    if number == 1:
        return f"First look at these holdout rows: it spends {alpha:.3g} of an error of {total:.3g}."
    return (
        f"Look {number} of at most {most} at rows of this holdout: a gain must show at a one-sided error of {alpha:.3g}, "
        f"since {spent:.3g} of {total:.3g} is spent."
    )
