"""How is what is wrong with a file or a request said: where, which field, which value, and what to do?"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tools.errors import BadInput, RetrainingError, outcome_of
from tools.masking import masked

Path_ = tuple[str | int, ...]
"""Way to a value in nested mappings and lists."""

_SHOWN = 80


@dataclass(frozen=True)
class Problem:
    """One fault. `where` is `FILE:LINE`, or empty for a request."""

    field: str
    what: str
    remedy: str
    where: str = ""
    value: object = None
    has_value: bool = True

    @property
    def fault(self) -> str:
        """Everything but the remedy."""
        place = f"{self.where}: " if self.where else ""
        shown = f" = {show(self.value)}" if self.has_value else ""
        return f"{place}{self.field}{shown}: {self.what}"

    def __str__(self) -> str:
        return f"{self.fault} ({self.remedy})"


def show(value: object) -> str:
    """The value as a person wrote it, cut to a line; without the password of an address."""
    text = masked(repr(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def refuse(subject: str, problems: Sequence[Problem]) -> BadInput:
    """All problems as one error, in the order given; the caller raises it.

    One problem's remedy is the error's; of several, each stands beside its problem and the error names the files.

    Args:
        subject: What is at fault, e.g. `profile 'flights'`.
        problems: At least one.
    """
    first = problems[0]
    value = masked(first.value) if isinstance(first.value, str) else first.value
    if len(problems) == 1:
        return BadInput(f"{subject}: {first.fault}", thing=first.field, value=value, remedy=first.remedy)
    message = f"{subject} has {len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems)
    files = dict.fromkeys(PurePath(problem.where.rpartition(":")[0]).name for problem in problems if problem.where)
    remedy = f"mend {' and '.join(files)} where named, then try again" if files else "mend each as said beside it"
    return BadInput(message, thing=first.field, value=value, remedy=remedy)


def error_json(error: RetrainingError) -> dict[str, Any]:
    """An error as the answer of a tool: what was wrong, with which value, and what to do; what is absent is omitted."""
    value = error.value
    body = {
        "error": type(error).__name__,
        "message": masked(error.message),
        "thing": error.thing,
        "value": value if value is None or isinstance(value, int) else show(value),
        "remedy": error.remedy,
        "retry": outcome_of(error).retry,
    }
    return {name: each for name, each in body.items() if each is not None}


def dotted(path: Iterable[str | int]) -> str:
    """`("metrics", "guardrails", 0, "margin")` as `metrics.guardrails[0].margin`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one most likely means."""
    folded = {item.replace("_", "").lower(): item for item in known}
    found = get_close_matches(name.replace("_", "").lower(), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def snake(name: str) -> str:
    """`minImprovement` as `min_improvement`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match.group(1).lower(), name)


def field_errors(
    error: ValidationError, data: object, *, rename_missing: Callable[[str], str] = str
) -> list[tuple[Path_, ErrorDetails]]:
    """Pydantic's errors with paths in the names that `data` uses.

    Pydantic speaks in aliases and puts the member of a union into the path; neither stands in what the person wrote.
    A missing field stands nowhere: `rename_missing` turns its alias into the name to be written.
    """
    found: list[tuple[Path_, ErrorDetails]] = []
    for item in error.errors(include_url=False):
        path = _path_in(data, item["loc"])
        if item["type"] == "missing":
            path = (*path, rename_missing(str(item["loc"][-1])))
        # A union reports once a member; the first says enough.
        if not any(known == path and kept["type"] == item["type"] for known, kept in found):
            found.append((path, item))
    return found


def _path_in(data: object, loc: tuple[str | int, ...]) -> Path_:
    path: list[str | int] = []
    current = data
    for part in loc:
        step = _step(current, part)
        if step is not None:
            path.append(step)
            current = cast("Any", current)[step]
    return tuple(path)


def _step(current: object, part: str | int) -> str | int | None:
    if isinstance(current, Mapping) and isinstance(part, str):
        for name in (part, snake(part)):
            if name in current:
                return name
    if isinstance(current, Sequence) and not isinstance(current, str) and isinstance(part, int):
        return part if part < len(cast("Sequence[object]", current)) else None
    return None


def explain(item: ErrorDetails) -> tuple[str, str]:
    """(what is wrong, what to do) for one of Pydantic's errors, in words for people."""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "missing":
        return "is missing", "add it"
    if kind == "refused":
        return str(context["what"]), str(context["remedy"])
    if kind in ("literal_error", "enum"):
        return "is not a known value", f"use one of {context['expected']}"
    if kind == "union_tag_not_found":
        return "says not which kind it is", "add `kind`"
    if kind == "union_tag_invalid":
        return "is of an unknown kind", f"set `kind` to one of {context['expected_tags']}"
    if kind == "finite_number":
        return "is not a finite number", "give a finite number, or leave the field out"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {_bound(context[key])}", "give a value within the bound"
    if kind in ("too_short", "string_too_short"):
        return "is empty", "give at least one entry"
    if kind == "timezone_aware":
        return "has no time zone", "end it with Z for UTC, e.g. 2013-06-01T00:00:00Z"
    if kind.endswith(("_type", "_parsing", "_strict")) or kind in _WRONG_TYPE:
        wanted = _WANTED.get(kind.rsplit("_", 1)[0], item["msg"].removeprefix("Input should be ").split(",")[0])
        return f"must be {wanted}", f"write {wanted}"
    text = item["msg"].removeprefix("Value error, ")
    return text, "change the value so that this holds"


_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_WRONG_TYPE = {"datetime_from_date_parsing", "int_from_float", "model_attributes_type"}
_WANTED = {
    "string": "text in quotes",
    "float": "a number",
    "int": "a whole number",
    "int_from_float": "a whole number",
    "int_from": "a whole number",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a mapping of names to values",
    "model": "a mapping of fields to values",
    "model_attributes": "a mapping of fields to values",
    "datetime": "a time such as 2013-06-01 or 2013-06-01T12:00:00Z",
    "datetime_from_date": "a time such as 2013-06-01 or 2013-06-01T12:00:00Z",
    "time_delta": "a duration such as 14d or PT30M",
}


def _bound(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return "zero" if text == "0:00:00" else text


def numbers_in(value: object, path: Path_ = ()) -> Iterator[tuple[Path_, float]]:
    """Every float in nested mappings and lists, with its path."""
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[Any, Any]", value).items():
            yield from numbers_in(item, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            yield from numbers_in(item, (*path, index))
