# pyright: basic
"""What stands in an endpoint's answer? It may be anything, so every step looks before it reads."""

import json
import re
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from tools.contracts.language import Delta, ToolCall
from tools.errors import ModelUnavailable
from tools.spending import estimated_tokens

_THOUGHT: Final = re.compile(r"\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_SAID: Final = 4000
_T = TypeVar("_T", bound=BaseModel)


def message_of(answer: Any) -> dict[str, Any]:
    """The one message of an answer. Raises `ModelUnavailable`."""
    try:
        choice = answer["choices"][0]
        message = dict(choice["message"])
        refused, content, ended = message.get("refusal"), message.get("content"), choice.get("finish_reason")
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ModelUnavailable("the endpoint's answer is no chat completion", kind="garbage") from None
    if refused or ended == "content_filter":
        raise ModelUnavailable("the model refused", kind="refused")
    if ended == "length":
        raise ModelUnavailable(
            "the answer was cut off at its limit", kind="cut_off", remedy="raise llm.max_answer_tokens"
        )
    if not message.get("tool_calls") and not (isinstance(content, str) and content.strip()):
        raise ModelUnavailable("the answer is empty", kind="empty")
    return message


def spoken(message: dict[str, Any]) -> str:
    """Its text without a reasoning model's thoughts. Raises `ModelUnavailable` where nothing else was said."""
    content = message.get("content")
    text = _THOUGHT.sub("", content, count=1).strip() if isinstance(content, str) else ""
    if not text:
        raise ModelUnavailable("the answer is empty", kind="empty")
    return text


def parsed_as(schema: type[_T] | None, text: str) -> _T | None:
    """The first JSON object in a text, as models wrap it in fences and chatter. Raises `ModelUnavailable`."""
    if schema is None:
        return None
    start = text.find("{")
    if start < 0:
        raise ModelUnavailable("the answer holds no JSON object", kind="not_json", said=text[:_SAID])
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text[start:])
        return schema.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))[:80] or "object"
        raise ModelUnavailable(
            f"the answer's {field}: {first['msg'][:200]}", kind="wrong_schema", said=text[:_SAID]
        ) from None
    except (ValueError, RecursionError):
        raise ModelUnavailable("the answer is not readable JSON", kind="not_json", said=text[:_SAID]) from None


def tokens_of(answer: Any) -> tuple[int | None, int | None]:
    """Tokens in and out, as far as the endpoint says; SDK objects and plain JSON alike."""
    usage = answer.get("usage") if isinstance(answer, dict) else getattr(answer, "usage", None)
    if usage is None:
        return None, None
    names = ("prompt_tokens", "completion_tokens")
    told = [usage.get(name) if isinstance(usage, dict) else getattr(usage, name, None) for name in names]
    counts = [
        count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None for count in told
    ]
    return counts[0], counts[1]


def strict_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema as strict endpoints want it: every object closed, every field required, no defaults and titles."""
    return _closed(schema.model_json_schema())


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {}
    for name, value in node.items():
        if name in ("properties", "$defs") and isinstance(value, dict):
            found[name] = {key: _closed(each) for key, each in value.items()}
        elif name not in ("default", "title"):
            found[name] = _closed(value)
    if isinstance(found.get("properties"), dict):
        found |= {"required": list(found["properties"]), "additionalProperties": False}
    return found


def without_patterns(schema: Any) -> Any:
    """The same without patterns and numbers of items, for endpoints that take schemas and not those."""
    if isinstance(schema, list):
        return [without_patterns(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: without_patterns(value)
        for name, value in schema.items()
        if name not in ("pattern", "minItems", "maxItems") or isinstance(value, dict)
    }


class Streamed:
    """Puts the pieces of a streamed answer together."""

    def __init__(self) -> None:
        self.text, self.began = "", False
        self.tokens: tuple[int | None, int | None] = (None, None)
        self._calls: dict[int, list[str]] = {}

    @property
    def guess(self) -> int:
        """Tokens that came, where the endpoint does not say."""
        return estimated_tokens(self.text + "".join("".join(parts) for parts in self._calls.values()))

    def take(self, chunk: Any) -> Delta | None:
        """What one chunk brings for a reader."""
        self.began = True
        told = tokens_of(chunk)
        if told != (None, None):
            self.tokens = told
        choices = getattr(chunk, "choices", None)
        if not isinstance(choices, list):
            raise ModelUnavailable("the endpoint's answer is no chat completion", kind="garbage")
        delta = getattr(choices[0], "delta", None) if choices else None
        for piece in getattr(delta, "tool_calls", None) or ():
            self._take_call(piece)
        text = getattr(delta, "content", None)
        if not isinstance(text, str) or not text:
            return None
        self.text += text
        return Delta(text=text)

    def _take_call(self, piece: Any) -> None:
        index, function = getattr(piece, "index", 0), getattr(piece, "function", None)
        parts = self._calls.setdefault(index if isinstance(index, int) else 0, ["", "", ""])
        told = (getattr(piece, "id", None), getattr(function, "name", None), getattr(function, "arguments", None))
        for at, text in enumerate(told):
            if isinstance(text, str):
                # Names and ids come whole, some servers repeat them; arguments come in pieces.
                parts[at] = parts[at] + text if at == 2 else parts[at] or text

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls so far, as far as they have a name."""
        return tuple(
            ToolCall(id=parts[0] or f"call_{index}", name=parts[1], arguments=parts[2] or "{}")
            for index, parts in sorted(self._calls.items())
            if parts[1]
        )

    def finished(self) -> tuple[ToolCall, ...]:
        """The calls of an answer that came to its end. Raises `ModelUnavailable` where there is no answer at all."""
        calls = self.calls()
        if not calls and not self.text.strip():
            raise ModelUnavailable("the answer is empty", kind="empty")
        return calls
