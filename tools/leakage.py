"""Does a feature give the target away?

A feature may be strong. What tells a copy of the label from a cause of it is where its strength comes from. Three numbers a
feature, on a bounded sample in time order:

- `alone`: AUC with which it ranks the target by itself (best of the target's yes-or-no questions);
- `own`: AUC of what the other features and its neighbours in time do not foretell of it. A cause moves with the world: the
  price before and after foretells the price, so little of its strength is its own. A copy of the label is foretold by nothing
  but the label, and keeps its strength;
- `explained`: share of its variance, *given the label*, that the others and its neighbours foretell. Of a copy nothing is left.

Accused is what ranks the target with `leak_auc` or more and bears the signature of a copy, unless it was a cause for the champion
and neither lost its tie to the rest nor gained strength of its own. Losing the tie while it gains blocks; a gain alone warns,
since the world may have moved. A signature that the champion's rows bear too warns, since a
strong cause that nothing foretells looks the same, and blocks only where the target is all but given. A name in
`allow_leak` warns and never blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal

import numpy as np

from tools.contracts.evidence import Check
from tools.contracts.profile import ValidationSpec
from tools.out_of_fold import auc, auc_error, by_line, by_trees, ranks, score_of
from tools.sampled_rows import BoolArray, FloatArray, SampledRows

LEAST_ROWS: Final = 300
"""Fewer labelled rows cannot tell a leak from luck."""
COPY: Final = 0.4
"""A cause has more than this share of its variance, given the label, explained by the rest of the world."""
OWN: Final = 0.3
"""A copy keeps at least this share of its strength as its own."""
GAIN: Final = 0.1
"""Strength of its own that a feature may gain while the world moves."""
OUTRIGHT: Final = 0.85
"""Strength of its own that no cause has been seen to have."""
FEWEST_CHANGES: Final = 30
"""A column that stands still for long stretches (a day of the month) tells too few stories to be judged."""
GIVEN_AWAY: Final = 0.97
"""A feature that alone ranks this well all but gives the target."""
UNTIED: Final = 0.3
"""Fall of `explained` that makes a column another one."""


@dataclass(frozen=True)
class Strength:
    """What one feature knows of the target. `own` and `explained` are measured only where `alone` is near the bound."""

    name: str
    alone: float
    error: float
    """Standard error of `alone`, about that of `own` too."""
    own: float | None = None
    explained: float | None = None
    constant: bool = False


def strengths(rows: SampledRows, *, least: float, also: Sequence[str] = ()) -> dict[str, Strength]:
    """Every feature's strength; `own` for those that reach `least` within their error, and for those named in `also`."""
    events = rows.events()
    if len(rows) < LEAST_ROWS or not events:
        return {}
    found: dict[str, Strength] = {}
    for name, values in rows.features.items():
        is_code = name in rows.categorical
        scores = [score_of(values, event, is_code) for event in events]
        ranks = [auc(score, event) for score, event in zip(scores, events, strict=True)]
        best = int(np.argmax(ranks))
        alone, error = ranks[best], auc_error(ranks[best], events[best])
        constant = bool(np.isnan(values).all()) or bool(np.nanmin(values) == np.nanmax(values))
        own = explained = None
        if (name in also or alone + error >= least) and _changes(values) >= FEWEST_CHANGES:
            own, explained = _own(name, scores[best], rows, events[best])
        found[name] = Strength(name, alone, error, own, explained, constant)
    return found


def leak_checks(
    *,
    now: Mapping[str, Strength],
    then: Mapping[str, Strength] | None,
    rows: int,
    spec: ValidationSpec,
) -> tuple[Check, ...]:
    """One check a feature that is accused, and one for all that are not.

    Args:
        now: strengths in the rows that will judge.
        then: strengths in the champion's training rows; None where nothing is on record.
        rows: labelled rows looked at.
    """
    if not now:
        text = f"{rows:,} labelled rows of both outcomes are too few to tell whether a feature gives the target away."
        return (Check(name="target_leakage", result="could_not_check", severity="warn", n=rows, statement=text),)
    accused = [check for one in now.values() if (check := _accuse(one, (then or {}).get(one.name), rows, spec))]
    cleared = len(now) - len(accused)
    strongest = max(now.values(), key=lambda one: one.alone)
    return (
        *accused,
        Check(
            name="target_leakage",
            subject="other features" if accused else "data set",
            result="pass",
            value=strongest.alone if not accused else None,
            threshold=spec.leak_auc if not accused else None,
            n=rows,
            counts={"features": len(now), "accused": len(accused), "rows": rows},
            statement=f"{cleared} features do not give the target away ({rows:,} labelled rows looked at)"
            + (
                "." if accused else f"; the strongest, {strongest.name}, ranks it with AUC {strongest.alone:.2f} alone."
            ),
        ),
    )


def _accuse(now: Strength, then: Strength | None, rows: int, spec: ValidationSpec) -> Check | None:
    if now.own is None or now.explained is None or now.alone + now.error < spec.leak_auc:
        return None
    known = then if then is not None and then.own is not None and not then.constant else None
    gained = False
    if known is not None and known.own is not None:
        noise = 2 * sqrt(now.error**2 + known.error**2)
        gained = now.own - known.own > GAIN + noise and now.alone > known.alone
    was = None if known is None else known.explained
    tied = was is not None and was >= COPY
    untied = was is not None and tied and was - now.explained >= UNTIED
    copy = now.explained < COPY and now.own - 0.5 >= OWN * (now.alone - 0.5)
    # What was a cause for the champion and is tied to the rest as ever remains one, however strong it has become.
    if not (now.own >= OUTRIGHT or (copy and (untied or gained or not tied))):
        return None
    all_but = now.alone >= GIVEN_AWAY
    blocks = (all_but or (gained and untied)) and now.name not in spec.allow_leak
    severity: Literal["block", "warn"] = "block" if blocks else "warn"
    return Check(
        name="target_leakage",
        subject=now.name,
        result="fail",
        severity=severity,
        value=now.alone,
        threshold=spec.leak_auc,
        n=rows,
        counts={"rows": rows},
        statement=_sentence(now, known, gained, spec),
    )


