"""One lie at a time, planted into a rationale that was true."""

import random
import re
from collections.abc import Callable, Mapping
from typing import Final

from evals.language.cases import COLUMNS, MODELS, Case
from tools.faithfulness import CITATION, sentences, speakable

Lie = Callable[[str, Case, random.Random], str | None]
"""The text with the lie in it; None where the text offers no place for one of that kind."""

_NUMBER: Final = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?!\w)")
_INTERVAL: Final = re.compile(r"(?<!outside )\(([-+]?\d[\d.e-]*)(?:, | to )([-+]?\d[\d.e-]*)(?=[);])")
"""Of a change or a loss; a column's range is none."""
_NAMES: Final = re.compile(
    "|".join(rf"(?<![\w.]){re.escape(speakable(name))}(?!\w|[.,]\d)" for name in (*COLUMNS, *MODELS))
)
_OPENINGS: Final[Mapping[str, str]] = {
    "deploy": "Deploy",
    "canary": "Start a canary with",
    "reject": "Reject",
    "manual_review": "Manual review of",
}


def number_changed(text: str, case: Case, g: random.Random) -> str | None:
    """One digit of one cited number becomes another digit; numbers in names are left alone."""

    def places(sentence: str) -> list[tuple[int, int]]:
        taken = [found.span() for pattern in (_NAMES, CITATION) for found in pattern.finditer(sentence)]
        numbers = [found.span() for found in _NUMBER.finditer(sentence)]
        return [(a, b) for a, b in numbers if not any(a < end and start < b for start, end in taken)]

    def other(number: str) -> str:
        at = g.choice([i for i, char in enumerate(number) if char.isdigit()])
        return number[:at] + g.choice([digit for digit in "0123456789" if digit != number[at]]) + number[at + 1 :]

    return _changed(text, g, places, other)


def interval_end_swapped(text: str, case: Case, g: random.Random) -> str | None:
    """One end of an interval becomes a number of evidence that the sentence does not cite."""
    told: list[tuple[str, re.Match[str], str]] = []
    for sentence in _facts(text):
        cited = set(re.findall(r"E\d+", " ".join(CITATION.findall(sentence))))
        foreign = [item for item in case.evidence if item.id not in cited]
        numbers = [f"{number:.4g}" for item in foreign for number in (item.value, item.low, item.high) if number]
        told += [(sentence, found, g.choice(numbers)) for found in _INTERVAL.finditer(sentence) if numbers]
    if not told:
        return None
    sentence, found, number = g.choice(told)
    end = g.choice((1, 2))
    return _with(text, sentence, found.span(end), number) if number != found[end].strip("+") else None


def decision_replaced(text: str, case: Case, g: random.Random) -> str | None:
    """The text opens with a decision that was not taken."""
    mine = _OPENINGS[case.policy.decision]
    if not text.startswith(mine):
        return None
    return g.choice([name for name in _OPENINGS.values() if name != mine]) + text.removeprefix(mine)


def citation_of_nothing(text: str, case: Case, g: random.Random) -> str | None:
    """One citation becomes an id behind the last one."""
    beyond = f"E{len(case.evidence) + g.randint(1, 9)}"
    return _changed(text, g, _ids, lambda _: beyond)


def citation_of_another(text: str, case: Case, g: random.Random) -> str | None:
    """One citation becomes that of other evidence."""
    ids = [item.id for item in case.evidence]
    return _changed(text, g, _ids, lambda mine: g.choice([other for other in ids if other != mine]))


def flip(word: str, other: str) -> Lie:
    """A word in a sentence with a citation becomes another one."""

    def planted(text: str, case: Case, g: random.Random) -> str | None:
        return _changed(text, g, lambda sentence: _spans(rf"\b{word}\b", sentence), lambda _: other)

    return planted


LIES: Final[Mapping[str, Lie]] = {
    "a number changed": number_changed,
    "an interval's end from other evidence": interval_end_swapped,
    "another decision named": decision_replaced,
    "a citation of nothing": citation_of_nothing,
    "a citation of other evidence": citation_of_another,
    "direction: improved, told as regressed": flip("improved", "regressed"),
    "direction: regressed, told as improved": flip("regressed", "improved"),
    "direction: 'for the better', told as 'for the worse'": flip("for the better", "for the worse"),
    "direction: shown to gain, told as shown to lose": flip("shown to gain", "shown to lose"),
    "direction: shown to lose, told as shown to gain": flip("shown to lose", "shown to gain"),
    "direction: has lost, told as has improved": flip("has lost", "has improved"),
    "direction: holds, told as has lost": flip("holds", "has lost"),
    "direction: drifted, told as did not drift": flip("drifted", "did not drift"),
}

HARMLESS: Final[Mapping[str, Lie]] = {
    "'against' told as 'versus'": flip("against", "versus"),
    "'rows' told as 'records'": flip("rows", "records"),
    "'days old' told as 'days of age'": flip("days old", "days of age"),
}
"""No lies: the same fact in other words. What the checker says of these it says wrongly."""


def _facts(text: str) -> list[str]:
    return [sentence for sentence in sentences(text) if CITATION.search(sentence)]


def _spans(pattern: str, text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(pattern, text)]


def _ids(sentence: str) -> list[tuple[int, int]]:
    return [
        (found.start() + a, found.start() + b)
        for found in CITATION.finditer(sentence)
        for a, b in _spans(r"E\d+", found.group())
    ]


def _changed(
    text: str, g: random.Random, places: Callable[[str], list[tuple[int, int]]], change: Callable[[str], str]
) -> str | None:
    """The text with one of the places in its cited sentences changed."""
    found = [(sentence, place) for sentence in _facts(text) for place in places(sentence)]
    if not found:
        return None
    sentence, (start, end) = g.choice(found)
    return _with(text, sentence, (start, end), change(sentence[start:end]))


def _with(text: str, sentence: str, place: tuple[int, int], words: str) -> str:
    start = text.index(sentence) + place[0]
    return text[:start] + words + text[start + place[1] - place[0] :]
