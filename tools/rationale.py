"""How is a decision explained without a language model?

Four paragraphs: the decision and why, the evidence that carries it, what is uncertain, and what would change the
decision. Every fact is a statement of the evidence in its own words, with its citation; nothing is calculated here. Whatever came
from outside stands in it quoted, as it does in a model's text.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from tools.aliasing import Aliases
from tools.citations import metric_of, number_of, printed, sentences, speakable
from tools.contracts.decision import PolicyResult, RationaleParts, Reason
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Explained

TEMPLATE_VERSION: Final = "3"
"""As in `prompts/template_rationale.md`: a record that names another one was worded otherwise."""

Stage = Literal["judged", "first_model", "failed_training", "bad_data", "not_trained"]
"""How far the run got: the shape of the text depends on it."""

_OPENINGS: Final[dict[str, str]] = {
    "deploy": "Deploy the candidate for {model} in place of the champion",
    "canary": "Start a canary with the candidate for {model}, which takes a share of the traffic before the rest",
    "reject/judged": "Reject the candidate for {model} and keep the champion",
    "reject/first_model": "Reject the first model of {model}",
    "reject/failed_training": "Reject, since training gave no candidate for {model}, and keep the champion",
    "reject/bad_data": "Reject the retraining of {model} before anything is trained and keep the champion",
    "reject": "Reject the retraining of {model} for now and keep the champion",
    "manual_review/judged": "Manual review of the candidate for {model} by a person",
    "manual_review/first_model": "Manual review of the first model of {model} by a person",
    "manual_review": "Manual review of {model} by a person, before anything is trained",
}
"""By decision and stage, else by decision."""
_CLOSINGS: Final[dict[str, str]] = {
    "deploy": "An interval of the primary metric's change that reaches below the gain asked for, or a guardrail metric "
    "shown to lose more than its margin, would have led to another decision.",
    "canary": "With the doubts above removed the candidate could be deployed at once; a guardrail metric shown to lose "
    "more than its margin would have led to a rejection.",
    "reject/judged": "A candidate whose primary metric gains what is asked over its whole interval, while every "
    "guardrail metric and slice stays within its margin, would be accepted.",
    "reject/first_model": "With first models allowed in the profile a person could adopt it; with a champion named "
    "there the two would be compared.",
    "reject/failed_training": "Once the pipeline logs a model, a new run can judge it; the last lines of the training "
    "log say where to look.",
    "reject/bad_data": "Once the failed checks pass, a new run would train on these data; if the change is real and "
    "wanted, the profile's validation bounds would have to say so.",
    "reject": "A measured loss, drift beyond the profile's bounds or a champion over its age limit would start a "
    "retraining; so would a person who asks for one, since a manual trigger insists.",
    "manual_review/judged": "More labelled rows, or the missing check, could settle what is open; until then a named "
    "approver can deploy the candidate, send it through a canary or reject it.",
    "manual_review/first_model": "Nothing stands beside it to be compared with, so only a named approver could adopt "
    "it or reject it.",
    "manual_review": "Once what could not be checked can be checked, a new run would decide by itself; until then a "
    "named approver can let it go on or reject it.",
}
_BECAUSE: Final[tuple[tuple[str, str], ...]] = (
    (
        "primary_probably_improved",
        "the interval of {what} is on the good side, though not all of it reaches what is asked",
    ),
    ("primary_non_inferior", "{what} is shown to lose no more than is accepted, and no gain is asked"),
    ("champion_kept", "the rows cannot tell, and the profile keeps the champion then"),
    ("_improved", "{what} is shown to gain what is asked"),
    ("_regressed", "{what} is shown to lose more than is accepted"),
    ("no_gain", "{what} does not show what is asked"),
    ("_inconclusive", "these rows cannot tell about {what}"),
    ("_no_data", "{what} could not be measured"),
    ("target_cannot_split", "the target cannot split the traffic as a canary needs it"),
    ("contamination_unchecked", "it could not be checked whether a model trained on holdout rows"),
    ("comparison_missing", "candidate and champion were not compared"),
    ("no_champion", "there is no champion to compare it with"),
    ("first_model", "there is no champion to compare it with"),
    ("validation_failed", "the data failed a check that blocks"),
    ("validation_could_not_check", "a check of the data that blocks could not be done"),
)
"""By the end of a reason's code: the short form of what its sentence then says in numbers."""
_CERTAINTY: Final = {
    "clear": "The rules call this decision clear.",
    "borderline": "The rules call this decision borderline: it keeps to them, but closely.",
    "ambiguous": "The rules call the evidence ambiguous, and in that case never act by themselves.",
}
OPEN_OUTCOMES: Final = frozenset(
    {"inconclusive", "no_data", "could_not_tell", "could_not_measure", "could_not_check", "doubt"}
)
_MAIN: Final = frozenset({"improved", "regressed", "bad", "fail"})
_MOST_FACTS: Final = 6
_MOST_DOUBTS: Final = 4


