"""A prompt registry in memory."""

from collections.abc import Sequence

from tools.contracts.language import PromptVersion


class MemoryPrompts:
    """See `PromptRegistry`."""

    def __init__(self) -> None:
        self._kept: list[PromptVersion] = []

    def versions(self, name: str) -> Sequence[PromptVersion]:
        """See `PromptRegistry.versions`."""
        return tuple(each for each in reversed(self._kept) if each.name == name)

    def register(self, name: str, version: str, file_hash: str, text: str) -> PromptVersion:
        """See `PromptRegistry.register`."""
        number = str(len(self.versions(name)) + 1)
        made = PromptVersion(name=name, number=number, version=version, hash=file_hash, text=text)
        self._kept.append(made)
        return made
