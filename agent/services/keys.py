"""Who stands at a door? API keys: made once, kept as hashes, known again.

A token is `rk_ID_SECRET`. The id is no secret and is what the key is looked up by; the secret has 256 bits, so a plain hash is enough
and no index is ever asked for it. An unknown id takes the same steps as a wrong secret.
"""

import hashlib
import hmac
import pwd
import re
import secrets
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from pydantic import ValidationError

from tools.contracts.access import ApiKey, Caller, CallerKind, Scope
from tools.errors import BadInput, NotAllowed
from tools.ports import Clock, Store

RESERVED: Final = frozenset({"alertmanager", "all", "expiry", "model", "nobody", "policy", "void"})
"""Names that already mean something in records."""
USED_TO: Final = timedelta(minutes=1)
"""How exactly the last use is kept: a write a minute, not one a request."""
_TOKEN: Final = re.compile(r"rk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOBODYS: Final = hashlib.sha256(b"").hexdigest()
"""What the token of no key is compared with."""


class Made(NamedTuple):
    """A new key, and its token, which nobody can be shown again."""

    key: ApiKey
    token: str


def os_knows(name: str) -> bool:
    """Whether this machine has a user of that name, whatever its case."""
    folded = name.casefold()
    try:
        pwd.getpwnam(name)
        return True
    except KeyError:
        return any(user.pw_name.casefold() == folded for user in pwd.getpwall())


class Keys:
    """The keys of a run store.

    Args:
        store: Where they are kept.
        clock: Now.
        is_user: Whether the machine has a user of that name.
    """

    def __init__(self, store: Store, clock: Clock, *, is_user: Callable[[str], bool] = os_knows) -> None:
        self._store, self._clock, self._is_user = store, clock, is_user

    def authenticate(self, token: str, door: Literal["http", "a2a", "mcp"] = "http") -> Caller | None:
        """Whoever bears the token; None where it is unknown, revoked or expired, without a word about which.

        Raises:
            Unavailable: the store does not answer.
        """
        read = _TOKEN.fullmatch(token)
        key = self._store.get_key(read[1] if read else "0" * 16)
        same = hmac.compare_digest(_hash(token), _NOBODYS if key is None else key.token_sha256)
        now = self._clock()
        if key is None or not same or key.revoked_at is not None:
            return None
        if key.expires_at is not None and key.expires_at <= now:
            return None
        if key.last_used_at is None or now - key.last_used_at >= USED_TO:
            self._store.use_key(key.id, now)
        return Caller(name=key.name, kind=key.kind, scopes=key.scopes, models=key.models, door=door)

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        by: str,
        kind: CallerKind = "person",
        models: Collection[str] | None = None,
        expires: timedelta | None = None,
        approvers: Collection[str] = (),
    ) -> Made:
        """A new key. The token is in what is returned and nowhere else.

        Args:
            name: What its bearer is called in records, and by `review.approvers`.
            scopes: What it may do.
            by: The OS user who makes it.
            kind: Whether a person or an agent bears it.
            models: Profiles' ids it is good for; all where None.
            expires: How long it is good; for ever where None.
            approvers: Names that may answer reviews of any model: no agent may be called so.

        Raises:
            NotAllowed: the name is somebody else's, or an agent would answer reviews. Conflict: the name is taken.
            BadInput: no scope, or a name that is none.
        """
        wanted = frozenset(scopes)
        self._require_own_name(name, kind, by, approvers)
        if kind == "agent" and "review" in wanted:
            raise NotAllowed(
                "an agent's key cannot have the scope review: its word is no person's",
                thing="--scope",
                value="review",
                remedy="make a key for the person who answers, without --agent",
            )
        if not wanted:
            raise BadInput("a key without a scope opens nothing", thing="--scope", remedy="e.g. --scope read")
        if models is not None and not models:
            raise BadInput("a key for no model opens nothing", thing="--model", remedy="name one, or leave it out")
        if expires is not None and expires <= timedelta(0):
            raise BadInput("the key would have expired already", thing="--expires", value=expires, remedy="e.g. 90d")
        now, key_id = self._clock(), secrets.token_hex(8)
        token = f"rk_{key_id}_{secrets.token_urlsafe(32)}"
        try:
            key = ApiKey(
                id=key_id,
                name=name,
                kind=kind,
                scopes=wanted,
                models=None if models is None else frozenset(models),
                token_sha256=_hash(token),
                created_at=now,
                created_by=by,
                expires_at=None if expires is None else now + expires,
            )
        except ValidationError:
            # The error would quote the whole key.
            raise BadInput(
                f"{name!r} is no name for a key",
                thing="name",
                value=name,
                remedy="letters, digits and . _ @ -, at most 64",
            ) from None
        return Made(self._store.add_key(key), token)

    def list(self, *, everything: bool = False) -> list[ApiKey]:
        """Oldest first; with `everything` the revoked ones too."""
        return [key for key in self._store.list_keys() if everything or key.revoked_at is None]

    def revoke(self, name: str, *, by: str) -> ApiKey:
        """From now on the token opens nothing.

        Raises:
            NotFound: no such key that is not revoked.
        """
        return self._store.revoke_key(name, by, self._clock())

    def _require_own_name(self, name: str, kind: CallerKind, by: str, approvers: Collection[str]) -> None:
        """Who bears a name answers under it: at a terminal the OS user does, so no key may take it from him."""
        folded = name.casefold()
        why = None
        if folded in RESERVED:
            why = "means something else in records"
        elif kind == "agent" and folded in {each.casefold() for each in approvers}:
            why = "may answer reviews, which no agent may"
        elif kind == "agent" and self._is_user(name):
            why = "is a user of this machine, and no agent"
        elif self._is_user(name) and name != by:
            why = f"is another user of this machine than {by!r}"
        elif folded in {each.casefold() for each in approvers} and name != by and by not in approvers:
            why = f"may answer reviews, and {by!r} may not"
        if why is not None:
            raise NotAllowed(
                f"a key cannot be called {name!r}: that {why}",
                thing="name",
                value=name,
                remedy="a key in a person's name is made by that person, or by an approver where he has no account here",
            )


def owners(store: Store, name: str) -> frozenset[str]:
    """Everybody who stands behind a name: who bears it, and who made its keys, revoked ones too."""
    folded = name.casefold()
    made = {key.created_by.casefold() for key in store.list_keys() if key.name.casefold() == folded}
    return frozenset({folded, *made})


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
