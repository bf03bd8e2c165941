"""Who bears a token is known again; who does not learns nothing. No name is taken from its owner."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from agent.services.keys import Keys, Made, os_knows, owners
from agent.services.reviews import os_user
from tools.adapters.memory_store import MemoryStore
from tools.contracts.access import ApiKey
from tools.errors import BadInput, Conflict, NotAllowed, NotFound

START = datetime(2026, 1, 1, tzinfo=UTC)
USERS = {"ada", "grace"}


class Desk:
    """A store, a clock that can be turned, and a machine with two users."""

    def __init__(self) -> None:
        self.now = START
        self.store = MemoryStore(lambda: self.now)
        self.keys = Keys(self.store, lambda: self.now, is_user=lambda name: name.casefold() in USERS)

    def make(self, name: str = "ci", *scopes: Any, by: str = "ada", kind: Any = "agent", **more: Any) -> Made:
        return self.keys.create(name, scopes or ("run", "read"), by=by, kind=kind, **more)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_bearer_is_known_with_his_kind_scopes_models_and_door(desk: Desk) -> None:
    made = desk.make(models=["prices"])

    caller = desk.keys.authenticate(made.token, "mcp")

    assert caller is not None
    assert caller.to_state() | {"scopes": sorted(caller.scopes)} == {
        "name": "ci",
        "kind": "agent",
        "scopes": ["read", "run"],
        "models": ["prices"],
        "door": "mcp",
        "context": None,
    }


def test_token_is_nowhere_in_the_store(desk: Desk) -> None:
    made = desk.make()
    desk.keys.authenticate(made.token)

    kept = json.dumps([key.to_state() for key in desk.store.list_keys()])

    assert made.token.rpartition("_")[2] not in kept
    assert made.token not in repr(made.key)
    assert made.key.token_sha256 not in repr(made.key)
    assert "tokenSha256" not in made.key.shown()


def test_tokens_differ_and_hold_256_bits(desk: Desk) -> None:
    first, second = desk.make("a").token, desk.make("b").token

    assert first != second
    assert len(first.split("_", 2)[2]) == 43


@pytest.mark.parametrize(
    "turn", ["", "rk_", "swapped secret", "one letter", "unknown id", "spaces", "no ascii", "long"]
)
def test_token_that_is_not_exactly_it_opens_nothing(desk: Desk, turn: str) -> None:
    token, other = desk.make("ci").token, desk.make("other").token
    _, key_id, secret = token.split("_", 2)
    wrong = {
        "swapped secret": f"rk_{key_id}_{other.split('_', 2)[2]}",
        "one letter": token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1],
        "unknown id": f"rk_{'0' * 16}_{secret}",
        "spaces": f" {token}",
        "no ascii": token[:-1] + "é",
        "long": "rk_" + "0" * 1_000_000,
    }

    assert desk.keys.authenticate(wrong.get(turn, turn)) is None
    assert desk.keys.authenticate(token) is not None


def test_empty_secret_is_not_the_key_that_nobody_has(desk: Desk) -> None:
    """What an unknown id is compared with is a hash too: it must open nothing."""
    assert desk.keys.authenticate("") is None


def test_revoked_key_opens_nothing_and_its_name_can_be_made_again(desk: Desk) -> None:
    first = desk.make()
    desk.keys.revoke("ci", by="grace")
    second = desk.make()

    assert desk.keys.authenticate(first.token) is None
    assert desk.keys.authenticate(second.token) is not None
    assert [key.id for key in desk.keys.list()] == [second.key.id]
    assert [key.revoked_by for key in desk.keys.list(everything=True)] == ["grace", None]


def test_key_opens_until_the_very_moment_of_its_expiry(desk: Desk) -> None:
    made = desk.make(expires=timedelta(days=90))

    desk.now = START + timedelta(days=90) - timedelta(microseconds=1)
    before = desk.keys.authenticate(made.token)
    desk.now = START + timedelta(days=90)

    assert before is not None
    assert desk.keys.authenticate(made.token) is None


def test_last_use_is_kept_to_the_minute_and_a_refusal_is_no_use(desk: Desk) -> None:
    made = desk.make()
    used = lambda: desk.keys.list()[0].last_used_at  # noqa: E731

    desk.keys.authenticate(made.token[:-1] + "_")
    assert used() is None
    desk.keys.authenticate(made.token)
    desk.now += timedelta(seconds=59)
    desk.keys.authenticate(made.token)
    assert used() == START
    desk.now += timedelta(seconds=1)
    desk.keys.authenticate(made.token)
    assert used() == START + timedelta(seconds=60)


def test_agents_key_never_gets_the_scope_review(desk: Desk) -> None:
    with pytest.raises(NotAllowed, match="scope review"):
        desk.make("bot", "read", "review")
    assert desk.keys.list() == []
    assert desk.make("ada", "read", "review", kind="person").key.scopes == {"read", "review"}


def test_store_that_was_tampered_with_gives_no_agent_the_scope_review(desk: Desk) -> None:
    made = desk.make()

    with pytest.raises(ValidationError, match="scope review"):
        ApiKey.model_validate(made.key.to_state() | {"scopes": ["review"]})


@pytest.mark.parametrize(
    ("name", "kind", "by", "why"),
    [
        ("grace", "person", "ada", "another user of this machine"),
        ("Ada", "person", "ada", "another user of this machine"),
        ("ada", "agent", "ada", "no agent"),
        ("zoe", "agent", "ada", "which no agent may"),
        ("ZOE", "agent", "ada", "which no agent may"),
        ("zoe", "person", "mallory", "'mallory' may not"),
        ("policy", "person", "ada", "something else in records"),
        ("Expiry", "agent", "ada", "something else in records"),
    ],
)
def test_name_of_somebody_else_is_refused(desk: Desk, name: str, kind: Any, by: str, why: str) -> None:
    with pytest.raises(NotAllowed, match=why):
        desk.make(name, "read", kind=kind, by=by, approvers=["ada", "zoe"])
    assert desk.keys.list() == []


@pytest.mark.parametrize(
    ("name", "kind", "by"),
    [("ada", "person", "ada"), ("zoe", "person", "ada"), ("ci", "agent", "mallory"), ("visitor", "person", "mallory")],
)
def test_own_name_or_nobodys_is_given(desk: Desk, name: str, kind: Any, by: str) -> None:
    made = desk.make(name, "read", kind=kind, by=by, approvers=["ada", "zoe"])

    assert (made.key.name, made.key.created_by) == (name, by)


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "-x", "ci\n", "Аda"])
def test_name_that_could_be_mistaken_for_another_is_bad_input(desk: Desk, name: str) -> None:
    with pytest.raises(BadInput, match="no name for a key"):
        desk.make(name)
    assert desk.keys.list() == []


@pytest.mark.parametrize(
    ("changes", "why"), [({"models": []}, "for no model"), ({"expires": timedelta(0)}, "expired already")]
)
def test_key_that_opens_nothing_is_not_made(desk: Desk, changes: Any, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        desk.make(**changes)
    with pytest.raises(BadInput, match="without a scope"):
        desk.keys.create("ci", (), by="ada")
    assert desk.keys.list() == []


def test_name_is_taken_and_what_is_not_there_cannot_be_revoked(desk: Desk) -> None:
    desk.make()

    with pytest.raises(Conflict, match="already"):
        desk.make("CI")
    with pytest.raises(NotFound, match="no key 'other'"):
        desk.keys.revoke("other", by="ada")


def test_behind_a_name_stand_its_bearer_and_whoever_made_its_keys(desk: Desk) -> None:
    desk.make("zoe", "review", kind="person", by="ada")
    desk.keys.revoke("zoe", by="ada")
    desk.make("zoe", "review", kind="person", by="mallory")

    assert owners(desk.store, "Zoe") == {"zoe", "ada", "mallory"}
    assert owners(desk.store, "nobody's") == {"nobody's"}


def test_this_machine_knows_its_user_whatever_the_case() -> None:
    assert os_knows(os_user())
    assert os_knows(os_user().upper())
    assert not os_knows("no-such-user-of-this-machine")
