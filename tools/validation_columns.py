"""Are a column's values what the champion's training rows held?

Each column of the window and of the holdout is held against the reference, as profiles of bounded samples. A world that moves
is not broken: ranges are widened by half their width, shares need a rise beyond their own sampling error, and a column that was
constant may begin to vary (a warning). A unit changed, nulls, infinities, categories never seen, labels of one class only, or of
shares or a type that they never had, block.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from math import sqrt
from typing import Final

from tools.contracts.evidence import Check
from tools.contracts.profile import DataSpec, Task, ValidationSpec
from tools.contracts.profiling import ColumnProfile, DataProfile
from tools.quoting import quoted

UNIT_FACTOR: Final = 8.0
"""A median that many times larger or smaller, with its spread, is a changed unit rather than a moved world."""
UNDONE: Final = 5.0
"""A conversion explains a change when undoing it brings the column that many times nearer to what it was."""
CONVERSIONS: Final[dict[str, Callable[[float], float]]] = {
    "Fahrenheit to Celsius": lambda celsius: celsius * 1.8 + 32,
    "Celsius to Fahrenheit": lambda fahrenheit: (fahrenheit - 32) / 1.8,
}
"""Changes of unit that shift as well as scale, by how they are undone. They only warn: a summer that follows a winter looks the
same."""
MOST_GRADES: Final = 20
"""Relevances of a ranking with more values than this are compared as numbers, else by the share of each grade."""
LABEL_SHIFT: Final = 0.25
"""Share of the labels that may move from one class to another: beyond it, and its error, something coded them anew."""
SIGMAS: Final = 4.0
"""Standard errors that a share must rise beyond its bound."""
DEPENDENCE: Final = 8.0
"""Rows in time order repeat each other: shares are taken to have an eighth of their rows' worth of information."""


def labels(data: DataSpec, task: Task, holdout: DataProfile) -> Iterator[Check]:
    target = holdout.column(data.target)
    if target is None or target.distinct == 0:
        yield Check(
            name="label_share",
            subject=data.target,
            result="fail",
            n=holdout.rows,
            statement="The holdout has no labels.",
        )
    elif task == "classification":
        yield Check(
            name="label_share",
            subject=data.target,
            result="pass" if target.distinct > 1 else "fail",
            value=float(target.distinct),
            threshold=2.0,
            n=holdout.rows,
            statement=f"The holdout has {target.distinct} different labels; one class alone judges nobody.",
        )


def label_change(
    data: DataSpec, task: Task, reference: DataProfile | None, current: DataProfile, spec: ValidationSpec, where: str
) -> Iterator[Check]:
    """Labels coded anew would judge every model but the champion well, for that one learned the old ones."""
    name, n = data.target, current.rows
    then, now = None if reference is None else reference.column(name), current.column(name)
    if now is not None and now.infinite:
        yield _infinite(name, now, n, where)
    if then is None or now is None or "empty" in (then.family, now.family):
        return
    if then.family != now.family:
        yield _another_type(name, then, now, n, where)
    elif task == "regression" or (task == "ranking" and now.distinct > MOST_GRADES):
        yield from _numeric(name, then, now, n, spec, where)
    else:
        before, after = _class_shares(then), _class_shares(now)
        moved = sum(abs(before.get(label, 0.0) - after.get(label, 0.0)) for label in before.keys() | after.keys()) / 2
        bound = LABEL_SHIFT + share_error(0.5, n) / 2
        yield Check(
            name="label_share",
            subject=name,
            result="pass" if moved <= bound else "fail",
            value=moved,
            threshold=bound,
            n=n,
            statement=f"{moved:.0%} of the labels in the {where} are of another {'grade' if task == 'ranking' else 'class'} "
            f"than in the champion's training rows"
            f" (up to {bound:.0%} is accepted).",
        )


def _class_shares(labels: ColumnProfile) -> Mapping[str, float]:
    """Share of each label; of numbers, to a hundredth."""
    if labels.family != "numeric":
        return labels.categories
    counts = Counter(f"{value:g}" for value in labels.quantiles)
    return {label: count / len(labels.quantiles) for label, count in counts.items()}


def column(
    name: str, reference: DataProfile | None, current: DataProfile, spec: ValidationSpec, where: str
) -> Iterator[Check]:
    now = current.column(name)
    if now is None:
        return  # the schema check says so
    then = None if reference is None else reference.column(name)
    n = current.rows
    if now.infinite:
        yield _infinite(name, now, n, where)
    if then is None or reference is None:
        if now.family == "empty":
            yield _fail("nulls", name, 1.0, 1.0, n, f"{name} has only nulls in the {where}.")
        yield Check(
            name="reference",
            subject=name,
            result="could_not_check",
            severity="warn",
            statement=f"{name}: no training rows of the champion are on record to compare with.",
        )
        return
    yield from _nulls(name, then, now, n, spec, where)
    if "empty" in (then.family, now.family):
        return
    if then.family != now.family:
        yield _another_type(name, then, now, n, where)
    elif now.family == "numeric":
        yield from _numeric(name, then, now, n, spec, where)
    elif now.family == "categorical":
        yield from _categories(name, then, now, n, spec, where)


def _nulls(
    name: str, then: ColumnProfile, now: ColumnProfile, n: int, spec: ValidationSpec, where: str
) -> Iterator[Check]:
    rise = now.null_share - then.null_share
    bound = spec.max_null_increase + share_error(then.null_share, n)
    yield Check(
        name="nulls",
        subject=name,
        result="pass" if rise <= bound else "fail",
        value=rise,
        threshold=bound,
        n=n,
        statement=f"{name}: {now.null_share:.1%} nulls in the {where}, {then.null_share:.1%} in the champion's training rows"
        f" (a rise of {bound:.1%} is accepted).",
    )


