"""Faithful explanations in many wordings, and the same with one thing altered. Knows nothing of the checker.

A draft says of each item what its verdict says and cites it; numbers are cited. An alteration changes one citation, direction, name
or decision, or writes a number in: it makes a false statement of a true one, and tells what it changed.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evals.language.decisions import Case
from tools.aliasing import Aliases
from tools.contracts.decision import PolicyResult
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Explained

_SUMMARIES: Final[Mapping[str, Sequence[str]]] = {
    "deploy": ("Deploy {m}.", "The candidate for {m} is to be deployed.", "The decision is to deploy the candidate."),
    "canary": ("Start a canary for {m}.", "The decision is a canary.", "A canary is due for {m}."),
    "reject": ("Reject the candidate for {m}.", "The retraining of {m} is rejected.", "The decision is to reject it."),
    "manual_review": (
        "Manual review of {m}.",
        "This goes to manual review.",
        "The decision is manual review by a person.",
    ),
}
_SAID: Final[Mapping[str, Sequence[str]]] = {
    "improved": (
        "{what} improved by [{id}.delta].",
        "{what} is better [{id}].",
        "On [{id}.n] rows {what} improved [{id}].",
        "{what} shows a gain, with an interval from [{id}.low] to [{id}.high].",
    ),
    "regressed": (
        "{what} got worse, by [{id}.delta].",
        "{what} regressed [{id}].",
        "There is a regression of {what} [{id}.interval].",
    ),
    "non_inferior": (
        "{what} holds [{id}].",
        "{what} did not get worse by more than [{id}.threshold].",
        "{what} holds within its margin, at [{id}.delta].",
    ),
    "inconclusive": (
        "Whether {what} moved cannot be told [{id}].",
        "{what} is inconclusive, between [{id}.low] and [{id}.high].",
        "These rows cannot tell about {what} [{id}].",
    ),
    "bad": ("{what} is beyond its bound [{id}].", "There is a finding about {what} [{id}.value]."),
    "fail": ("The check of {what} failed [{id}].", "The check of {what} failed at [{id}.value]."),
    "pass": ("The check of {what} passed [{id}].", "The check of {what} passed, on [{id}.n] rows."),
    "could_not_tell": ("About {what} the data could not tell [{id}].",),
    "could_not_measure": (
        "For {what} nothing could be measured [{id}].",
        "How {what} stands could not be told [{id}].",
    ),
    "could_not_check": ("For {what} it could not be checked [{id}].",),
}
_CHANGES: Final = (
    "If the interval of the primary metric had reached the bar, the rules would have gone further.",
    "A guardrail shown to lose more than its margin would have led elsewhere.",
    "More labelled rows might settle what is open.",
)


@dataclass(frozen=True)
class Written:
    """A faithful draft, with what a checker is given beside it."""

    draft: Explained
    policy: PolicyResult
    items: tuple[EvidenceItem, ...]
    subjects: Mapping[str, str]
    """What the sentence about an item calls it."""


def faithful(case: Case, g: random.Random) -> Written:
    """One explanation of the case."""
    aliases = Aliases(case.model_id, case.evidence, [reason.sentence for reason in case.policy.reasons])
    policy, items = aliases.hidden(case.policy, case.evidence)
    told = [item for item in items if _subject(item) and item.outcome.removesuffix(" (warning)") in _SAID]
    chosen = sorted(g.sample(told, min(len(told), g.randint(2, 6))), key=lambda item: int(item.id[1:]))
    argument = tuple(_sentence(item, g) for item in chosen) or tuple(f"Look at [{item.id}]." for item in items[:1])
    opening = g.choice(_SUMMARIES[policy.decision]).format(m="model_1")
    draft = Explained(decision=policy.decision, summary=opening, argument=argument, would_change=(g.choice(_CHANGES),))
    return Written(draft, policy, items, {item.id: _subject(item) for item in chosen})


def _sentence(item: EvidenceItem, g: random.Random) -> str:
    outcome = item.outcome.removesuffix(" (warning)")
    fields = {"delta": item.value, "value": item.value, "n": item.n, "low": item.low, "high": item.high}
    fields |= {"threshold": item.threshold, "interval": item.low}
    fitting = [
        text for text in _SAID[outcome] if all(fields[name] is not None for name in re.findall(r"\{id\}\.(\w+)", text))
    ]
    text = g.choice(fitting).format(what=_subject(item), id=item.id)
    return text[0].upper() + text[1:] if not re.match(r"(?:col|val|metric)_", text) else text


def _subject(item: EvidenceItem) -> str:
    """How the item's subject is called: a metric, a column, or both; empty where it has no name of its own."""
    kind, _, rest = item.key.partition("/")
    what, _, where = rest.partition("/")
    if kind == "comparison":
        if ", " not in item.unit:
            return ""
        return f"{what} where {where.replace('=', ' is ')}" if where else what
    if kind == "validation" and re.fullmatch(r"col_\d+", where):
        return f"{what} in {where}"
    return where if kind == "staleness" and what == "drift" and re.fullmatch(r"col_\d+", where) else ""


# --- one thing altered -------------------------------------------------------------------------------------------------

