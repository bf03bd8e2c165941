"""What does a language model make of the decision? Its words, if they are faithful; the template's otherwise.

Whatever the model does (silence, errors, nonsense, lies) ends in a rationale and never in an exception: the decision does not
hang on it.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tools.adapters.template_rationale import PromptSource, TemplateWriter
from tools.aliasing import Aliases
from tools.citations import fields_of, number_of
from tools.contracts.decision import PolicyResult, Rationale
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Explained, Weighed
from tools.contracts.language import Message
from tools.errors import ModelUnavailable
from tools.faithfulness import check
from tools.guided import guided
from tools.ports import LanguageModel
from tools.rationale import finished, paragraphs

_ATTEMPTS: Final = 2
_MOST_ITEMS: Final = 60
"""Items that a model is shown: what the policy rests on first, then what is bad or open."""
_GOOD: Final = frozenset({"ok", "pass", "clean"})
_SEGMENT: Final = re.compile(r"[\w.@=#+ -]{1,80}")
_SECOND_TRY: Final = frozenset({"not_json", "wrong_schema", "empty"})
"""Faults of a text, for which it is asked once more. A server that is down or slow gets no second chance within one run."""
_CHOICE: Final = {
    "borderline": "The decision is borderline, so you have one choice: if, from the evidence alone, a careful engineer would want a "
    'person to look first, set "route" to "manual_review" and name in "moved_by" the ids of the evidence for it. Otherwise set '
    '"route" to "stand" and leave "moved_by" empty. The prose explains the decision either way.',
    "other": "You have no say in the decision.",
}


class ModelWriter:
    """Asks a model for the explanation, checks it, asks once more with the faults named; else the template writes.

    Args:
        model: Who is asked.
        prompt: With inputs `decision`, `certainty`, `choice` and `schema`.
        fallback: Writes where the model's text cannot be used.
        secret: The endpoint's key, which no text may repeat.
        monotonic: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        model: LanguageModel,
        prompt: PromptSource,
        fallback: TemplateWriter,
        secret: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model, self._prompt, self._fallback = model, prompt, fallback
        self._secret, self._monotonic = secret, monotonic

    def write(self, policy: PolicyResult, evidence: Sequence[EvidenceItem], model_id: str) -> Rationale:
        """See `RationaleWriter.write`."""
        if not evidence:
            return self._fallback.write(policy, evidence, model_id, ("there is no evidence for a model to cite",))
        started, budget = self._monotonic(), self._model.budget()
        aliases = Aliases(model_id, evidence, [reason.sentence for reason in policy.reasons])
        hidden, items = aliases.hidden(policy, evidence)
        seen = _most_telling(hidden, items)
        schema = guided(hidden, seen)
        messages, faults = self._messages(hidden, seen, len(items), schema), list[str]()
        accepted: Rationale | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            said = ""
            try:
                found = self._model.complete(messages, schema, purpose="rationale", budget=budget, reuse=True)
                said, draft = found.text, found.parsed
                wrong = [*check(draft, hidden, seen), *_route_faults(draft, seen), *self._leaks(said)]
                if not wrong:
                    accepted = self._accepted(draft, policy, seen, aliases, faults)
                    accepted = accepted.model_copy(update={"reused": found.reused})
                    break
            except ModelUnavailable as fault:
                wrong, said = [fault.message], fault.said or ""
                if fault.kind not in _SECOND_TRY:
                    attempt = _ATTEMPTS
            faults += [f"{self._model.name}: {aliases.restore(self._without_key(text))}" for text in wrong]
            if attempt == _ATTEMPTS:
                break
            messages = [*messages, *([Message(role="assistant", content=said)] if said else []), _correction(wrong)]
        written = accepted or self._fallback.write(policy, evidence, model_id, tuple(faults))
        return written.model_copy(update={"usage": budget.used, "seconds": round(self._monotonic() - started, 3)})

    def _accepted(
        self,
        draft: Explained,
        policy: PolicyResult,
        items: Sequence[EvidenceItem],
        aliases: Aliases,
        faults: Sequence[str],
    ) -> Rationale:
        parts = finished(draft, items, aliases)
        routed = isinstance(draft, Weighed) and draft.route == "manual_review" and policy.decision != "manual_review"
        moved_by = draft.moved_by if isinstance(draft, Weighed) and routed else ()
        if routed:
            asks = f"The model that wrote this asks that a person decide, because of [{', '.join(moved_by)}]."
            parts = parts.model_copy(update={"concerns": (*parts.concerns, asks)})
        return Rationale(
            text=paragraphs(parts),
            parts=parts,
            written_by="model",
            model=self._model.name,
            prompt_name=self._prompt.name,
            prompt_version=self._prompt.version,
            prompt_hash=self._prompt.hash,
            faults=tuple(faults),
            routed_to_review=routed,
            moved_by=moved_by,
        )

    def _messages(
        self, policy: PolicyResult, items: Sequence[EvidenceItem], known: int, schema: type[Explained]
    ) -> list[Message]:
        rules = self._prompt.render(
            decision=policy.decision,
            certainty=policy.certainty,
            choice=_CHOICE["borderline" if issubclass(schema, Weighed) else "other"],
            schema=json.dumps({**_EXAMPLE, **(_ROUTE if issubclass(schema, Weighed) else {})}, indent=1),
        )
        data = json.dumps(
            {
                "reasons": [{"code": r.code, "rests_on": _ids(r.evidence, items)} for r in policy.reasons],
                "evidence": [_fact(item) for item in items],
                "good_and_not_shown": known - len(items),
            },
            ensure_ascii=False,
        )
        # JSON keeps outside text on its line; a marker made from the data cannot stand in the data.
        marker = hashlib.sha256(data.encode()).hexdigest()[:16]
        fenced = f"<<<DATA {marker}\n{data}\nDATA {marker}>>>"
        return [Message(role="system", content=rules), Message(role="user", content=fenced)]

    def _leaks(self, text: str) -> list[str]:
        return ["repeats a secret"] if self._secret and self._secret in text else []

    def _without_key(self, text: str) -> str:
        return text.replace(self._secret, "***") if self._secret else text


