# pyright: basic
"""What does an endpoint really support?

A status of 200 proves nothing: options that a server does not know are mostly ignored in silence. So the structured formats
are tried with a question that a free answer would get wrong.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from tools.contracts.language import Abilities, Mode
from tools.errors import ModelUnavailable

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Sends the body of a question without model and limit, and returns the message; raises `ModelUnavailable`."""
LimitName = Literal["max_tokens", "max_completion_tokens"]

_WORDS: Final = ("kiwi", "plum")
_CONTRARY: Final = 'Is water wet? Answer with one JSON object, {"answer": "yes"} or {"answer": "no"}.'
_PROSE: Final = "Write one short sentence of plain English prose about the sea. Do not write JSON."
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": list(_WORDS)}},
    "required": ["answer"],
    "additionalProperties": False,
}
_TOOL: Final[Mapping[str, Any]] = {
    "type": "function",
    "function": {
        "name": "tide_at",
        "description": "The tide at a harbour, now.",
        "parameters": {
            "type": "object",
            "properties": {"harbour": {"type": "string"}},
            "required": ["harbour"],
        },
    },
}
DECLINED: Final = frozenset({"unsupported", "error"})
"""Faults with which servers answer an option that they do not know; some do it with a 500."""


def response_format(mode: Mode, name: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """The option that asks for a format; none for text."""
    if mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    if mode == "json_schema" and schema is not None:
        return {
            "response_format": {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
        }
    return {}


def probe(ask: Ask, limit_name: Callable[[], LimitName], now: datetime) -> Abilities:
    """Three or four short questions.

    Raises:
        ModelUnavailable: It answers nothing at all, so nothing is known about it.
    """
    answered = False

    def tried(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        nonlocal answered
        try:
            message = ask(body)
        except ModelUnavailable as fault:
            # What was heard, though it was cut off or empty, comes from an endpoint that is there.
            if fault.kind in ("cut_off", "empty", "refused"):
                answered = True
            elif fault.kind not in DECLINED:
                raise
            return None
        answered = True
        return message

    mode: Mode = "text"
    if _is_enforced(tried({"messages": _asked(_CONTRARY), **response_format("json_schema", "probe", _SCHEMA)})):
        mode = "json_schema"
    elif _is_object(tried({"messages": _asked(_PROSE), **response_format("json_object", "probe", None)})):
        mode = "json_object"
    called = tried({"messages": _asked("What is the tide at Oban now? Use the tool."), "tools": [_TOOL]})
    if not answered:
        ask({"messages": _asked("Say yes.")})  # every option was declined: is anybody there?
    return Abilities(mode=mode, tools=_is_call(called), limit_name=limit_name(), found_at=now)


def _asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _is_enforced(message: Mapping[str, Any] | None) -> bool:
    found = _json(None if message is None else message.get("content"))
    return isinstance(found, dict) and found.get("answer") in _WORDS


def _is_object(message: Mapping[str, Any] | None) -> bool:
    return isinstance(_json(None if message is None else message.get("content")), dict)


def _is_call(message: Mapping[str, Any] | None) -> bool:
    calls = None if message is None else message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return False
    call: Any = calls[0]
    function: Any = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or function.get("name") != "tide_at":
        return False
    arguments = _json(function.get("arguments"))
    return isinstance(arguments, dict) and isinstance(arguments.get("harbour"), str)


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
