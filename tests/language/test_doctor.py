"""Does `retrain doctor` say what it found of the language model?"""

from agent.services.language import examine
from evals.endpoint import Reply, capable, completion, endpoint
from tools.adapters.openai_model import OpenAIModel
from tools.contracts.language import LanguageSpec, Prices


def _found(url: str, spec: LanguageSpec) -> tuple[str, str, str]:
    model = OpenAIModel(base_url=url, api_key="sk-secret", model="small", spec=spec, pause=lambda _: None)
    found = examine(model, spec)[0]
    return found.result, found.statement, found.remedy


def test_doctor_says_what_the_endpoint_really_does() -> None:
    spec = LanguageSpec(prices=Prices(input=1, output=2.5))
    with endpoint(capable(lambda _n, _b: completion("."), formats=("json_object",), tools=False)) as served:
        result, statement, _ = _found(served.url, spec)

    assert result == "ok"
    assert "small writes JSON, but ignores a schema, calls no tools natively" in statement
    assert statement.endswith("1 in and 2.5 out per million tokens")


def test_doctor_says_why_an_endpoint_is_of_no_use_and_what_happens_then() -> None:
    with endpoint(lambda _n, _b: Reply(401, '{"error": "sk-secret"}')) as served:
        result, statement, remedy = _found(served.url, LanguageSpec())

    assert (result, statement) == ("missing", "small: the endpoint refuses us (HTTP 401)")
    assert remedy == "check OPENAI_API_KEY; until then a template writes rationales"


def test_without_a_model_nothing_is_missing() -> None:
    found = examine(None, LanguageSpec())
    assert [each.result for each in found] == ["ok"]
    assert "templates write" in found[0].statement
