"""What a writer hands in about a decision: prose that cites fields of evidence and holds no number of its own."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tools.contracts.base import Contract
from tools.contracts.decision import DecisionKind


class Explained(BaseModel):
    """The explanation of a decision. Behind every fact stands its citation, e.g. `[E3.delta]`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    decision: DecisionKind
    """The decision taken, as it was told."""
    summary: str
    """One or two sentences: the decision and the main reason for it."""
    argument: tuple[str, ...]
    """The facts that carry it, one to three sentences each."""
    concerns: tuple[str, ...] = ()
    """What could not be told or measured, and what to keep an eye on."""
    would_change: tuple[str, ...] = ()
    """What would have to be otherwise for another decision."""


class Weighed(Explained):
    """The same of a borderline decision, which the writer may hand to a person."""

    route: Literal["stand", "manual_review"]
    moved_by: tuple[str, ...] = ()
    """Ids of the evidence for which a person is asked."""


class Fact(Contract):
    """One fact of a brief."""

    id: str
    """Of the evidence; empty where it comes from the rollout."""
    sentence: str


class Brief(Contract):
    """What a person needs to know who is asked."""

    uncertain: str
    """Why code does not go on by itself."""
    facts: tuple[Fact, ...] = Field(max_length=3)
    """Those that matter most, at most three."""
    answers: dict[str, str]
    """Each answer that can be given, and `nothing`, with what it leads to."""
