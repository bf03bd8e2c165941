"""Do the source's types fit what the champion was fitted on?

Widening passes (an integer column for a real input). What scoring would have to narrow warns: it is done row by row where nothing
is lost, and refused where something would be. Another kind of value blocks: text for a number, a time for a flag.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from tools.contracts.evidence import Check
from tools.contracts.training import ModelSignature

Kind = Literal["boolean", "integer", "real", "text", "time", "binary"]

_MLFLOW: Final[dict[str, tuple[Kind, int]]] = {
    "boolean": ("boolean", 1),
    "integer": ("integer", 32),
    "long": ("integer", 64),
    "float": ("real", 32),
    "double": ("real", 64),
    "string": ("text", 0),
    "datetime": ("time", 0),
    "binary": ("binary", 0),
}
_NUMBERED = re.compile(r"(u?)(int|float)(\d+)")


def type_checks(signature: ModelSignature, columns: Mapping[str, str]) -> Iterator[Check]:
    """One check an input whose type does not fit the source's; none where it fits, or where either type is not known.

    Args:
        signature: input columns with MLflow's type names.
        columns: the source's columns in Ibis' type names.
    """
    for column in signature.inputs:
        wanted, there = _MLFLOW.get(column.type.lower()), _kind(columns.get(column.name))
        if wanted is None or there is None:
            continue
        fits = _fits(there, wanted)
        if fits == "fits":
            continue
        told = f"{column.name} is {columns[column.name]} in the source; the champion was fitted on {column.type}"
        tail = ": where a value would change, scoring refuses it." if fits == "narrows" else "."
        yield Check(
            name="schema",
            subject=column.name,
            result="fail",
            severity="warn" if fits == "narrows" else "block",
            statement=told + tail,
        )


def _kind(text: str | None) -> tuple[Kind, int] | None:
    """An Ibis type as (kind, bits); `!` marks a column without nulls."""
    if text is None:
        return None
    name = text.removeprefix("!").lower()
    numbered = _NUMBERED.match(name)
    if numbered:
        unsigned, kind, bits = numbered.groups()
        return ("real" if kind == "float" else "integer", int(bits) + bool(unsigned))
    if name.startswith("decimal"):
        return "real", 64
    if name.startswith(("timestamp", "date")):
        return "time", 0
    plain: dict[str, Kind] = {"boolean": "boolean", "string": "text", "binary": "binary"}
    return (plain[name], 1 if name == "boolean" else 0) if name in plain else None


def _fits(there: tuple[Kind, int], wanted: tuple[Kind, int]) -> Literal["fits", "narrows", "other"]:
    (kind, bits), (wanted_kind, wanted_bits) = there, wanted
    numbers: dict[Kind, int] = {"boolean": 0, "integer": 1, "real": 2}
    if kind not in numbers or wanted_kind not in numbers:
        return "fits" if kind == wanted_kind else "other"
    if kind == wanted_kind:
        return "fits" if bits <= wanted_bits else "narrows"
    if numbers[kind] < numbers[wanted_kind]:
        return "fits" if kind == "integer" else "narrows"
    return "narrows"
