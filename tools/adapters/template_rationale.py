# pyright: basic
"""Who words the rationale when no language model does? The template, always available."""

from collections.abc import Sequence
from typing import Protocol

from tools.contracts.decision import PolicyResult, Rationale
from tools.contracts.evidence import EvidenceItem
from tools.rationale import paragraphs, template_rationale


class PromptSource(Protocol):
    """A prompt as it is handed in: what it is called, which text it is, and how values get into it."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def hash(self) -> str: ...
    def render(self, **values: str) -> str: ...


class TemplateWriter:
    """Words a decision from its evidence by fixed rules. Never raises, needs nothing."""

    def __init__(self, prompt: PromptSource) -> None:
        self._prompt = prompt

    def write(
        self, policy: PolicyResult, evidence: Sequence[EvidenceItem], model_id: str, faults: tuple[str, ...] = ()
    ) -> Rationale:
        """The rationale; `faults` say why somebody else's text was not used."""
        parts = template_rationale(policy, evidence, model_id)
        return Rationale(
            text=paragraphs(parts),
            parts=parts,
            written_by="template",
            prompt_name=self._prompt.name,
            prompt_version=self._prompt.version,
            prompt_hash=self._prompt.hash,
            faults=faults,
        )
