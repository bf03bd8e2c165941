"""Which language model is configured for an eval?"""

import os
from typing import Final

from agent.settings import read_settings
from tools.adapters.openai_model import OpenAIModel
from tools.contracts.language import LanguageSpec
from tools.ports import LanguageModel

NO_MODEL: Final = "No model is configured (OPENAI_BASE_URL and RETRAIN_LLM_MODEL): nothing of a real one was measured."


def configured() -> LanguageModel | None:
    """The model that the environment names; patient, since a small one on two cores writes slowly."""
    settings = read_settings(os.environ)
    if not (settings.openai_base_url and settings.llm_model):
        return None
    return OpenAIModel(
        base_url=settings.openai_base_url,
        api_key=settings.openai_api_key,
        model=settings.llm_model,
        spec=LanguageSpec(timeout_seconds=600, total_seconds=1800),
    )
