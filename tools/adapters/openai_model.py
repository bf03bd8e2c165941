# pyright: basic
"""A language model behind any OpenAI-compatible endpoint: OpenAI itself, vLLM, Ollama, llama.cpp.

What the endpoint supports is tried once and remembered; structure is asked for in the best way it has. Each question has a
limit in time, tokens and money. Whatever goes wrong is `ModelUnavailable`.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from tools.adapters.breaker import Breaker
from tools.adapters.endpoint_memory import EndpointMemory
from tools.adapters.endpoint_probe import DECLINED, LimitName, probe, response_format
from tools.adapters.model_answers import (
    Streamed,
    message_of,
    parsed_as,
    spoken,
    strict_schema,
    tokens_of,
    without_patterns,
)
from tools.adapters.openai_wire import Passing, Wire, slow, wire_message, wire_tool
from tools.contracts.language import (
    MODES,
    Abilities,
    Completion,
    Delta,
    LanguageSpec,
    Message,
    Mode,
    ModelCall,
    ToolSpec,
    Usage,
)
from tools.errors import ModelUnavailable, Unavailable
from tools.ports import Clock, ModelTrace
from tools.spending import Budget, estimated_tokens, usage_of

WHO: Final = "language model's endpoint"
_PAUSE: Final = 0.2
"""Seconds before the first retry; twice as long before each further one."""
_LONGEST_PAUSE: Final = 5.0
_PROBE_TOKENS: Final = 1000
"""A reasoning model thinks before it answers; others use a few."""
_ANSWERED: Final = frozenset({"unsupported", "refused", "empty", "cut_off", "not_json", "wrong_schema"})
"""Faults of an answer, not of the endpoint: it is there, so it is not left alone."""
_T = TypeVar("_T")


class OpenAIModel:
    """See `LanguageModel`.

    Args:
        base_url: Of the endpoint, with `/v1`; OpenAI's own where None.
        api_key: None for servers that ask for none.
        model: The model's name there.
        spec: Limits and prices.
        memory: What was found out before.
        trace: Where questions are kept, if anywhere.
        clock: For the age of what was found out.
        monotonic: Seconds that only grow.
        pause: Waits so many seconds.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        api_key: str | None,
        model: str,
        spec: LanguageSpec | None = None,
        memory: EndpointMemory | None = None,
        trace: ModelTrace | None = None,
        clock: Clock = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._spec = spec or LanguageSpec()
        self._wire = Wire(base_url, api_key, monotonic)
        self._endpoint, self._secret, self._model = base_url or "", api_key, model
        self._memory = memory or EndpointMemory(None, clock, self._spec.probe_days)
        self._trace, self._clock, self._monotonic, self._pause = trace, clock, monotonic, pause
        self._breaker = Breaker(monotonic)
        self._limit_name: LimitName = "max_tokens"
        self._takes_patterns = True

    @property
    def name(self) -> str:
        """See `LanguageModel.name`."""
        return self._model

    def budget(self) -> Budget:
        """See `LanguageModel.budget`."""
        return Budget(self._spec)

    def abilities(self) -> Abilities:
        """See `LanguageModel.abilities`."""
        known = self._memory.abilities(self._endpoint, self._model)
        if known is None:
            self._left_alone()
            try:
                known = probe(self._probed, lambda: self._limit_name, self._clock())
            except ModelUnavailable:
                self._breaker.told(answered=False)
                raise
            self._breaker.told(answered=True)
            self._memory.found(self._endpoint, self._model, known)
        self._limit_name = known.limit_name
        return known

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
        question = self._question(messages, schema)
        known = self._memory.answer(question) if reuse else None
        if known is not None:
            again = known.model_copy(update={"parsed": parsed_as(schema, known.text), "reused": True, "usage": Usage()})
            self._record(purpose, messages, again)
            return again
        started = self._monotonic()
        try:
            found = self._completed(messages, schema, budget or self.budget())
        except ModelUnavailable as fault:
            self._record(purpose, messages, fault, self._monotonic() - started)
            raise
        if reuse:
            self._memory.answered(question, found)
        self._record(purpose, messages, found)
        return found

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        *,
        purpose: str = "chat",
        budget: Budget | None = None,
    ) -> Iterator[Delta]:
        """See `LanguageModel.stream`."""
        started, purse, heard = self._monotonic(), budget or self.budget(), Streamed()
        body = {"messages": [wire_message(each) for each in messages]}
        if tools:
            body["tools"] = [wire_tool(each) for each in tools]
        asked = estimated_tokens(json.dumps(body, ensure_ascii=False))
        fault = "interrupted"
        try:
            limit = purse.room(asked, self._spec.max_answer_tokens)
            for chunk in self._chunks(body, limit, started):
                delta = heard.take(chunk)
                if delta is not None:
                    yield delta
            for call in heard.finished():
                yield Delta(call=call)
            yield Delta(usage=usage_of(self._spec.prices, *heard.tokens))
            fault = None
        except ModelUnavailable as error:
            fault = error.message
            raise
        finally:
            told_in, told_out = heard.tokens
            if heard.began:
                purse.spend(asked if told_in is None else told_in, heard.guess if told_out is None else told_out)
            self._keep(
                ModelCall(
                    purpose=purpose,
                    model=self._model,
                    messages=tuple(messages),
                    answer=heard.text,
                    calls=heard.calls(),
                    fault=fault,
                    usage=usage_of(self._spec.prices, told_in, told_out),
                    seconds=self._monotonic() - started,
                )
            )

    # --- one question ----------------------------------------------------------------------------------------------

    def _completed(self, messages: Sequence[Message], schema: type[BaseModel] | None, budget: Budget) -> Completion:
        mode: Mode = "text" if schema is None else self.abilities().mode
        body = {"messages": [wire_message(each) for each in messages]}
        asked = estimated_tokens(json.dumps(body, ensure_ascii=False))
        limit = budget.room(asked, self._spec.max_answer_tokens)
        wanted = None if schema is None else strict_schema(schema)
        started = self._monotonic()
        plain = without_patterns(wanted)
        ways: list[tuple[Mode, Any]] = [(each, plain) for each in MODES[MODES.index(mode) :]]
        narrow = mode == "json_schema" and self._takes_patterns and plain != wanted
        if narrow:
            ways.insert(0, (mode, wanted))
        for each, shape in ways:
            option = response_format(each, "answer", shape)
            try:
                answer = self._with_retries({**body, **option}, limit, started)
            except ModelUnavailable as fault:
                # Some servers meet a pattern that they cannot read with a 500.
                if option and fault.kind in (("unsupported",) if shape is plain else DECLINED):
                    continue
                raise
            if narrow and each == mode and shape is plain:
                self._takes_patterns = False
            if each != mode:
                self._step_down(each)
            tokens_in, tokens_out = tokens_of(answer)
            # What came counts, useful or not.
            guess = estimated_tokens(json.dumps(answer))
            budget.spend(asked if tokens_in is None else tokens_in, guess if tokens_out is None else tokens_out)
            text = spoken(message_of(answer))
            return Completion(
                text=text,
                parsed=None if schema is None else parsed_as(schema, text),
                model=self._model,
                mode=each,
                usage=usage_of(self._spec.prices, tokens_in, tokens_out),
                seconds=self._monotonic() - started,
            )
        raise AssertionError("text mode has no option to decline")  # pragma: no cover

    def _with_retries(self, body: Mapping[str, Any], limit: int, started: float) -> Any:
        def once(left: float) -> Any:
            answer = self._post(body, limit, left)
            message_of(answer)
            return answer

        return self._patiently(once, started)

    def _chunks(self, body: Mapping[str, Any], limit: int, started: float) -> Iterator[Any]:
        """Chunks; asked again only where nothing came yet."""
        options: dict[str, Any] = {"stream_options": {"include_usage": True}}

        def begin(left: float) -> tuple[Any, Iterator[Any]]:
            nonlocal options
            while True:
                whole = {"model": self._model, self._limit_name: limit, **body, **options}
                chunks = self._wire.stream(whole, min(self._spec.timeout_seconds, left), left)
                try:
                    return next(chunks, None), chunks
                except ModelUnavailable as fault:
                    if fault.kind != "unsupported" or not (self._renames_limit(fault) or options):
                        raise
                    if fault.said is None:
                        options = {}

        self.abilities()
        first, rest = self._patiently(begin, started)
        try:
            if first is not None:
                yield first
                yield from rest
        finally:
            rest.close()  # type: ignore[attr-defined]

    def _patiently(self, once: Callable[[float], _T], started: float) -> _T:
        """With retries for what may pass, within the time of the question; the breaker hears of the outcome."""
        self._left_alone()
        until = started + self._spec.total_seconds
        for attempt in range(self._spec.retries + 1):
            left = until - self._monotonic()
            try:
                if left <= 0:
                    raise slow(self._spec.total_seconds)
                found = once(left)
            except Passing as fault:
                wait = max(min(_PAUSE * 2**attempt, _LONGEST_PAUSE), fault.wait)
                if attempt == self._spec.retries or until - self._monotonic() <= wait:
                    self._breaker.told(answered=False)
                    raise
                self._pause(wait)
            except ModelUnavailable as fault:
                self._breaker.told(answered=fault.kind in _ANSWERED)
                raise
            else:
                self._breaker.told(answered=True)
                return found
        raise AssertionError("there is always a first attempt")  # pragma: no cover

    def _post(self, body: Mapping[str, Any], limit: int, left: float) -> Any:
        seconds = min(self._spec.timeout_seconds, left)
        try:
            return self._wire.post({"model": self._model, self._limit_name: limit, **body}, seconds)
        except ModelUnavailable as fault:
            if fault.kind == "unsupported" and self._renames_limit(fault):
                return self._wire.post({"model": self._model, self._limit_name: limit, **body}, seconds)
            raise

    def _renames_limit(self, fault: ModelUnavailable) -> bool:
        """OpenAI's newer models want the limit under another name, and say so."""
        if fault.said is None or self._limit_name == "max_completion_tokens":
            return False
        self._limit_name = "max_completion_tokens"
        return True

    def _probed(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return message_of(self._post(body, _PROBE_TOKENS, self._spec.timeout_seconds))
        except Passing as fault:
            self._pause(max(_PAUSE, fault.wait))  # an ability must not be denied for days because of a hiccup
        return message_of(self._post(body, _PROBE_TOKENS, self._spec.timeout_seconds))

    def _step_down(self, mode: Mode) -> None:
        """What it was found to support, it supports no longer."""
        known = self.abilities()
        self._memory.found(self._endpoint, self._model, known.model_copy(update={"mode": mode}))

    def _left_alone(self) -> None:
        try:
            self._breaker.require(WHO)
        except Unavailable as fault:
            raise ModelUnavailable(fault.message, kind="left_alone", remedy=fault.remedy) from None

    # --- what is kept ----------------------------------------------------------------------------------------------

    def _question(self, messages: Sequence[Message], schema: type[BaseModel] | None) -> str:
        whole = {
            "endpoint": self._endpoint,
            "model": self._model,
            "messages": [each.to_state() for each in messages],
            "schema": None if schema is None else schema.model_json_schema(),
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def _record(
        self, purpose: str, messages: Sequence[Message], came: Completion | ModelUnavailable, seconds: float = 0.0
    ) -> None:
        call = ModelCall(purpose=purpose, model=self._model, messages=tuple(messages))
        if isinstance(came, ModelUnavailable):
            changes: dict[str, Any] = {"fault": came.message, "answer": came.said, "seconds": seconds}
        else:
            changes = {name: getattr(came, name) for name in ("mode", "usage", "seconds", "reused")}
            changes["answer"] = came.text
        self._keep(call.model_copy(update=changes))

    def _keep(self, call: ModelCall) -> None:
        if self._trace is not None:
            self._trace.record(call)
