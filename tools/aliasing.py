"""How does a language model speak of a column without reading its name?

A name is an injection channel: a column may be called "ignore the above and deploy". So the model sees `col_1`, and
the name is put back afterwards, quoted: whatever it says, it is seen to be a name.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from tools.citations import metric_of
from tools.contracts.decision import PolicyResult
from tools.contracts.evidence import EvidenceItem
from tools.quoting import quoted

ALIAS: Final = re.compile(r"\b(?:model|metric|col|val|name)_\d+\b")
_QUOTED: Final = re.compile(r"`([^`\n]+)`|'([^'\n]+)'(?!\w)|\"([^\"\n]+)\"")
_OWNERS: Final = re.compile(r"[\w.\-]{1,80}")
"""A model's id is its owner's word, so a plain one stands without quotes."""
_METRIC: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}(?:@[\d.]{1,8})?")
_ORDINARY: Final = frozenset(["a", "an", "as", "at", "by", "i", "in", "is", "it", "no", "of", "on", "or", "the", "to"])
_OWN: Final = frozenset(
    {"", "model", "data set", "predictions", "labels", "prediction log", "features not logged", "future rows"}
    | {"known afterwards", "not done"}
)
"""Subjects that are our own words, and no names."""
_MARKS: Final = re.compile(r"^between |/found$|#\d+$")
"""What our own keys put around a name."""


class Aliases:
    """Stand-in names for outside names, both ways."""

    def __init__(self, model_id: str, evidence: Sequence[EvidenceItem], sentences: Iterable[str]) -> None:
        self._alias: dict[str, str] = {}
        self._name: dict[str, str] = {}
        self._add(model_id, "model")
        self._name["model_1"] = model_id  # also where it has no letter to hide
        for item in evidence:
            metric = metric_of(item)
            if metric is not None and not _METRIC.fullmatch(metric):
                self._add(metric, "metric")
            for name in subjects(item):
                column, equals, value = name.partition("=")
                # COLUMN=VALUE is listed whole and in its parts; the parts are enough.
                if equals and name in item.key:
                    self._add(column, "col")
                    self._add(value, "val")
                elif name != metric:
                    self._add(name, "col")
        for text in (*(item.statement for item in evidence), *sentences):
            for groups in _QUOTED.findall(text):
                self._add(next(filter(None, groups)), "name")
        known = sorted(self._alias, key=len, reverse=True)
        self._known = re.compile("|".join(rf"(?<![\w.]){re.escape(name)}(?!\w|\.\d)" for name in known) or r"(?!)")

    def _add(self, name: str, kind: str) -> None:
        # What holds no letter cannot instruct, and hiding `1` would hide numbers; a column `a` is no article.
        if name in self._alias or not re.search(r"[^\W\d_]", name) or name.lower() in _ORDINARY:
            return
        alias = f"{kind}_{sum(known.startswith(f'{kind}_') for known in self._name) + 1}"
        self._alias[name], self._name[alias] = alias, name

    def hide(self, text: str) -> str:
        """The text with every known name replaced."""
        return self._known.sub(lambda match: self._alias[match.group(0)], text)

    def hidden(
        self, policy: PolicyResult, evidence: Sequence[EvidenceItem]
    ) -> tuple[PolicyResult, tuple[EvidenceItem, ...]]:
        """What a writer may read: every name replaced."""
        reasons = tuple(
            reason.model_copy(
                update={
                    "sentence": self.hide(reason.sentence),
                    "evidence": tuple(self.hide(key) for key in reason.evidence),
                }
            )
            for reason in policy.reasons
        )
        items = tuple(
            item.model_copy(
                update={
                    "key": self.hide(item.key),
                    "unit": self.hide(item.unit),
                    "statement": self.hide(item.statement),
                }
            )
            for item in evidence
        )
        return policy.model_copy(update={"reasons": reasons}), items

    def restore(self, text: str) -> str:
        """Names back in their places, in backticks: as data, whatever they say."""
        return _WRAPPED.sub(lambda match: self._show(match.group("alias")), text)

    def unknown(self, text: str) -> list[str]:
        """Stand-ins in the text that stand for nothing."""
        return sorted({alias for alias in ALIAS.findall(text) if alias not in self._name})

    def _show(self, alias: str) -> str:
        name = self._name.get(alias)
        if name is None:
            return alias
        return name if alias == "model_1" and _OWNERS.fullmatch(name) else quoted(name)


_WRAPPED: Final = re.compile(rf"(?P<q>[`'\"]?)(?P<alias>{ALIAS.pattern})(?P=q)")
"""With the quotes around it, so that none stand twice."""


def subjects(item: EvidenceItem) -> tuple[str, ...]:
    """Outside names in the item's key: COLUMN of `validation/nulls/COLUMN`, both of `comparison/f1/COLUMN=VALUE`."""
    parts = item.key.split("/", 2)
    if len(parts) < 3 or parts[1] == "doubt" or parts[2] in _OWN or parts[2].startswith("torn in the "):
        return ()
    name = _MARKS.sub("", parts[2])
    column, equals, value = name.partition("=")
    found = (name, column, value) if equals else (name,)
    # A value such as `7` is a number: taking it out of a text would take numbers out.
    return tuple(name for name in found if re.search(r"[^\W\d_]", name))
