# pyright: basic
"""What does a language model make of the decision? Its words, if they are faithful; the template's otherwise.

Any OpenAI-compatible endpoint. Whatever it does (silence, errors, nonsense, lies) ends in a rationale and never in an
exception: the decision does not hang on it.
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from tools.adapters.template_rationale import PromptSource
from tools.aliasing import Aliases
from tools.contracts.decision import PolicyResult, Rationale, Reason
from tools.contracts.evidence import EvidenceItem
from tools.rationale import check

Mode = Literal["json_schema", "json_object", "text"]
_MODES: Final[tuple[Mode, ...]] = ("json_schema", "json_object", "text")
_UNSUPPORTED: Final = frozenset({400, 415, 422, 501})
"""Statuses with which servers answer a response format they do not know."""
_ATTEMPTS: Final = 2
_LONGEST_TEXT: Final = 4000
_LONGEST_STATEMENT: Final = 400
_CHOICE: Final = {
    "borderline": "The decision is borderline, so you have one choice: if, from the evidence alone, a careful engineer "
    'would want a person to look first, set "route" to "manual_review". Otherwise set it to "stand". The prose still '
    "explains the decision.",
    "other": 'You have no say in the decision: set "route" to "stand".',
}
_ROUTED: Final = "The model that wrote this asks that a person decide."


class _Fallback(Protocol):
    def write(
        self, policy: PolicyResult, evidence: Sequence[EvidenceItem], model_id: str, faults: tuple[str, ...] = ()
    ) -> Rationale: ...


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    rationale: str
    route: Literal["stand", "manual_review"]


class _Fault(Exception):
    """Why an answer cannot be used. Holds no part of a response's error text: that may echo our key."""


@dataclass
class _Attempt:
    """What came of one question, filled by its thread."""

    content: str | None = None
    fault: str = "the request broke off"


class OpenAIWriter:
    """Asks a model for the rationale, checks it, asks once more with the faults named; else the template writes."""

    def __init__(
        self,
        *,
        base_url: str | None,
        api_key: str | None,
        model: str,
        prompt: PromptSource,
        fallback: _Fallback,
        timeout: float = 20.0,
    ) -> None:
        """
        Args:
            base_url: Of the endpoint, with `/v1`; OpenAI's own where None.
            api_key: None for servers that ask for none.
            model: The model's name there.
            prompt: With inputs `decision`, `certainty` and `choice`.
            fallback: Writes where the model's text cannot be used.
            timeout: Seconds for one answer, from first to last byte.
        """
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._prompt = prompt
        self._fallback = fallback
        self._timeout = timeout
        self._mode: Mode = _MODES[0]

    def write(self, policy: PolicyResult, evidence: Sequence[EvidenceItem], model_id: str) -> Rationale:
        """See `RationaleWriter.write`."""
        aliases = Aliases(model_id, evidence, [reason.sentence for reason in policy.reasons])
        seen, hidden = _aliased(policy, evidence, aliases)
        messages = self._messages(seen, hidden)
        faults: list[str] = []
        for attempt in range(1, _ATTEMPTS + 1):
            content = None
            try:
                content = self._ask(messages)
                answer = _parse(content)
                found = [*_faults_of(answer, seen, hidden, aliases), *self._leaks(answer)]
            except _Fault as fault:
                found = [str(fault)]
                answer = None
            if answer is not None and not found:
                return self._accepted(answer, policy, aliases, faults)
            faults += [
                f"{self._model}, attempt {attempt}: {aliases.restore(self._without_key(text))}" for text in found
            ]
            # A server that is down or slow gets no second chance within one run; a text with faults does.
            if content is None:
                break
            messages = [*messages, {"role": "assistant", "content": content[:_LONGEST_TEXT]}, _correction(found)]
        return self._fallback.write(policy, evidence, model_id, tuple(faults))

    def _accepted(self, answer: _Answer, policy: PolicyResult, aliases: Aliases, faults: list[str]) -> Rationale:
        text = aliases.restore(_tidy(answer.rationale))
        wants_review = answer.route == "manual_review" and policy.decision != "manual_review"
        routed = wants_review and policy.certainty == "borderline"
        if wants_review and not routed:
            faults = [*faults, f"{self._model} asked for manual_review; a {policy.certainty} decision stands"]
        return Rationale(
            text=f"{text}\n\n{_ROUTED}" if routed else text,
            written_by="model",
            model=self._model,
            prompt_name=self._prompt.name,
            prompt_version=self._prompt.version,
            prompt_hash=self._prompt.hash,
            faults=tuple(faults),
            routed_to_review=routed,
        )

    def _messages(self, policy: PolicyResult, evidence: Sequence[EvidenceItem]) -> list[dict[str, str]]:
        rules = self._prompt.render(
            decision=policy.decision.replace("_", " "),
            certainty=policy.certainty,
            choice=_CHOICE["borderline" if policy.certainty == "borderline" else "other"],
        )
        data = json.dumps(
            {
                "reasons": [_reason(reason, evidence) for reason in policy.reasons],
                "evidence": [_fact(e) for e in evidence],
            },
            indent=1,
            ensure_ascii=False,
        )
        # JSON keeps outside text on its line; a marker made from the data cannot stand in the data.
        marker = hashlib.sha256(data.encode()).hexdigest()[:16]
        fenced = f"<<<DATA {marker}\n{data}\nDATA {marker}>>>"
        return [{"role": "system", "content": rules}, {"role": "user", "content": fenced}]

    # --- the wire ------------------------------------------------------------------------------------------------

    def _ask(self, messages: list[dict[str, str]]) -> str:
        """The answer's text, within the time limit. Raises `_Fault`."""
        import openai

        attempt = _Attempt()
        client = openai.OpenAI(
            base_url=self._base_url, api_key=self._api_key or "none", timeout=self._timeout, max_retries=0
        )
        # A client's own timeout starts anew with each byte; a thread can be left behind whatever the server does.
        thread = threading.Thread(target=self._ask_into, args=(attempt, client, messages), daemon=True)
        thread.start()
        thread.join(self._timeout)
        late = thread.is_alive()
        client.close()
        if late:
            raise _Fault(f"no answer within {self._timeout:g} s")
        if attempt.content is None:
            raise _Fault(attempt.fault)
        return attempt.content

    def _ask_into(self, attempt: _Attempt, client: Any, messages: list[dict[str, str]]) -> None:
        import openai

        try:
            attempt.content = self._in_best_mode(client, messages)
        except _Fault as fault:
            attempt.fault = str(fault)
        except openai.APIStatusError as error:
            attempt.fault = f"the endpoint answered HTTP {error.status_code}"
        except openai.APITimeoutError:
            attempt.fault = f"no answer within {self._timeout:g} s"
        except (openai.OpenAIError, OSError, ValueError, TypeError, RuntimeError) as error:
            attempt.fault = f"the endpoint could not be used ({type(error).__name__})"

    def _in_best_mode(self, client: Any, messages: list[dict[str, str]]) -> str:
        """json_schema, then json_object, then plain text; what worked is kept for next time."""
        import openai

        for mode in _MODES[_MODES.index(self._mode) :]:
            try:
                raw = client.chat.completions.with_raw_response.create(
                    model=self._model, messages=messages, **_response_format(mode)
                )
            except openai.APIStatusError as error:
                if error.status_code in _UNSUPPORTED and mode != _MODES[-1]:
                    continue
                raise
            self._mode = mode
            return _content(raw.http_response.text)
        raise _Fault("no response format works")  # pragma: no cover - the last mode returns or raises

    # --- the key -------------------------------------------------------------------------------------------------

    def _leaks(self, answer: _Answer) -> list[str]:
        return ["repeats a secret"] if self._api_key and self._api_key in answer.rationale else []

    def _without_key(self, text: str) -> str:
        return text.replace(self._api_key, "***") if self._api_key else text


