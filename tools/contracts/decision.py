"""The decision, its reasons and its rationale."""

from typing import Literal

from tools.contracts.base import Contract

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
