"""Is a leaky feature accused, and an honest one left alone?

Leaks of AUC 0.75 and above are planted as a noisy copy of the label, as a column that is filled after the event, and as the mean
label of small groups. `clean in the reference`: the leak takes an existing column's place, with that column's own values in the
leak's order, so that its distribution tells nothing. `in both`: a new column, there already when the champion was trained. Caught
is an accusation of that column, blocking or not; how many block stands in a row of its own. Beside them
stand `UNTOUCHED` times as many untouched windows: a share of 2 in 100 is not told by a hundred.
Windows with fewer than `LEAST_EVENTS` rows of either kind carry no leak and are not counted.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from evals.decisions.staleness_cuts import SPEC, Cut, cuts, event, few, sample
from evals.decisions.staleness_streams import Stream
from evals.report import Row, at_least, share
from tools.contracts.evidence import Check
from tools.leakage import leak_checks, strengths
from tools.out_of_fold import auc

STRENGTHS: Final = (0.76, 0.8, 0.9, 0.98)
"""AUC a leak is planted with; the window's own is a little off, and one below 0.75 is planted again."""
LEAST_EVENTS: Final = 20
UNTOUCHED: Final = 4


def _copy(happened: Any, wanted: float, random: np.random.Generator) -> Any:
    return happened * float(norm.ppf(wanted)) * 2**0.5 + random.normal(size=len(happened))


def _afterwards(happened: Any, wanted: float, random: np.random.Generator) -> Any:
    """An amount that is booked after the event: mostly where it happened, now and then where it did not."""
    seldom = min(0.1, 1 - (2 * wanted - 1))
    booked = random.random(len(happened)) < np.where(happened, 2 * wanted - 1 + seldom, seldom)
    return np.where(booked, random.lognormal(3, 1, len(happened)), 0.0)


def _encoded(happened: Any, wanted: float, random: np.random.Generator) -> Any:
    """Mean label of small groups, the row itself among them: the size of group that comes nearest to the AUC wanted."""
    tries = []
    for size in range(1, 9):
        group = random.permutation(len(happened)) // size
        mean = np.bincount(group, weights=happened) / np.bincount(group)
        tries.append(mean[group] + random.normal(size=len(happened)) * 1e-6)
    fit = [one for one in tries if auc(one, happened) >= SPEC.leak_auc]
    return min(fit, key=lambda one: abs(auc(one, happened) - wanted))


KINDS: Final[dict[str, Callable[[Any, float, np.random.Generator], Any]]] = {
    "noisy copy": _copy,
    "filled after the event": _afterwards,
    "mean label of groups": _encoded,
}


def plant(frame: Any, stream: Stream, kind: str, wanted: float, random: np.random.Generator) -> Any:
    """Values of a leak with an AUC of at least 0.75 in these rows."""
    happened = event(frame, stream)
    for _ in range(100):
        values = KINDS[kind](happened, wanted, random)
        if auc(values, happened) >= SPEC.leak_auc:
            return values
    raise AssertionError(f"{kind} of {wanted} does not reach {SPEC.leak_auc}")  # pragma: no cover


def accusations(window: Any, reference: Any, stream: Stream, features: tuple[str, ...]) -> tuple[Check, ...]:
    """Leak checks that accuse, as a run makes them."""
    now = strengths(sample(window, stream, features), least=SPEC.leak_auc)
    near = [one.name for one in now.values() if one.own is not None]
    then = strengths(sample(reference, stream, features), least=1.0, also=near)
    checks = leak_checks(now=now, then=then, rows=len(window), spec=SPEC)
    return tuple(check for check in checks if check.result == "fail")


def rows(streams: tuple[Stream, ...], times: int, random: np.random.Generator) -> list[Row]:
    """Both places, and the untouched windows."""
    found: list[Row] = []
    each = -(-times // len(KINDS))
    for where in ("clean in the reference", "in both"):
        caught = blocked = planted = 0
        for kind in KINDS:
            hits = tried = 0
            for number, cut in enumerate(cuts(streams, each, random)):
                if not (_plantable(cut.window, cut.stream) and _plantable(cut.reference, cut.stream)):
                    continue
                tried += 1
                wanted = STRENGTHS[number % len(STRENGTHS)]
                accused = _accused_leak(cut, where, kind, wanted, random)
                hits += bool(accused)
                blocked += any(check.severity == "block" for check in accused)
            found.append(share(f"leak caught, {where}: {kind}", hits, tried))
            caught, planted = caught + hits, planted + tried
        found.append(at_least(f"leak of AUC 0.75 and above caught, {where}", caught, planted, 0.95))
        found.append(share(f"leak blocks, {where}", blocked, planted))
    wrong = blocking = 0
    untouched = UNTOUCHED * times
    for cut in cuts(streams, untouched, random):
        accused = accusations(cut.window, cut.reference, cut.stream, cut.stream.features)
        wrong += bool(accused)
        blocking += any(check.severity == "block" for check in accused)
    found.append(few("untouched window with a feature accused", wrong, untouched))
    found.append(few("untouched window with a feature accused so that it blocks", blocking, untouched))
    return found


def _plantable(frame: Any, stream: Stream) -> bool:
    happened = event(frame, stream)
    return bool(min(happened.sum(), (~happened).sum()) >= LEAST_EVENTS)


def _accused_leak(cut: Cut, where: str, kind: str, wanted: float, random: np.random.Generator) -> tuple[Check, ...]:
    stream, window, reference = cut.stream, cut.window, cut.reference
    leak = plant(window, stream, kind, wanted, random)
    if where == "in both":
        old = plant(reference, stream, kind, wanted, random)
        window, reference = window.assign(leak__=leak), reference.assign(leak__=old)
        name, features = "leak__", (*stream.features, "leak__")
    else:
        numbers = [
            one for one in stream.features if pd.api.types.is_numeric_dtype(window[one]) and window[one].nunique() > 8
        ]
        if not numbers:
            return _accused_leak(cut, "in both", kind, wanted, random)
        name, features = str(random.choice(numbers)), stream.features
        known = np.sort(window[name].dropna().to_numpy(float))
        place = (rankdata(leak, "ordinal") - 1) * len(known) // len(leak)
        window = window.assign(**{name: known[place]})
    return tuple(check for check in accusations(window, reference, stream, features) if check.subject == name)