def _response_format(mode: Mode) -> dict[str, Any]:
    if mode == "text":
        return {}
    if mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = {
        "type": "object",
        "properties": {
            "rationale": {"type": "string"},
            "route": {"type": "string", "enum": ["stand", "manual_review"]},
        },
        "required": ["rationale", "route"],
        "additionalProperties": False,
    }
    wanted = {"name": "rationale", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}


def _content(body: str) -> str:
    """The message's text out of a response's body, which may be anything."""
    try:
        choice = json.loads(body)["choices"][0]
        message = choice["message"]
        refused, content, ended = message.get("refusal"), message.get("content"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _Fault("the endpoint's answer is no chat completion") from None
    if refused or ended == "content_filter":
        raise _Fault("the model refused")
    if ended == "length":
        raise _Fault("the answer was cut off at the model's limit")
    if not isinstance(content, str) or not content.strip():
        raise _Fault("the answer is empty")
    return content


def _parse(content: str) -> _Answer:
    """The structured answer; models wrap it in fences and chatter, so the first JSON object counts."""
    start = content.find("{")
    if start < 0:
        raise _Fault("the answer holds no JSON object")
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(content[start:])
        return _Answer.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _Fault(f"the answer's {'.'.join(map(str, first['loc'])) or 'object'}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise _Fault("the answer is not readable JSON") from None


def _faults_of(answer: _Answer, policy: PolicyResult, evidence: Sequence[EvidenceItem], aliases: Aliases) -> list[str]:
    text = _tidy(answer.rationale)
    if len(text) > _LONGEST_TEXT:
        return [f"it is longer than {_LONGEST_TEXT} characters"]
    unknown = [f"names {alias}, which stands for nothing" for alias in aliases.unknown(text)]
    return [*unknown, *check(text, policy, evidence)]


def _tidy(text: str) -> str:
    """Without control characters: the text is going to a terminal."""
    return "".join(char for char in text if char == "\n" or char.isprintable()).strip()


def _correction(faults: Sequence[str]) -> dict[str, str]:
    listed = "\n".join(f"- {fault}" for fault in faults)
    return {
        "role": "user",
        "content": f"A program found these faults in your answer:\n{listed}\nWrite it again without them.",
    }


def _aliased(
    policy: PolicyResult, evidence: Sequence[EvidenceItem], aliases: Aliases
) -> tuple[PolicyResult, list[EvidenceItem]]:
    """What the model reads, and what its text is checked against."""
    reasons = tuple(
        reason.model_copy(
            update={
                "sentence": aliases.hide(reason.sentence),
                "evidence": tuple(aliases.hide(key) for key in reason.evidence),
            }
        )
        for reason in policy.reasons
    )
    items = [
        item.model_copy(
            update={"key": aliases.hide(item.key), "statement": aliases.hide(item.statement)[:_LONGEST_STATEMENT]}
        )
        for item in evidence
    ]
    return policy.model_copy(update={"reasons": reasons}), items


def _reason(reason: Reason, evidence: Sequence[EvidenceItem]) -> dict[str, Any]:
    ids = [item.id for item in evidence if item.key in reason.evidence]
    return {"reason": reason.sentence, "rests_on": ids}


def _fact(item: EvidenceItem) -> dict[str, Any]:
    known = item.model_dump(
        mode="json",
        include={"id", "key", "outcome", "value", "low", "high", "threshold", "n", "unit", "statement"},
        exclude_none=True,
    )
    return {name: value for name, value in known.items() if value != ""}