_EXAMPLE: Final[Mapping[str, Any]] = {
    "decision": "the decision, as told",
    "summary": "…",
    "argument": ["…"],
    "concerns": ["…"],
    "would_change": ["…"],
}
_ROUTE: Final[Mapping[str, Any]] = {"route": "stand or manual_review", "moved_by": []}


def _most_telling(policy: PolicyResult, items: Sequence[EvidenceItem]) -> tuple[EvidenceItem, ...]:
    resting = {key for reason in policy.reasons for key in reason.evidence}

    def rank(item: EvidenceItem) -> int:
        return 0 if item.key in resting else 2 if item.outcome.removesuffix(" (warning)") in _GOOD else 1

    kept = {item.id for item in sorted(items, key=rank)[:_MOST_ITEMS]}
    return tuple(item for item in items if item.id in kept)


def _fact(item: EvidenceItem) -> dict[str, Any]:
    """Value, interval, verdict and source; no sentence, since sentences hold what others wrote."""
    numbers = {field: number_of(item, field) for field in fields_of(item)}
    parts = item.key.split("/")
    return {
        "id": item.id,
        "source": "/".join(part if _SEGMENT.fullmatch(part) else "…" for part in parts),
        "verdict": item.outcome,
        **{field: float(f"{number:.4g}") for field, number in numbers.items() if number is not None},
        **({"unit": item.unit.split(", ")[-1]} if _SEGMENT.fullmatch(item.unit.split(", ")[-1]) else {}),
    }


def _ids(keys: Sequence[str], items: Sequence[EvidenceItem]) -> list[str]:
    return [item.id for item in items if item.key in keys]


def _route_faults(draft: Explained, items: Sequence[EvidenceItem]) -> list[str]:
    if not isinstance(draft, Weighed) or draft.route == "stand":
        return []
    known = {item.id for item in items}
    wrong = [name for name in draft.moved_by if name not in known]
    faults = [f"moved_by names {name[:20]!r}, which does not exist" for name in wrong]
    return faults if draft.moved_by else ["asks for a person, and moved_by names no evidence for it"]


def _correction(faults: Sequence[str]) -> Message:
    listed = "\n".join(f"- {fault}" for fault in faults)
    content = f"A program found these faults in your answer:\n{listed}\nWrite it again without them."
    return Message(role="user", content=content)
