"""Who asks, and what may he ask for? Every door says so before anything is done."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from tools.contracts.base import Contract, UtcDatetime

Scope = Literal["read", "run", "review", "roll_back"]
CallerKind = Literal["person", "agent"]
AT_HOME: Final = ("cli", "chat")
"""Doors at which a person with an account on this machine sits, known by the process's own user id."""


class Caller(Contract):
    """Whoever stands at a door, as the door has made sure of."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """OS user or name of the key; stands in records as who asked, and is what `review.approvers` name."""
    kind: CallerKind
    """An agent may ask; its word is never a person's approval."""
    scopes: frozenset[Scope]
    """What he may do."""
    door: Literal["cli", "http", "a2a", "mcp", "chat", "embedded", "watch"]
    """Where he stands; recorded, decides nothing."""
    models: frozenset[str] | None = None
    """Ids of the profiles that he may touch; all where absent."""
    context: str | None = None
    """What he groups his requests by, where the door has that; kept with a run, decides nothing."""


class ApiKey(Contract):
    """A key as it is kept: enough to know its bearer again, not enough to be one."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Stands in the token, in front of the secret: what it is looked up by."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
    """Who bears it; of two names that differ in case alone, the second is refused."""
    kind: CallerKind
    scopes: frozenset[Scope] = Field(min_length=1)
    models: frozenset[str] | None = None
    """Ids of the profiles it is good for; all where absent."""
    token_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    created_at: UtcDatetime
    created_by: str
    """OS user who made it. He answers for it: of a review that takes four eyes, his key's are his."""
    expires_at: UtcDatetime | None = None
    last_used_at: UtcDatetime | None = None
    """To the minute."""
    revoked_at: UtcDatetime | None = None
    revoked_by: str | None = None

    @model_validator(mode="after")
    def _no_agent_answers(self) -> "ApiKey":
        if self.kind == "agent" and "review" in self.scopes:
            raise ValueError("an agent's key cannot have the scope review: its word is no person's")
        return self

    def shown(self) -> dict[str, Any]:
        """What may be printed: everything but the hash."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"token_sha256"})
