"""Does an explanation say only what its evidence says?

Looked for, clause by clause: a citation of nothing, a number written out, a name that the cited evidence is not about, a
direction word against the cited verdict, a comparison of two cited numbers that is not so, and a decision that was not taken.
Small models copy numbers faithfully and then state a falsehood about them ("33257, which is less than the minimum of 1000"), so
they write none: code prints them. What a program cannot tell is a fault too, where the writer could have said it plainly.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tools.aliasing import ALIAS
from tools.citations import CITATION, Cited, cited, fields_of, metric_of, number_of, sentences
from tools.contracts.decision import DecisionKind, PolicyResult
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Explained
from tools.metrics import METRICS

_LONGEST: Final = 5000
_MOST_POINTS: Final = 12
_STRAY: Final = re.compile(r"\[[^\]\n]{0,40}\]|\bE\d+\b")
_ADDRESS: Final = re.compile(r"://|\bwww\.|@\w|```|</?\w+[^>]*>")
_NUMBER_WORDS: Final = re.compile(
    r"\b(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundreds?|thousands?|millions?|billions?|dozens?|half|twice|thrice|"
    r"doubl(?:e|ed|es|ing)|tripl(?:e|ed|es|ing)|\w+fold|per\s?cent|percentage)\b|%",
    re.IGNORECASE,
)
_PLACE: Final = 0xE000
"""Citations are read as single letters of the private use area, so that no rule meets their digits."""
_PLACES: Final = re.compile("[\ue000-\uf8ff]")
_CLAUSE: Final = re.compile(r"[,;:]\s|\s[–—-]\s|\b(?:while|whereas|but|although|though|and|yet|since|because)\b", re.I)

_NEGATION: Final = (
    r"(?:not|no|never|nothing|nor|neither|none|without|cannot|hardly|instead of|rather than|fail(?:s|ed)? to)"
)
_NEGATED: Final = re.compile(rf"(?:\b{_NEGATION}|n't)\W+(?:\w+\W+){{0,3}}$", re.IGNORECASE)
_OPEN: Final = re.compile(r"\b(?:would|could have|might|may|if|unless|whether|until|before|possibl[ey])\b", re.I)

_WORDS: Final[Mapping[str, re.Pattern[str]]] = {
    name: re.compile(rf"\b(?:{words})\b", re.I)
    for name, words in {
        "good": r"(?<!for the )better|improve[sd]?|improving|improvements?|gain(?:s|ed)?|outperform(?:s|ed)?|beats?",
        "bad": r"worse|worsen(?:s|ed)?|regress(?:es|ed)?|regressions?|degrade[sd]?|degradation|deteriorat(?:es|ed)|"
        r"underperform(?:s|ed)?",
        "up": r"rose|rises|risen|increase[sd]?|grew|grown|climbed|higher",
        "down": r"fell|falls|fallen|drop(?:s|ped)|decrease[sd]?|decline[sd]?|shrank|lower",
        "sound": r"passed|passes|holds|held(?!-)|clean|stable|unchanged",
        "unsound": r"failed(?! to)|fails(?! to)|drifted|drifts|stale|breached|violated|harmed|lost(?! no more| less)",
        "open": r"inconclusive|undecided|cannot (?:tell|be told)|could not (?:tell|be told|be measured|be checked)|"
        r"unmeasured|was not measured",
    }.items()
}
_UNCITED: Final = frozenset({"good", "bad", "up", "down"})
"""Said without a citation, these are claims that nobody can check."""
_LOWER_IS_BETTER: Final = re.compile(r"error|loss|rmse|mae|mse|mape|brier|deviance|cost", re.I)
_UNDECIDED: Final = frozenset(
    {"inconclusive", "no_data", "could_not_tell", "could_not_measure", "could_not_check", "doubt"}
)
_SOUND: Final = frozenset({"improved", "non_inferior", "ok", "pass", "clean", "fresh"})
_UNSOUND: Final = frozenset({"regressed", "bad", "fail", "overlaps", "stale"})

_LESS: Final = r"less than|below|beneath|under|smaller than|fewer than|lower than|short of"
_MORE: Final = r"more than|above|over|greater than|larger than|higher than|beyond|exceed(?:s|ed|ing)?"
_COMPARED: Final = re.compile(
    rf"(?P<a>[\ue000-\uf8ff])(?P<mid>[^.;\ue000-\uf8ff]{{0,60}}?)\b(?:(?P<less>{_LESS})|(?P<more>{_MORE}))\b"
    rf"[^.;\ue000-\uf8ff]{{0,40}}?(?P<b>[\ue000-\uf8ff])",
    re.IGNORECASE,
)
_NAMES: Final[Mapping[DecisionKind, str]] = {
    "deploy": r"deploy(?:s|ed|ing|ment)?|roll(?:ed|ing)? out|promot(?:e|ed|ing|ion)",
    "canary": r"canary",
    "reject": r"reject(?:s|ed|ing|ion)?|refus(?:e|ed|al)",
    "manual_review": r"manual[ _-]review",
}
_ASSERTED: Final = (
    r"(?:(?:decision|verdict|conclusion|recommend(?:ation|ed|s)?|decided|therefore|is to be|will be|should be|must be|"
    r"has been|was|is)\b[^.;:]{0,30}?[:\s]|^(?:please\s+)?)(?:now\s+|to\s+|a\s+|be\s+)*\*{0,2}"
)


@dataclass(frozen=True)
class _Clause:
    text: str
    """With a letter in the place of each citation."""
    own: bool
    """Whether citations stand in it; they are a neighbour's otherwise."""
    cited: tuple[tuple[str, tuple[EvidenceItem, ...]], ...]
    """Place and items, in order."""

    def items(self) -> tuple[EvidenceItem, ...]:
        return tuple(item for _, items in self.cited for item in items)

    def near(self, start: int) -> tuple[EvidenceItem, ...]:
        """The items of the citation behind a word, else of the last before it."""
        if not self.own:
            return self.items()
        behind = [items for place, items in self.cited if self.text.find(place) >= start]
        return behind[0] if behind else self.cited[-1][1]


