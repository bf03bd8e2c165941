"""Does every question to an endpoint end in an answer that can be used, or in one typed failure?"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from evals.endpoint import (
    DONE,
    USED,
    Endpoint,
    Reply,
    Script,
    asked_format,
    capable,
    completion,
    endpoint,
    event,
    is_probe,
    streamed,
)
from tools.adapters.breaker import OPEN_SECONDS, OPENS_AFTER
from tools.adapters.endpoint_memory import EndpointMemory
from tools.adapters.memory_model import ScriptedModel
from tools.adapters.openai_model import OpenAIModel
from tools.contracts.language import Delta, LanguageSpec, Message, ModelCall, Prices, ToolCall, ToolSpec, Usage
from tools.errors import ModelFault, ModelUnavailable
from tools.ports import LanguageModel

KEY = "sk-loopback-secret"
ASKED = [Message(role="system", content="Be brief."), Message(role="user", content="Which fruit?")]
TOOL = ToolSpec(name="status", description="How it is.", parameters={"type": "object", "properties": {}})
NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Fruit(BaseModel):
    fruit: Literal["apple", "pear"]
    why: str = ""


class Clock:
    def __init__(self) -> None:
        self.seconds, self.now = 0.0, NOW

    def monotonic(self) -> float:
        return self.seconds

    def pause(self, seconds: float) -> None:
        self.seconds += seconds


class Kept:
    """The trace of these tests."""

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []

    def record(self, call: ModelCall) -> None:
        self.calls.append(call)


def _model(served: Endpoint | str, **more: Any) -> OpenAIModel:
    url = served if isinstance(served, str) else served.url
    spec = LanguageSpec(**{"timeout_seconds": 5, **more.pop("spec", {})})
    more.setdefault("pause", lambda _: None)
    return OpenAIModel(base_url=url, api_key=KEY, model="small", spec=spec, **more)


def _says(text: str) -> Script:
    return capable(lambda _n, _body: completion(text))


APPLE = '{"fruit": "apple", "why": "red"}'


def _asked(served: Endpoint) -> list[dict[str, Any]]:
    return [body for body in served.requests if not is_probe(body)]


# --- a twin and the real one -----------------------------------------------------------------------------------------


@pytest.fixture(params=["real", "twin"])
def model(request: pytest.FixtureRequest) -> Iterator[LanguageModel]:
    if request.param == "twin":
        yield ScriptedModel([APPLE])
    else:
        with endpoint(_says(APPLE)) as served:
            yield _model(served)


def test_an_answer_is_parsed_into_its_schema(model: LanguageModel) -> None:
    found = model.complete(ASKED, Fruit, purpose="test")

    assert found.parsed == Fruit(fruit="apple", why="red")
    assert (found.text, found.mode, found.reused, found.model) == (APPLE, "json_schema", False, model.name)
    assert found.usage.tokens_out is not None


def test_without_a_schema_the_text_is_the_answer(model: LanguageModel) -> None:
    assert (found := model.complete(ASKED, purpose="test")).text == APPLE
    assert (found.parsed, found.mode) == (None, "text")


def test_a_twin_streams_text_calls_and_usage_and_breaks_off_where_told() -> None:
    call = ToolCall(id="1", name="status", arguments="{}")
    twin = ScriptedModel([["Look", "ing.", call], ["Half", ModelUnavailable("off", kind="off")]])

    whole = list(twin.stream(ASKED, [TOOL]))

    assert [delta.text for delta in whole] == ["Look", "ing.", "", ""]
    assert (whole[2].call, whole[3].usage is not None) == (call, True)
    with pytest.raises(ModelUnavailable):
        list(twin.stream(ASKED))
    with pytest.raises(ModelUnavailable, match="come to its end"):
        twin.complete(ASKED, purpose="test")


# --- what an endpoint supports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("declines", [False, True], ids=["ignores in silence", "declines"])
@pytest.mark.parametrize(
    ("formats", "mode"),
    [(("json_schema", "json_object"), "json_schema"), (("json_object",), "json_object"), ((), "text")],
)
def test_the_best_format_that_is_enforced_is_used(formats: tuple[str, ...], mode: str, declines: bool) -> None:
    script = capable(lambda _n, _b: completion(f"Well:\n```json\n{APPLE}\n```"), formats=formats, declines=declines)
    with endpoint(script) as served:
        found = _model(served).complete(ASKED, Fruit, purpose="test")

    assert (found.mode, found.parsed) == (mode, Fruit(fruit="apple", why="red"))
    assert [asked_format(body) for body in _asked(served)] == [mode]
    sent = _asked(served)[0].get("response_format", {}).get("json_schema")
    if mode == "json_schema":
        assert sent["strict"] is True
        assert sent["schema"]["additionalProperties"] is False
        assert sent["schema"]["required"] == ["fruit", "why"]


class Plain(BaseModel):
    word: str = Field(pattern=r"^[a-z]+$")


def _has_pattern(body: dict[str, Any]) -> bool:
    return "pattern" in json.dumps(body.get("response_format", {}))


@pytest.mark.parametrize("status", [400, 500])
def test_a_server_that_takes_schemas_but_no_patterns_is_asked_without_them_and_keeps_its_schemas(status: int) -> None:
    honest = _says('{"word": "kiwi"}')
    with endpoint(lambda n, body: Reply(status, "{}") if _has_pattern(body) else honest(n, body)) as served:
        model = _model(served, spec={"retries": 0})
        found = [model.complete(ASKED, Plain, purpose="test") for _ in range(2)]

    assert [each.mode for each in found] == ["json_schema"] * 2
    assert [_has_pattern(body) for body in _asked(served)] == [True, False, False]


def test_an_outage_takes_no_patterns_away() -> None:
    down, honest = [True], _says('{"word": "kiwi"}')

    def script(number: int, body: dict[str, Any]) -> Reply:
        return Reply(500, "{}") if down[0] and not is_probe(body) else honest(number, body)

    with endpoint(script) as served:
        model = _model(served, spec={"retries": 0})
        with pytest.raises(ModelUnavailable, match="HTTP 500"):
            model.complete(ASKED, Plain, purpose="test")
        down[0] = False
        model.complete(ASKED, Plain, purpose="test")

    assert _has_pattern(_asked(served)[-1])


@pytest.mark.parametrize("tools", [True, False])
def test_native_tools_are_believed_only_when_one_was_called(tools: bool) -> None:
    with endpoint(capable(lambda _n, _b: completion("."), tools=tools)) as served:
        assert _model(served).abilities().tools is tools


def test_a_server_that_declines_tools_with_a_500_has_none() -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        return Reply(500, "{}") if "tools" in body else capable(lambda _n, _b: completion("."))(number, body)

    with endpoint(script) as served:
        found = _model(served).abilities()

    assert (found.mode, found.tools) == ("json_schema", False)


def test_a_hiccup_while_it_is_tried_takes_no_ability_away() -> None:
    honest = _says(APPLE)
    with endpoint(lambda n, body: Reply(503, "{}") if n == 1 else honest(n, body)) as served:
        assert _model(served).abilities().mode == "json_schema"


def test_nothing_is_remembered_of_an_endpoint_that_answers_nothing(tmp_path: Path) -> None:
    memory = EndpointMemory(tmp_path / "language.db", lambda: NOW, 7)
    with endpoint(lambda _n, _b: Reply(500, "{}")) as served:
        with pytest.raises(ModelUnavailable, match="HTTP 500"):
            _model(served, memory=memory).abilities()
        assert memory.abilities(served.url, "small") is None


def test_what_was_found_is_remembered_for_that_model_until_it_is_old(tmp_path: Path) -> None:
    now = [NOW]

    def fresh(name: str = "small") -> OpenAIModel:
        memory = EndpointMemory(tmp_path / "language.db", lambda: now[0], 7)
        return OpenAIModel(base_url=served.url, api_key=KEY, model=name, memory=memory, clock=lambda: now[0])

    with endpoint(_says(APPLE)) as served:
        fresh().abilities()
        tried = len(served.requests)
        fresh().abilities()
        assert len(served.requests) == tried
        fresh("other").abilities()
        assert len(served.requests) == 2 * tried
        now[0] += timedelta(days=8)
        fresh().abilities()
        assert len(served.requests) == 3 * tried
    assert (tmp_path / "language.db").stat().st_mode & 0o777 == 0o600


def test_a_memory_that_cannot_be_read_remembers_nothing_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "language.db").write_text("no database, but for its name" * 100)
    memory = EndpointMemory(tmp_path / "language.db", lambda: NOW, 7)
    with endpoint(_says(APPLE)) as served:
        assert _model(served, memory=memory).complete(ASKED, Fruit, purpose="test", reuse=True).parsed is not None


def test_a_format_that_is_declined_later_on_is_given_up_for_the_next(tmp_path: Path) -> None:
    def later(_number: int, body: dict[str, Any]) -> Reply:
        return completion(APPLE) if asked_format(body) == "text" else Reply(400, "{}")

    memory = EndpointMemory(tmp_path / "language.db", lambda: NOW, 7)
    with endpoint(capable(later)) as served:
        model = _model(served, memory=memory, clock=lambda: NOW)
        first, second = (model.complete(ASKED, Fruit, purpose="test") for _ in range(2))

    assert (first.mode, second.mode) == ("text", "text")
    assert [asked_format(body) for body in _asked(served)] == ["json_schema", "json_object", "text", "text"]


def test_a_model_that_wants_the_limit_under_its_new_name_gets_it() -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        if "max_tokens" in body:
            return Reply(400, '{"error": {"message": "Use \'max_completion_tokens\' instead."}}')
        return _says(APPLE)(number, body)

    with endpoint(script) as served:
        model = _model(served)
        assert model.complete(ASKED, Fruit, purpose="test").mode == "json_schema"
        assert model.abilities().limit_name == "max_completion_tokens"
        assert [body for body in served.requests if "max_tokens" in body] == served.requests[:1]


def test_a_reasoning_models_thoughts_are_no_answer() -> None:
    with endpoint(_says(f'<think>Perhaps {{"fruit": "pear"}}?</think>\n{APPLE}')) as served:
        assert _model(served).complete(ASKED, Fruit, purpose="test").text == APPLE


# --- failures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    id: str
    reply: Reply
    kind: ModelFault
    asked: int = 1


HUGE = 9_000_000
CASES = [
    Case("prose", completion("An apple, I should say."), "not_json"),
    Case("half JSON", completion('{"fruit": "ap'), "not_json"),
    Case("deep JSON", completion('{"fruit":' + "[" * 100_000), "not_json"),
    Case("wrong schema", completion('{"fruit": "plum"}'), "wrong_schema"),
    Case("empty", completion(""), "empty"),
    Case("only thoughts", completion("<think>Hm.</think>"), "empty"),
    Case("no content", completion(None), "empty"),
    Case("refusal", completion(None, refusal="I cannot"), "refused"),
    Case("cut off", completion("{", finish_reason="length"), "cut_off"),
    Case("no choices", Reply(body='{"choices": []}'), "garbage"),
    Case("a list", Reply(body="[1, 2]"), "garbage"),
    Case("html", Reply(body="<html>\x00 hello"), "garbage"),
    Case("nothing", Reply(body=""), "garbage"),
    Case("huge", Reply(body='"' + "x" * HUGE + '"'), "garbage"),
    Case("a compressed bomb", Reply(body="x", headers={"Content-Encoding": "gzip"}), "garbage"),
    Case("500", Reply(500, json.dumps({"error": KEY})), "error", asked=3),
    Case("429", Reply(429, "{}"), "error", asked=3),
    Case("401", Reply(401, json.dumps({"error": f"bad key {KEY}"})), "denied"),
    Case("404", Reply(404, "{}"), "error"),
    Case("elsewhere", Reply(307, "", {"Location": "http://127.0.0.1:9/v1"}), "error"),
    Case("400 always", Reply(400, "{}"), "unsupported", asked=3),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_answer_that_cannot_be_used_is_one_typed_failure_without_the_key(case: Case) -> None:
    kept = Kept()
    with endpoint(capable(lambda _n, _b: case.reply)) as served:
        with pytest.raises(ModelUnavailable) as found:
            _model(served, trace=kept).complete(ASKED, Fruit, purpose="test")
        assert len(_asked(served)) == case.asked

    assert found.value.kind == case.kind
    assert KEY not in str(found.value)
    assert (kept.calls[0].fault, kept.calls[0].purpose) == (found.value.message, "test")
    assert KEY not in kept.calls[0].model_dump_json()


def test_what_the_model_said_in_vain_is_kept_for_a_second_try() -> None:
    with endpoint(_says('{"fruit": "plum"}')) as served, pytest.raises(ModelUnavailable) as found:
        _model(served).complete(ASKED, Fruit, purpose="test")

    assert found.value.said == '{"fruit": "plum"}'
    assert "fruit" in found.value.message


def test_an_endpoint_that_is_off_is_told_as_such() -> None:
    with pytest.raises(ModelUnavailable) as found:
        _model("http://127.0.0.1:9/v1").complete(ASKED, purpose="test")
    assert found.value.kind == "off"


def test_what_passes_is_asked_again() -> None:
    honest = _says(APPLE)
    with endpoint(lambda n, body: Reply(503, "{}") if n in (3, 4) else honest(n, body)) as served:
        assert _model(served).complete(ASKED, Fruit, purpose="test").parsed is not None
        assert len(_asked(served)) == 3


def test_an_endpoint_that_asks_for_patience_gets_it() -> None:
    waits: list[float] = []
    busy = Reply(429, "{}", {"Retry-After": "3"})
    with endpoint(lambda n, body: busy if n == 1 else completion("Yes.")) as served:
        _model(served, pause=waits.append).complete(ASKED, purpose="test")
    assert waits == [3.0]


@pytest.mark.parametrize(
    "reply",
    [Reply(pieces=[None]), Reply(pieces=(b" " if n else b"{" for n in range(100_000) if not time.sleep(0.02)))],
    ids=["silent", "dripping"],
)
def test_a_slow_endpoint_is_given_up_in_time_and_not_asked_again(reply: Reply) -> None:
    with endpoint(lambda _n, _b: reply) as served:
        started = time.monotonic()
        with pytest.raises(ModelUnavailable) as found:
            _model(served, spec={"timeout_seconds": 0.3}).complete(ASKED, purpose="test")
        assert time.monotonic() - started < 3
        assert len(served.requests) == 1
    assert found.value.kind == "slow"


def test_retries_end_with_the_time_of_the_whole_question() -> None:
    clock = Clock()
    with endpoint(lambda _n, _b: Reply(503, "{}", {"Retry-After": "8"})) as served:
        model = _model(served, spec={"total_seconds": 12, "retries": 9}, monotonic=clock.monotonic, pause=clock.pause)
        with pytest.raises(ModelUnavailable):
            model.complete(ASKED, purpose="test")
        assert len(served.requests) == 2


def test_an_endpoint_that_keeps_failing_is_left_alone_and_tried_again_later() -> None:
    clock, well = Clock(), [False]
    with endpoint(lambda _n, _b: completion("Yes.") if well[0] else Reply(500, "{}")) as served:
        model = _model(served, spec={"retries": 0}, monotonic=clock.monotonic, pause=clock.pause)
        kinds: list[str] = []
        for _ in range(OPENS_AFTER + 2):
            with pytest.raises(ModelUnavailable) as found:
                model.complete(ASKED, purpose="test")
            kinds.append(found.value.kind)
        assert kinds == ["error"] * OPENS_AFTER + ["left_alone"] * 2
        assert len(served.requests) == OPENS_AFTER
        well[0] = True
        clock.pause(OPEN_SECONDS + 1)
        assert model.complete(ASKED, purpose="test").text == "Yes."


def test_bad_answers_of_an_endpoint_that_is_there_leave_nobody_alone() -> None:
    with endpoint(_says("Prose.")) as served:
        model = _model(served)
        for _ in range(OPENS_AFTER + 2):
            with pytest.raises(ModelUnavailable, match="no JSON object"):
                model.complete(ASKED, Fruit, purpose="test")


# --- tokens and money ------------------------------------------------------------------------------------------------


def test_cost_is_tokens_by_price_and_unknown_without_prices() -> None:
    with endpoint(_says(APPLE)) as served:
        free = _model(served).complete(ASKED, purpose="test")
        paid = _model(served, spec={"prices": Prices(input=2, output=10)}).complete(ASKED, purpose="test")

    assert free.usage == Usage(tokens_in=100, tokens_out=20, cost=None)
    assert paid.usage.cost == pytest.approx((100 * 2 + 20 * 10) / 1e6)


def test_a_run_that_has_spent_its_tokens_asks_no_more() -> None:
    with endpoint(_says(APPLE)) as served:
        model = _model(served, spec={"max_tokens_per_run": 1000})
        budget = model.budget()
        for _ in range(8):
            model.complete(ASKED, purpose="test", budget=budget)
        with pytest.raises(ModelUnavailable, match="token budget") as found:
            model.complete(ASKED, purpose="test", budget=budget)
        assert found.value.kind == "budget"
        assert len(served.requests) == 8
        assert model.complete(ASKED, purpose="test", budget=model.budget()).text == APPLE


def test_a_run_that_has_reached_its_cost_cap_asks_no_more() -> None:
    spec = {"prices": Prices(input=1000, output=1000), "max_cost_per_run": 0.3}
    with endpoint(_says(APPLE)) as served:
        model = _model(served, spec=spec)
        budget = model.budget()
        for _ in range(2):
            model.complete(ASKED, purpose="test", budget=budget)
        with pytest.raises(ModelUnavailable, match="cost cap"):
            model.complete(ASKED, purpose="test", budget=budget)
        # The longest answer shrinks with what is left.
        assert served.requests[1]["max_tokens"] < served.requests[0]["max_tokens"] < 300


def test_a_cost_cap_without_prices_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be kept without `prices`"):
        LanguageSpec(max_cost_per_run=1)


def test_the_same_question_is_not_asked_twice_where_an_old_answer_will_do(tmp_path: Path) -> None:
    def fresh(model: str = "small") -> OpenAIModel:
        memory = EndpointMemory(tmp_path / "language.db", lambda: NOW, 7)
        return OpenAIModel(base_url=served.url, api_key=KEY, model=model, memory=memory, clock=lambda: NOW)

    with endpoint(_says(APPLE)) as served:
        first = fresh().complete(ASKED, Fruit, purpose="test", reuse=True)
        again = fresh().complete(ASKED, Fruit, purpose="test", reuse=True)
        assert (again.parsed, again.reused, again.usage) == (first.parsed, True, Usage())
        assert len(_asked(served)) == 1
        for model, messages, reuse in (("small", ASKED, False), ("small", ASKED[1:], True), ("other", ASKED, True)):
            assert not fresh(model).complete(messages, Fruit, purpose="test", reuse=reuse).reused
        assert len(_asked(served)) == 4


# --- streams ---------------------------------------------------------------------------------------------------------

CALL = [
    event({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "status", "arguments": ""}}]}),
    event({"tool_calls": [{"index": 0, "function": {"arguments": '{"model"'}}]}),
    event({"tool_calls": [{"index": 0, "function": {"arguments": ': "x"}'}}]}),
]


def _stream(pieces: Sequence[bytes | None]) -> Script:
    return capable(lambda _n, _b: streamed(pieces))


def test_a_stream_brings_text_as_it_comes_whole_calls_and_usage() -> None:
    pieces = [event({"role": "assistant"}), event({"content": "Loo"}), event({"content": "king."}), *CALL, USED, DONE]
    kept = Kept()
    with endpoint(_stream(pieces)) as served:
        found = list(_model(served, trace=kept).stream(ASKED, [TOOL]))
        sent = _asked(served)[0]

    call = ToolCall(id="c1", name="status", arguments='{"model": "x"}')
    assert found == [
        Delta(text="Loo"),
        Delta(text="king."),
        Delta(call=call),
        Delta(usage=Usage(tokens_in=100, tokens_out=20)),
    ]
    assert sent["tools"][0]["function"]["name"] == "status"
    assert (kept.calls[0].answer, kept.calls[0].calls, kept.calls[0].fault) == ("Looking.", (call,), None)


def test_a_piece_arrives_before_the_answer_is_whole_and_a_reader_may_stop() -> None:
    with endpoint(_stream([event({"content": "One"}), None])) as served:
        kept = Kept()
        with closing(_model(served, trace=kept).stream(ASKED)) as stream:  # type: ignore[type-var]
            assert next(stream) == Delta(text="One")

    assert (kept.calls[0].answer, kept.calls[0].fault) == ("One", "interrupted")


BROKEN: list[tuple[str, Sequence[bytes | None], ModelFault]] = [
    ("garbage", [b"data: {no json\n\n", DONE], "garbage"),
    ("no events", [b"hello, this is no stream\n\n"], "empty"),
    ("nothing", [], "empty"),
    ("no end of a line", [b"x" * 1_000_000] * 9, "garbage"),
    ("an error event", [b'data: {"error": {"message": "out of memory"}}\n\n', DONE], "garbage"),
    ("another kind of JSON", [b"data: [1]\n\n", DONE], "garbage"),
    ("stalls", [event({"content": "One"}), None], "slow"),
]


@pytest.mark.parametrize(("pieces", "kind"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_stream_is_one_typed_failure(pieces: Sequence[bytes | None], kind: ModelFault) -> None:
    with endpoint(_stream(pieces)) as served, pytest.raises(ModelUnavailable) as found:
        list(_model(served, spec={"timeout_seconds": 0.5}).stream(ASKED))
    assert found.value.kind == kind


def test_a_stream_is_begun_again_only_before_its_first_piece() -> None:
    whole = streamed([event({"content": "Yes."}), DONE])
    with endpoint(capable(lambda n, _b: Reply(503, "{}") if n == 3 else whole)) as served:
        assert next(iter(_model(served).stream(ASKED))) == Delta(text="Yes.")
        assert len(_asked(served)) == 2


def test_a_server_that_knows_no_stream_options_is_asked_without() -> None:
    def script(_number: int, body: dict[str, Any]) -> Reply:
        return Reply(400, "{}") if "stream_options" in body else streamed([event({"content": "Yes."}), DONE])

    with endpoint(capable(script)) as served:
        assert list(_model(served).stream(ASKED)) == [Delta(text="Yes."), Delta(usage=Usage())]
