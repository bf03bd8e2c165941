"""Where does a peer answer, if not in this process?"""

from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from tools.contracts.base import Contract

Role = Literal["drift-detective", "model-evaluator", "deployment-engineer"]
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class PeerSpec(Contract):
    """A peer asked over A2A. Only the addresses that stand in `retraining.yaml` are ever called."""

    url: str
    """Address of the agent: its card is read at `/.well-known/agent-card.json` under it, and may only name this same host and port."""
    token: str | None = Field(default=None, repr=False)
    """Bearer token; write `${NAME}` and set the variable."""
    shared_files: bool = False
    """Whether the peer reads the work folder under the same path: then it gets paths, else the rows themselves."""
    timeout_seconds: float = Field(default=60, gt=0, le=3600)
    """For one question, retries included."""
    retries: int = Field(default=2, ge=0, le=10)
    """How often a question is asked again after an answer that did not come or came broken."""
    max_upload_mb: float = Field(default=32, gt=0, le=1024)
    """Most rows' bytes in one question; beyond it the peer is not asked."""

    @model_validator(mode="after")
    def _safe(self) -> "PeerSpec":
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of a peer is http://HOST:PORT or https://HOST")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the address of a peer holds neither a password nor a query: use `token`")
        if self.token is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("a token travels over https only, but on this machine")
        return self