def check(draft: Explained, policy: PolicyResult, evidence: Sequence[EvidenceItem]) -> tuple[str, ...]:
    """Faults of an explanation; none means faithful as far as a program can tell.

    Args:
        draft: As it was written, with stand-ins for names.
        policy: The decision it explains.
        evidence: What the writer was shown, with the same stand-ins; nothing else may be cited.
    """
    items = {item.id: item for item in evidence}
    points = [*draft.argument, *draft.concerns, *draft.would_change]
    faults: list[str] = []
    if draft.decision != policy.decision:
        faults.append(f"gives {draft.decision} as the decision, which is {policy.decision}")
    if not draft.summary.strip():
        faults.append("its summary is empty")
    if not draft.argument and evidence:
        faults.append("its argument is empty")
    if sum(map(len, [draft.summary, *points])) > _LONGEST or len(points) > _MOST_POINTS:
        faults.append(f"it is longer than {_LONGEST} characters or {_MOST_POINTS} points")
        return tuple(faults)
    faults += _opening_faults(draft.summary, policy.decision)
    metrics = {*METRICS, *filter(None, map(metric_of, evidence))}
    if evidence and not any(cited(text) for text in draft.argument):
        faults.append("its argument cites no evidence")
    for part in [sentence for text in (draft.summary, *points) for sentence in sentences(text)]:
        faults += _citation_faults(part, items)
        clauses = _clauses(part, items)
        plain = _plain(part, metrics)
        faults += _number_faults(plain)
        if _ADDRESS.search(plain):
            faults.append("holds an address, markup or code")
        if not _OPEN.search(part):
            faults += _decision_faults(part, policy.decision)
        for clause in clauses:
            faults += _name_faults(clause, metrics)
            if not _OPEN.search(clause.text):
                faults += _direction_faults(clause)
        faults += _comparison_faults(part, items)
    return tuple(dict.fromkeys(faults))


# --- citations, numbers, names ---------------------------------------------------------------------------------------


