"""What do all looks so far, taken together, say about a canary? A verdict on each metric of the plan, from the answers alone.

Every signal becomes a number in [0, 1] an answer, larger is worse; candidate and champion are matched in order of time and their
differences judged by the e-processes of `tools.sequential`. The verdict of a look follows from all answers so far, so nothing has to be
remembered between looks, and what was shown once stays shown.

Harm: the difference exceeds the metric's margin, at alpha divided by the number of critical metrics (one false alarm in any of them
is one too many; Bonferroni needs nothing of how they depend on one another). Safe: harm beyond the margin is excluded, and better:
worse than the champion is excluded, each at alpha undivided, since all of them must hold before anything is promoted.

Once all traffic is on the candidate it is alone: it is then held against an upper bound of the champion's mean, which is given a
twentieth of alpha. Harm that begins late, then or before, is found by those who begin to bet late.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tools import sequential
from tools.contracts.profile import Task
from tools.contracts.rollout import RolloutMetric, SignalName, SignalVerdict
from tools.observations import Observations
from tools.sequential import Floats, Rounds

ALONE: Final = 200
"""Answers of the candidate in a row, none of the champion's among them, before it counts as being alone."""
FOR_THE_BOUND: Final = 0.05
"""Part of alpha that the champion's upper bound takes."""
SLOW: Final = 0.95
"""Latency: an answer slower than this quantile of the champion's first answers is slow."""
BINS: Final = 5
MOST_CLASSES: Final = 20
_NUMERIC: Final = ("regression", "ranking")
Bools = NDArray[np.bool_]
Pairs = NDArray[np.intp]
"""(candidate's row, champion's row), a line each."""
NO_PAIRS: Final = np.empty((0, 2), dtype=np.intp)


def judge(
    *,
    metrics: Sequence[RolloutMetric],
    observations: Observations,
    champion: str,
    candidate: str,
    alpha: float,
    task: Task,
) -> tuple[SignalVerdict, ...]:
    """A verdict on each metric, in their order.

    Args:
        metrics: Of the plan.
        observations: All answers of both versions since the rollout began, or as many as `thinned` leaves, ordered by time.
        champion: Its version.
        candidate: Its version.
        alpha: Chance that a harmless candidate is called harmful by any critical metric at any look.
        task: Says how predictions and labels are compared.
    """
    rows = observations.of(np.isin(observations.version, [champion, candidate]))
    ours: Bools = rows.version == candidate
    share = alpha / max(1, sum(metric.critical for metric in metrics))
    verdicts = (_judged(metric, rows, ours, share, alpha, task) for metric in metrics)
    notes = ((verdict, _notes(verdict.name, observations)) for verdict in verdicts)
    return tuple(
        each.model_copy(update={"statement": f"{each.statement} {told}"}) if told else each for each, told in notes
    )


def _judged(
    metric: RolloutMetric, rows: Observations, ours: Bools, share: float, alpha: float, task: Task
) -> SignalVerdict:
    if metric.name == "disagreement":
        return _disagreement(metric, rows, ours, share, alpha, task)
    if metric.name == "prediction_distribution":
        return _distribution(metric, rows, ours, share, alpha, task)
    values, known, order = _VALUES[metric.name](metric, rows, ours, task)
    keep = order[known[order]]
    pairs = _pairs(rows.of(keep), ours[keep]) if metric.name == "quality" else NO_PAIRS
    return _compared(metric, values[keep], ours[keep], share, alpha, pairs)


# --- signals: (value in [0, 1] of each answer, whether it is known, order in which they became known) --------------------

Signal = tuple[Floats, Bools, NDArray[np.intp]]


def _in_time(rows: Observations) -> NDArray[np.intp]:
    return np.argsort(rows.at, kind="stable")


def _errors(_: RolloutMetric, rows: Observations, __: Bools, ___: Task) -> Signal:
    return rows.failed.astype(np.float64), np.ones(len(rows), dtype=bool), _in_time(rows)


def _missing(_: RolloutMetric, rows: Observations, __: Bools, ___: Task) -> Signal:
    """Answers that came, without a prediction in them."""
    return (~_predicted(rows)).astype(np.float64), ~rows.failed, _in_time(rows)


def _latency(metric: RolloutMetric, rows: Observations, ours: Bools, _: Task) -> Signal:
    """Slow or not. The champion's first answers say what is slow, and are not judged by it."""
    order, known = _in_time(rows), np.isfinite(rows.latency_ms) & ~rows.failed
    first = _first(order, known & ~ours, metric.min_samples)
    if not len(first):
        return np.zeros(len(rows)), np.zeros(len(rows), dtype=bool), order
    limit = float(np.quantile(rows.latency_ms[first], SLOW))
    known[first] = False
    return (rows.latency_ms > limit).astype(np.float64), known, order


