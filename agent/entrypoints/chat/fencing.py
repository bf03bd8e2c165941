"""How does a model hear what a tool found? As data between two markers, outside names as stand-ins, no longer than it must be.

The names of columns and of their values are somebody else's text, and so an instruction in waiting: the model reads `col_1`, and the
name is put back, quoted, in what the person reads.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from tools.aliasing import subjects
from tools.contracts.evidence import EvidenceItem
from tools.quoting import quoted

MOST: Final = 3000
"""Characters of one result."""
LONGEST: Final = 300
"""Of one text in it."""
_ALIAS: Final = re.compile(r"\bcol_\d+\b")
_PARTIAL: Final = re.compile(r"\b(?:c|co|col|col_\d*)$")


class Names:
    """Stand-ins for outside names, the same ones throughout a conversation."""

    def __init__(self, known: dict[str, str] | None = None) -> None:
        self.known: dict[str, str] = dict(known or {})
        """Stand-in to name."""

    def learn(self, evidence: Iterable[EvidenceItem]) -> None:
        """The names in what some evidence is about."""
        have = set(self.known.values())
        for item in evidence:
            for name in subjects(item):
                if name not in have:
                    have.add(name)
                    self.known[f"col_{len(self.known) + 1}"] = name

    def hide(self, text: str) -> str:
        """With stand-ins for every name."""
        for alias, name in sorted(self.known.items(), key=lambda pair: -len(pair[1])):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", alias, text)
        return text

    def show(self, text: str) -> str:
        """With the names again, quoted and escaped: they are data wherever they stand."""
        return _ALIAS.sub(lambda found: self._quoted(found[0]), text)

    def _quoted(self, alias: str) -> str:
        name = self.known.get(alias)
        return alias if name is None else quoted(name)


class Speaking:
    """A streamed text with names put back: what may still become a stand-in is held until it is known."""

    def __init__(self, names: Names) -> None:
        self._names, self._rest = names, ""

    def take(self, piece: str) -> str:
        """What can be said now."""
        text = self._rest + piece
        found = _PARTIAL.search(text)
        cut = len(text) if found is None else found.start()
        self._rest = text[cut:]
        return self._names.show(text[:cut])

    def rest(self) -> str:
        """What was held, at the end."""
        said, self._rest = self._names.show(self._rest), ""
        return said


def fenced(data: Any, names: Names) -> str:
    """A tool's result for the model."""
    text = json.dumps(_short(data, names), ensure_ascii=False, separators=(",", ":"))
    if len(text) > MOST:
        text = text[:MOST] + "… (cut: ask for less)"
    # A marker made from the data cannot stand in the data.
    marker = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"<<<DATA {marker}\n{text}\nDATA {marker}>>>"


def _short(value: Any, names: Names) -> Any:
    if isinstance(value, str):
        hidden = names.hide(" ".join(value.split()))
        return hidden if len(hidden) <= LONGEST else hidden[: LONGEST - 1] + "…"
    if isinstance(value, dict):
        return {str(name): _short(each, names) for name, each in value.items() if each not in (None, "", [], ())}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_short(each, names) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value
