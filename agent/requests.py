"""What does the caller ask for, and is it well formed?

The boundary is lenient with what it does not know (unknown fields become warnings) and strict with what it does: a
value of another type is refused rather than bent, and no number may be NaN.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from agent.problems import Path_, Problem, dotted, explain, field_errors, nearest, numbers_in, refuse
from tools.contracts.base import SCHEMA_VERSION, PublicContract
from tools.contracts.request import (
    BaselineModel,
    DeploymentCriteria,
    GuardrailSpec,
    RetrainingConfig,
    RetrainingRequest,
)
from tools.errors import BadInput

_SUBJECT = "request"
Asked = TypeVar("Asked", bound=PublicContract)


def parse_request(text: str | Mapping[str, Any]) -> tuple[RetrainingRequest, tuple[str, ...]]:
    """Read a request from JSON text or from a mapping that was JSON once.

    Returns and raises as `parse_as` does.
    """
    return parse_as(RetrainingRequest, text)


def parse_as(contract: type[Asked], text: str | Mapping[str, Any]) -> tuple[Asked, tuple[str, ...]]:
    """Read what somebody asks for, by the contract that it must keep to.

    Returns:
        The request, and one warning for each unknown field, with its path.

    Raises:
        BadInput: Not JSON (line and column named), or fields at fault: all of them, each with camelCase path, value
            and remedy.
    """
    data = _in_utc(read_json(text) if isinstance(text, str) else dict(text))
    problems = [
        Problem(dotted(path), "is not a finite number", "give a finite number, or leave the field out", value=value)
        for path, value in numbers_in(data)
        if not math.isfinite(value)
    ]
    problems += _given_twice(contract, data, ())
    problems += _unknown_version(data)
    if problems:
        raise refuse(_SUBJECT, problems)
    try:
        request = contract.model_validate_json(_to_json(data), strict=True)
    except ValidationError as error:
        raise refuse(_SUBJECT, [_problem(path, item) for path, item in field_errors(error, data)]) from None
    return request, tuple(_unknown(contract, data, ()))


def request_from_flags(
    model_id: str,
    *,
    trigger: str = "manual",
    window: str | None = None,
    strategy: str | None = None,
    as_of: datetime | str | None = None,
    min_improvement: float | None = None,
    guardrails: Sequence[str] = (),
    idempotency_key: str | None = None,
) -> RetrainingRequest:
    """The request that command-line flags amount to, checked as one from JSON is.

    Args:
        model_id: Profile id or registered model name.
        trigger: One of the known triggers.
        window: `dataWindow`.
        strategy: `validationStrategy`.
        as_of: A time; without a zone (a date alone too) it is UTC.
        min_improvement: In the primary metric's unit.
        guardrails: `METRIC`, `METRIC=0.02` (absolute margin) or `METRIC=2%` (relative margin).
        idempotency_key: Same key, same run.
    """
    config = {
        "trigger": trigger,
        "dataWindow": window,
        "validationStrategy": strategy,
        "asOf": as_of,
    }
    criteria = {
        "minImprovement": min_improvement,
        "guardrailMetrics": [_guardrail(item) for item in guardrails] or None,
    }
    data = {
        "modelId": model_id,
        "retrainingConfig": _present(config),
        "deploymentCriteria": _present(criteria) or None,
        "idempotencyKey": idempotency_key,
    }
    return parse_request(_present(data))[0]


# --- reading JSON ------------------------------------------------------------------------------------------------


def read_json(text: str) -> dict[str, Any]:
    """The object that the text is.

    Raises:
        BadInput: no JSON, no object, or a field that stands twice.
    """
    if not text.strip("\ufeff \t\r\n"):
        raise _not_json("the request is empty", "send a JSON object with modelId and retrainingConfig")
    try:
        # NaN and Infinity are no JSON, but Python reads them: they come in as floats and are refused with their path.
        data: object = json.loads(text.lstrip("\ufeff"), object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _not_json(f"the request is not JSON: {error.msg} at {place}", f"mend the JSON at {place}") from None
    except (RecursionError, ValueError) as error:
        raise _not_json(f"the request is not readable JSON: {error}", "send a plain, flat request") from None
    if not isinstance(data, dict):
        raise _not_json(f"the request is a JSON {type(data).__name__}, not an object", "put it in curly brackets")
    return cast("dict[str, Any]", data)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadInput(
                f"request: the field {name!r} stands twice", thing=name, value=value, remedy="keep one of them"
            )
        found[name] = value
    return found


def _not_json(message: str, remedy: str) -> BadInput:
    return BadInput(message, thing=_SUBJECT, remedy=remedy)


def _to_json(data: Mapping[str, Any]) -> str:
    try:
        return json.dumps(data, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise _not_json(
            f"the request holds what JSON cannot: {error}", "use text, numbers, lists and mappings"
        ) from None


def _plain(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__}")


def _in_utc(data: dict[str, Any]) -> dict[str, Any]:
    """`asOf` with a zone: a time without one is UTC, a date is its midnight. What is no time is left to the contract."""
    for part in ("retrainingConfig", "retraining_config"):
        config = data.get(part)
        if isinstance(config, Mapping):
            fields = cast("Mapping[str, Any]", config)
            times = {name: _zoned(fields[name]) for name in ("asOf", "as_of") if name in fields}
            data = {**data, part: {**fields, **times}}
    return data


def _zoned(value: Any) -> Any:
    try:
        time = datetime.fromisoformat(value.isoformat() if isinstance(value, date) else value)
    except (TypeError, ValueError):
        return value
    return value if time.tzinfo else time.replace(tzinfo=UTC).isoformat()


# --- names -------------------------------------------------------------------------------------------------------


_PARTS: dict[str, type[BaseModel]] = {
    "retraining_config": RetrainingConfig,
    "baseline_model": BaselineModel,
    "deployment_criteria": DeploymentCriteria,
}


def _parts(data: Mapping[str, Any], path: Path_) -> Iterator[tuple[type[BaseModel], Mapping[str, Any], Path_]]:
    """The contracts nested in a request, with their data."""
    for field, model in _PARTS.items():
        for name in (to_camel(field), field):
            value = data.get(name)
            if isinstance(value, Mapping):
                part = cast("Mapping[str, Any]", value)
                yield model, part, (*path, name)
                listed = part.get("guardrailMetrics", part.get("guardrail_metrics"))
                if model is DeploymentCriteria and isinstance(listed, list):
                    for index, item in enumerate(cast("list[Any]", listed)):
                        if isinstance(item, Mapping):
                            spec = cast("Mapping[str, Any]", item)
                            yield GuardrailSpec, spec, (*path, name, "guardrailMetrics", index)


def _given_twice(model: type[BaseModel], data: Mapping[str, Any], path: Path_) -> list[Problem]:
    """`modelId` and `model_id` together: which one is meant cannot be known."""
    problems: list[Problem] = []
    for part, values, at in ((model, data, path), *_parts(data, path)):
        for field in part.model_fields:
            camel = to_camel(field)
            if camel != field and camel in values and field in values:
                what = f"is also given as {field}"
                problems.append(Problem(dotted((*at, camel)), what, "keep one of them", value=values[camel]))
    return problems


def _unknown_version(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Within a major version, what we do not know may be ignored; another one may mean something else by what we do."""
    for name in ("schemaVersion", "schema_version"):
        value = data.get(name)
        if isinstance(value, str) and value.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
            remedy = f"send {SCHEMA_VERSION}, or leave it out"
            yield Problem(name, f"is no version that this program speaks ({SCHEMA_VERSION})", remedy, value=value)


