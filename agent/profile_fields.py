"""How does what stands in a profile's YAML become what its contract wants, field by field?

Done before Pydantic sees it: durations in the short form, text that YAML reads as a number, and names nobody knows.
Done beside it: what is text to the contract and has a meaning all the same, windows, strategies and metrics.
"""

import re
import types
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel

from agent.problems import Path_, Problem, dotted, nearest
from tools.contracts.profile import Profile, ProfileGuardrail, Task
from tools.contracts.request import Direction
from tools.errors import BadInput
from tools.metric_names import find_named
from tools.rollout_plan import require_plannable
from tools.windows import parse_duration, parse_strategy, parse_window

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
        if ProfileGuardrail in options and isinstance(value, str):
            return {"name": value}
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


def meaningless(data: Mapping[str, Any]) -> Iterator[tuple[Path_, Problem]]:
    """Windows, strategies and metrics of a (converted) profile that nobody can read, each with its path."""
    for name, parse in (("data_window", _some_window), ("validation_strategy", parse_strategy)):
        text = data.get(name)
        if isinstance(text, str):
            try:
                parse(text)
            except BadInput as error:
                yield (name,), Problem(name, "cannot be used", error.remedy or "see docs/windows.md", value=text)
    metrics = data.get("metrics")
    if isinstance(metrics, Mapping):
        yield from _bad_metrics(cast("Mapping[str, Any]", metrics), data.get("task"))


def contradictory(profile: Profile) -> Iterator[tuple[Path_, Problem]]:
    """What reads well field by field and makes no rollout."""
    try:
        require_plannable(profile.rollout)
    except BadInput as error:
        at = ("rollout",) if profile.rollout.steps is None else ("rollout", "steps")
        what = error.message.removeprefix("rollout.steps: ").removeprefix("rollout plan: ")
        yield at, Problem(dotted(at), what, error.remedy or "see docs/profile.md", value=error.value)


def _some_window(text: str) -> None:
    """Read at the end of time: whether it fits the run's as-of is the run's to say."""
    parse_window(text, datetime.max.replace(tzinfo=UTC))


def _bad_metrics(metrics: Mapping[str, Any], task: Any) -> Iterator[tuple[Path_, Problem]]:
    known_task = task if task in get_args(Task) else None
    guardrails = metrics.get("guardrails")
    named: list[tuple[Path_, Any]] = [(("metrics", "primary"), metrics.get("primary"))]
    if isinstance(guardrails, list):
        named += [(("metrics", "guardrails", i), spec) for i, spec in enumerate(cast("list[Any]", guardrails))]
    seen: set[str] = set()
    for path, given in named:
        spec: Mapping[str, Any] = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {}
        name, direction = spec.get("name"), spec.get("direction")
        if not isinstance(name, str) or name == PLACEHOLDER:
            continue
        try:
            way = direction if direction in get_args(Direction) else None
            found = find_named(name, known_task, way, primary=path[-1] == "primary")
        except BadInput as error:
            yield _metric_problem(path, name, error)
            continue
        at = (*path, "name")
        if found.name in seen:
            yield at, Problem(dotted(at), "is a guardrail already", "name it once", value=name)
        if path[-1] != "primary":
            seen.add(found.name)


def _metric_problem(path: Path_, name: str, error: BadInput) -> tuple[Path_, Problem]:
    here = (*path, "direction" if error.thing == "direction" else "name")
    what = error.message.removeprefix(f"metric {name!r} ") if error.message.startswith("metric") else "is no metric"
    return here, Problem(dotted(here), what, error.remedy or "name a metric", value=error.value)
