"""What is there of a language model, before any run needs it?"""

from typing import Final

from agent.services.findings import Finding
from tools.contracts.language import LanguageSpec, Mode
from tools.errors import ModelUnavailable
from tools.ports import LanguageModel

_ABOUT: Final = "language model"
_MODES: Final[dict[Mode, str]] = {
    "json_schema": "keeps to a JSON schema",
    "json_object": "writes JSON, but ignores a schema",
    "text": "ignores formats: its text is searched for JSON",
}


def examine(model: LanguageModel | None, spec: LanguageSpec) -> list[Finding]:
    """Tries the endpoint with a few short questions, unless what it supports is remembered."""
    if model is None:
        return [Finding(result="ok", about=_ABOUT, statement="none: templates write rationales, and there is no chat")]
    try:
        found = model.abilities()
    except ModelUnavailable as fault:
        remedy = "; ".join(filter(None, [fault.remedy, "until then a template writes rationales"]))
        statement = f"{model.name}: {fault.message}"
        return [Finding(result="missing", about=_ABOUT, statement=statement, remedy=remedy)]
    tools = "calls tools" if found.tools else "calls no tools natively: chat chooses them by a schema"
    prices = (
        "costs are unknown: llm.prices is not set"
        if spec.prices is None
        else f"{spec.prices.input:g} in and {spec.prices.output:g} out per million tokens"
    )
    statement = f"{model.name} {_MODES[found.mode]}, {tools} (tried {found.found_at:%Y-%m-%d}); {prices}"
    return [Finding(result="ok", about=_ABOUT, statement=statement)]
