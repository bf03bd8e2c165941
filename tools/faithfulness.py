"""Does a text say only what its evidence says?

Four faults are looked for, sentence by sentence: a citation of nothing, a number that the cited evidence does not
hold, a decision that was not taken, and a direction word against the cited verdict. Small models copy numbers
faithfully and then state a falsehood about them ("33257, which is less than the minimum of 1000"), so comparisons of
two numbers are worked out too.

Sentences that repeat the policy's or the evidence's own words are taken as faithful in direction: code wrote them.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from tools.contracts.decision import DecisionKind, PolicyResult
from tools.contracts.evidence import EvidenceItem

CITATION: Final = re.compile(r"\[(E\d+(?:\s*[,;]\s*E\d+)*)\]")
_ID: Final = re.compile(r"E\d+")
_BRACKETED: Final = re.compile(r"\[[^\]\n]{0,40}\]")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?(?:Z|[+-]\d{2}:\d{2})?")
_NUMBER_TEXT: Final = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+"
_NUMBER: Final = re.compile(rf"(?<![\w.])(?:(?<![\w)])[-+−])?(?:{_NUMBER_TEXT})(?![\w])\s?(?:%|percent\b|per cent\b)?")
_BOUNDARY: Final = re.compile(r"(?<=[.!?])[\"')]?\s+(?=[A-Z\[`\"'(])|(?<=\][.!?])\s+|\n+")
_LEADING_CITATIONS: Final = re.compile(r"((?:\s*\[E\d+(?:\s*[,;]\s*E\d+)*\])+[.!?]?)\s*")

_LONGEST: Final = 600
_NEGATION: Final = r"(?:not|no|never|nothing|nor|neither|without|cannot|n't|hardly|instead of|rather than)"
_NEGATED: Final = re.compile(rf"\b{_NEGATION}\W+(?:\w+\W+){{0,3}}$|n't\W+(?:\w+\W+){{0,3}}$", re.IGNORECASE)
_OPEN: Final = re.compile(r"\b(?:would|could|might|may|if|unless|whether|until|possible|possibly)\b", re.I)

_GOOD: Final = r"better|improve[sd]?|improving|improvement|gain(?:s|ed)?|outperform(?:s|ed)?|beats?"
_BAD: Final = (
    r"worse|worsen(?:s|ed)?|regress(?:es|ed)?|regression|degrade[sd]?|deteriorat(?:es|ed)|underperform(?:s|ed)?"
)
_UP: Final = r"rose|rises|risen|increase[sd]?|grew|grown|climbed|higher"
_DOWN: Final = r"fell|falls|fallen|drop(?:s|ped)|decrease[sd]?|decline[sd]?|shrank|lower"
_WORDS: Final = {name: re.compile(rf"\b(?:{words})\b", re.I) for name, words in
                 (("good", _GOOD), ("bad", _BAD), ("up", _UP), ("down", _DOWN))}  # fmt: skip
_OPPOSITE: Final = {"good": "bad", "bad": "good", "up": "down", "down": "up"}
_LOWER_IS_BETTER: Final = re.compile(r"error|loss|rmse|mae|mse|mape|brier|deviance", re.I)
_SUPPORTS: Final[Mapping[str, str]] = {"improved": "good", "regressed": "bad"}
_UNDECIDED: Final = frozenset(
    {"inconclusive", "no_data", "could_not_tell", "could_not_measure", "could_not_check", "non_inferior"}
)

_LESS: Final = r"less than|below|smaller than|fewer than|lower than|short of"
_MORE: Final = r"more than|above|greater than|larger than|higher than|exceed(?:s|ed|ing)?"
_COMPARED: Final = re.compile(
    rf"(?P<a>[-+−]?(?:{_NUMBER_TEXT}))(?P<mid>[^\d.;]{{0,40}}?)\b(?:(?P<less>{_LESS})|(?P<more>{_MORE}))"
    rf"[^\d.;]{{0,40}}?(?P<b>[-+−]?(?:{_NUMBER_TEXT}))",
    re.IGNORECASE,
)

_NAMES: Final[Mapping[str, str]] = {
    "deploy": r"deploy(?:s|ed|ing|ment)?|roll(?:ed|ing)? out|promot(?:e|ed|ing|ion)",
    "canary": r"canary",
    "reject": r"reject(?:s|ed|ing|ion)?|refus(?:e|ed|al)",
    "manual_review": r"manual[ _-]review",
}
_ASSERTED: Final = (
    r"(?:(?:decision|verdict|conclusion|recommend(?:ation|ed|s)?|decided|therefore|is to be|will be|should be|must be|"
    r"has been|was|is)\b[^.;:]{0,30}?[:\s]|^(?:please\s+)?)(?:now\s+|to\s+|a\s+|be\s+)*\*{0,2}"
)


def check(
    text: str, policy: PolicyResult, evidence: Sequence[EvidenceItem], names: Collection[str] = ()
) -> tuple[str, ...]:
    """Faults of a rationale, in the order of its sentences; none means faithful as far as a program can tell.

    Args:
        text: The rationale, with citations such as `[E3]`.
        policy: The decision it explains; its reasons' own words may be repeated.
        evidence: What may be cited.
        names: Names (the model's, columns') whose digits are no numbers.
    """
    items = {item.id: item for item in evidence}
    parts = sentences(text)
    if not parts:
        return ("it is empty",)
    faults: list[str] = []
    if not re.search(rf"\b(?:{_NAMES[policy.decision]})\b", parts[0], re.I):
        faults.append(f"its first sentence does not name the decision, {policy.decision}")
    spoken = [piece for reason in policy.reasons for piece in _pieces(reason.sentence)]
    for part in parts:
        cited = list(dict.fromkeys(_ID.findall(" ".join(CITATION.findall(part)))))
        faults += [f"cites {name}, which does not exist" for name in cited if name not in items]
        known = [items[name] for name in cited if name in items]
        faults += _citation_shape_faults(part)
        body = _plain(CITATION.sub(" ", part))
        own_words = [*spoken, *(piece for item in known for piece in _pieces(item.statement))]
        # Names first: a column called `col 9` is no nine. Then the policy's own words, numbers and all.
        for name in sorted((*names, *(n for item in known for n in subjects(item))), key=len, reverse=True):
            body = _without(body, name)
        quotes = [_without_all(words, names, known) for words in own_words]
        faults += _number_faults(_without_quotes(body, quotes[: len(spoken)]), known)
        told = _without_quotes(body, quotes)
        faults += _decision_faults(told, policy.decision)
        faults += _direction_faults(told, known)
        faults += _comparison_faults(told)
    return tuple(dict.fromkeys(faults))


def sentences(text: str) -> list[str]:
    """Sentences, each with the citations that stand in it or right behind it."""
    found: list[str] = []
    for piece in _BOUNDARY.split(text):
        rest = piece.strip()
        ahead = _LEADING_CITATIONS.match(rest)
        if ahead and found:
            found[-1] += " " + ahead.group(1).strip()
            rest = rest[ahead.end() :]
        if rest:
            found.append(rest)
    return found


def subjects(item: EvidenceItem) -> tuple[str, ...]:
    """Outside names in the item's key: COLUMN of `validation/nulls/COLUMN`, both of `comparison/f1/COLUMN=VALUE`."""
    parts = item.key.split("/", 2)
    if len(parts) < 3 or parts[2] in ("", "model", "data set"):
        return ()
    column, equals, value = parts[2].partition("=")
    found = (parts[2], column, value) if equals else (parts[2],)
    # A value such as `7` is a number: taking it out of a text would take numbers out.
    return tuple(name for name in found if re.search(r"[^\W\d_]", name))