Alteration = Callable[[Written, random.Random], Explained | None]
_METRICS: Final = ("accuracy", "log_loss", "f1", "recall", "precision", "roc_auc")
_TURNED: Final = (
    (r"\bimproved\b", ("got worse", "regressed", "fell back and is worse")),
    (r"\bis better\b", ("is worse", "has deteriorated")),
    (r"\bshows a gain\b", ("shows a regression",)),
    (r"\bgot worse\b", ("improved", "got better")),
    (r"\bregressed\b", ("improved",)),
    (r"\ba regression\b", ("an improvement", "no regression")),
    (r"\bholds\b", ("improved", "got worse")),
    (r"\bdid not get worse\b", ("got worse", "improved")),
    (r"\bis inconclusive\b", ("is better", "has regressed")),
    (r"\bfailed\b", ("passed",)),
    (r"\bpassed\b", ("failed",)),
)


def citation_of_nothing(written: Written, g: random.Random) -> Explained | None:
    """An id behind the last one."""
    beyond = f"E{len(written.items) + g.randint(1, 9)}"
    return _in_argument(written, g, lambda text: re.sub(r"\[E\d+", f"[{beyond}", text, count=1))


def field_of_nothing(written: Written, g: random.Random) -> Explained | None:
    """A field that the item has not."""
    return _in_argument(written, g, lambda text: re.sub(r"\[(E\d+)[^\]]*\]", r"[\1.p_value]", text, count=1))


def citation_of_another(written: Written, g: random.Random) -> Explained | None:
    """Evidence about something else than the sentence names."""

    def moved(text: str) -> str:
        found = re.search(r"\[(E\d+)", text)
        mine = written.subjects.get(found.group(1), "") if found else ""
        others = [item.id for item in written.items if mine and _foreign(mine, item.key)]
        return re.sub(r"\[E\d+[^\]]*\]", f"[{g.choice(others)}]", text) if others else text

    return _in_argument(written, g, moved)


def direction_turned(written: Written, g: random.Random) -> Explained | None:
    """The sentence says the contrary of the verdict."""

    def turned(text: str) -> str:
        for pattern, others in _TURNED:
            if re.search(pattern, text):
                return re.sub(pattern, g.choice(others), text, count=1)
        return text

    return _in_argument(written, g, turned)


def name_changed(written: Written, g: random.Random) -> Explained | None:
    """Another metric, another column, or a stand-in for nothing."""

    def renamed(text: str) -> str:
        alias = re.search(r"\b(?:col|val|metric)_\d+\b", text)
        if alias:
            kind = alias.group(0).split("_")[0]
            known = {name for item in written.items for name in re.findall(rf"\b{kind}_\d+\b", item.key)}
            other = g.choice([*sorted(known - {alias.group(0)}), f"{kind}_99"])
            return text.replace(alias.group(0), other, 1)
        for metric in _METRICS:
            if re.search(rf"\b{metric}\b", text, re.I):
                other = g.choice([name for name in _METRICS if name != metric])
                return re.sub(rf"\b{metric}\b", other, text, count=1, flags=re.I)
        return text

    return _in_argument(written, g, renamed)


def decision_changed(written: Written, g: random.Random) -> Explained | None:
    """Another decision, in its field or in the summary."""
    others = [name for name in _SUMMARIES if name != written.draft.decision]
    other = g.choice(others)
    if g.random() < 0.3:
        return written.draft.model_copy(update={"decision": other})
    return written.draft.model_copy(update={"summary": g.choice(_SUMMARIES[other]).format(m="model_1")})


def number_written(written: Written, g: random.Random) -> Explained | None:
    """A number, in digits or in words, in the place of a citation or beside it."""
    number = g.choice(("0.0213", "7", "12 %", "1,204", "3e-4", "two", "thirty percent", "½", "a dozen", "99.5", "٤"))

    def put(text: str) -> str:
        with_field = re.sub(r"\[(E\d+)\.\w+\]", rf"{number} [\1]", text, count=1)
        return with_field if with_field != text else text.rstrip(".") + f", that is {number}."

    return _in_argument(written, g, put)


ALTERATIONS: Final[Mapping[str, Alteration]] = {
    "citation of nothing": citation_of_nothing,
    "field that is not there": field_of_nothing,
    "citation of other evidence": citation_of_another,
    "direction turned": direction_turned,
    "name changed": name_changed,
    "decision changed": decision_changed,
    "number written in": number_written,
}


def _in_argument(written: Written, g: random.Random, change: Callable[[str], str]) -> Explained | None:
    texts = list(written.draft.argument)
    for at in g.sample(range(len(texts)), len(texts)):
        changed = change(texts[at])
        if changed != texts[at]:
            update: dict[str, Any] = {"argument": (*texts[:at], changed, *texts[at + 1 :])}
            return written.draft.model_copy(update=update)
    return None


def _foreign(mine: str, key: str) -> bool:
    """Whether evidence of this key is about nothing that the subject names."""
    names = re.findall(r"\b(?:col|val|metric)_\d+\b", mine) or [mine.split()[0]]
    return not any(name in re.split(r"[/=#]", key) for name in names)
