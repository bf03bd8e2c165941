"""A language model that says what it was told to say: the in-memory twin."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

from tools.adapters.model_answers import parsed_as
from tools.contracts.language import (
    Abilities,
    Completion,
    Delta,
    LanguageSpec,
    Message,
    Mode,
    ToolCall,
    ToolSpec,
    Usage,
)
from tools.errors import ModelUnavailable
from tools.spending import Budget, estimated_tokens

Said = str | ToolCall | ModelUnavailable
"""A text, a tool call, or a failure."""
Script = Callable[[Sequence[Message]], Said | Sequence[Said]]


class ScriptedModel:
    """See `LanguageModel`. Answers each question with the next line of the script, or with what a function makes of it."""

    def __init__(
        self, script: Script | Sequence[Said | Sequence[Said]], *, mode: Mode = "json_schema", tools: bool = True
    ) -> None:
        self._script = script
        self._abilities = Abilities(mode=mode, tools=tools, found_at=datetime(2026, 1, 1, tzinfo=UTC))
        self.asked: list[tuple[Message, ...]] = []
        """Every question so far."""

    @property
    def name(self) -> str:
        """See `LanguageModel.name`."""
        return "scripted"

    def budget(self) -> Budget:
        """See `LanguageModel.budget`."""
        return Budget(LanguageSpec())

    def abilities(self) -> Abilities:
        """See `LanguageModel.abilities`."""
        return self._abilities

    def complete(
        self,
        messages: Sequence[Message],
        schema: type[BaseModel] | None = None,
        *,
        purpose: str,
        budget: Budget | None = None,
        reuse: bool = False,
    ) -> Completion:
        """See `LanguageModel.complete`."""
        text = "".join(each for each in self._next(messages) if isinstance(each, str))
        if not text:
            raise ModelUnavailable("the answer is empty", kind="empty")
        return Completion(
            text=text,
            parsed=parsed_as(schema, text),
            model=self.name,
            mode="text" if schema is None else self._abilities.mode,
            usage=_usage(messages, text),
            seconds=0.0,
        )

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        *,
        purpose: str = "chat",
        budget: Budget | None = None,
    ) -> Iterator[Delta]:
        """See `LanguageModel.stream`. A failure behind other pieces breaks the stream off there."""
        said = ""
        for each in self._next(messages, at_once=False):
            if isinstance(each, ModelUnavailable):
                raise each
            said += each if isinstance(each, str) else each.arguments
            yield Delta(text=each) if isinstance(each, str) else Delta(call=each)
        yield Delta(usage=_usage(messages, said))

    def _next(self, messages: Sequence[Message], *, at_once: bool = True) -> Sequence[Said]:
        self.asked.append(tuple(messages))
        if callable(self._script):
            found = self._script(messages)
        elif len(self.asked) > len(self._script):
            raise ModelUnavailable("the script has come to its end", kind="off")
        else:
            found = self._script[len(self.asked) - 1]
        pieces = [found] if isinstance(found, str | ToolCall | ModelUnavailable) else list(found)
        for each in pieces:
            if at_once and isinstance(each, ModelUnavailable):
                raise each
        return pieces


def _usage(messages: Sequence[Message], text: str) -> Usage:
    return Usage(tokens_in=sum(estimated_tokens(each.content) for each in messages), tokens_out=estimated_tokens(text))
