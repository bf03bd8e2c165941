"""What did the gate do with bad, good and no-change candidates, and what would others have done?

Bad: a true loss in what the kind is about. "Beyond what the profile accepts": more than the margin that the profile states for it,
which is what `non_inferior` promises to keep out. Good: a true gain of the primary metric and no true loss elsewhere; "by at least
what is asked" leaves out gains below `min_improvement`, which the gate is told not to deploy for.
No-change pairs are exchangeable, yet a pair may truly differ: the rows that leave those out stand beside the strict ones.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from evals.decisions.gate_cases import APART, BAD, GOOD, SAME
from evals.decisions.gate_duels import SWEEP
from evals.decisions.gate_judge import LEAST_POWER, Judged
from evals.decisions.gate_rivals import RIVALS
from evals.report import Row, at_least, at_most, share

MOVES = ("deploy", "canary")
EVIDENCE = {
    APART[0]: "data validation's leak check is there for it",
    APART[1]: "data validation's skew check and the canary are there for it",
}
Frontier = list[tuple[str, float, float, float]]
"""(name, bad deployed, good sent to a person, good deployed), rates."""


def rows(found: Sequence[Judged], about: str = "") -> list[Row]:
    """The whole report of one set of cases."""
    kept = {family: [j for j in found if j.family == family and j.status == "kept"] for family in FAMILIES}
    made = [*_counted(found), *_bad(kept["bad"]), *_same(kept["same"]), *_refresh(kept), *_good(kept["good"])]
    made += _places(kept) + _apart(found)
    # A share of no case at all says nothing, unless it has a target that is then not shown to be met.
    told = [row for row in made if row.n or row.target or row.low is None]
    return [replace(row, name=f"{about}{row.name}") for row in told]


FAMILIES = ("bad", "good", "same", "apart")
TOLD = {"bad": "bad", "good": "good", "same": "no-change"}


def _hits(found: Sequence[Judged], test: Callable[[Judged], bool]) -> int:
    return sum(test(j) for j in found)


def _deployed(found: Sequence[Judged], mode: str = "improved") -> int:
    return _hits(found, lambda j: j.decisions[mode] == "deploy")


def _counted(found: Sequence[Judged]) -> list[Row]:
    made: list[Row] = []
    for family, told in TOLD.items():
        mine = [j for j in found if j.family == family]
        status = Counter(j.status for j in mine)
        made.append(Row(f"{told} candidates judged", float(status["kept"]), n=len(mine)))
        made += [
            Row(f"{told} candidates excluded: {name}", float(count), n=len(mine))
            for name, count in sorted(status.items())
            if name != "kept"
        ]
    return made


def _bad(bad: Sequence[Judged]) -> list[Row]:
    beyond = [j for j in bad if j.beyond]
    made = [
        at_most("bad deployed, promote_on: improved", _deployed(bad), len(bad), 0.01),
        share(
            "bad sent to a canary, promote_on: improved",
            _hits(bad, lambda j: j.decisions["improved"] == "canary"),
            len(bad),
        ),
        at_most("bad beyond what the profile accepts: deployed", _deployed(beyond), len(beyond), 0.01),
        share("bad rejected", _hits(bad, lambda j: j.decisions["improved"] == "reject"), len(bad)),
    ]
    made += [
        share(f"bad deployed by '{name}'", _hits(bad, lambda j, name=name: j.rivals[name]), len(bad)) for name in RIVALS
    ]
    for kind in BAD:
        mine = [j for j in bad if j.kind == kind]
        if not mine:
            continue
        made.append(share(f"bad, {kind}: deployed", _deployed(mine), len(mine)))
        made.append(
            share(f"bad, {kind}: canary", _hits(mine, lambda j: j.decisions["improved"] == "canary"), len(mine))
        )
        made += [
            share(f"bad, {kind}: deployed by '{name}'", _hits(mine, lambda j, name=name: j.rivals[name]), len(mine))
            for name in RIVALS
        ]
    return made


def _same(same: Sequence[Judged]) -> list[Row]:
    alike = [j for j in same if not j.differs]
    made = [
        at_most("no-change deployed, promote_on: improved", _deployed(same), len(same), 0.05),
        at_most("no-change whose truth holds 0: deployed, promote_on: improved", _deployed(alike), len(alike), 0.05),
        share("no-change whose truth leaves 0 out", len(same) - len(alike), len(same)),
        share(
            "no-change sent to a canary, promote_on: improved",
            _hits(same, lambda j: j.decisions["improved"] == "canary"),
            len(same),
        ),
    ]
    made += [
        share(f"no-change deployed by '{name}'", _hits(same, lambda j, name=name: j.rivals[name]), len(same))
        for name in RIVALS
    ]
    for kind in SAME:
        mine = [j for j in same if j.kind == kind]
        made.append(share(f"no-change, {kind}: deployed", _deployed(mine), len(mine)))
    changes = np.array([j.change for j in same])
    if len(changes) > 1:
        made.append(Row("no-change: mean of the true changes", float(changes.mean()), *_around(changes), len(changes)))
        made.append(
            Row("no-change: standard deviation of the true changes", float(changes.std(ddof=1)), n=len(changes))
        )
    return made


def _around(values: np.ndarray) -> tuple[float, float]:
    half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half


def _refresh(kept: dict[str, list[Judged]]) -> list[Row]:
    """`promote_on: non_inferior`."""
    same, bad = kept["same"], kept["bad"]
    mode = "non_inferior"
    made: list[Row] = []
    for told, powers in (("the primary's power", "power"), ("every demand's power", "power_of_all")):
        mine = [j for j in same if getattr(j, powers)[mode] >= LEAST_POWER]
        promoted = _hits(mine, lambda j: j.decisions[mode] in MOVES)
        made.append(at_least(f"no-change promoted, non_inferior, {told} at least 0.9", promoted, len(mine), 0.8))
        alike = [j for j in mine if not j.differs]  # the power is computed for a truth of 0
        promoted = _hits(alike, lambda j: j.decisions[mode] in MOVES)
        made.append(at_least(f"the same whose truth holds 0: promoted, {told} at least 0.9", promoted, len(alike), 0.8))
        rejected = _hits(mine, lambda j: j.decisions[mode] == "reject")
        made.append(share(f"no-change rejected, non_inferior, {told} at least 0.9", rejected, len(mine)))
    made.append(
        share(
            "no-change promoted, non_inferior, any power", _hits(same, lambda j: j.decisions[mode] in MOVES), len(same)
        )
    )
    beyond = [j for j in bad if j.beyond]
    within = [j for j in bad if not j.beyond]
    made += [
        at_most("bad deployed, non_inferior", _deployed(bad, mode), len(bad), 0.01),
        at_most(
            "bad beyond what the profile accepts: deployed, non_inferior", _deployed(beyond, mode), len(beyond), 0.01
        ),
        share("bad by less than the profile accepts: deployed, non_inferior", _deployed(within, mode), len(within)),
    ]
    made += [
        share(f"bad, {kind}: deployed, non_inferior", _deployed(mine, mode), len(mine))
        for kind in BAD
        if (mine := [j for j in bad if j.kind == kind])
    ]
    return made


def _good(good: Sequence[Judged]) -> list[Row]:
    asked = [j for j in good if j.beyond]
    made = [
        at_most("good by at least what is asked: rejected", _rejected(asked), len(asked), 0.05),
        share("good by any amount: rejected", _rejected(good), len(good)),
        share("good by at least what is asked: deployed or canary", _hits(asked, _moved), len(asked)),
    ]
    for told, powers in (("the primary's power", "power"), ("every demand's power", "power_of_all")):
        mine = [j for j in asked if getattr(j, powers)["improved"] >= LEAST_POWER]
        made.append(at_most(f"good sent to a person, {told} at least 0.9", _hits(mine, _asked), len(mine), 0.25))
        made.append(share(f"good deployed or canary, {told} at least 0.9", _hits(mine, _moved), len(mine)))
        reasons = Counter(code for j in mine if _asked(j) for code in set(j.codes))
        made += [
            share(f"the same, sent to a person for {code}", count, len(mine)) for code, count in reasons.most_common()
        ]
    made.append(share("good by at least what is asked: sent to a person, any power", _hits(asked, _asked), len(asked)))
    made += [
        share(
            f"good by at least what is asked: refused by '{name}'",
            _hits(asked, lambda j, name=name: not j.rivals[name]),
            len(asked),
        )
        for name in RIVALS
    ]
    for kind in GOOD:
        mine = [j for j in asked if j.kind == kind]
        made.append(share(f"good, {kind}: deployed or canary", _hits(mine, _moved), len(mine)))
    return made


def _moved(j: Judged) -> bool:
    return j.decisions["improved"] in MOVES


def _asked(j: Judged) -> bool:
    return j.decisions["improved"] == "manual_review"


def _rejected(found: Sequence[Judged]) -> int:
    return _hits(found, lambda j: j.decisions["improved"] == "reject")


def _places(kept: dict[str, list[Judged]]) -> list[Row]:
    """By stream and by holdout size: the streams are not repetitions of each other."""
    made: list[Row] = []
    every = [j for family in TOLD for j in kept[family]]
    worlds = list(dict.fromkeys(j.world for j in every))
    cuts: list[tuple[str, Callable[[Judged], bool]]] = []
    if len(worlds) > 1:
        cuts += [(world, lambda j, world=world: j.world == world) for world in worlds]
    cuts += [
        (f"{told} holdout", lambda j, size=size: j.size == size)
        for size, told in enumerate(("small", "middle", "large"))
        if any(j.size == size for j in every)
    ]
    for name, test in cuts:
        mine = {family: [j for j in kept[family] if test(j)] for family in TOLD}
        asked = [j for j in mine["good"] if j.beyond]
        strong = [j for j in asked if j.power["improved"] >= LEAST_POWER]
        made += [
            share(f"{name}: bad deployed", _deployed(mine["bad"]), len(mine["bad"])),
            share(f"{name}: bad deployed, non_inferior", _deployed(mine["bad"], "non_inferior"), len(mine["bad"])),
            share(f"{name}: no-change deployed", _deployed(mine["same"]), len(mine["same"])),
            share(f"{name}: good rejected", _rejected(asked), len(asked)),
            share(f"{name}: good deployed or canary", _hits(asked, _moved), len(asked)),
            share(f"{name}: good sent to a person, power at least 0.9", _hits(strong, _asked), len(strong)),
        ]
    return made


def _apart(found: Sequence[Judged]) -> list[Row]:
    """Kinds that holdout predictions cannot show; no target."""
    made: list[Row] = []
    for kind in APART:
        mine = [j for j in found if j.kind == kind and j.status == "kept"]
        if any(j.kind == kind for j in found):
            name = f"apart, {kind} ({EVIDENCE[kind]}): deployed on holdout predictions alone"
            made.append(share(name, _deployed(mine), len(mine)))
    return made


def frontier(found: Sequence[Judged]) -> Frontier:
    """Rates of the cases that went through the sweep; empty without one. Rivals ask nobody."""
    bad = [j for j in found if j.family == "bad" and j.status == "kept" and j.swept]
    good = [j for j in found if j.family == "good" and j.status == "kept" and j.swept and j.beyond]
    good = [j for j in good if j.power["improved"] >= LEAST_POWER]
    if not bad or not good:
        return []
    made: Frontier = []
    for knob in SWEEP:
        decisions = [j.swept[knob] for j in good]
        deployed = sum(j.swept[knob] == "deploy" for j in bad) / len(bad)
        asked = decisions.count("manual_review") / len(good)
        moved = sum(d in MOVES for d in decisions) / len(good)
        made.append((f"{knob[0]} {knob[1]:g}", deployed, asked, moved))
    for name in RIVALS:
        deployed = sum(j.rivals[name] for j in bad) / len(bad)
        made.append((name, deployed, 0.0, sum(j.rivals[name] for j in good) / len(good)))
    return made
