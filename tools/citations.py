"""How does prose point at evidence, and how are its numbers printed?

A citation names an item, `[E3]`, or a field of it, `[E3.low]`. Writers write no numbers: code prints the field in the place of
its citation, so what is printed is what was measured.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tools.contracts.evidence import EvidenceItem

_ONE: Final = r"E\d+(?:\.[A-Za-z_]+)?"
CITATION: Final = re.compile(rf"\[\s*({_ONE}(?:\s*[,;]\s*{_ONE})*)\s*\]")
_BOUNDARY: Final = re.compile(r"(?<=[.!?])[\"')]?\s+(?=[A-Z\[`\"'(])|(?<=\][.!?])\s+|\n+")
_LEADING: Final = re.compile(rf"((?:\s*\[\s*{_ONE}(?:\s*[,;]\s*{_ONE})*\s*\])+[.!?]?)\s*")
_NUMBERS: Final = ("value", "low", "high", "threshold", "n")
_UNIT: Final = re.compile(r"([\d)]) (\[E[^\]]*\])((?: [a-z]+){1,4})(?=[,;.:!?])")
"""A few words behind a number, such as `rows`, come before the id."""
_LONGEST: Final = 600
_SHARES: Final = frozenset({"share"})


class Cited(NamedTuple):
    """One thing pointed at; the item as a whole where `field` is None."""

    id: str
    field: str | None


def cited(text: str) -> list[Cited]:
    """Everything that a text points at, in order."""
    return [each for found in CITATION.finditer(text) for each in _parts(found)]


def _parts(found: re.Match[str]) -> list[Cited]:
    pieces = [piece.strip().partition(".") for piece in re.split(r"[,;]", found.group(1))]
    return [Cited(name, field or None) for name, _, field in pieces]


def fields_of(item: EvidenceItem) -> tuple[str, ...]:
    """What can be cited of an item."""
    found = [name for name in _NUMBERS if getattr(item, name) is not None]
    if "value" in found and _is_change(item):
        found.insert(0, "delta")
    if item.low is not None and item.high is not None:
        found.append("interval")
    return (*found, "statement")


def number_of(item: EvidenceItem, field: str | None) -> float | None:
    """The number in a field; None where it holds none."""
    name = "value" if field == "delta" else field
    return getattr(item, name) if name in _NUMBERS else None


def _is_change(item: EvidenceItem) -> bool:
    """Of a metric: its unit is written `METRIC, UNIT`."""
    return item.key.startswith("comparison/") and ", " in item.unit


def metric_of(item: EvidenceItem) -> str | None:
    """The metric that an item is about."""
    kind, _, rest = item.key.partition("/")
    if kind == "comparison" and (
        _is_change(item) or item.outcome in ("improved", "regressed", "non_inferior", "no_data")
    ):
        return rest.partition("/")[0].partition("#")[0].removesuffix(" with nulls")
    if kind == "staleness" and rest.startswith(("performance/", "estimated_performance/")):
        return rest.partition("/")[2].partition("#")[0]
    return None


def speakable(text: str, longest: int = _LONGEST) -> str:
    """One line of bounded length whose brackets are no citations: statements hold names, intervals and log lines."""
    return " ".join(text.replace("[", "(").replace("]", ")").split())[:longest].rstrip(" .;,")


def sentences(text: str) -> list[str]:
    """Sentences, each with the citations that stand in it or right behind it."""
    found: list[str] = []
    for piece in _BOUNDARY.split(text):
        rest = piece.strip()
        ahead = _LEADING.match(rest)
        if ahead and found:
            found[-1] += " " + ahead.group(1).strip()
            rest = rest[ahead.end() :]
        if rest:
            found.append(rest)
    return found


def printed(text: str, items: Mapping[str, EvidenceItem]) -> str:
    """The text for people: numbers in the places of cited fields, the item's id in brackets behind the last of them.

    Citations of what is not there are left out; who checks first has none.
    """
    shown = " ".join(_printed(sentence, items) for sentence in sentences(text))
    return re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s{2,}", " ", shown)).strip()


def _printed(sentence: str, items: Mapping[str, EvidenceItem]) -> str:
    found = list(CITATION.finditer(sentence))
    pieces, told, end = [""], {each.id for each in cited(sentence) if each.field in ("low", "high", "interval")}, 0
    for place, match in enumerate(found):
        parts = [each for each in _parts(match) if each.id in items]
        later = {each.id for other in found[place + 1 :] for each in _parts(other)}
        values = [_field(items[each.id], each.field, told) for each in parts if each.field]
        ids = [each.id for each in parts if each.id not in later]
        pieces += [sentence[end : match.start()], _joined(values, dict.fromkeys(ids))]
        end = match.end()
    return _UNIT.sub(r"\1\3 \2", "".join([*pieces, sentence[end:]]))


def _joined(values: Sequence[str], ids: Iterable[str]) -> str:
    behind = ", ".join(ids)
    return " ".join(filter(None, [", ".join(filter(None, values)), f"[{behind}]" if behind else ""]))


def _field(item: EvidenceItem, field: str | None, told: set[str]) -> str:
    if field == "statement":
        return speakable(item.statement)
    if field == "interval":
        return f"{_number(item, 'low')} to {_number(item, 'high')}" if "interval" in fields_of(item) else ""
    if field in ("value", "delta") and item.id not in told and "interval" in fields_of(item):
        told.add(item.id)
        return f"{_number(item, field)} ({_number(item, 'low')} to {_number(item, 'high')})"
    return _number(item, field)


def _number(item: EvidenceItem, field: str | None) -> str:
    number = number_of(item, field)
    if number is None:
        return ""
    if field == "n" or item.unit in ("rows", "count"):
        return f"{number:,.0f}"
    if item.unit in _SHARES:
        return f"{number:.3g}" if number and abs(number) < 0.001 else f"{number:.1%}".replace(".0%", "%")
    if _is_change(item):
        # What is accepted to be lost is a bar below zero; prose says "a loss of".
        return f"{abs(number):.4g}" if field == "threshold" else f"{number:+.4g}"
    return f"{number:,.4g} days" if item.unit == "days" else f"{number:.4g}"