def speakable(text: str) -> str:
    """One line of bounded length whose brackets are no citations: statements hold names, intervals and log lines."""
    return " ".join(text.replace("[", "(").replace("]", ")").split())[:_LONGEST].rstrip(" .;,")


def _plain(text: str) -> str:
    return speakable(text).rstrip(".!? ")


def _pieces(text: str) -> list[str]:
    return [piece for piece in map(_plain, sentences(speakable(text))) if piece]


def _without(text: str, name: str) -> str:
    name = speakable(name)
    if not re.search(r"\w", name):
        return text
    return re.sub(rf"(?<![\w.,]){re.escape(name)}(?!\w|[.,]\d)", "§", text)


def _without_all(words: str, names: Collection[str], known: Sequence[EvidenceItem]) -> str:
    for name in sorted((*names, *(n for item in known for n in subjects(item))), key=len, reverse=True):
        words = _without(words, name)
    return words


def _without_quotes(text: str, quotes: Sequence[str]) -> str:
    for quote in sorted(filter(None, quotes), key=len, reverse=True):
        at = text.lower().find(quote.lower())
        if at >= 0:
            text = f"{text[:at]} {text[at + len(quote) :]}"
    return text


def _citation_shape_faults(part: str) -> list[str]:
    found = [text for text in _BRACKETED.findall(part) if re.match(r"\[\s*[Ee]\s*\d", text)]
    return [f"cites {text}, which is no citation; write [E1] or [E1, E2]" for text in found if not CITATION.match(text)]


# --- numbers -----------------------------------------------------------------------------------------------------


def _number_faults(text: str, cited: Sequence[EvidenceItem]) -> list[str]:
    faults: list[str] = []
    statements = " ".join(item.statement for item in cited)
    for date in _DATE.findall(text):
        if date not in statements and not any(_measured_on(item, date) for item in cited):
            faults.append(f"states the date {date}, which the evidence cited there does not hold")
    text = _DATE.sub(" ", text)
    allowed = [value for item in cited for value in values_of(item)]
    for shown in (match.group(0).strip() for match in _NUMBER.finditer(text)):
        if not cited:
            faults.append(f"states {shown} without citing evidence")
        elif not any(_is_shown(shown, value) for value in allowed):
            ids = ", ".join(item.id for item in cited)
            faults.append(f"states {shown}, which {ids} does not hold")
    return faults


def _measured_on(item: EvidenceItem, date: str) -> bool:
    return item.measured_at is not None and item.measured_at.isoformat().startswith(date.removesuffix("Z"))


