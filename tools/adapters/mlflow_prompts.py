# pyright: basic
"""Our prompts in MLflow's prompt registry. A version carries our own version and the file's hash as tags."""

from collections.abc import Sequence
from typing import Any, Final

from tools.adapters.mlflow_client import client_for, translated
from tools.contracts.language import PromptVersion

_PREFIX: Final = "retraining."
_VERSION: Final = "retraining.version"
_HASH: Final = "retraining.hash"


class MlflowPrompts:
    """See `PromptRegistry`."""

    def __init__(self, registry_uri: str, tracking_uri: str) -> None:
        self._uri, self._tracking = registry_uri, tracking_uri

    def versions(self, name: str) -> Sequence[PromptVersion]:
        """See `PromptRegistry.versions`."""
        with translated("prompt registry", self._uri):
            client = client_for(self._tracking, self._uri)
            if client.get_prompt(_PREFIX + name) is None:
                return ()
            found = list(client.search_prompt_versions(_PREFIX + name))
            return tuple(sorted(map(_read, found), key=lambda each: -int(each.number)))

    def register(self, name: str, version: str, file_hash: str, text: str) -> PromptVersion:
        """See `PromptRegistry.register`."""
        with translated("prompt registry", self._uri):
            client = client_for(self._tracking, self._uri)
            made = client.register_prompt(
                _PREFIX + name, text, commit_message=f"version {version}", tags={_VERSION: version, _HASH: file_hash}
            )
            return _read(made)


def _read(found: Any) -> PromptVersion:
    tags = found.tags or {}
    return PromptVersion(
        name=found.name.removeprefix(_PREFIX),
        number=str(found.version),
        version=tags.get(_VERSION, ""),
        hash=tags.get(_HASH, ""),
        text=found.template if isinstance(found.template, str) else str(found.template),
    )
