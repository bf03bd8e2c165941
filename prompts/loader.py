"""What exactly is a language model told, and which version of it?

A prompt is one Markdown file: front matter with name, version and inputs, then the text with `{{input}}` where values
go.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, cast

import yaml

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_VARIABLE: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_FILE: Final = re.compile(r"---\n(.*?)\n---\n(.*)", re.DOTALL)


class PromptError(ValueError):
    """A prompt file or its use is at fault: ours to mend, not the user's."""


@dataclass(frozen=True)
class Prompt:
    """One prompt. `hash` is the sha256 of the whole file, front matter included."""

    name: str
    version: str
    inputs: tuple[str, ...]
    text: str
    hash: str

    def render(self, **values: str) -> str:
        """The text with every input in its place. Values are not fenced here: who passes outside text fences it.

        Raises:
            PromptError: A value is missing, or one is given that the prompt has no place for.
        """
        missing = [name for name in self.inputs if name not in values]
        unused = [name for name in values if name not in self.inputs]
        if missing or unused:
            parts = [f"missing {', '.join(missing)}"] if missing else []
            parts += [f"unused {', '.join(unused)}"] if unused else []
            raise PromptError(f"prompt {self.name!r}: {'; '.join(parts)}")
        # One pass: a value that holds `{{decision}}` stays as it is.
        return _VARIABLE.sub(lambda match: values[match.group(1)], self.text)


def load(name: str) -> Prompt:
    """Read `prompts/NAME.md`, also from an installed package.

    Raises:
        PromptError: No such prompt, or its front matter and text disagree.
    """
    if not _NAME.fullmatch(name):
        raise PromptError(f"{name!r} is no prompt's name")
    file = files("prompts") / f"{name}.md"
    if not file.is_file():
        raise PromptError(f"there is no prompt {name!r}")
    prompt = parse(file.read_text(encoding="utf-8"))
    if prompt.name != name:
        raise PromptError(f"prompt {name!r} calls itself {prompt.name!r}")
    return prompt


def shipped() -> list[str]:
    """The names of all prompts, sorted."""
    return sorted(file.name[:-3] for file in files("prompts").iterdir() if file.name.endswith(".md"))


def parse(content: str) -> Prompt:
    """A prompt from its file's content.

    Raises:
        PromptError: No front matter, a field of it missing, or inputs and variables that differ.
    """
    found = _FILE.fullmatch(content)
    if not found:
        raise PromptError("a prompt starts with front matter between two lines of ---")
    try:
        loaded: object = yaml.safe_load(found.group(1))
    except yaml.YAMLError as error:
        raise PromptError(f"front matter is not YAML: {error}") from error
    header: Mapping[str, Any] = cast("Mapping[str, Any]", loaded) if isinstance(loaded, dict) else {}
    wanted = {"name", "version", "inputs"}
    if set(header) != wanted:
        raise PromptError(f"front matter holds {sorted(header)}, not {sorted(wanted)}")
    if not isinstance(header["inputs"], list):
        raise PromptError("front matter: inputs is not a list")
    inputs = tuple(str(item) for item in cast("list[object]", header["inputs"]))
    text = found.group(2).strip() + "\n"
    used = set(_VARIABLE.findall(text))
    if used != set(inputs):
        raise PromptError(f"inputs {sorted(inputs)} and variables in the text {sorted(used)} differ")
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Prompt(str(header["name"]), str(header["version"]), inputs, text, digest)
