"""What every contract shares: frozen, closed, camelCase outside, finite numbers, aware times."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

SCHEMA_VERSION = "1.0"


def _to_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


UtcDatetime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""An aware time, kept in UTC. Naive input is refused; who reads naive data says that it is UTC."""


class Contract(BaseModel):
    """An inside contract: unknown fields are refused, NaN and infinities too."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    def to_json_dict(self) -> dict[str, Any]:
        """Plain JSON in the outside names; absent fields are omitted, never null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_state(self) -> dict[str, Any]:
        """Plain JSON in the inside names, as kept in the graph's state and the run store."""
        return self.model_dump(mode="json")


class PublicContract(Contract):
    """A boundary contract: unknown fields are let in and listed as warnings, not acted on."""

    model_config = ConfigDict(extra="ignore")