def values_of(item: EvidenceItem) -> list[float]:
    """Every number the item holds: its fields, and those in its statement outside the names in its key."""
    found = [float(v) for v in (item.value, item.low, item.high, item.threshold, item.n) if v is not None]
    # A slice's value may be said, and a column's name: 7 of `comparison/accuracy/day=7`, `comparison/accuracy/7=no` and
    # `validation/nulls/7`.
    found += [float(text) for text in re.findall(r"[=/](\d{1,15}(?:\.\d+)?)(?:(?==)|$)", item.key)]
    statement = speakable(item.statement)
    for name in subjects(item):
        statement = _without(statement, name)
    for match in _NUMBER.finditer(_DATE.sub(" ", statement)):
        number, percent, _ = _read(match.group(0))
        found += [number, number / 100] if percent else [number]
    return found


def _read(shown: str) -> tuple[float, bool, int]:
    """(number, whether in percent, decimals shown)."""
    percent = shown.rstrip().endswith(("%", "percent", "per cent"))
    digits = re.sub(r"\s*(?:%|percent|per cent)\s*$", "", shown).replace("−", "-").replace(",", "").strip()
    mantissa, _, exponent = digits.lower().partition("e")
    decimals = len(mantissa.partition(".")[2]) - (int(exponent) if exponent else 0)
    return float(digits), percent, decimals


def _is_shown(shown: str, value: float) -> bool:
    """Whether `shown` is `value`, rounded. -0.02 may be told as a loss of 0.02; not 0.8 as 1, nor 0.004 as 0."""
    number, percent, decimals = _read(shown)
    signed = shown.lstrip()[:1] in "-+−"
    for scale in (100.0, 1.0) if percent else (1.0,):
        for candidate in (value * scale,) if signed else (value * scale, -value * scale):
            off = abs(candidate - number)
            if off <= 1e-9 * max(1.0, abs(number)):
                return True
            close = off <= 0.05 * abs(candidate) if decimals <= 0 else number != 0
            if off <= 0.5 * 10.0**-decimals * (1 + 1e-9) and close:
                return True
    return False


# --- words -------------------------------------------------------------------------------------------------------


def _decision_faults(text: str, taken: DecisionKind) -> list[str]:
    if _OPEN.search(text):
        return []
    faults: list[str] = []
    for other, words in _NAMES.items():
        # A canary is a deployment to some, so the word may stand there.
        if other == taken or (taken == "canary" and other == "deploy"):
            continue
        for found in re.finditer(rf"{_ASSERTED}({words})\b", text, re.I):
            if not _negated(text, found.start(1)) and not re.search(rf"\b{_NEGATION}\b", found.group(0), re.I):
                faults.append(f"names {other} as the decision, which is {taken}")
    return faults


def _negated(text: str, at: int) -> bool:
    return _NEGATED.search(text[:at]) is not None


def _direction_faults(text: str, cited: Sequence[EvidenceItem]) -> list[str]:
    if not cited or _OPEN.search(text):
        return []
    faults: list[str] = []
    for name, words in _WORDS.items():
        for found in words.finditer(text):
            # `lower than 0.5` compares two numbers, and is worked out as that.
            if text[found.end() :].lstrip().startswith("than"):
                continue
            negated = _negated(text, found.start())
            if not any(_fits(name, negated, item) for item in cited):
                said = f"not {found.group(0)}" if negated else found.group(0)
                verdicts = ", ".join(f"{item.id} is {item.outcome}" for item in cited)
                faults.append(f"says {said!r}, but {verdicts}")
    return faults


def _fits(word: str, negated: bool, item: EvidenceItem) -> bool:
    """Whether the word can be true of the item. What code cannot judge (rose, of a drift) is let through."""
    outcome = item.outcome.removesuffix(" (warning)")
    verdict = _SUPPORTS.get(outcome)
    if word in ("up", "down"):
        own = {name for name in ("up", "down") if _WORDS[name].search(item.statement)}
        if len(own) == 1:
            return (word in own) != negated
        if verdict is None or not item.key.startswith("comparison/"):
            return True
        # Where lower is better, an improvement goes down.
        metric = item.key.split("/")[1]
        towards = "down" if (verdict == "good") == bool(_LOWER_IS_BETTER.search(metric)) else "up"
        return (word == towards) != negated
    if verdict is not None:
        return (word == verdict) != negated
    if outcome in _UNDECIDED:
        return negated
    if outcome in ("bad", "fail"):
        return (word == "bad") != negated
    if outcome in ("ok", "pass"):
        return (word == "good") != negated
    return True


def _comparison_faults(text: str) -> list[str]:
    faults: list[str] = []
    for found in _COMPARED.finditer(_DATE.sub(" ", text)):
        if re.search(rf"\b{_NEGATION}\b", found.group("mid"), re.I) or _OPEN.search(found.group("mid")):
            continue
        a, b = _read(found.group("a"))[0], _read(found.group("b"))[0]
        if (a >= b) if found.group("less") else (a <= b):
            faults.append(f"says {found.group(0)!r}, which is not so")
    return faults
