"""Who asks, and what may he ask for? Every door says so before anything is done."""

from typing import Annotated, Literal

from pydantic import Field

from tools.contracts.base import Contract

Scope = Literal["read", "run", "review", "roll_back"]


class Caller(Contract):
    """Whoever stands at a door, as the door has made sure of."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """OS user or name of the key; stands in records as who asked, and is what `review.approvers` name."""
    kind: Literal["person", "agent"]
    """An agent may ask; its word is never a person's approval."""
    scopes: frozenset[Scope]
    """What he may do."""
    door: Literal["cli", "http", "a2a", "mcp", "chat", "embedded"]
    """Where he stands; recorded, decides nothing."""