def template_rationale(policy: PolicyResult, evidence: Sequence[EvidenceItem], model_id: str) -> RationaleParts:
    """The explanation for people."""
    aliases = Aliases(model_id, evidence, [reason.sentence for reason in policy.reasons])
    hidden, items = aliases.hidden(policy, evidence)
    stage = _stage(hidden, items)
    told: set[str] = set()
    return finished(
        Explained(
            decision=policy.decision,
            summary=_opening(hidden, items, stage, told),
            argument=tuple(_support(hidden, items, stage, told)),
            concerns=tuple(_uncertain(hidden, items, told)),
            would_change=(_pick(_CLOSINGS, policy.decision, stage),),
        ),
        items,
        aliases,
    )


def finished(draft: Explained, items: Sequence[EvidenceItem], aliases: Aliases) -> RationaleParts:
    """A draft for people: numbers printed, names back in their places, quoted."""
    by_id = {item.id: item for item in items}

    def shown(texts: Iterable[str]) -> tuple[str, ...]:
        whole = (aliases.restore(printed(_tidy(text), by_id)) for text in texts)
        return tuple(text for text in whole if text)

    return RationaleParts(
        summary="".join(shown([draft.summary])),
        argument=shown(draft.argument),
        concerns=shown(draft.concerns),
        would_change=shown(draft.would_change),
    )


def paragraphs(parts: RationaleParts) -> str:
    """As one text."""
    found = [parts.summary, " ".join(parts.argument), " ".join(parts.concerns), " ".join(parts.would_change)]
    return "\n\n".join(filter(None, found))


def _tidy(text: str) -> str:
    """Without control characters: the text is going to a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _stage(policy: PolicyResult, evidence: Sequence[EvidenceItem]) -> Stage:
    codes = {reason.code for reason in policy.reasons}
    found = {(item.key.split("/")[0], item.outcome) for item in evidence}
    if codes & {"first_model", "no_champion"}:
        return "first_model"
    if "comparison_missing" in codes or any(kind == "comparison" for kind, _ in found):
        return "judged"
    if "training_failed" in codes:
        return "failed_training"
    if "validation_failed" in codes or ("validation", "fail") in found:
        return "bad_data"
    return "not_trained"


def _pick(texts: dict[str, str], decision: str, stage: Stage) -> str:
    return texts.get(f"{decision}/{stage}") or texts[decision]


def _opening(policy: PolicyResult, evidence: Sequence[EvidenceItem], stage: Stage, told: set[str]) -> str:
    opening = _pick(_OPENINGS, policy.decision, stage).format(model="model_1")
    if not policy.reasons:
        return f"{opening}."
    first = policy.reasons[0]
    items = _items_of(first, evidence)
    for ending, clause in _BECAUSE:
        if first.code.endswith(ending) and (items or "{what}" not in clause):
            what = _subject(items[0]) if items else ""
            return _cited(f"{opening}, because {clause.format(what=what)}", [item.id for item in items])
    return f"{opening}. {_reason(first, evidence, told)}"


def _support(policy: PolicyResult, evidence: Sequence[EvidenceItem], stage: Stage, told: set[str]) -> list[str]:
    said = [
        _reason(reason, evidence, told) for reason in policy.reasons[1:] if not _is_told_by_evidence(reason, evidence)
    ]
    # What the policy rests on comes first, in its order; doubts have their own place.
    ranked = [item for reason in policy.reasons for item in _items_of(reason, evidence)]
    if stage == "not_trained":
        ranked += [item for item in evidence if item.key == "staleness/verdict"]
    ranked += [item for item in evidence if _outcome(item) in _MAIN or item.key.startswith("comparison/")]
    facts: list[str] = []
    for item in ranked:
        if item.id not in told and _outcome(item) not in OPEN_OUTCOMES and len(facts) < _MOST_FACTS:
            told.add(item.id)
            facts.append(_fact(item))
    return [*said, *facts]


def _uncertain(policy: PolicyResult, evidence: Sequence[EvidenceItem], told: set[str]) -> list[str]:
    certainty = _CERTAINTY[policy.certainty]
    undecided = [item for item in evidence if _outcome(item) in OPEN_OUTCOMES]
    fresh = [item for item in undecided if item.id not in told]
    if not undecided:
        return [certainty, "Nothing that was looked at was left open."]
    if not fresh:
        return [certainty, "What is open is named above."]
    told.update(item.id for item in fresh)
    facts = [_fact(item) for item in fresh[:_MOST_DOUBTS]]
    if len(fresh) > _MOST_DOUBTS:
        rest = ", ".join(item.id for item in fresh[_MOST_DOUBTS:])
        facts.append(f"Also open is what stands under [{rest}].")
    opening = "What is left open does not bear on it." if policy.certainty == "clear" else "This is uncertain."
    return [certainty, opening, *facts]


def _items_of(reason: Reason, evidence: Sequence[EvidenceItem]) -> list[EvidenceItem]:
    return [item for key in reason.evidence for item in evidence if item.key == key]


def _is_told_by_evidence(reason: Reason, evidence: Sequence[EvidenceItem]) -> bool:
    """The policy often says what an item says, word for word."""
    return any(speakable(item.statement) == speakable(reason.sentence) for item in _items_of(reason, evidence))


def _reason(reason: Reason, evidence: Sequence[EvidenceItem], told: set[str]) -> str:
    """The policy's own sentence, citing what it rests on; evidence whose statement it repeats need not follow again."""
    items = _items_of(reason, evidence)
    spoken = _one_line(reason.sentence)
    told.update(item.id for item in items if _one_line(item.statement) in spoken)
    return _cited(spoken, [item.id for item in items])


