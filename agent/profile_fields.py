"""How does what stands in a profile's YAML become what its contract wants, field by field?

Done before Pydantic sees it: durations in the short form, text that YAML reads as a number, and names nobody knows.
"""

import re
import types
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel

from agent.problems import Path_, Problem, dotted, nearest
from tools.errors import BadInput
from tools.windows import parse_duration

_ZERO = re.compile(r"P?T?0+\s?[A-Za-z]+")
PLACEHOLDER = "FILL_IN"
"""Stands in a drafted profile where only a person knows; refused on loading."""


class Conversion:
    """Walks data along a contract's annotations; `problems` holds what it met, with paths for the caller to place."""

    def __init__(self, texts: Mapping[Path_, str]) -> None:
        self._texts = texts
        self.problems: list[tuple[Path_, Problem]] = []

    def model(self, model: type[BaseModel], value: Mapping[str, Any], path: Path_ = ()) -> dict[str, Any]:
        """The fields of `model`, converted. Unknown ones are noted and dropped."""
        known = model.model_fields
        converted: dict[str, Any] = {}
        for name, item in value.items():
            here = (*path, name)
            if name not in known:
                self._unknown(here, item, list(known))
            elif item == PLACEHOLDER:
                self._note(here, "is still to be filled in", known[name].description or "write the value", item)
            else:
                converted[name] = self.value(known[name].annotation, item, here)
        return converted

    def value(self, annotation: Any, value: Any, path: Path_) -> Any:
        """One value for one annotation."""
        options = _options(annotation)
        if value is None and type(None) in options:
            return None
        if isinstance(value, dict):
            return self._mapping(options, cast("dict[str, Any]", value), path)
        if isinstance(value, list):
            return self._sequence(options, cast("list[Any]", value), path)
        if value == PLACEHOLDER:
            self._note(path, "is still to be filled in", "write the value", value)
            return value
        if timedelta in options:
            return self._duration(value, path)
        if isinstance(value, bool) and bool not in options and (int in options or float in options):
            self._note(path, "must be a number", "write a number", value)
        # A version `3` or a name `007` is text here, and was text to who wrote it.
        scalars = {str, int, float, bool} & set(options)
        return self._texts.get(path, value) if scalars == {str} and value is not None else value

    def _mapping(self, options: list[Any], value: dict[str, Any], path: Path_) -> dict[str, Any]:
        models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        if len(models) > 1:
            models = [option for option in models if _kind_of(option) == value.get("kind")]
        if models:
            return self.model(models[0], value, path)
        item_type = next((get_args(option)[1] for option in options if get_origin(option) is dict), Any)
        return {name: self.value(item_type, item, (*path, name)) for name, item in value.items()}

    def _sequence(self, options: list[Any], value: list[Any], path: Path_) -> list[Any]:
        item_type = next((get_args(option)[0] for option in options if get_origin(option) is tuple), Any)
        return [self.value(item_type, item, (*path, index)) for index, item in enumerate(value)]

    def _duration(self, value: Any, path: Path_) -> Any:
        text = self._texts.get(path, str(value))
        # Zero is no window, but a fine label maturity; whether the field takes it is the contract's to say.
        if _ZERO.fullmatch(text):
            return timedelta(0)
        try:
            return parse_duration(text)
        except BadInput as error:
            self._note(path, error.message, error.remedy or "write e.g. 14d, 2h, 30m or an ISO 8601 duration", value)
            return value

    def _unknown(self, path: Path_, value: Any, known: list[str]) -> None:
        meant = nearest(str(path[-1]), known)
        remedy = (
            f"did you mean {dotted((*path[:-1], meant))}?"
            if meant
            else f"known fields here: {', '.join(sorted(known))}"
        )
        self._note(path, "is no field of a profile", remedy, value)

    def _note(self, path: Path_, what: str, remedy: str, value: Any) -> None:
        self.problems.append((path, Problem(dotted(path), what, remedy, value=value)))


def _options(annotation: Any) -> list[Any]:
    """The members of a union, without the annotations around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in _options(member)]
    return [annotation]


def _kind_of(model: type[BaseModel]) -> object:
    field = model.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return get_args(field.annotation)[0]
