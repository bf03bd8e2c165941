"""What are the language model's prompts, what changed in them, and which of them does the registry know?"""

import difflib
from collections.abc import Sequence
from pathlib import Path

from prompts.loader import Prompt, PromptError, load, parse, shipped
from tools.contracts.base import Contract
from tools.contracts.language import PromptVersion
from tools.errors import BadInput, NotFound
from tools.ports import PromptRegistry


class Listed(Contract):
    """A prompt that is shipped."""

    name: str
    version: str
    hash: str
    inputs: tuple[str, ...]
    registered: str | None = None
    """Its number in the registry; absent where this text is not there."""


def find(name: str) -> Prompt:
    """Raises `NotFound` with the names there are."""
    try:
        return load(name)
    except PromptError as error:
        raise NotFound(
            f"there is no prompt {name!r}", thing="prompt", value=name, remedy=f"there are {', '.join(shipped())}"
        ) from error


def listed(registry: PromptRegistry) -> Sequence[Listed]:
    """Every prompt that is shipped, and whether this text of it is registered."""
    found: list[Listed] = []
    for name in shipped():
        prompt, there = load(name), _same(registry.versions(name), load(name))
        found.append(
            Listed(
                name=name,
                version=prompt.version,
                hash=prompt.hash,
                inputs=prompt.inputs,
                registered=None if there is None else there.number,
            )
        )
    return found


def register(registry: PromptRegistry, names: Sequence[str]) -> Sequence[tuple[PromptVersion, bool]]:
    """Each prompt's version in the registry, and whether it is new there. The same text is registered once.

    Raises:
        NotFound: No such prompt. Conflict of versions: `BadInput`, where another text has the same version.
    """
    found: list[tuple[PromptVersion, bool]] = []
    for prompt in [find(name) for name in names or shipped()]:
        versions = registry.versions(prompt.name)
        there = _same(versions, prompt)
        if there is not None:
            found.append((there, False))
            continue
        if any(each.version == prompt.version for each in versions):
            raise BadInput(
                f"prompt {prompt.name!r} says version {prompt.version}, and another text is registered under that",
                thing="version",
                value=prompt.version,
                remedy="raise the version in its front matter",
            )
        found.append((registry.register(prompt.name, prompt.version, prompt.hash, prompt.text), True))
    return found


def diff(registry: PromptRegistry, name: str, against: str | None) -> tuple[str, Sequence[str]]:
    """What the shipped prompt is compared with, and the differing lines as `diff -u` shows them.

    Args:
        registry: Where earlier versions are.
        name: Of the prompt.
        against: A number of the registry, or a file; the newest registered one where None.

    Raises:
        NotFound: No such prompt, number or file, or nothing registered. BadInput: the file is no prompt.
    """
    prompt = find(name)
    if against is not None and not against.isdigit():
        what, text = against, _of_file(Path(against)).text
    else:
        versions = registry.versions(name)
        chosen = [each for each in versions if against in (None, each.number)]
        if not chosen:
            raise NotFound(
                f"prompt {name!r} has no registered version {against or ''}".rstrip(),
                thing="prompt",
                value=against,
                remedy=f"there are {', '.join(each.number for each in versions) or 'none'}; `retrain prompts register`",
            )
        what, text = f"registered {chosen[0].number} (version {chosen[0].version or 'unknown'})", chosen[0].text
    here = f"shipped (version {prompt.version})"
    lines = difflib.unified_diff(text.splitlines(), prompt.text.splitlines(), what, here, lineterm="")
    return what, list(lines)


def _of_file(path: Path) -> Prompt:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", thing="--against", value=str(path)) from error
    except (PromptError, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no prompt: {error}", thing="--against", value=str(path)) from error


def _same(versions: Sequence[PromptVersion], prompt: Prompt) -> PromptVersion | None:
    return next((each for each in versions if each.hash == prompt.hash), None)