def _unknown(model: type[BaseModel], data: Mapping[str, Any], path: Path_) -> Iterator[str]:
    for part, values, at in ((model, data, path), *_parts(data, path)):
        known = [to_camel(field) for field in part.model_fields]
        for name in values:
            if name not in known and name not in part.model_fields:
                meant = nearest(name, known)
                hint = f"; did you mean {dotted((*at, meant))}?" if meant else ""
                yield f"unknown field {dotted((*at, name))} was ignored{hint}"


def _problem(path: Path_, item: Any) -> Problem:
    what, remedy = explain(item)
    # `deploymentCriteria.minImprovement`, also where the snake_case name was sent.
    field = dotted(
        to_camel(part) if isinstance(part, str) and "_" in part and part != path[-1] else part for part in path
    )
    missing = item["type"] == "missing"
    return Problem(field or _SUBJECT, what, remedy, value=item["input"], has_value=not missing)


# --- flags -------------------------------------------------------------------------------------------------------


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _guardrail(text: str) -> dict[str, Any] | str:
    name, equals, margin = (part.strip() for part in text.partition("="))
    if not equals:
        return name
    share = margin.endswith("%")
    try:
        number = float(margin.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        raise BadInput(
            f"guardrail {text!r} is not readable",
            thing="guardrailMetrics",
            value=text,
            remedy="write METRIC, METRIC=0.02 (absolute margin) or METRIC=2% (relative margin)",
        )
    return {"name": name, "margin": number / 100 if share else number, "unit": "relative" if share else "absolute"}


TRIGGERS: tuple[str, ...] = get_args(RetrainingConfig.model_fields["trigger"].annotation)
"""The triggers a request may name."""
