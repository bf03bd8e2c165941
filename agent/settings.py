"""What does the environment say? Read once, in `bootstrap`; explicit arguments win over it, defaults lose to it."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from tools.contracts.base import Contract


class Settings(Contract):
    """Everything read from the environment. Secrets stay here and are never logged."""

    workspace: Path | None = None
    """RETRAINING_WORKSPACE: path of a retraining.yaml, where the present folder has none."""
    openai_base_url: str | None = None
    """OPENAI_BASE_URL: any OpenAI-compatible endpoint."""
    openai_api_key: str | None = None
    """OPENAI_API_KEY."""
    llm_model: str | None = None
    """RETRAIN_LLM_MODEL: the model that words rationales; without it the template does."""

    webhook_token: str | None = None
    """RETRAIN_WEBHOOK_TOKEN: who calls the webhooks of `retrain serve` must bear it."""

    webhook_secret: str | None = None
    """RETRAIN_WEBHOOK_SECRET: what messages to `/webhooks/trigger` are signed with."""
    mlflow_webhook_secret: str | None = None
    """RETRAIN_MLFLOW_WEBHOOK_SECRET: the secret of the webhook that was made in MLflow."""

    key: str | None = None
    """RETRAIN_KEY: whose word the calls over `retrain mcp` are; without it an agent's of the OS user."""

    peer_token: str | None = None
    """RETRAIN_PEER_TOKEN: who calls `retrain serve --role` must bear it."""

    variables: Mapping[str, str] = Field(default_factory=dict[str, str])
    """The whole environment: `${NAME}` in a data source is looked up in it when the source is opened."""

    def __repr__(self) -> str:
        return f"Settings(workspace={self.workspace}, llm_model={self.llm_model}, openai_api_key=***)"

    __str__ = __repr__


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of an environment; empty variables count as absent."""

    def value(name: str) -> str | None:
        return environ.get(name) or None

    workspace = value("RETRAINING_WORKSPACE")
    return Settings(
        workspace=None if workspace is None else Path(workspace),
        openai_base_url=value("OPENAI_BASE_URL"),
        openai_api_key=value("OPENAI_API_KEY"),
        llm_model=value("RETRAIN_LLM_MODEL"),
        webhook_token=value("RETRAIN_WEBHOOK_TOKEN"),
        webhook_secret=value("RETRAIN_WEBHOOK_SECRET"),
        mlflow_webhook_secret=value("RETRAIN_MLFLOW_WEBHOOK_SECRET"),
        key=value("RETRAIN_KEY"),
        peer_token=value("RETRAIN_PEER_TOKEN"),
        variables=dict(environ),
    )