def _citation_faults(part: str, items: Mapping[str, EvidenceItem]) -> list[str]:
    faults: list[str] = []
    for name, field in cited(part):
        if name not in items:
            faults.append(f"cites {name}, which does not exist")
        elif field is not None and field not in fields_of(items[name]):
            faults.append(f"cites {name}.{field}; {name} has {', '.join(fields_of(items[name]))}")
    for stray in _STRAY.findall(CITATION.sub(" ", part)):
        faults.append(f"writes {stray}, which is no citation; write [E1] or [E1.value]")
    return faults


def _plain(part: str, metrics: set[str]) -> str:
    """What is left without citations, stand-ins and names of metrics: no digit may."""
    text = ALIAS.sub(" ", CITATION.sub(" ", part))
    for name in sorted(metrics, key=len, reverse=True):
        if any(char.isdigit() for char in name):
            text = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w@]|\.\d)", " ", text, flags=re.I)
    return text


def _number_faults(plain: str) -> list[str]:
    digits = re.findall(r"\S*\d\S*", plain) or [word for word in plain.split() if any(map(str.isnumeric, word))]
    words = [found.group(0) for found in _NUMBER_WORDS.finditer(plain)]
    return [
        f"writes {number[:40]!r}: numbers are cited, as in [E1.value], never written" for number in [*digits, *words]
    ]


def _name_faults(clause: _Clause, metrics: set[str]) -> list[str]:
    faults: list[str] = []
    items = clause.items()
    for alias in dict.fromkeys(ALIAS.findall(clause.text)):
        if alias.startswith("model_"):
            if alias != "model_1":
                faults.append(f"names {alias}, which stands for nothing")
        elif not any(alias in ALIAS.findall(item.key) for item in items):
            faults.append(f"names {alias}, of which nothing cited there says anything")
    about = {metric_of(item) for item in items} - {None}
    named = [name for name in metrics if _names(name, clause.text)]
    named = [name for name in named if not any(name != other and name in other for other in named)]
    if items:
        faults += [f"names {name}, of which nothing cited there says anything" for name in named if name not in about]
    return faults


def _names(metric: str, text: str) -> bool:
    words = re.escape(metric).replace("_", "[_ -]")
    return re.search(rf"(?<![\w@]){words}(?![\w@])", text, re.I) is not None


# --- words -----------------------------------------------------------------------------------------------------------


def _clauses(part: str, items: Mapping[str, EvidenceItem]) -> list[_Clause]:
    places: dict[str, tuple[EvidenceItem, ...]] = {}

    def placed(match: re.Match[str]) -> str:
        letter = chr(_PLACE + len(places))
        places[letter] = tuple(items[each.id] for each in cited(match.group(0)) if each.id in items)
        return letter

    texts = [text for text in _CLAUSE.split(CITATION.sub(placed, part)) if text.strip()]
    own = [tuple((place, places[place]) for place in _PLACES.findall(text) if place in places) for text in texts]
    return [_Clause(text, bool(own[at]), own[at] or _borrowed(own, at)) for at, text in enumerate(texts)]


def _borrowed(
    own: Sequence[tuple[tuple[str, tuple[EvidenceItem, ...]], ...]], at: int
) -> tuple[tuple[str, tuple[EvidenceItem, ...]], ...]:
    """Of the next clause that cites, else of the last before."""
    return next((each for each in own[at + 1 :] if each), next((each for each in reversed(own[:at]) if each), ()))


def _direction_faults(clause: _Clause) -> list[str]:
    faults: list[str] = []
    for group, words in _WORDS.items():
        for found in words.finditer(clause.text):
            # `lower than` compares two numbers, and is worked out as that.
            if clause.text[found.end() :].lstrip().startswith("than"):
                continue
            near = clause.near(found.start())
            negated = _NEGATED.search(clause.text[: found.start()]) is not None
            said = f"not {found.group(0)}" if negated else found.group(0)
            if not near:
                faults += [f"says {said!r} without citing evidence"] if group in _UNCITED else []
                continue
            fits = [_fits(group, negated, item) for item in near]
            if not (all(fits) if clause.own else any(fits)):
                verdicts = ", ".join(f"{item.id} is {item.outcome}" for item in near)
                faults.append(f"says {said!r}, but {verdicts}")
    return faults


