"""What does a YAML file say, and on which line does it say it?

Scalars follow YAML 1.2's core schema: `yes`, `on` and `12:30` are text, `1e-3` is a number, a date is text. That is
what people mean, and what PyYAML's own YAML 1.1 rules get wrong (`positive_label: no` would become false).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from agent.problems import Path_, Problem, dotted, refuse
from tools.errors import BadInput, NotFound

Scalar = str | int | float | bool | None

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {".nan": math.nan, ".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf}
_MAX_DEPTH = 30
_MAX_NODES = 20_000


@dataclass(frozen=True)
class Document:
    """A mapping read from a file. `texts` keeps each scalar as written, `lines` (from 1) where each entry stands."""

    path: Path
    data: Mapping[str, Any]
    texts: Mapping[Path_, str]
    lines: Mapping[Path_, int]

    def where(self, path: Path_) -> str:
        """`FILE:LINE` of the entry, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines.get(path, 1)}"


def read(path: Path) -> Document:
    """Read a file whose top level is a mapping; an empty file is an empty mapping.

    Raises:
        NotFound: There is no such file.
        BadInput: It cannot be read, is not YAML, holds a key twice, or is no mapping; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", thing="file", value=str(path), remedy="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} cannot be read: {error}", thing="file", value=str(path), remedy="make it a readable UTF-8 file"
        ) from error
    try:
        # The stubs leave `compose` untyped.
        node = cast("yaml.Node | None", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
    except yaml.YAMLError as error:
        raise _not_yaml(path, error) from error
    reader = _Reader(path)
    if node is None:
        return Document(path, {}, {}, {})
    if not isinstance(node, yaml.MappingNode):
        problem = Problem(
            "(top level)", "is not a mapping of fields to values", "start with `field: value`", f"{path}:1"
        )
        raise refuse(str(path), [problem])
    data = reader.convert(node, ())
    if reader.problems:
        raise refuse(str(path), reader.problems)
    return Document(path, data, reader.texts, reader.lines)


def _not_yaml(path: Path, error: yaml.YAMLError) -> BadInput:
    line, what = 1, "is not YAML"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = error.problem or what
    return BadInput(
        f"{path}:{line}: not readable as YAML: {what}",
        thing="file",
        value=str(path),
        remedy="mend the line: indent with spaces, and quote text that holds `: ` or ` #`",
    )


class _Reader:
    """Turns nodes into plain values, noting texts, lines and problems on the way."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.texts: dict[Path_, str] = {}
        self.lines: dict[Path_, int] = {}
        self.problems: list[Problem] = []
        self.nodes = 0

    def convert(self, node: yaml.Node, path: Path_) -> Any:
        self.nodes += 1
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        # Anchors can make a file refer to itself, or to one part a billion times.
        if len(path) > _MAX_DEPTH or self.nodes > _MAX_NODES:
            raise BadInput(
                f"{self.file}:{line}: nested too deeply, or anchors that multiply",
                thing="file",
                value=str(self.file),
                remedy="write it out plainly, without anchors",
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(item, (*path, index)) for index, item in enumerate(node.value)]
        text = str(node.value)
        self.texts[path] = text
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return scalar(text) if plain else text

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = (*path, key)
            line = key_node.start_mark.line + 1
            if key in found:
                what = f"stands twice, first on line {self.lines[here]}"
                self.problems.append(
                    Problem(dotted(here), what, "keep one of them", f"{self.file}:{line}", has_value=False)
                )
                continue
            self.lines[here] = line
            found[key] = self.convert(value_node, here)
        return found


def scalar(text: str) -> Scalar:
    """A plain scalar by YAML 1.2's core schema."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)
