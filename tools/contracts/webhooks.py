"""What signed webhooks bring: a message of anybody's own, and an event of MLflow's registry."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tools.contracts.base import PublicContract


class SignedTrigger(PublicContract):
    """Somebody asks for a look at a model."""

    model_id: Annotated[str, Field(min_length=1, max_length=255)]
    """Profile id or registered model name."""
    trigger: Literal["drift", "performance"] = "drift"
    """What is claimed; it is looked into before anything starts."""
    reason: Annotated[str, Field(max_length=500)] = ""
    """For people."""


class MlflowEvent(PublicContract):
    """An event of MLflow's model registry, as MLflow sends it."""

    entity: Annotated[str, Field(max_length=100)]
    action: Annotated[str, Field(max_length=100)]
    data: dict[str, Any]