def _fits(group: str, negated: bool, item: EvidenceItem) -> bool:
    """Whether the word can be true of the item. What code cannot judge (rose, of a drift) is let through."""
    outcome = item.outcome.removesuffix(" (warning)")
    if group in ("up", "down"):
        return _moves(group, negated, item, outcome)
    if group == "open":
        return (outcome in _UNDECIDED) != negated or outcome not in _SOUND | _UNSOUND | _UNDECIDED
    if group in ("sound", "unsound"):
        return (outcome in (_SOUND if group == "sound" else _UNSOUND)) != negated
    if outcome in ("improved", "regressed"):
        return ((group == "good") == (outcome == "improved")) != negated
    if outcome in _UNDECIDED or outcome == "non_inferior":
        return negated
    if outcome in _UNSOUND:
        return (group == "bad") != negated
    if outcome in _SOUND:
        return (group == "good") != negated
    return True


def _moves(group: str, negated: bool, item: EvidenceItem, outcome: str) -> bool:
    own = {name for name in ("up", "down") if _WORDS[name].search(item.statement)}
    if len(own) == 1:
        return (group in own) != negated
    if not item.key.startswith("comparison/"):
        return True
    if outcome not in ("improved", "regressed"):
        return negated or outcome not in _UNDECIDED | {"non_inferior"}
    # Where lower is better, an improvement goes down.
    towards = "down" if (outcome == "improved") == bool(_LOWER_IS_BETTER.search(item.key.split("/")[1])) else "up"
    return (group == towards) != negated


def _opening_faults(summary: str, taken: DecisionKind) -> list[str]:
    first = (sentences(summary) or [""])[0]
    faults: list[str] = []
    if not re.search(rf"\b(?:{_NAMES[taken]})\b", first, re.I):
        faults.append(f"its first sentence does not name the decision, {taken}")
    for other, words in _NAMES.items():
        for found in re.finditer(rf"\b(?:{words})\b", summary, re.I):
            before = re.split(r"[.!?]\s", summary[: found.start()])[-1]
            allowed = other == taken or (taken == "canary" and other == "deploy")
            if not allowed and not _OPEN.search(before) and not re.search(rf"\b{_NEGATION}\b", before, re.I):
                faults.append(f"its summary names {other}, and the decision is {taken}")
    return faults


def _decision_faults(text: str, taken: DecisionKind) -> list[str]:
    faults: list[str] = []
    for other, words in _NAMES.items():
        # A canary is a deployment to some, so the word may stand there.
        if other == taken or (taken == "canary" and other == "deploy"):
            continue
        for found in re.finditer(rf"{_ASSERTED}({words})\b", text, re.I):
            negated = _NEGATED.search(text[: found.start(1)]) or re.search(rf"\b{_NEGATION}\b", found.group(0), re.I)
            if not negated:
                faults.append(f"names {other} as the decision, which is {taken}")
    return faults


def _comparison_faults(part: str, items: Mapping[str, EvidenceItem]) -> list[str]:
    places: dict[str, list[Cited]] = {}

    def placed(match: re.Match[str]) -> str:
        letter = chr(_PLACE + len(places))
        places[letter] = cited(match.group(0))
        return letter

    def number(letter: str) -> float | None:
        told = [number_of(items[each.id], each.field) for each in places[letter] if each.id in items and each.field]
        return told[0] if len(told) == 1 else None

    faults: list[str] = []
    for found in _COMPARED.finditer(CITATION.sub(placed, part)):
        a, b = number(found.group("a")), number(found.group("b"))
        mid = found.group("mid")
        if a is None or b is None or _OPEN.search(mid):
            continue
        less = bool(found.group("less")) != bool(re.search(rf"\b{_NEGATION}\b", mid, re.I))
        if a >= b if less else a <= b:
            word = found.group("less") or found.group("more")
            one, other = (f"{each[0].id}.{each[0].field}" for each in (places[found["a"]], places[found["b"]]))
            faults.append(f"says that {one} is {word} {other}, which is not so")
    return faults