def _numeric(
    name: str, then: ColumnProfile, now: ColumnProfile, n: int, spec: ValidationSpec, where: str
) -> Iterator[Check]:
    low, high = then.quantiles[0], then.quantiles[-1]
    width = high - low
    if width == 0:
        if now.distinct > 1 or now.quantiles[0] != low:
            text = f"{name} was always {low:.4g} in the champion's training rows and is not in the {where}."
            yield Check(name="range", subject=name, result="fail", severity="warn", n=n, statement=text)
        return
    factor = _factor(then, now)
    if factor is not None:
        text = f"{name} is about {factor:,.3g} times what it was in the champion's training rows ({where}): a changed unit?"
        yield _fail("unit", name, factor, UNIT_FACTOR, n, text)
    conversion = _conversion(then, now)
    if conversion is not None:
        text = f"{name} is what it was in the champion's training rows, turned from {conversion} ({where}), or the season changed."
        yield Check(name="unit", subject=name, result="fail", severity="warn", n=n, statement=text)
    if name in spec.skip_range:
        return
    outside = sum(1 for q in now.quantiles if q < low - width / 2 or q > high + width / 2) / len(now.quantiles)
    bound = spec.max_outside_range + share_error(0.0, n)
    yield Check(
        name="range",
        subject=name,
        result="pass" if outside <= bound else "fail",
        value=outside,
        threshold=bound,
        n=n,
        statement=f"{name}: {outside:.0%} of the {where} lies outside [{low:.4g}, {high:.4g}] widened by half (up to {bound:.0%}"
        " is accepted).",
    )
    if now.distinct == 1:
        text = f"{name} is constant in the {where}; in the champion's training rows it was not."
        yield Check(name="constant", subject=name, result="fail", severity="warn", n=n, statement=text)


def _factor(then: ColumnProfile, now: ColumnProfile) -> float | None:
    """How many times larger the column became, where middle and spread agree on a factor beyond `UNIT_FACTOR`."""

    def middle(column: ColumnProfile) -> tuple[float, float]:
        return column.quantiles[50], column.quantiles[90] - column.quantiles[10]

    (m0, s0), (m1, s1) = middle(then), middle(now)
    if not (m0 and m1 and s0 > 0 and s1 > 0) or (m0 > 0) != (m1 > 0):
        return None
    by_middle, by_spread = m1 / m0, s1 / s0
    agree = 1 / 4 <= by_middle / by_spread <= 4
    far = min(by_middle, by_spread) >= UNIT_FACTOR or max(by_middle, by_spread) <= 1 / UNIT_FACTOR
    return by_middle if agree and far else None


def _conversion(then: ColumnProfile, now: ColumnProfile) -> str | None:
    """Which of the `CONVERSIONS` was applied, where undoing it makes the column what it was."""
    spread = then.quantiles[90] - then.quantiles[10]

    def distance(undo: Callable[[float], float]) -> float:
        return sum(abs(undo(now.quantiles[q]) - then.quantiles[q]) for q in range(10, 100, 10)) / 9

    raw = distance(float)
    if raw <= spread / 4:
        return None
    return next((name for name, undo in CONVERSIONS.items() if distance(undo) * UNDONE < raw), None)


def _categories(
    name: str, then: ColumnProfile, now: ColumnProfile, n: int, spec: ValidationSpec, where: str
) -> Iterator[Check]:
    if then.distinct > len(then.categories):
        text = f"{name} had {then.distinct:,} categories in the champion's training rows, too many to keep: new ones are not told."
        yield Check(name="categories", subject=name, result="could_not_check", severity="warn", n=n, statement=text)
        return
    new = {value: share for value, share in now.categories.items() if value not in then.categories}
    share = sum(new.values())
    bound = spec.max_new_categories + share_error(0.0, n)
    shown = ", ".join(map(quoted, sorted(new, key=lambda value: -new[value])[:5]))
    yield Check(
        name="categories",
        subject=name,
        result="pass" if share <= bound else "fail",
        value=share,
        threshold=bound,
        n=n,
        statement=f"{name}: {share:.1%} of the {where} has categories the champion never saw"
        + (f" ({shown})" if new else "")
        + f"; up to {bound:.1%} is accepted.",
    )


def share_error(share: float, n: int) -> float:
    """Sampling error of a share, with rows that repeat each other; never less than one row's."""
    rows = max(n / DEPENDENCE, 1.0)
    p = min(max(share, 1 / rows), 0.5)
    return SIGMAS * sqrt(p * (1 - p) / rows)


def _infinite(name: str, now: ColumnProfile, n: int, where: str) -> Check:
    text = f"{name} has {now.infinite} infinite values in the {where}."
    return _fail("range", name, float(now.infinite), 0.0, n, text)


def _another_type(name: str, then: ColumnProfile, now: ColumnProfile, n: int, where: str) -> Check:
    text = f"{name} was {then.family} in the champion's training rows and is {now.family} in the {where}."
    return Check(name="schema", subject=name, result="fail", n=n, statement=text)


def _fail(name: str, subject: str, value: float, threshold: float, n: int, statement: str) -> Check:
    return Check(name=name, subject=subject, result="fail", value=value, threshold=threshold, n=n, statement=statement)