def _quality(metric: RolloutMetric, rows: Observations, ours: Bools, task: Task) -> Signal:
    """Loss on labelled answers, in the order in which labels came: wrong or not; of a number, the absolute error as a part of
    the 95 % quantile of the champion's first errors, 1 at most."""
    order = np.lexsort((rows.at, rows.label_at))
    known = np.isfinite(rows.label_at) & _predicted(rows) & ~rows.failed
    if task not in _NUMERIC:
        return (~_same_each(rows.prediction, rows.label)).astype(np.float64), known, order
    predicted, label = _numbers(rows.prediction), _numbers(rows.label)
    known &= np.isfinite(predicted) & np.isfinite(label)
    error = np.abs(predicted - label)
    first = _first(order, known & ~ours, metric.min_samples)
    scale = float(np.quantile(error[first], SLOW)) if len(first) else 0.0
    known[first] = False
    return np.clip(np.nan_to_num(error, nan=1.0) / (scale or 1.0), 0.0, 1.0), known, order


def _estimated(_: RolloutMetric, rows: Observations, __: Bools, ___: Task) -> Signal:
    """Chance of being wrong by a version's own word. An overconfident version looks good here: see `_compared`."""
    known = np.isfinite(rows.probability) & (rows.probability >= 0) & (rows.probability <= 1) & ~rows.failed
    return np.minimum(rows.probability, 1 - rows.probability), known, _in_time(rows)


_VALUES: Final[dict[SignalName, Callable[[RolloutMetric, Observations, Bools, Task], Signal]]] = {
    "errors": _errors,
    "missing_values": _missing,
    "latency_ms": _latency,
    "quality": _quality,
    "estimated_quality": _estimated,
}


# --- verdicts ------------------------------------------------------------------------------------------------------------


def _compared(
    metric: RolloutMetric, values: Floats, ours: Bools, share: float, alpha: float, pairs: Pairs = NO_PAIRS
) -> SignalVerdict:
    """Two arms in one order."""
    n_ours, n_theirs = int(ours.sum()), int((~ours).sum())
    if min(n_ours, n_theirs) < metric.min_samples:
        return _no_data(metric, n_theirs, n_ours)
    rounds = sequential.rounds_of(_differences(values, ours, pairs))
    ends = sequential.last_shared(ours)
    alone = values[ends:] if len(values) - ends >= ALONE else values[:0]
    harmful = _harmful(metric.margin, rounds, values[:ends][~ours[:ends]], alone, share)
    low, high = sequential.bounds(rounds, alpha)
    outcome, better = _outcome(metric, rounds, harmful, alpha)
    if metric.name == "estimated_quality":
        # A version's own word may warn; it clears nobody, least of all the one that gives it.
        outcome, better = ("harmful" if outcome == "harmful" else "inconclusive"), False
    return _told(
        metric, outcome, better, n_theirs, n_ours, float(values[~ours].mean()), float(values[ours].mean()), low, high
    )


