"""What may the answer about one decision look like? A schema that leaves little room for what the checker would refuse.

A small model that is told to write no numbers writes numbers. Where the endpoint generates by the schema (OpenAI, vLLM, llama.cpp,
Ollama), it now cannot: outside a citation of what is there no digit fits, every fact cites, and the summary begins with the decision.
The checker stays as it is, and checks all the same: it alone decides what is shown (`tools/faithfulness.py`).

Patterns keep to what those endpoints share: anchored, no lookaround, no groups but plain ones, and no character that JSON would escape.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import ConfigDict

from tools.aliasing import ALIAS
from tools.citations import fields_of, metric_of
from tools.contracts.decision import DecisionKind, PolicyResult
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Explained, Weighed

_WORD: Final = r"([A-DF-Za-z]|E[a-z])[A-Za-z]{0,18}([_'-][A-Za-z]{1,18}){0,3}"
"""A bare `E` begins a citation that lost its bracket."""
_MOST: Final = 25
"""Words of a text before its first citation, and behind it. Without an end a small model that may write no number goes on for ever."""
_MOST_ITEMS: Final = {"argument": 5, "concerns": 3, "would_change": 3}
_OPENINGS: Final[dict[DecisionKind, str]] = {
    "deploy": "Deploy|The decision is to deploy",
    "canary": "A canary|The decision is a canary",
    "reject": "Reject|The decision is to reject",
    "manual_review": "Manual review|The decision is a manual review",
}


def guided(policy: PolicyResult, shown: Sequence[EvidenceItem]) -> type[Explained]:
    """`Weighed` of a borderline decision, else `Explained`; its JSON schema holds what can be said about this one.

    Only what an endpoint generates by is narrower: an answer that does not keep to it is read all the same.

    Args:
        policy: The decision that is explained, with stand-ins for names.
        shown: What may be cited, with the same stand-ins.
    """
    whole = Weighed if policy.certainty == "borderline" else Explained
    name = "|".join([_WORD, *_names_with_digits(shown)])
    # One space between words, and something behind each: else one who wants to write a number writes spaces. One sentence a text:
    # a second one would say things that nothing is cited for.
    word, cites = rf"\(?({name})\)?,?", rf"\(?({_citations(shown)})+\)?,?"
    before, rest = rf"({word} ){{0,{_MOST}}}", rf"( ({word}|{cites})){{0,{_MOST}}}\.$"
    patterns = {
        "summary": rf"^({_OPENINGS[policy.decision]}),? {before}{cites}{rest}",
        "argument": rf"^{before}{cites}{rest}",
        "concerns": rf"^{before}{cites}{rest}",
        "would_change": rf"^(If|Had|With|Without) {word}{rest}",
    }

    def narrow(schema: dict[str, Any]) -> None:
        told = schema["properties"]
        told["decision"] = {"type": "string", "enum": [policy.decision]}
        for name, pattern in patterns.items():
            text: dict[str, Any] = told[name]["items"] if name != "summary" else told[name]
            text["pattern"] = pattern
        told["argument"]["minItems"] = 1
        for name, most in _MOST_ITEMS.items():
            told[name]["maxItems"] = most
        if "moved_by" in told:
            told["moved_by"]["items"]["enum"] = [item.id for item in shown]

    made: Any = type(
        whole.__name__, (whole,), {"__module__": __name__, "model_config": ConfigDict(json_schema_extra=narrow)}
    )
    return made


def _citations(shown: Iterable[EvidenceItem]) -> str:
    """`[E1]`, `[E1.delta]` and so on, of what each item has."""
    alike = defaultdict[tuple[str, ...], list[str]](list)
    for item in shown:
        alike[fields_of(item)].append(item.id)
    found = [rf"({'|'.join(ids)})(\.({'|'.join(fields)}))?" for fields, ids in alike.items()]
    return rf"\[({'|'.join(found)})\]"


def _names_with_digits(shown: Sequence[EvidenceItem]) -> list[str]:
    """Stand-ins and metrics such as `f1` or `ndcg@10`, which are names and no numbers."""
    names = {alias for item in shown for alias in ALIAS.findall(item.key)} | {"model_1"}
    metrics = {metric for metric in map(metric_of, shown) if metric is not None}
    names |= {metric for metric in metrics if re.search(r"\d", metric) and re.fullmatch(r"[\w@]+", metric)}
    return sorted(names)