def _sentence(now: Strength, then: Strength | None, gained: bool, spec: ValidationSpec) -> str:
    told = f"{now.name} alone ranks the target with AUC {now.alone:.2f}"
    if gained and then is not None:
        told += f" ({then.alone:.2f} in the champion's training rows)"
    explained = max(now.explained or 0.0, 0.0)
    told += (
        f", {now.own:.2f} by what nothing else foretells; given the target, other features and neighbours in time explain"
        f" {explained:.0%} of it: a copy of the label?"
    )
    return told + (" It is allowed to." if now.name in spec.allow_leak else "")


def late_feature_checks(
    *,
    mature: Mapping[str, FloatArray],
    newest: Mapping[str, FloatArray],
    now: Mapping[str, Strength],
    spec: ValidationSpec,
) -> tuple[Check, ...]:
    """Features that are there only once the label is: null, or one constant, in the newest rows that have no label yet.

    Args:
        mature: values of the rows with a mature label that lie just before the newest.
        newest: values of the newest rows, whose label is not mature.
    """
    first = next(iter(newest), None)
    n, before = (0, 0) if first is None else (len(newest[first]), len(mature[first]))
    if n < FEWEST_NEWEST or before < FEWEST_NEWEST:
        text = f"{n:,} of the newest rows have no mature label: too few to tell which features are known only after the event."
        return (
            Check(
                name="target_leakage",
                subject="known afterwards",
                result="could_not_check",
                severity="warn",
                n=n,
                statement=text,
            ),
        )
    found = [check for name in newest if (check := _late(name, mature[name], newest[name], now.get(name), spec))]
    text = f"No feature waits for the label: {n:,} rows without one hold what {before:,} rows before them hold."
    passed = Check(name="target_leakage", subject="known afterwards", result="pass", n=n, statement=text)
    return tuple(found) or (passed,)


FEWEST_NEWEST: Final = 30
LATE: Final = 0.5
"""Rise of nulls between rows with a label and rows without that only waiting for the label explains."""


def _late(
    name: str, mature: FloatArray, newest: FloatArray, strength: Strength | None, spec: ValidationSpec
) -> Check | None:
    before, after = float(np.isnan(mature).mean()), float(np.isnan(newest).mean())
    values = np.unique(newest[~np.isnan(newest)])
    held = np.unique(mature[~np.isnan(mature)])
    strong = strength is not None and strength.alone + strength.error >= spec.leak_auc
    if after - before >= LATE:
        told = f"{name} is null in {after:.0%} of the newest rows, which have no label yet, and in {before:.0%} just before"
    elif strong and len(values) == 1 and len(held) > 1:
        told = f"{name} is constant in the newest rows, which have no label yet, and ranks the target elsewhere"
    else:
        return None
    return Check(
        name="target_leakage",
        subject=name,
        result="fail",
        severity="block" if (after - before >= 0.9 or strong) and name not in spec.allow_leak else "warn",
        value=after - before,
        threshold=LATE,
        n=len(newest),
        counts={"rows": len(newest), "null": int(np.isnan(newest).sum())},
        statement=f"{told}: known only after the event, or its pipeline stopped.",
    )


def _own(name: str, score: FloatArray, rows: SampledRows, event: BoolArray) -> tuple[float, float]:
    """(`own`, `explained`): see the module's docstring."""
    others = [_filled(values) for other, values in rows.features.items() if other != name]
    around = [np.roll(score, shift) for shift in (1, 2, -1, -2)]
    plain = np.column_stack([*others, *(np.abs(other) for other in others), *around])
    own = auc(score - by_line(plain, score), event)
    given = _given_label(score, rows)
    spread = float(given.var())
    if spread <= 1e-9 * max(float(score.var()), 1e-12):
        return own, 0.0
    label = event.astype(float)
    with_label = np.column_stack([plain, *(near * label for near in around), label])
    explained = 1 - float((given - by_line(with_label, given)).var()) / spread
    if explained < COPY and own - 0.5 >= OWN * 0.2:
        # Whoever is about to be accused gets a second hearing: a tie that no line shows.
        second = by_trees(np.column_stack([*others, *around, label]), given)
        explained = max(explained, 1 - float((given - second).var()) / spread)
    return own, explained


def _changes(values: FloatArray) -> int:
    known = values[~np.isnan(values)]
    return int(np.count_nonzero(np.diff(known))) + int(np.count_nonzero(np.diff(np.isnan(values))))


def _filled(values: FloatArray) -> FloatArray:
    return ranks(values) + np.where(np.isnan(values), -1.0, 0.0)


def _given_label(score: FloatArray, rows: SampledRows) -> FloatArray:
    """What of the score the label does not tell: its distance from the mean of rows with that label."""
    if rows.task == "classification":
        groups = np.unique(rows.labels, return_inverse=True)[1]
    else:
        cuts = np.unique(np.quantile(rows.labels, np.linspace(0, 1, 21)[1:-1]))
        groups = np.searchsorted(cuts, rows.labels)
    means = np.bincount(groups, weights=score) / np.maximum(np.bincount(groups), 1)
    return score - means[groups]
