"""The decision, its reasons and its rationale."""

from typing import Literal

from tools.contracts.base import Contract
from tools.contracts.language import Usage

DecisionKind = Literal["deploy", "canary", "reject", "manual_review"]
Certainty = Literal["clear", "borderline", "ambiguous"]
BOLDNESS: dict[str, int] = {"reject": 0, "manual_review": 0, "canary": 1, "deploy": 2}


class Reason(Contract):
    """Why, for machines and for people."""

    code: str
    """Stable, e.g. `primary_improved`, `guardrail_regressed`, `validation_failed`, `target_cannot_split`."""
    sentence: str
    evidence: tuple[str, ...] = ()
    """Keys of the evidence it rests on."""


class PolicyResult(Contract):
    """What the policy says. A pure function of the evidence."""

    decision: DecisionKind
    certainty: Certainty
    reasons: tuple[Reason, ...]
    policy_version: str


class RationaleParts(Contract):
    """The explanation in its parts, as people read it: numbers in place, names quoted, ids in brackets."""

    summary: str
    argument: tuple[str, ...]
    concerns: tuple[str, ...] = ()
    would_change: tuple[str, ...] = ()


class Rationale(Contract):
    """The explanation, and who wrote it."""

    text: str
    """For people; citations `[E3]` refer to the evidence."""
    written_by: Literal["template", "model"]
    model: str | None = None
    prompt_name: str
    prompt_version: str
    prompt_hash: str
    """sha256 of the prompt file's text."""
    faults: tuple[str, ...] = ()
    """Why the model's text was not used, where it was not."""
    routed_to_review: bool = False
    """The model asked for `manual_review` on a borderline decision."""
    moved_by: tuple[str, ...] = ()
    """Ids of the evidence for which it asked."""
    parts: RationaleParts | None = None
    """Absent in records of older programs, whose text is all there is."""
    usage: Usage | None = None
    """What all tries of the model took, used or not; absent where none was asked. Estimated where the endpoint did not say."""
    seconds: float | None = None
    """How long they took."""
    reused: bool = False
    """The answer to the very same question was there already."""
