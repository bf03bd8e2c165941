"""What does a person need to know who is asked to decide? What is uncertain, three facts, and what each answer leads to.

Everything in it is code's own word about the evidence; names from outside stand quoted.
"""

from collections.abc import Sequence
from typing import Final

from tools.aliasing import Aliases
from tools.contracts.decision import PolicyResult
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Brief, Fact
from tools.contracts.run import Offered
from tools.rationale import OPEN_OUTCOMES, fact_of

_FACTS: Final = 3
_LONGEST: Final = 400
_ANSWERS: Final[dict[Offered, dict[str, str]]] = {
    "deploy": {
        "approve": "the candidate takes the champion's place, step by step as the plan says; the champion stays the way back",
        "canary": "the candidate first gets a share of the traffic, and goes back at the first harm",
        "reject": "the champion stays, and the candidate is not used",
    },
    "canary": {
        "approve": "the canary starts: the candidate gets a share of the traffic, and goes back at the first harm",
        "reject": "the champion stays, and the candidate is not used",
    },
    "train": {
        "approve": "training starts although a check is open; the candidate is compared like any other, and you may be asked again",
        "reject": "nothing is trained, and the champion stays",
    },
    "roll_back": {
        "approve": "the last known good version is restored, and it is proved that it serves",
        "reject": "the champion stays as it is, and this run retrains nothing",
    },
}
_NOTHING: Final = "the question runs out and the champion stays"
_HARM: Final = frozenset({"regressed", "bad", "fail"})


def brief(
    *,
    offered: Offered,
    can_start_small: bool,
    model_id: str,
    policy: PolicyResult | None,
    evidence: Sequence[EvidenceItem],
    moved_by: Sequence[str] = (),
    rollout: str | None = None,
) -> Brief:
    """The brief of one question.

    Args:
        offered: What `approve` does.
        can_start_small: Whether a canary may be answered in its place.
        model_id: Of the profile.
        policy: What the rules said; None where they were not asked.
        evidence: What they rested on.
        moved_by: Ids of the evidence for which the language model asked, where it did.
        rollout: Where a rollout stands that cannot go on by itself.
    """
    aliases = Aliases(model_id, evidence, [] if policy is None else [reason.sentence for reason in policy.reasons])
    answers = {name: told for name, told in _ANSWERS[offered].items() if name != "canary" or can_start_small}
    facts = [
        Fact(id=item.id, sentence=_short(aliases.restore(fact_of(hidden))))
        for item, hidden in _telling(policy, evidence, moved_by, aliases)[: _FACTS - (rollout is not None)]
    ]
    if rollout is not None:
        facts.insert(0, Fact(id="", sentence=_short(rollout)))
    return Brief(
        uncertain=_short(_uncertain(policy, moved_by, rollout, aliases)),
        facts=tuple(facts),
        answers=answers | {"nothing": _NOTHING},
    )


def _telling(
    policy: PolicyResult | None, evidence: Sequence[EvidenceItem], moved_by: Sequence[str], aliases: Aliases
) -> list[tuple[EvidenceItem, EvidenceItem]]:
    """Items with what a writer may read of them, the most telling first."""
    if policy is None:
        return []
    resting = [key for reason in policy.reasons for key in reason.evidence]
    _, hidden = aliases.hidden(policy, evidence)

    def rank(item: EvidenceItem) -> tuple[int, int]:
        outcome = item.outcome.removesuffix(" (warning)")
        if item.id in moved_by:
            return 0, moved_by.index(item.id)
        if item.key in resting and outcome in OPEN_OUTCOMES | _HARM:
            return 1, resting.index(item.key)
        if item.key.count("/") == 1 and item.key.startswith("comparison/") and ", " in item.unit:
            return 2, 0
        return (3 if outcome in _HARM else 4 if outcome in OPEN_OUTCOMES else 5), 0

    return sorted(zip(evidence, hidden, strict=True), key=lambda pair: rank(pair[0]))


def _uncertain(policy: PolicyResult | None, moved_by: Sequence[str], rollout: str | None, aliases: Aliases) -> str:
    if rollout is not None:
        return "The rollout came to its deadline, and what was measured shows neither harm nor its absence."
    if policy is None or not policy.reasons:
        return "The rules do not decide this by themselves."
    if moved_by:
        return "The rules would start a canary, though closely; the language model that explains asks that a person look first."
    if policy.decision != "manual_review":
        sure = "are sure of it" if policy.certainty == "clear" else "call it borderline"
        named = policy.decision.replace("_", " ")
        return f"The rules say {named} and {sure}; nothing moves here without a person's word."
    first = aliases.restore(aliases.hide(policy.reasons[0].sentence))
    others = len(policy.reasons) - 1
    more = f" (and {others} more reason{'s' if others > 1 else ''})" if others and policy.certainty != "clear" else ""
    return f"{' '.join(first.split()).rstrip('.')}{more}."


def _short(text: str) -> str:
    """One line without control characters; what is longer is cut."""
    plain = "".join(char for char in " ".join(text.split()) if char.isprintable() or char in "\u2068\u2069")
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def lines(found: Brief) -> list[str]:
    """The brief as text."""
    facts = [f"- {fact.sentence}" for fact in found.facts]
    answers = [f"{name} -> {told}" for name, told in found.answers.items()]
    return [f"Uncertain: {found.uncertain}", *(["What matters:", *facts] if facts else []), *answers]