def _outcome(item: EvidenceItem) -> str:
    return item.outcome.removesuffix(" (warning)")


def _subject(item: EvidenceItem) -> str:
    """`accuracy` or `accuracy where day=7`, of a comparison."""
    _, metric, *slices = item.key.split("/", 2)
    where = slices[0].removesuffix("/found") if slices else ""
    if where.startswith("between "):
        return speakable(f"{metric} between the groups of {where.removeprefix('between ')}")
    return speakable(f"{metric} where {where}" if where else metric)


def _fact(item: EvidenceItem) -> str:
    change = _change(item)
    if change is not None:
        return f"{change} [{item.id}]."
    text = _one_line(item.statement)
    if not re.search(r"\d", text) and item.value is not None:
        text += f" ({_measured(item)})"
    if item.key.startswith("comparison/") and text.startswith(item.key.split("/")[1]):
        text = f"For {text}"
    return _cited(text, [item.id])


def fact_of(item: EvidenceItem) -> str:
    """What an item says, printed; with stand-ins where it had them."""
    return printed(_fact(item), {item.id: item})


def _change(item: EvidenceItem) -> str | None:
    """What became of a metric, in a sentence; None of anything else, and of what was not measured."""
    bar = number_of(item, "threshold")
    if metric_of(item) is None or not item.key.startswith("comparison/") or None in (item.value, item.low, bar, item.n):
        return None
    what, name = _subject(item), item.id
    told = f"[{name}.delta] on [{name}.n] rows" if not item.statement.count(" groups,") else f"[{name}.delta]"
    asked = f"a gain of [{name}.threshold] is asked" if bar and bar > 0 else f"a loss of [{name}.threshold] is accepted"
    if not bar:
        asked = "any gain is enough" if "gain of" in item.statement else "no loss is accepted"
    found = {
        "improved": f"{what} improved by {told}; {asked}",
        "regressed": f"{what} got worse, by {told}; {asked}",
        "non_inferior": f"{what} holds: it changed by {told}; {asked}",
        "inconclusive": f"Whether {what} gained or lost these rows cannot tell: it changed by {told}; {asked}",
    }.get(_outcome(item))
    more = re.search(r"about [\d,]+ (?:rows|groups) would tell(?:[^;.]|\.(?=\d))*", item.statement)
    if found is None or more is None:
        return found
    return f"{found}; {more.group(0)}"


def _measured(item: EvidenceItem) -> str:
    unit = f" {item.unit}" if item.unit in ("days", "share", "distance") else ""
    parts = [f"{item.value:.4g}{unit}"]
    if item.low is not None and item.high is not None:
        parts.append(f"interval {item.low:.4g} to {item.high:.4g}")
    if item.threshold is not None:
        parts.append(f"bound {item.threshold:.4g}")
    if item.n is not None:
        parts.append(f"{item.n:,} rows")
    return ", ".join(parts)


def _one_line(text: str) -> str:
    return speakable(text) or "(nothing was said)"


def _cited(text: str, ids: Iterable[str]) -> str:
    """Each sentence with the citation, so that none of its numbers stands alone."""
    wanted = list(dict.fromkeys(ids))
    tail = f" [{', '.join(wanted)}]" if wanted else ""
    return " ".join(f"{part.rstrip('.')}{tail}." for part in sentences(text))
