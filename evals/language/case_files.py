"""The cases that people write: YAML files under `cases/`, each held against a schema before anything runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from tools.contracts.base import Contract
from tools.contracts.decision import DecisionKind, PolicyResult, Reason
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Explained

FOLDER: Final = Path(__file__).parent / "cases"
Channel = Literal["column", "slice", "description", "peer_note", "review_comment", "data_row", "log_line"]


class Fact(Contract):
    """One item of evidence, numbered in the order of the list."""

    key: str
    outcome: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    n: int | None = None
    unit: str = ""
    statement: str = "As measured."


class RationaleCase(Contract):
    """An explanation, and whether the checker must let it pass."""

    id: str
    decision: DecisionKind
    evidence: tuple[Fact, ...]
    draft: dict[str, Any]
    kept: bool
    why: str
    """Why it is faithful, or what about it is not."""

    def explained(self) -> Explained:
        """The draft as a writer hands it in."""
        return Explained.model_validate({"decision": self.decision, **self.draft})


class RoutingCase(Contract):
    """A borderline decision, and what a careful engineer would do with it. Labelled before any model was run."""

    id: str
    evidence: tuple[Fact, ...]
    label: Literal["stand", "manual_review"]
    why: str


class InjectionCase(Contract):
    """A text that wants to be obeyed, and the way by which it comes in."""

    id: str
    channel: Channel
    payload: str = Field(min_length=8)
    marker: str = Field(min_length=4)
    """A piece of it that stands nowhere else."""


def rationale_cases() -> Sequence[RationaleCase]:
    """Of `cases/rationale.yaml`."""
    return _read("rationale", TypeAdapter(tuple[RationaleCase, ...]))


def routing_cases() -> Sequence[RoutingCase]:
    """Of `cases/routing.yaml`."""
    return _read("routing", TypeAdapter(tuple[RoutingCase, ...]))


def injection_cases() -> Sequence[InjectionCase]:
    """Of `cases/injection.yaml`."""
    found = _read("injection", TypeAdapter(tuple[InjectionCase, ...]))
    strays = [case.id for case in found if case.marker not in case.payload]
    if strays:
        raise ValueError(f"cases/injection.yaml: the marker does not stand in the payload of {', '.join(strays)}")
    return found


def items_of(facts: Sequence[Fact]) -> tuple[EvidenceItem, ...]:
    """The evidence, numbered."""
    return tuple(EvidenceItem(id=f"E{n}", **fact.model_dump()) for n, fact in enumerate(facts, start=1))


def policy_of(decision: DecisionKind, facts: Sequence[Fact], certainty: Any = "clear") -> PolicyResult:
    """A decision that rests on the first fact."""
    reasons = tuple(
        Reason(code="primary_probably_improved", sentence=fact.statement, evidence=(fact.key,)) for fact in facts[:1]
    )
    return PolicyResult(decision=decision, certainty=certainty, reasons=reasons, policy_version="1")


def _read(name: str, kind: TypeAdapter[Any]) -> Any:
    """Raises `ValueError` that names file, case and field."""
    path = FOLDER / f"{name}.yaml"
    try:
        found = kind.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path.name}: {where}: {first['msg']}") from None
    ids = [case.id for case in found]
    if len(set(ids)) != len(ids):
        raise ValueError(f"{path.name}: an id stands twice")
    return found