def _differences(values: Floats, ours: Bools, pairs: Pairs) -> Floats:
    """Two answers to one request are compared with each other, all others arm by arm; in the order in which they became known."""
    if not len(pairs):
        return sequential.matched(values, ours)
    rest = np.ones(len(values), dtype=bool)
    rest[pairs.ravel()] = False
    (others,) = np.nonzero(rest)
    matching = sequential.matching(ours[others])
    d = np.concatenate([values[pairs[:, 0]] - values[pairs[:, 1]], matching.differences(values[others])])
    known = np.concatenate([pairs.max(axis=1), others[matching.ends]])
    d = d[np.argsort(known, kind="stable")]
    return d[: len(d) // sequential.CHUNK * sequential.CHUNK]


def _harmful(margin: float, rounds: Rounds, champions: Floats, alone: Floats, share: float) -> bool:
    """Who is alone is bet on against the champion's upper bound, with what was won or lost before and by those who begin late."""
    enough = -np.log(share * (1 - FOR_THE_BOUND))
    if sequential.evidence_of_harm(rounds, margin) >= enough:
        return True
    if not len(alone):
        return False
    limit = sequential.upper_bound(champions, share * FOR_THE_BOUND) + margin
    after = sequential.rounds_of(alone)
    nulls = np.concatenate([np.full(len(rounds.d), margin), np.full(len(alone), limit)])
    return sequential.evidence_of_harm(sequential.joined(rounds, after), nulls) >= enough


def _outcome(metric: RolloutMetric, rounds: Rounds, harmful: bool, alpha: float) -> tuple[str, bool]:
    enough = -np.log(alpha)
    if harmful:
        return "harmful", False
    safe = sequential.evidence_below(rounds, metric.margin) >= enough
    better = sequential.evidence_below(rounds, 0.0) >= enough
    return ("safe" if safe or better else "inconclusive"), bool(better)


def _disagreement(
    metric: RolloutMetric, rows: Observations, ours: Bools, share: float, alpha: float, task: Task
) -> SignalVerdict:
    """Requests that both versions answered: how many of them differently. Numbers differ by more than a tenth of the spread (the
    interquartile range) of the champion's first answers."""
    pairs = _pairs(rows, ours)
    if len(pairs) < metric.min_samples:
        return _no_data(metric, len(pairs), len(pairs))
    mine, theirs = rows.prediction[pairs[:, 0]], rows.prediction[pairs[:, 1]]
    if task in _NUMERIC:
        a, b = _numbers(mine), _numbers(theirs)
        first = b[: metric.min_samples]
        if not np.isfinite(first).any():
            return _no_data(metric, 0, int(np.isfinite(a).sum()))
        quarters = np.quantile(first[np.isfinite(first)], [0.25, 0.75])
        differs = ~(np.abs(a - b) <= 0.1 * (quarters[1] - quarters[0]))
    else:
        differs = ~_same_each(mine, theirs)
    rounds = sequential.rounds_of(differs.astype(np.float64))
    harmful = sequential.evidence_of_harm(rounds, metric.margin) >= -np.log(share)
    outcome, _ = _outcome(metric, rounds, harmful, alpha)
    low, high = sequential.bounds(rounds, alpha)
    return _told(metric, outcome, False, len(pairs), len(pairs), None, float(differs.mean()), max(low, 0.0), high)


def _distribution(
    metric: RolloutMetric, rows: Observations, ours: Bools, share: float, alpha: float, task: Task
) -> SignalVerdict:
    """The largest difference, either way, in the share of a class; of numbers, of a fifth of the champion's first answers."""
    keep = _in_time(rows)
    keep = keep[(_predicted(rows) & ~rows.failed)[keep]]
    predictions, mine = rows.prediction[keep], ours[keep]
    if task in _NUMERIC:
        finite = np.isfinite(_numbers(predictions))
        predictions, mine = predictions[finite], mine[finite]
    (theirs,) = np.nonzero(~mine)
    # The champion's first answers make the bins, and are not judged by them: they fit them too well.
    first = theirs[: metric.min_samples // 2 or 1]
    if not len(first):
        return _no_data(metric, 0, int(mine.sum()))
    bins, count = _bins(predictions, first, task)
    judged = np.ones(len(mine), dtype=bool)
    judged[first] = False
    bins, mine = bins[judged], mine[judged]
    n_ours, n_theirs = int(mine.sum()), int((~mine).sum())
    if min(n_ours, n_theirs) < metric.min_samples:
        return _no_data(metric, n_theirs, n_ours)
    matching = sequential.matching(mine)
    found = [
        _bin(
            metric.margin,
            sequential.rounds_of(matching.differences((bins == b).astype(np.float64))),
            share,
            alpha,
            count,
        )
        for b in range(count)
    ]
    outcome = "harmful" if "harmful" in found else "safe" if set(found) == {"safe"} else "inconclusive"
    before, after = (np.bincount(bins[arm], minlength=count) / arm.sum() for arm in (~mine, mine))
    apart = np.abs(after - before)
    worst = int(np.argmax(np.where(np.array(found) == outcome, apart, -1.0)))
    rounds = sequential.rounds_of(matching.differences((bins == worst).astype(np.float64)))
    low, high = sequential.bounds(rounds, alpha)
    return _told(metric, outcome, False, n_theirs, n_ours, float(before[worst]), float(after[worst]), low, high)


def _bin(margin: float, rounds: Rounds, share: float, alpha: float, bins: int) -> str:
    """Two-sided: a class may become rarer or more frequent."""
    sides = (rounds, sequential.mirror(rounds))
    threshold = -np.log(share / (2 * bins))
    if any(sequential.evidence_of_harm(side, margin) >= threshold for side in sides):
        return "harmful"
    safe = all(sequential.evidence_below(side, margin) >= -np.log(alpha) for side in sides)
    return "safe" if safe else "inconclusive"


# --- small pieces --------------------------------------------------------------------------------------------------------


def _notes(name: SignalName, observations: Observations) -> str:
    """What of the log a reader of the verdict must know."""
    told: list[str] = []
    if observations.cut:
        told.append("There are so many answers that of the later ones a part was read, chosen by request id.")
    lost, again = observations.orphan_labels, observations.doubled_labels
    if name == "quality" and (lost or again):
        told.append(f"Labels that did not count: {lost:,} match no request, {again:,} came again.")
    return " ".join(told)


def _no_data(metric: RolloutMetric, champions: int, candidates: int) -> SignalVerdict:
    return SignalVerdict(
        name=metric.name,
        outcome="no_data",
        critical=metric.critical,
        champion_n=champions,
        candidate_n=candidates,
        statement=f"{metric.name}: {candidates:,} answers of the candidate and {champions:,} of the champion to go by, "
        f"{metric.min_samples:,} of each are asked for.",
    )


def _told(
    metric: RolloutMetric,
    outcome: Any,
    better: bool,
    champions: int,
    candidates: int,
    champion: float | None,
    candidate: float,
    low: float | None,
    high: float | None,
) -> SignalVerdict:
    difference = candidate - (champion or 0.0)
    against = "" if champion is None else f" against the champion's {champion:.4f}"
    says = {"harmful": "more", "safe": "surely no more", "inconclusive": "not yet known whether more"}[outcome]
    return SignalVerdict(
        name=metric.name,
        outcome=outcome,
        better=better,
        critical=metric.critical,
        champion_n=champions,
        candidate_n=candidates,
        champion_value=champion,
        candidate_value=candidate,
        difference=difference,
        low=low,
        high=high,
        statement=f"{metric.name}: {candidate:.4f}{against} ({candidates:,} and {champions:,} answers), "
        f"{says} than the margin of {metric.margin:g} worse.",
    )


def _first(order: NDArray[np.intp], keep: Bools, count: int) -> NDArray[np.intp]:
    """The first rows of the champion, by which a limit is set."""
    return order[keep[order]][: count // 2 or 1]


def _predicted(rows: Observations) -> Bools:
    """None and NaN are no prediction."""
    return np.array([value is not None and value == value for value in rows.prediction], dtype=bool)


def _numbers(values: NDArray[np.object_]) -> Floats:
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except (TypeError, ValueError):
        return np.nan


def _same_each(some: NDArray[np.object_], others: NDArray[np.object_]) -> Bools:
    """Most are the very same value, which numpy sees a hundred times faster than a loop."""
    same = np.array(some == others, dtype=bool)
    (rest,) = np.nonzero(~same)
    same[rest] = [_same(some[i], others[i]) for i in rest]
    return same


def _same(one: Any, other: Any) -> bool:
    """Classes as they come out of two tables: 1, 1.0 and "1" are the same."""
    if one == other:
        return True
    a, b = _number(one), _number(other)
    return a == b if np.isfinite(a) and np.isfinite(b) else str(one) == str(other)


def _pairs(rows: Observations, ours: Bools) -> Pairs:
    """(candidate's row, champion's row) of each request that both answered with a prediction, by the time of the later one."""
    good = _predicted(rows) & ~rows.failed
    theirs = {rows.request_id[i]: i for i in np.nonzero(good & ~ours)[0]}
    both = [(i, theirs[rows.request_id[i]]) for i in np.nonzero(good & ours)[0] if rows.request_id[i] in theirs]
    if not both:
        return NO_PAIRS
    pairs = np.array(both, dtype=np.intp)
    return pairs[np.argsort(rows.at[pairs].max(axis=1), kind="stable")]


def _bins(predictions: NDArray[np.object_], first: NDArray[np.intp], task: Task) -> tuple[NDArray[np.intp], int]:
    """The bin of each prediction, and how many there are; classes that the champion's first answers did not have share the last
    one, which counts whether or not one came: what was found must not be lost when it does."""
    if task in _NUMERIC:
        numbers = _numbers(predictions)
        edges = np.unique(np.quantile(numbers[first], np.linspace(0, 1, BINS + 1)[1:-1]))
        return np.searchsorted(edges, numbers, side="left"), len(edges) + 1
    names = np.array([str(value) for value in predictions], dtype=object)
    classes, counts = np.unique(names[first], return_counts=True)
    known = {name: k for k, name in enumerate(classes[np.argsort(-counts, kind="stable")][:MOST_CLASSES])}
    return np.array([known.get(name, len(known)) for name in names], dtype=np.intp), len(known) + 1
